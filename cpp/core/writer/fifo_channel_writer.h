// SPDX-License-Identifier: Apache-2.0
//
// Plays the service: feeds the FIFOs of one channel, one after the other. All that feeds FIFOs here
// goes through this: the local host, tests, the demo and benchmarks.
#ifndef PIPEMODE_CORE_WRITER_FIFO_CHANNEL_WRITER_H_
#define PIPEMODE_CORE_WRITER_FIFO_CHANNEL_WRITER_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/fork_guarded_fd.h"
#include "core/io/wait.h"

namespace pipemode {

// What goes wrong, on purpose.
enum class WriterFault {
  kNone,
  kStop,   // the FIFO is closed at the given byte, in the midst of whatever stands there
  kStall,  // nothing more is written from that byte on, but the FIFO stays open until the reader
           // closes it
  kDie,    // the process kills itself (SIGKILL) at that byte
};

struct FifoWriterOptions {
  size_t chunk_bytes = size_t{1} << 20;  // given to one write()
  double bytes_per_second = std::numeric_limits<double>::infinity();
  // What each pipe is enlarged to, where the system allows it; 0 leaves it as it is.
  size_t pipe_bytes = 0;
  WriterFault fault = WriterFault::kNone;
  uint64_t fault_at_byte = 0;  // of each epoch
};

// Whether a process has the FIFO at `path` open for reading; tried out by opening it for writing,
// which such a reader does not take for data. Throws IoError. Never waits.
bool HasReader(const std::string& path);

// Not safe for use by two threads at once, but for the CancelToken. SIGPIPE must be ignored, as
// Python does.
class FifoChannelWriter {
 public:
  // Writes `pipe_dir`/`channel`_<epoch> from `first_epoch` on. Throws InvalidArgumentError unless
  // chunk_bytes and bytes_per_second are positive. What `context` points to must outlive the
  // writer.
  FifoChannelWriter(const std::string& pipe_dir, const std::string& channel, uint64_t first_epoch,
                    const FifoWriterOptions& options, const WaitContext& context);

  // Makes the FIFO of the next epoch (or takes one that is there) and waits until a reader opens
  // it. Throws FailedPreconditionError if something else is in its place, CancelledError, IoError;
  // it may be called again then, for the same epoch.
  void BeginEpoch();

  // Writes all of `bytes`. Returns false once the epoch is over early: the reader closed it (EPIPE)
  // or the fault struck. Throws CancelledError, IoError; bytes_written() says how many got through.
  bool Write(std::string_view bytes);

  // Hands on up to `size` bytes of the file `fd`, from its position on, without reading them.
  // Returns how many: fewer if the file ends, or once the epoch is over early; none if the file is
  // one that cannot be handed on in this way, and has to be read. Throws CancelledError, IoError.
  // What is in the pipe is still the file's own memory: `fd` must not be written to before the
  // reader has it.
  std::optional<uint64_t> WriteFile(int fd, uint64_t size);

  // Closes the FIFO: the reader sees the end of the epoch. The next BeginEpoch goes on to the next
  // number. Throws CancelledError only if a stall is due now; the epoch is not ended then.
  void EndEpoch();

  uint64_t epoch() const noexcept { return epoch_; }              // the current or next one
  const std::string& path() const noexcept { return path_; }      // its FIFO
  uint64_t bytes_written() const noexcept { return written_; }    // in this epoch
  bool reader_closed() const noexcept { return reader_closed_; }  // early, in this epoch

 private:
  // Moves up to so many bytes into the pipe; returns and sets errno as write() does.
  using Move = std::function<ssize_t(size_t)>;
  // Returns how many of `size` bytes were moved: fewer if `move` returns 0, fails with EINVAL, or
  // the epoch is over early.
  uint64_t MoveAll(uint64_t size, const Move& move);
  // Returns how many of `size` bytes were moved, and sets `over_` if the reader is gone.
  size_t MoveChunk(size_t size, const Move& move);
  // Returns false if the reader is gone.
  bool WaitWritable();
  void EnlargePipe();
  void Throttle();
  void Strike();
  std::string PathOf(uint64_t epoch) const;

  const std::string prefix_;
  const FifoWriterOptions options_;
  const WaitContext context_;
  uint64_t epoch_;
  std::string path_;
  ForkGuardedFd fd_;
  uint64_t written_ = 0;
  bool reader_closed_ = false;
  bool over_ = false;
  Wait::Clock::time_point begun_;
};

}  // namespace pipemode

#endif  // PIPEMODE_CORE_WRITER_FIFO_CHANNEL_WRITER_H_
