// SPDX-License-Identifier: Apache-2.0
#include "core/io/staging_pipe.h"

#include <fcntl.h>
#include <unistd.h>

namespace pipemode {
namespace {

// Half of what a FIFO holds: no slower than all of it, and pipes of one user share a limit.
constexpr int kCapacity = 512 << 10;

}  // namespace

StagingPipe::StagingPipe() {
  read_end_ = ForkGuardedFd([this] {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return -1;
    write_end_ = UniqueFd(ends[1]);
    return ends[0];
  });
  if (!read_end_) return;
  const int capacity = ::fcntl(read_end_.get(), F_SETPIPE_SZ, kCapacity);
  if (capacity < kCapacity) {
    read_end_.Reset();
    write_end_.Reset();
  } else {
    capacity_ = static_cast<size_t>(capacity);
  }
}

ssize_t StagingPipe::Fill(int fd) {
  const ssize_t count =
      ::splice(fd, nullptr, write_end_.get(), nullptr, capacity_, SPLICE_F_NONBLOCK);
  if (count > 0) size_ = static_cast<size_t>(count);
  return count;
}

ssize_t StagingPipe::Read(const iovec* parts, int count) {
  const ssize_t read = ::readv(read_end_.get(), parts, count);
  if (read > 0) size_ -= static_cast<size_t>(read);
  return read;
}

}  // namespace pipemode
