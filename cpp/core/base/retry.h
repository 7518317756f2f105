// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_CORE_BASE_RETRY_H_
#define PIPEMODE_CORE_BASE_RETRY_H_

#include <cerrno>

namespace pipemode {

// Makes a system call, again for as long as a signal interrupts it. Returns its last result, and
// leaves `errno` as that did. Not for close(), nor for calls that wait: those have to look whether
// the signal means that they are to end.
template <typename Call>
auto RetryOnSignal(Call call) {
  for (;;) {
    const auto result = call();
    if (result != -1 || errno != EINTR) return result;
  }
}

}  // namespace pipemode

#endif  // PIPEMODE_CORE_BASE_RETRY_H_
