// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_CORE_BASE_FORK_GUARDED_FD_H_
#define PIPEMODE_CORE_BASE_FORK_GUARDED_FD_H_

#include <functional>

#include "core/base/unique_fd.h"

namespace pipemode {

// Owns a file descriptor that a forked child does not inherit; O_CLOEXEC is for exec() only.
//
// A child that had one end of a FIFO open would keep the other side from noticing that this process
// has closed it, and one that had a lock file open would keep the lock, for as long as it lives. In
// the child the descriptor's number is taken by something that can be neither read nor written
// (EBADF), so that a copy of its owner there does no harm. Not safe for use by two threads at once;
// each may have objects of its own.
class ForkGuardedFd {
 public:
  ForkGuardedFd() = default;
  // Owns what `open` returns, -1 for nothing. No fork comes between, so `open` must not block, and
  // must make no other object of this class. `errno` is that of `open`.
  explicit ForkGuardedFd(const std::function<int()>& open);
  ForkGuardedFd(ForkGuardedFd&& other) noexcept = default;
  ForkGuardedFd& operator=(ForkGuardedFd&& other) noexcept;
  ~ForkGuardedFd() { Reset(); }

  int get() const noexcept { return fd_.get(); }
  explicit operator bool() const noexcept { return static_cast<bool>(fd_); }

  // Whether this process is a forked child of the one that opened the descriptor. Costs no system
  // call.
  bool is_foreign() const noexcept;

  void Reset() noexcept;

 private:
  UniqueFd fd_;
  unsigned generation_ = 0;  // of the process that opened it
};

}  // namespace pipemode

#endif  // PIPEMODE_CORE_BASE_FORK_GUARDED_FD_H_
