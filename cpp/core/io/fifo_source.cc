// SPDX-License-Identifier: Apache-2.0
#include "core/io/fifo_source.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "core/base/error.h"
#include "core/base/retry.h"
#include "core/base/unique_fd.h"

namespace pipemode {
namespace {

constexpr int kPipeBytes = 1 << 20;
// From here on the FIFO is read through a pipe of our own: less is there at once when the writer is
// slow, and then a second system call is all that would come of it.
constexpr size_t kBusyBytes = size_t{32} << 10;

[[noreturn]] void ThrowWrongKind(const std::string& path) {
  throw FailedPreconditionError("'" + path + "' is neither a FIFO nor a regular file");
}

// Larger pipes mean fewer, larger reads. A refusal (limit of the user, of the system) is not an
// error.
void EnlargePipe(int fd) {
  const int current = ::fcntl(fd, F_GETPIPE_SZ);
  if (current < 0) return;  // a file that is read in place of a FIFO
  for (int size = kPipeBytes; size > current; size /= 2) {
    if (::fcntl(fd, F_SETPIPE_SZ, size) >= 0) return;
  }
}

// What Linux gives to a new pipe; less to a user who has many.
int NewPipeBytes() {
  constexpr int kPages = 16;
  return kPages * static_cast<int>(::sysconf(_SC_PAGESIZE));
}

// Whether `fd` has data, or has had a writer that is gone; of a regular file, always.
bool IsReadable(int fd) {
  pollfd polled{fd, POLLIN, 0};
  return ::poll(&polled, 1, 0) > 0;
}

enum class Answer { kYes, kNo, kUnknown };

// Whether the empty FIFO `fd` has a writer that has sent nothing so far, which poll() does not
// tell. tee() tells what read() would, by EAGAIN against 0, and leaves all bytes where they are.
Answer IsOpenForWriting(int fd) {
  int scratch[2];
  if (::pipe2(scratch, O_CLOEXEC | O_NONBLOCK) != 0) return Answer::kUnknown;
  const UniqueFd out(scratch[0]);
  const UniqueFd in(scratch[1]);
  const ssize_t count = ::tee(fd, in.get(), 1, SPLICE_F_NONBLOCK);
  if (count == 0) return Answer::kNo;
  return count > 0 || errno == EAGAIN ? Answer::kYes : Answer::kUnknown;
}

}  // namespace

ForkGuardedFd FifoSource::Open(const std::string& path) {
  ForkGuardedFd fd([&path] {
    return RetryOnSignal(
        [&path] { return ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY); });
  });
  if (!fd) {
    if (errno == ENOENT) return fd;
    if (errno == ENXIO) ThrowWrongKind(path);  // a socket
    throw IoError(errno, "cannot open '" + path + "'");
  }
  struct stat status;
  // Where the system does not tell, reading will; a writer that has come would not come again.
  const bool is_known = ::fstat(fd.get(), &status) == 0;
  if (is_known && !S_ISFIFO(status.st_mode) && !S_ISREG(status.st_mode)) ThrowWrongKind(path);
  return fd;
}

FifoSource::FifoSource(ForkGuardedFd fd, const std::string& path, TimeLimit read_timeout,
                       const WaitContext& context)
    : FifoSource(read_timeout, context) {
  Prepare(fd.get(), path);
  Begin(std::move(fd));
}

FifoSource::FifoSource(TimeLimit read_timeout, const WaitContext& context)
    : read_timeout_(read_timeout), context_(context), end_check_(context) {}

void FifoSource::Prepare(int fd, const std::string& path) {
  name_ = "data from '" + path + "' (limit: read_timeout)";
  struct stat status;
  is_fifo_ = ::fstat(fd, &status) != 0 || S_ISFIFO(status.st_mode);  // a file can be read as one
  if (is_fifo_) EnlargePipe(fd);
}

bool FifoSource::HasWriter(int fd) {
  return IsReadable(fd) || IsOpenForWriting(fd) == Answer::kYes;
}

bool FifoSource::HasNoWriter(int fd) {
  // In this order: one that has sent all and gone in between shows in the second look.
  return IsOpenForWriting(fd) == Answer::kNo && !IsReadable(fd);
}

bool FifoSource::Mark(int fd) {
  EnlargePipe(fd);
  return ::fcntl(fd, F_GETPIPE_SZ) > NewPipeBytes();
}

bool FifoSource::IsNew(int fd) {
  const int size = ::fcntl(fd, F_GETPIPE_SZ);
  return size > 0 && size <= NewPipeBytes();
}

size_t FifoSource::Available(int fd) {
  int count = 0;
  if (::ioctl(fd, FIONREAD, &count) != 0) throw IoError(errno, "ioctl(FIONREAD)");
  return static_cast<size_t>(std::max(count, 0));
}

size_t FifoSource::ReadScattered(char* dst, size_t size, char* tail, size_t tail_size) {
  const iovec parts[2] = {{dst, size}, {tail, tail_size}};
  while (!ended_) {
    end_check_.Look(name_);
    const ssize_t count = ReadOnce(parts, 2);
    if (count > 0) {
      writer_seen_ = true;
      return static_cast<size_t>(count);
    }
    if (count == 0) {
      if (!is_fifo_ || writer_seen_) {
        ended_ = true;
      } else {
        WaitReadable();
      }
    } else if (errno == EAGAIN) {
      writer_seen_ = true;
      WaitReadable();
    } else if (errno != EINTR) {
      ended_ = true;
      throw IoError(errno, "reading " + name_);
    }
  }
  return 0;
}

// Returns and sets errno as read() from the FIFO does.
ssize_t FifoSource::ReadOnce(const iovec* parts, int count) {
  if (staging_ && staging_->size() > 0) return staging_->Read(parts, count);
  if (is_fifo_ && is_busy_) {
    if (!staging_) staging_.emplace();
    if (*staging_) {
      const ssize_t moved = staging_->Fill(fd_.get());
      is_busy_ = moved >= static_cast<ssize_t>(kBusyBytes);
      if (moved > 0) return staging_->Read(parts, count);
      if (moved == 0 || errno == EAGAIN) return moved;
    }
  }
  const ssize_t read = ::readv(fd_.get(), parts, count);
  is_busy_ = read >= static_cast<ssize_t>(kBusyBytes);
  return read;
}

void FifoSource::WaitReadable() {
  Wait wait(context_, read_timeout_, name_);
  try {
    // Any event, POLLHUP among them, proves that there is or was a writer.
    wait.Poll(fd_.get(), POLLIN);
  } catch (const CancelledError&) {
    throw;
  } catch (const PipeError&) {
    ended_ = true;
    throw;
  }
  writer_seen_ = true;
}

}  // namespace pipemode
