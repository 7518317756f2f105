// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_CORE_CHANNEL_WRITER_WATCH_H_
#define PIPEMODE_CORE_CHANNEL_WRITER_WATCH_H_

#include <chrono>
#include <cstddef>
#include <optional>

namespace pipemode {

// Finds out whether the FIFO that `fd` has open has a writer that will write the whole epoch to it.
//
// Where another reader had it open and is gone, its writer may still be there, not having
// noticed yet, or having noticed and being about to close: what it has left in the pipe is the
// beginning of an epoch whose end no reader gets. Or it has done with this FIFO, and opens it once
// more to see whether there still is a reader. A writer that goes on has not noticed, and never
// will, since there is a reader again.
class WriterWatch {
 public:
  enum class Writer {
    kAbsent,   // none has come so far
    kUnsure,   // there is one; look again soon
    kPresent,  // there is one, or has been one since `fd` was opened
    kGone,     // it wrote to the reader before, and nothing since
  };

  // `fd` must remain open. `left`: how many bytes were in the pipe when `fd` was opened, if a
  // reader before may have been killed; none: any writer is that of a whole epoch.
  WriterWatch(int fd, std::optional<size_t> left) : fd_(fd), left_(left) {}

  // Throws IoError; it may be called again then. Never waits.
  Writer Look();

 private:
  using Clock = std::chrono::steady_clock;

  int fd_;
  std::optional<size_t> left_;
  std::optional<Clock::time_point> seen_;
};

}  // namespace pipemode

#endif  // PIPEMODE_CORE_CHANNEL_WRITER_WATCH_H_
