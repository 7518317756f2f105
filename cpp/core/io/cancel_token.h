// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_CORE_IO_CANCEL_TOKEN_H_
#define PIPEMODE_CORE_IO_CANCEL_TOKEN_H_

#include <atomic>

#include "core/base/fork_guarded_fd.h"

namespace pipemode {

// Wakes the threads that wait on it. Any thread may call any method; the token must outlive all its
// waiters. A forked child cannot wake its parent's.
class CancelToken {
 public:
  // Throws IoError if the process can have no more file descriptors.
  CancelToken();
  CancelToken(const CancelToken&) = delete;
  CancelToken& operator=(const CancelToken&) = delete;

  // From now on every wait ends with CancelledError. Never blocks, takes no lock.
  void Cancel() noexcept;

  // Takes Cancel() back. The caller makes sure that no Cancel() meant for an earlier call is still
  // on its way.
  void Reset() noexcept;

  bool cancelled() const noexcept { return cancelled_.load(std::memory_order_acquire); }

  // Whether this process is a forked child of the one that made the token.
  bool is_foreign() const noexcept { return event_.is_foreign(); }

  // Readable, for poll(), while cancelled.
  int fd() const noexcept { return event_.get(); }

 private:
  ForkGuardedFd event_;
  std::atomic<bool> cancelled_{false};
};

}  // namespace pipemode

#endif  // PIPEMODE_CORE_IO_CANCEL_TOKEN_H_
