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
// Ours alone: whoever can open the lock file can hold its lock.
constexpr mode_t kPrivate = 0600;
// So many epochs in a row are not lost to readers that are killed; the lock file is broken.
constexpr uint64_t kMaxOpened = 1000;
constexpr std::string_view kMarked = " marked";

bool IsChannelCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '-' || c == '_';
}

std::string JoinPath(const std::string& folder, const std::string& name) {
  if (!folder.empty() && folder.back() == '/') return folder + name;
  return folder + "/" + name;
}

// Decimal digits and nothing else but blanks at the end, which an editor may have left.
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

// Anything but a clear no; opening it will tell.
bool Exists(const std::string& path) {
  struct stat status;
  return ::stat(path.c_str(), &status) == 0 || errno != ENOENT;
}

// How many bytes a new pipe holds.
int NewPipeCapacity() { return static_cast<int>(16 * ::sysconf(_SC_PAGESIZE)); }

// Gives the pipe at `fd` another capacity than a new one has. A pipe is as old as the oldest of
// those who have it open: what a writer has left for a reader that is gone is in one that bears the
// mark of that reader. Returns false if the system does not allow it.
bool MarkPipe(int fd) {
  const int fresh = NewPipeCapacity();
  return ::fcntl(fd, F_GETPIPE_SZ) != fresh || ::fcntl(fd, F_SETPIPE_SZ, 2 * fresh) >= 0;
}

// Throws unless `fd`, the file at `path`, is one that we may write to without harm: no device, and
// no second name of somebody's file.
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
    throw InvalidArgumentError("'" + Excerpt(channel) +
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

PipeState::Opened PipeState::ReadOpened(const ForkGuardedFd& lock, uint64_t due) const {
  const Opened none{due, true};
  char text[kMaxStateBytes];
  const ssize_t count = RetryOnSignal([&] { return ::pread(lock.get(), text, sizeof(text), 0); });
  if (count < 0) throw IoError(errno, "cannot read the lock file '" + lock_path_ + "'");
  const std::string_view content(text, static_cast<size_t>(count));
  std::string_view line = content.substr(0, content.find('\n'));
  const bool marked =
      line.size() > kMarked.size() && line.substr(line.size() - kMarked.size()) == kMarked;
  if (marked) line.remove_suffix(kMarked.size());
  const size_t blank = line.find(' ');
  if (blank == std::string_view::npos) return none;
  const std::optional<uint64_t> of = ParseEpoch(line.substr(0, blank));
  const std::optional<uint64_t> last = ParseEpoch(line.substr(blank + 1));
  // The state may have gone on since, not back.
  if (!of || !last || due < *of || *last < due || *last - due >= kMaxOpened) return none;
  return {*last + 1, marked};
}

// No fsync: with the machine the FIFOs go, too.
void PipeState::WriteOpened(const ForkGuardedFd& lock, uint64_t due, const Opened& opened) const {
  std::string text = std::to_string(due) + " " + std::to_string(opened.end - 1);
  if (opened.marked) text += kMarked;
  text += '\n';
  ssize_t count = RetryOnSignal([&] { return ::pwrite(lock.get(), text.data(), text.size(), 0); });
  if (count >= 0 && static_cast<size_t>(count) < text.size()) {
    count = -1;
    errno = ENOSPC;  // a short write does not say why
  }
  if (count < 0) throw IoError(errno, "cannot write the lock file '" + lock_path_ + "'");
}

PipeState::Attempt PipeState::TryClaim() const {
  const ForkGuardedFd lock = TryLock();
  Attempt attempt;
  if (!lock) {
    attempt.busy = true;
    return attempt;
  }
  const uint64_t due = NextEpoch();
  const uint64_t opened_end = ReadOpened(lock, due).end;
  uint64_t epoch = due;
  while (epoch < opened_end && !Exists(PipePath(epoch))) ++epoch;
  if (!Exists(PipePath(epoch))) epoch = due;
  attempt.epoch = epoch;
  attempt.path = PipePath(epoch);
  std::optional<size_t> left;
  ForkGuardedFd pipe = OpenPipe(lock, due, epoch, &left);
  if (!pipe) return attempt;
  switch (TryOwn(pipe.get())) {
    case Lock::kOurs:
      attempt.claim = EpochClaim{epoch, attempt.path, std::move(pipe), due, opened_end, left};
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

void PipeState::TryClaimLater(const EpochClaim& claim, std::vector<EpochClaim>* later) const {
  for (uint64_t epoch = claim.epoch + 1; epoch <= claim.opened_end; ++epoch) {
    const auto has_epoch = [epoch](const EpochClaim& other) { return other.epoch == epoch; };
    if (std::any_of(later->begin(), later->end(), has_epoch) || !Exists(PipePath(epoch))) continue;
    const ForkGuardedFd lock = TryLock();
    if (!lock || NextEpoch() != claim.due) return;
    std::optional<size_t> left;
    ForkGuardedFd pipe = OpenPipe(lock, claim.due, epoch, &left);
    if (!pipe || TryOwn(pipe.get()) != Lock::kOurs) continue;
    later->push_back({epoch, PipePath(epoch), std::move(pipe), claim.due, claim.opened_end, left});
  }
}

// Opens the FIFO of `epoch`, having left word of it: from that moment on a writer may come, and
// whoever is killed can tell nobody any more. Returns none if the FIFO is missing.
//
// A writer that waits for a reader goes on at once and may have written all it has, and closed,
// before the next call here. What it wrote is told from what was left for another reader by the
// pipe: a new one has had no other reader. But that holds only as long as each reader has come to
// mark its pipe, which is why word is left of that, too.
ForkGuardedFd PipeState::OpenPipe(const ForkGuardedFd& lock, uint64_t due, uint64_t epoch,
                                  std::optional<size_t>* left) const {
  const std::string path = PipePath(epoch);
  if (!Exists(path)) return ForkGuardedFd();
  const Opened before = ReadOpened(lock, due);
  const uint64_t end = std::max(before.end, epoch + 1);
  WriteOpened(lock, due, {end, false});
  ForkGuardedFd pipe = FifoSource::Open(path);
  if (pipe && epoch < before.end) {
    const bool is_new = before.marked && ::fcntl(pipe.get(), F_GETPIPE_SZ) == NewPipeCapacity();
    *left = is_new ? 0 : FifoSource::Available(pipe.get());
  }
  if (before.marked && (!pipe || MarkPipe(pipe.get()))) WriteOpened(lock, due, {end, true});
  return pipe;
}

bool PipeState::IsCurrent(const EpochClaim& claim) const {
  struct stat at_path;
  struct stat claimed;
  return ::stat(claim.path.c_str(), &at_path) == 0 && ::fstat(claim.fd.get(), &claimed) == 0 &&
         at_path.st_dev == claimed.st_dev && at_path.st_ino == claimed.st_ino;
}

bool PipeState::DueExists(const EpochClaim& claim) const { return Exists(PipePath(claim.due)); }

bool PipeState::TryMarkStarted(const EpochClaim& claim) const {
  const ForkGuardedFd lock = TryLock();
  if (!lock) return false;
  if (NextEpoch() == claim.due) WriteNextEpoch(claim.epoch + 1);
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
  // Somebody who was killed may have left one; whatever else it is, it is not written to.
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
