// SPDX-License-Identifier: Apache-2.0
#include "core/io/cancel_token.h"

#include <sys/eventfd.h>

#include <cerrno>

#include "core/base/error.h"

namespace pipemode {

CancelToken::CancelToken() : event_([] { return ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }) {
  if (!event_) throw IoError(errno, "eventfd");
}

void CancelToken::Cancel() noexcept {
  cancelled_.store(true, std::memory_order_release);
  // Fails only with EAGAIN, when the counter is full and the descriptor thus readable anyway.
  (void)::eventfd_write(event_.get(), 1);
}

void CancelToken::Reset() noexcept {
  cancelled_.store(false, std::memory_order_release);
  eventfd_t count;
  (void)::eventfd_read(event_.get(), &count);
}

}  // namespace pipemode
