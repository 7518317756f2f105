// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_CORE_BASE_COARSE_CLOCK_H_
#define PIPEMODE_CORE_BASE_COARSE_CLOCK_H_

#include <time.h>

#include <chrono>

namespace pipemode {

// steady_clock for where it is asked at each record: costs next to nothing, and goes on in steps of
// some milliseconds. Sums of many short times come out right.
inline std::chrono::steady_clock::time_point CoarseNow() noexcept {
  timespec now;
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return std::chrono::steady_clock::time_point(std::chrono::seconds(now.tv_sec) +
                                               std::chrono::nanoseconds(now.tv_nsec));
}

}  // namespace pipemode

#endif  // PIPEMODE_CORE_BASE_COARSE_CLOCK_H_
