// SPDX-License-Identifier: Apache-2.0
#include "core/channel/pipe_state.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string_view>
#include <system_error>
#include <utility>

#include "core/base/error.h"
#include "core/base/retry.h"
#include "core/base/unique_fd.h"
#include "core/io/fifo_source.h"

namespace pipemode {
namespace {

constexpr size_t kMaxChannelName = 64;
// The predecessor, and tools made for it, keep the number in an int.
constexpr uint64_t kMaxEpoch = INT32_MAX;
constexpr size_t kMaxStateBytes = 64;
// Ours alone: a process that can open the lock file can hold its lock.
constexpr mode_t kPrivate = 0600;

bool IsChannelCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '-' || c == '_';
}

std::string JoinPath(const std::string& folder, const std::string& name) {
  if (!folder.empty() && folder.back() == '/') return folder + name;
  return folder + "/" + name;
}

// flock(2) without waiting. Returns false if another's lock is in the way. A file system that
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

// The first byte of a FIFO, which only stands for it: others that lock other bytes do not count.
struct flock FirstByte(short type) {
  struct flock range = {};
  range.l_type = type;
  range.l_whence = SEEK_SET;
  range.l_len = 1;
  return range;
}

// Says to others that `fd` is being read. Where the system does not allow it, they wait instead of
// being told.
void SetBeingRead(int fd) {
  struct flock range = FirstByte(F_RDLCK);
  (void)::fcntl(fd, F_OFD_SETLK, &range);
}

// Whether the one who has the lock of the FIFO reads from it. Asking takes no lock, so that two who
// ask at once do not see each other.
bool IsBeingRead(int fd) {
  struct flock range = FirstByte(F_WRLCK);
  return ::fcntl(fd, F_OFD_GETLK, &range) == 0 && range.l_type == F_RDLCK;
}

// Throws unless `fd`, the file at `path`, is one that we may write to without harm: not a
// device, and not a second name of another file.
void CheckPlain(int fd, const std::string& path) {
  struct stat status;
  if (::fstat(fd, &status) != 0) throw IoError(errno, "cannot stat '" + path + "'");
  if (!S_ISREG(status.st_mode) || status.st_nlink > 1) {
    throw FailedPreconditionError("'" + path +
                                  "' is not a plain file of its own, as readers of the channel "
                                  "make it; remove it, or choose another state_dir");
  }
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
    throw InvalidArgumentError(
        "'" + Excerpt(channel) +
        "' is not a valid channel name: 1 to 64 letters, digits, '.', '-', '_' "
        "are allowed, and no path");
  }
}

std::optional<uint64_t> ParseEpoch(std::string_view text) {
  if (text.size() > kMaxStateBytes) return std::nullopt;
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

bool PipeState::Exists(uint64_t epoch) const {
  struct stat status;
  return ::stat(PipePath(epoch).c_str(), &status) == 0 || errno != ENOENT;
}

uint64_t PipeState::NextEpoch() const {
  const UniqueFd fd(RetryOnSignal(
      [&] { return ::open(state_path_.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK); }));
  if (!fd) {
    if (errno == ENOENT) return 0;
    throw IoError(errno, "cannot open the state file '" + state_path_ + "'");
  }
  char text[kMaxStateBytes + 1];  // one more tells that there is more
  const ssize_t count = RetryOnSignal([&] { return ::read(fd.get(), text, sizeof(text)); });
  if (count < 0) throw IoError(errno, "cannot read the state file '" + state_path_ + "'");
  const std::string_view content(text, static_cast<size_t>(count));
  const std::optional<uint64_t> epoch = ParseEpoch(content);
  if (!epoch) {
    throw FailedPreconditionError(
        "the state file '" + state_path_ + "' holds '" + Excerpt(content) +
        "', not the number of the next epoch (0 to " + std::to_string(kMaxEpoch) +
        "); write that number into it, or remove the file to begin with epoch 0");
  }
  return *epoch;
}

ForkGuardedFd PipeState::TryLock() const {
  constexpr int kFlags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY;
  ForkGuardedFd fd([this] {
    return RetryOnSignal([this] { return ::open(lock_path_.c_str(), kFlags, kPrivate); });
  });
  if (!fd) throw IoError(errno, "cannot open the lock file '" + lock_path_ + "'");
  CheckPlain(fd.get(), lock_path_);
  if (!TryFlock(fd.get(), LOCK_EX)) fd.Reset();
  return fd;
}

PipeState::Attempt PipeState::TryClaim() const {
  const ForkGuardedFd lock = TryLock();
  if (!lock) {
    Attempt attempt;
    attempt.busy = true;
    return attempt;
  }
  const uint64_t due = NextEpoch();
  return TryClaimLocked(due, due);
}

PipeState::Attempt PipeState::TryClaimLocked(uint64_t due, uint64_t epoch) const {
  Attempt attempt;
  attempt.epoch = epoch;
  attempt.path = PipePath(epoch);
  // All that needs memory comes before a writer may go on.
  EpochClaim claim;
  claim.epoch = epoch;
  claim.due = due;
  claim.path = attempt.path;
  claim.fd = FifoSource::Open(claim.path);
  if (!claim.fd) return attempt;
  claim.fill = FifoSource::Available(claim.fd.get());
  claim.was_new = FifoSource::IsNew(claim.fd.get());
  claim.is_marked = FifoSource::Mark(claim.fd.get());
  bool has_lock = TryFlock(claim.fd.get(), LOCK_EX);
  if (!has_lock) {
    if (IsBeingRead(claim.fd.get())) {
      throw FailedPreconditionError("'" + attempt.path + "' is being read already, by " +
                                    LockHolder(claim.fd.get()) +
                                    "; two readers would each get a part of its bytes");
    }
    // Its holder may have been about to go, and a writer may have come to us.
    has_lock = TryFlock(claim.fd.get(), LOCK_EX);
  }
  attempt.busy = !has_lock;
  if (has_lock) attempt.claim = std::move(claim);
  return attempt;
}

bool PipeState::IsCurrent(const EpochClaim& claim) const {
  // Only a clear no counts: to let go of a FIFO to which a writer comes would lose the epoch.
  struct stat at_path;
  struct stat claimed;
  if (::stat(claim.path.c_str(), &at_path) != 0) return errno != ENOENT;
  return ::fstat(claim.fd.get(), &claimed) != 0 ||
         (at_path.st_dev == claimed.st_dev && at_path.st_ino == claimed.st_ino);
}

bool PipeState::TryMarkStarted(const EpochClaim& claim) const {
  const ForkGuardedFd lock = TryLock();
  if (!lock) return false;
  if (NextEpoch() == claim.due) WriteNextEpoch(claim.epoch + 1);
  SetBeingRead(claim.fd.get());
  return true;
}

void PipeState::WriteNextEpoch(uint64_t epoch) const {
  if (epoch > kMaxEpoch) {
    throw FailedPreconditionError("no epoch after " + std::to_string(kMaxEpoch));
  }
  // Written beside and renamed: a process that is killed at any moment leaves the old or the new
  // number. One name is enough, the lock is held.
  const std::string temporary = state_path_ + ".tmp";
  // A process that was killed may have left one; anything else in its place is not written to.
  ::unlink(temporary.c_str());
  UniqueFd fd(RetryOnSignal([&] {
    return ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, kPrivate);
  }));
  if (!fd) throw IoError(errno, "cannot write '" + temporary + "'");
  const std::string text = std::to_string(epoch);
  ssize_t count = RetryOnSignal([&] { return ::write(fd.get(), text.data(), text.size()); });
  if (count >= 0 && static_cast<size_t>(count) < text.size()) {
    count = -1;
    errno = ENOSPC;  // a short write does not say why
  }
  if (count < 0 || RetryOnSignal([&] { return ::fdatasync(fd.get()); }) != 0 ||
      ::rename(temporary.c_str(), state_path_.c_str()) != 0) {
    const int error_number = errno;
    ::unlink(temporary.c_str());
    throw IoError(error_number, "cannot write the state file '" + state_path_ + "'");
  }
}

}  // namespace pipemode
