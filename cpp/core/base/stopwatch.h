// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_CORE_BASE_STOPWATCH_H_
#define PIPEMODE_CORE_BASE_STOPWATCH_H_

#include <algorithm>
#include <atomic>
#include <chrono>

namespace pipemode {

// Adds up times. One thread at a time starts, stops and adds; any thread may look, also while the
// watch runs: what it sees never goes back.
class Stopwatch {
 public:
  using Duration = std::chrono::nanoseconds;

  void Start() noexcept { Shift(-Age()); }
  void Stop() noexcept { Shift(Age()); }
  // Not while it runs.
  void Add(Duration time) noexcept { Shift(time); }

  Duration elapsed() const noexcept {
    const Duration value = value_.load(std::memory_order_relaxed);
    const Duration sum = value < Duration::zero() ? value + Age() : value;
    // The watch may have been stopped meanwhile, at a moment before that.
    Duration shown = shown_.load(std::memory_order_relaxed);
    while (shown < sum && !shown_.compare_exchange_weak(shown, sum, std::memory_order_relaxed)) {
    }
    return std::max(shown, sum);
  }

 private:
  using Clock = std::chrono::steady_clock;

  // Since the watch was made: more than all that it has been started for.
  Duration Age() const noexcept { return Clock::now() - made_ + Duration(1); }

  void Shift(Duration by) noexcept {
    value_.store(value_.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
  }

  const Clock::time_point made_ = Clock::now();
  // The sum; while the watch runs, less its age at the start, which makes it negative: a single
  // number, so that no thread sees half of a change.
  std::atomic<Duration> value_{Duration::zero()};
  mutable std::atomic<Duration> shown_{Duration::zero()};  // the most that a thread has seen
};

}  // namespace pipemode

#endif  // PIPEMODE_CORE_BASE_STOPWATCH_H_
