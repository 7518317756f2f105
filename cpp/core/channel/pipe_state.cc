// SPDX-License-Identifier: Apache-2.0
#include "core/channel/pipe_state.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string_view>
#include <system_error>
#include <utility>

#include "core/base/error.h"
#include "core/io/fifo_source.h"

namespace pipemode {
namespace {

constexpr size_t kMaxChannelName = 64;
// The predecessor, and tools made for it, keep the number in an int.
constexpr uint64_t kMaxEpoch = INT32_MAX;
constexpr size_t kMaxStateBytes = 64;

bool IsChannelCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '-' || c == '_';
}

// Printable, and short enough for a message.
std::string Escaped(std::string_view text) {
  std::string escaped;
  for (const char c : text.substr(0, 40)) {
    if (c >= ' ' && c <= '~') {
      escaped += c;
    } else {
      char code[8];
      std::snprintf(code, sizeof(code), "\\x%02x", static_cast<unsigned char>(c));
      escaped += code;
    }
  }
  if (text.size() > 40) escaped += "...";
  return escaped;
}

std::string JoinPath(const std::string& folder, const std::string& name) {
  if (!folder.empty() && folder.back() == '/') return folder + name;
  return folder + "/" + name;
}

// Decimal digits and nothing else but blanks at the end, which an editor may have left.
std::optional<uint64_t> ParseEpoch(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) {
    text.remove_suffix(1);
  }
  if (text.empty() || text.size() > 10) return std::nullopt;
  uint64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + static_cast<uint64_t>(c - '0');
  }
  if (value > kMaxEpoch) return std::nullopt;
  return value;
}

// flock(2) without waiting. Returns false if somebody else's lock is in the way. A file system that
// knows no locks (some network ones) must not stop a job: there the state file alone keeps the
// epochs apart.
bool TryFlock(int fd, int operation) {
  while (::flock(fd, operation | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return false;
    if (errno == EOPNOTSUPP || errno == ENOLCK || errno == ENOSYS || errno == EBADF) return true;
    if (errno != EINTR) throw IoError(errno, "flock");
  }
  return true;
}

// What a file's lock is, after trying to get it for oneself.
enum class Lock { kOurs, kShared, kExclusive };

Lock TryOwn(int fd) {
  // That a shared lock can be had tells a reader from a waiter only if there still is one: it may
  // have gone meanwhile, or be somebody who tries just as we do. So look again.
  constexpr int kLooks = 3;
  for (int i = 0; i < kLooks; ++i) {
    if (TryFlock(fd, LOCK_EX)) return Lock::kOurs;
    if (!TryFlock(fd, LOCK_SH)) return Lock::kExclusive;
  }
  TryFlock(fd, LOCK_UN);
  return Lock::kShared;
}

// "process 1234", as /proc/locks knows it; flock itself does not tell.
std::string LockHolder(int fd) {
  struct stat status;
  if (::fstat(fd, &status) == 0) {
    char id[64];
    std::snprintf(id, sizeof(id), "%02x:%02x:%llu", major(status.st_dev), minor(status.st_dev),
                  static_cast<unsigned long long>(status.st_ino));
    std::ifstream locks("/proc/locks");
    std::string line;
    while (std::getline(locks, line)) {
      std::istringstream fields(line);
      std::string number, kind, advisory, mode, pid, file;
      fields >> number >> kind >> advisory >> mode >> pid >> file;
      if (kind == "FLOCK" && file == id) return "process " + pid;
    }
  }
  return "another process";
}

}  // namespace

void CheckChannelName(const std::string& channel) {
  bool good = !channel.empty() && channel.size() <= kMaxChannelName;
  for (const char c : channel) good = good && IsChannelCharacter(c);
  if (!good) {
    throw InvalidArgumentError("'" + Escaped(channel) +
                               "' is no channel name: 1 to 64 letters, digits, '.', '-', '_' "
                               "are allowed, and no path");
  }
}

PipeState::PipeState(const std::string& state_dir, const std::string& pipe_dir,
                     const std::string& channel)
    : pipe_prefix_(JoinPath(pipe_dir, channel + "_")),
      state_path_(JoinPath(state_dir, "." + channel + "-pipe_mode-state")),
      lock_path_(JoinPath(state_dir, "." + channel + "-pipe_mode-lock")) {
  CheckChannelName(channel);
  std::error_code error;
  std::filesystem::create_directories(state_dir, error);
  if (error) throw IoError(error.value(), "cannot create state_dir '" + state_dir + "'");
}

std::string PipeState::PipePath(uint64_t epoch) const {
  return pipe_prefix_ + std::to_string(epoch);
}

uint64_t PipeState::NextEpoch() const {
  const UniqueFd fd(::open(state_path_.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd) {
    if (errno == ENOENT) return 0;
    throw IoError(errno, "cannot open the state file '" + state_path_ + "'");
  }
  char text[kMaxStateBytes];
  ssize_t count;
  do {
    count = ::read(fd.get(), text, sizeof(text));
  } while (count < 0 && errno == EINTR);
  if (count < 0) throw IoError(errno, "cannot read the state file '" + state_path_ + "'");
  const std::string_view content(text, static_cast<size_t>(count));
  const std::optional<uint64_t> epoch = ParseEpoch(content);
  if (!epoch) {
    throw FailedPreconditionError(
        "the state file '" + state_path_ + "' holds '" + Escaped(content) +
        "', not the number of the next epoch (0 to " + std::to_string(kMaxEpoch) +
        "); write that number into it, or remove the file to begin with epoch 0");
  }
  return *epoch;
}

UniqueFd PipeState::TryLock() const {
  UniqueFd fd(::open(lock_path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644));
  if (!fd) throw IoError(errno, "cannot open the lock file '" + lock_path_ + "'");
  if (!TryFlock(fd.get(), LOCK_EX)) fd.Reset();
  return fd;
}

PipeState::Attempt PipeState::TryClaim() const {
  const UniqueFd lock = TryLock();
  Attempt attempt;
  if (!lock) {
    attempt.busy = true;
    return attempt;
  }
  attempt.epoch = NextEpoch();
  attempt.path = PipePath(attempt.epoch);
  UniqueFd pipe = FifoSource::Open(attempt.path);
  if (!pipe) return attempt;
  switch (TryOwn(pipe.get())) {
    case Lock::kOurs:
      attempt.claim = EpochClaim{attempt.epoch, attempt.path, std::move(pipe)};
      break;
    case Lock::kExclusive:
      attempt.busy = true;
      break;
    case Lock::kShared:
      throw FailedPreconditionError("'" + attempt.path + "' is being read already, by " +
                                    LockHolder(pipe.get()) +
                                    "; two readers would each get a part of its bytes");
  }
  return attempt;
}

bool PipeState::IsCurrent(const EpochClaim& claim) const {
  struct stat at_path;
  struct stat claimed;
  return ::stat(claim.path.c_str(), &at_path) == 0 && ::fstat(claim.fd.get(), &claimed) == 0 &&
         at_path.st_dev == claimed.st_dev && at_path.st_ino == claimed.st_ino;
}

bool PipeState::TryMarkStarted(const EpochClaim& claim) const {
  const UniqueFd lock = TryLock();
  if (!lock) return false;
  if (NextEpoch() == claim.epoch) WriteNextEpoch(claim.epoch + 1);
  // Going from exclusive to shared lets go of the lock for an instant, in which another state
  // folder's reader may take it.
  if (!TryFlock(claim.fd.get(), LOCK_SH)) {
    throw FailedPreconditionError("'" + claim.path + "' was taken at the same time by " +
                                  LockHolder(claim.fd.get()));
  }
  return true;
}

void PipeState::WriteNextEpoch(uint64_t epoch) const {
  if (epoch > kMaxEpoch) {
    throw FailedPreconditionError("no epoch after " + std::to_string(kMaxEpoch));
  }
  // Written beside and renamed: whoever is killed at whatever moment leaves the old or the new
  // number. One name is enough, the lock is held.
  const std::string temporary = state_path_ + ".tmp";
  UniqueFd fd(
      ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644));
  if (!fd) throw IoError(errno, "cannot write '" + temporary + "'");
  const std::string text = std::to_string(epoch);
  ssize_t count;
  do {
    count = ::write(fd.get(), text.data(), text.size());
  } while (count < 0 && errno == EINTR);
  if (count >= 0 && static_cast<size_t>(count) < text.size()) {
    count = -1;
    errno = ENOSPC;  // a short write does not say why
  }
  if (count < 0 || ::fdatasync(fd.get()) != 0 ||
      ::rename(temporary.c_str(), state_path_.c_str()) != 0) {
    const int error_number = errno;
    ::unlink(temporary.c_str());
    throw IoError(error_number, "cannot write the state file '" + state_path_ + "'");
  }
}

}  // namespace pipemode
