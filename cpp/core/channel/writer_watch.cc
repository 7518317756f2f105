// SPDX-License-Identifier: Apache-2.0
#include "core/channel/writer_watch.h"

#include <poll.h>

#include "core/io/fifo_source.h"

namespace pipemode {
namespace {

// A writer that has noticed closes within moments, but on a busy machine these may be long. One
// that does neither that nor write for so long waits for its own source, and so would its reader.
constexpr std::chrono::milliseconds kPatience{1000};

bool IsClosed(int fd) {
  pollfd polled{fd, POLLIN, 0};
  return ::poll(&polled, 1, 0) > 0 && (polled.revents & POLLHUP) != 0;
}

}  // namespace

WriterWatch::Writer WriterWatch::Look() {
  if (!FifoSource::HasWriter(fd_)) return Writer::kAbsent;
  if (!left_) return Writer::kPresent;
  // In this order: what it wrote last is there when it has closed.
  const bool is_closed = IsClosed(fd_);
  if (FifoSource::Available(fd_) > *left_) return Writer::kPresent;
  if (is_closed) return Writer::kGone;
  if (!seen_) seen_ = Clock::now();
  return Clock::now() - *seen_ < kPatience ? Writer::kUnsure : Writer::kPresent;
}

}  // namespace pipemode
