// SPDX-License-Identifier: Apache-2.0
#include "core/channel/writer_watch.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "core/io/fifo_source.h"

namespace pipemode {
namespace {

// A writer that has noticed closes within moments. One that does neither that nor write for so long
// waits for its own source, or for room in the pipe.
constexpr std::chrono::milliseconds kPatience{100};

size_t Available(int fd) {
  int count = 0;
  return ::ioctl(fd, FIONREAD, &count) == 0 && count > 0 ? static_cast<size_t>(count) : 0;
}

bool IsClosed(int fd) {
  pollfd polled{fd, POLLIN, 0};
  return ::poll(&polled, 1, 0) > 0 && (polled.revents & POLLHUP) != 0;
}

}  // namespace

WriterWatch::WriterWatch(int fd, bool opened_before, const timespec& written_before)
    : fd_(fd), opened_before_(opened_before), written_before_(written_before) {
  if (opened_before_) left_ = Available(fd_);
}

WriterWatch::Writer WriterWatch::Look() {
  if (!FifoSource::HasWriter(fd_)) return Writer::kAbsent;
  if (!opened_before_) return Writer::kPresent;
  // In this order: what it wrote last is there when it has closed.
  const bool is_closed = IsClosed(fd_);
  const size_t available = Available(fd_);
  if (available > left_ || WroteSinceOpened(available)) return Writer::kPresent;
  if (is_closed) return Writer::kGone;
  if (!seen_) seen_ = Clock::now();
  return Clock::now() - *seen_ < kPatience ? Writer::kUnsure : Writer::kPresent;
}

// A writer that has waited for a reader may have written all it had, and closed, before we came to
// look at what is in the pipe. Without a reader nothing can be written, so a write that succeeded
// since was to us. But the time of a write that fills the pipe is set when it returns, and that may
// be because the reader before has gone.
bool WriterWatch::WroteSinceOpened(size_t available) const {
  const int capacity = ::fcntl(fd_, F_GETPIPE_SZ);
  if (capacity < 0 || available >= static_cast<size_t>(capacity) / 4) return false;
  struct stat status;
  return ::fstat(fd_, &status) == 0 && (status.st_mtim.tv_sec != written_before_.tv_sec ||
                                        status.st_mtim.tv_nsec != written_before_.tv_nsec);
}

}  // namespace pipemode
