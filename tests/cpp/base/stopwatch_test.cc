// SPDX-License-Identifier: Apache-2.0
#include "core/base/stopwatch.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

namespace pipemode {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

TEST(StopwatchTest, StandsAtNothing) {
  const Stopwatch watch;
  std::this_thread::sleep_for(milliseconds(2));
  EXPECT_EQ(watch.elapsed(), Stopwatch::Duration::zero());
}

TEST(StopwatchTest, AddsUpWhatItRanAndWhatItIsTold) {
  Stopwatch watch;
  Stopwatch::Duration least{0};
  const auto begin = Clock::now();
  for (int i = 0; i < 5; ++i) {
    watch.Start();
    const auto started = Clock::now();
    std::this_thread::sleep_for(milliseconds(2));
    least += Clock::now() - started;
    watch.Stop();
    std::this_thread::sleep_for(milliseconds(2));
  }
  const Stopwatch::Duration most = Clock::now() - begin - 5 * milliseconds(2);
  EXPECT_GE(watch.elapsed(), least);
  EXPECT_LE(watch.elapsed(), most);
  const Stopwatch::Duration before = watch.elapsed();
  watch.Add(milliseconds(7));
  EXPECT_EQ(watch.elapsed(), before + milliseconds(7));
}

TEST(StopwatchTest, ShowsTheTimeWhileItRuns) {
  Stopwatch watch;
  watch.Start();
  std::this_thread::sleep_for(milliseconds(5));
  EXPECT_GE(watch.elapsed(), milliseconds(5));
  watch.Stop();
}

TEST(StopwatchTest, NeverGoesBackForWhoeverLooks) {
  Stopwatch watch;
  std::atomic<bool> done{false};
  std::thread looks([&] {
    Stopwatch::Duration last{0};
    while (!done.load()) {
      const Stopwatch::Duration now = watch.elapsed();
      ASSERT_GE(now, last);
      last = now;
    }
  });
  for (int i = 0; i < 100'000; ++i) {
    watch.Start();
    watch.Stop();
    watch.Add(Stopwatch::Duration(1));
  }
  done = true;
  looks.join();
}

}  // namespace
}  // namespace pipemode
