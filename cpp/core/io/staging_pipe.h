// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_CORE_IO_STAGING_PIPE_H_
#define PIPEMODE_CORE_IO_STAGING_PIPE_H_

#include <sys/types.h>
#include <sys/uio.h>

#include <cstddef>

#include "core/base/fork_guarded_fd.h"
#include "core/base/unique_fd.h"

namespace pipemode {

// A pipe of our own, to which the pages of a FIFO are moved before they are read.
//
// The kernel holds a pipe's lock while it copies, so at one pipe the writer's copy and the reader's
// exclude each other. To move pages takes a fraction of that time; they are copied from here while
// the writer fills new ones. Not safe for use by two threads at once.
class StagingPipe {
 public:
  // Empty, and without a pipe where the system gives none that is large enough.
  StagingPipe();

  explicit operator bool() const noexcept { return static_cast<bool>(read_end_); }

  // How many bytes are in the pipe.
  size_t size() const noexcept { return size_; }

  // Moves what the non-blocking FIFO `fd` has and this pipe has room for; there must be a pipe, and
  // nothing in it. Returns and sets errno as read() does; never waits.
  ssize_t Fill(int fd);

  // Reads as readv() does; there must be bytes.
  ssize_t Read(const iovec* parts, int count);

 private:
  UniqueFd write_end_;
  ForkGuardedFd read_end_;  // the bytes are the parent's
  size_t capacity_ = 0;
  size_t size_ = 0;
};

}  // namespace pipemode

#endif  // PIPEMODE_CORE_IO_STAGING_PIPE_H_
