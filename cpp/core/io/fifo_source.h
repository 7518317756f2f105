// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_CORE_IO_FIFO_SOURCE_H_
#define PIPEMODE_CORE_IO_FIFO_SOURCE_H_

#include <sys/uio.h>

#include <optional>
#include <string>
#include <utility>

#include "core/base/fork_guarded_fd.h"
#include "core/io/byte_source.h"
#include "core/io/staging_pipe.h"
#include "core/io/wait.h"

namespace pipemode {

// The bytes of one FIFO, or of one regular file.
//
// On a FIFO that no writer has opened yet, a non-blocking read() returns 0 although nothing ended.
// This class believes a 0 only after it has seen a writer: by data, by EAGAIN, or by poll().
class FifoSource final : public ByteSource {
 public:
  // Opens `path` for FifoSource. Returns an empty descriptor if nothing is there (yet). Throws
  // FailedPreconditionError if it is neither FIFO nor regular file, IoError if it cannot be opened.
  // Does not wait for a writer.
  static ForkGuardedFd Open(const std::string& path);

  // Reads from `fd` as opened by Open(`path`). A silence longer than `read_timeout` is a
  // DeadlineExceededError. Enlarges the pipe to 1 MiB where the system allows it. What `context`
  // points to must outlive the source.
  FifoSource(ForkGuardedFd fd, const std::string& path, TimeLimit read_timeout,
             const WaitContext& context);

  // The same in steps, for a caller that must not fail once it has begun. Before Begin() there is
  // nothing to read from.
  FifoSource(TimeLimit read_timeout, const WaitContext& context);
  // Does all that can fail, which is to get memory; may be repeated.
  void Prepare(int fd, const std::string& path);
  // Reads from `fd`, which was prepared.
  void Begin(ForkGuardedFd fd) noexcept { fd_ = std::move(fd); }

  // Whether a writer has, or had, the FIFO open since `fd` was opened. Never waits, consumes
  // nothing.
  static bool HasWriter(int fd);
  // Whether it is certain that none has. False where the system does not tell.
  static bool HasNoWriter(int fd);
  bool HasWriter() { return writer_seen_ = writer_seen_ || HasWriter(fd_.get()); }

  // Makes the pipe of the FIFO larger than any new one, as a mark that it has had a reader: the
  // kernel drops a pipe, with its size, when its last end is closed. Returns whether it is; the
  // limits of the user or of the system may forbid it.
  static bool Mark(int fd);
  // Whether it is as small as a new one, so that it bears no mark. False where the system does not
  // tell.
  static bool IsNew(int fd);

  // How many bytes lie ready in the FIFO, or in the file, that `fd` has open. Throws IoError.
  static size_t Available(int fd);

  size_t Read(char* dst, size_t size) override { return ReadScattered(dst, size, nullptr, 0); }
  size_t ReadScattered(char* dst, size_t size, char* tail, size_t tail_size) override;

 private:
  ssize_t ReadOnce(const iovec* parts, int count);
  void WaitReadable();

  ForkGuardedFd fd_;
  std::string name_;  // "data from '<path>' ..." for messages
  const TimeLimit read_timeout_;
  const WaitContext context_;
  EndCheck end_check_;
  std::optional<StagingPipe> staging_;  // none before the writer has kept up with us
  bool is_fifo_ = false;
  bool is_busy_ = false;  // whether there was much to read the last time
  bool writer_seen_ = false;
  bool ended_ = false;
};

}  // namespace pipemode

#endif  // PIPEMODE_CORE_IO_FIFO_SOURCE_H_
