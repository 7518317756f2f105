// SPDX-License-Identifier: Apache-2.0
#include "core/io/wait.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <limits>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/base/unique_fd.h"
#include "testing/environment.h"

namespace pipemode {
namespace {

using ::pipemode::testing::Clock;
using ::pipemode::testing::kPatience;
using ::pipemode::testing::Milliseconds;
using ::pipemode::testing::ThreadCpuTime;
using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

// Much later than this after its time is too late; the machine may be busy, though.
constexpr milliseconds kSlack{testing::kSanitized ? 2000 : 500};

class CountingObserver : public WaitObserver {
 public:
  void OnBlock() override { ++blocks; }
  void OnStillWaiting(std::string_view what, std::chrono::seconds waited) override {
    reports.emplace_back(what, waited.count());
  }
  void OnTick() override { ++ticks; }
  void OnWaited(Clock::duration time) override { slept += time; }

  Clock::duration slept{0};
  int blocks = 0;
  int ticks = 0;
  std::vector<std::pair<std::string, int64_t>> reports;
};

class WaitTest : public ::testing::Test {
 protected:
  WaitTest() {
    int ends[2];
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    read_end_ = UniqueFd(ends[0]);
    write_end_ = UniqueFd(ends[1]);
  }

  void WriteByte() const { EXPECT_EQ(::write(write_end_.get(), "x", 1), 1); }

  CancelToken cancel_;
  CountingObserver observer_;
  const WaitContext context_{&cancel_, &observer_};
  const std::string what_ = "something";
  UniqueFd read_end_;
  UniqueFd write_end_;
};

TEST_F(WaitTest, ReturnsTheEventsAtOnceIfThereAreSome) {
  Wait wait(context_, kNoLimit, what_);
  WriteByte();
  EXPECT_EQ(wait.Poll(read_end_.get(), POLLIN), POLLIN);
  EXPECT_EQ(wait.Poll(write_end_.get(), POLLOUT), POLLOUT);
  write_end_.Reset();
  EXPECT_EQ(wait.Poll(read_end_.get(), POLLIN), POLLIN | POLLHUP);
}

TEST_F(WaitTest, WakesWhenEventsCome) {
  std::thread writer([this] {
    std::this_thread::sleep_for(milliseconds(20));
    WriteByte();
  });
  Wait wait(context_, kNoLimit, what_);
  EXPECT_EQ(wait.Poll(read_end_.get(), POLLIN), POLLIN);
  writer.join();
}

TEST_F(WaitTest, AtMostEndsOneCall) {
  Wait wait(context_, kNoLimit, what_);
  for (const milliseconds at_most : {milliseconds(0), milliseconds(1), milliseconds(30)}) {
    const auto start = Clock::now();
    EXPECT_EQ(wait.Poll(read_end_.get(), POLLIN, at_most), 0);
    EXPECT_GE(Clock::now() - start, at_most);
    EXPECT_LT(Clock::now() - start, at_most + kSlack);
  }
  EXPECT_EQ(wait.Poll(-1, 0, milliseconds(1)), 0);
}

TEST_F(WaitTest, TellsHowLongItSlept) {
  Wait wait(context_, kNoLimit, what_);
  Clock::duration slept{0};
  const auto start = Clock::now();
  for (int i = 0; i < 3; ++i) {
    // Long enough for some ticks.
    EXPECT_EQ(wait.Poll(read_end_.get(), POLLIN, milliseconds(50)), 0);
    slept += milliseconds(50);
    std::this_thread::sleep_for(milliseconds(10));
  }
  WriteByte();
  EXPECT_EQ(wait.Poll(read_end_.get(), POLLIN), POLLIN);
  EXPECT_GE(observer_.slept, slept - milliseconds(1));
  EXPECT_LE(observer_.slept, Clock::now() - start - 3 * milliseconds(10));
  EXPECT_GT(observer_.ticks, 3);
}

TEST_F(WaitTest, TheLimitHoldsForAllCallsTogether) {
  const auto start = Clock::now();
  Wait wait(context_, std::chrono::duration<double>(0.1), what_);
  EXPECT_THAT(
      [&] {
        for (;;) wait.Poll(read_end_.get(), POLLIN, milliseconds(7));
      },
      ThrowsMessage<DeadlineExceededError>("waited 0.1 s for something"));
  EXPECT_GE(Clock::now() - start, milliseconds(100));
  EXPECT_LT(Clock::now() - start, milliseconds(100) + kSlack);
  // It stays over.
  EXPECT_THROW(wait.Poll(read_end_.get(), POLLIN), DeadlineExceededError);
}

TEST_F(WaitTest, WhatMayChangeWhileOneWaits) {
  std::string what = "the first";
  Wait wait(context_, std::chrono::duration<double>(0.02), what);
  EXPECT_EQ(wait.Poll(-1, 0, milliseconds(1)), 0);
  what = "the second";
  EXPECT_THAT([&] { wait.Poll(-1, 0); },
              ThrowsMessage<DeadlineExceededError>(HasSubstr("for the second")));
}

TEST_F(WaitTest, LimitsOfAnyLengthAreGood) {
  for (const double limit : {1e10, 1e19, 1e300, std::numeric_limits<double>::infinity()}) {
    Wait wait(context_, TimeLimit(limit), what_);
    EXPECT_EQ(wait.Poll(-1, 0, milliseconds(1)), 0) << limit;
  }
  Wait wait(context_, TimeLimit(1e-12), what_);
  EXPECT_THROW(wait.Poll(-1, 0), DeadlineExceededError);
}

TEST_F(WaitTest, CancelledBeforeItWaits) {
  cancel_.Cancel();
  Wait wait(context_, kNoLimit, what_);
  EXPECT_THAT([&] { wait.Poll(read_end_.get(), POLLIN); },
              ThrowsMessage<CancelledError>(AllOf(HasSubstr("cancelled"), HasSubstr("something"))));
  // As often as it is asked, until the token is reset.
  EXPECT_THROW(wait.Poll(-1, 0, milliseconds(1)), CancelledError);
  cancel_.Reset();
  EXPECT_EQ(wait.Poll(-1, 0, milliseconds(1)), 0);
}

TEST_F(WaitTest, CancelledByAnotherThread) {
  std::atomic<bool> waits{false};
  Clock::time_point cancelled_at;
  std::thread canceller([&] {
    while (!waits) std::this_thread::yield();
    std::this_thread::sleep_for(milliseconds(20));
    cancelled_at = Clock::now();
    cancel_.Cancel();
  });
  Wait wait(context_, kNoLimit, what_);
  waits = true;
  EXPECT_THROW(wait.Poll(read_end_.get(), POLLIN), CancelledError);
  const auto ended_at = Clock::now();
  canceller.join();
  EXPECT_LT(ended_at - cancelled_at, testing::kSanitized ? kSlack : milliseconds(100));
  RecordProperty("latency_ms", std::to_string(Milliseconds(ended_at - cancelled_at)));
}

TEST_F(WaitTest, OneTokenEndsAllWaits) {
  std::atomic<int> cancelled{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      const WaitContext context{&cancel_};
      Wait wait(context, kPatience, what_);
      try {
        wait.Poll(read_end_.get(), POLLIN);
      } catch (const CancelledError&) {
        ++cancelled;
      }
    });
  }
  cancel_.Cancel();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(cancelled, 4);
}

TEST_F(WaitTest, TheObserverHearsOfABlockOncePerWait) {
  {
    Wait wait(context_, kNoLimit, what_);
    EXPECT_EQ(observer_.blocks, 0);
    wait.Poll(-1, 0, milliseconds(1));
    wait.Poll(-1, 0, milliseconds(1));
    EXPECT_EQ(observer_.blocks, 1);
  }
  Wait wait(context_, kNoLimit, what_);
  wait.Poll(-1, 0, milliseconds(1));
  EXPECT_EQ(observer_.blocks, 2);
}

TEST_F(WaitTest, TheObserverMayRefuseToBlock) {
  class RefusingObserver : public WaitObserver {
   public:
    void OnBlock() override {
      if (++calls_ == 1) throw CancelledError("not now");
    }

   private:
    int calls_ = 0;
  };
  RefusingObserver observer;
  const WaitContext context{&cancel_, &observer};
  Wait wait(context, kNoLimit, what_);
  EXPECT_THAT([&] { wait.Poll(-1, 0); }, ThrowsMessage<CancelledError>("not now"));
  EXPECT_EQ(wait.Poll(-1, 0, milliseconds(1)), 0);
}

TEST_F(WaitTest, TheObserverIsAskedEveryTick) {
  Wait wait(context_, kNoLimit, what_);
  EXPECT_EQ(wait.Poll(read_end_.get(), POLLIN, 10 * kWaitTick), 0);
  EXPECT_GE(observer_.ticks, 2);  // on a busy machine
  EXPECT_LE(observer_.ticks, 12);
}

TEST_F(WaitTest, ATickMayEndTheWait) {
  class StoppingObserver : public WaitObserver {
   public:
    void OnTick() override {
      if (stop) throw InvalidArgumentError("stopped");
    }
    std::atomic<bool> stop{false};
  };
  StoppingObserver observer;
  const WaitContext context{&cancel_, &observer};
  Clock::time_point stopped_at;
  std::thread stopper([&] {
    std::this_thread::sleep_for(milliseconds(30));
    stopped_at = Clock::now();
    observer.stop = true;
  });
  Wait wait(context, kNoLimit, what_);
  EXPECT_THAT([&] { wait.Poll(read_end_.get(), POLLIN); },
              ThrowsMessage<InvalidArgumentError>("stopped"));
  const auto ended_at = Clock::now();
  stopper.join();
  EXPECT_LT(ended_at - stopped_at, kWaitTick + kSlack);
}

TEST_F(WaitTest, SleepsWithoutUsingTheProcessor) {
  const auto cpu_before = ThreadCpuTime();
  Wait wait(context_, kNoLimit, what_);
  EXPECT_EQ(wait.Poll(read_end_.get(), POLLIN, milliseconds(300)), 0);
  EXPECT_LT(ThreadCpuTime() - cpu_before, milliseconds(30));
}

TEST_F(WaitTest, SignalsNeitherEndNorStretchAWait) {
  struct sigaction action{};
  struct sigaction saved{};
  action.sa_handler = [](int) {};  // without SA_RESTART
  ASSERT_EQ(::sigaction(SIGUSR1, &action, &saved), 0);
  std::atomic<bool> stop{false};
  const pthread_t waiter = ::pthread_self();
  std::thread sender([&] {
    while (!stop) {
      ::pthread_kill(waiter, SIGUSR1);
      std::this_thread::sleep_for(std::chrono::microseconds(500));
    }
  });
  const auto start = Clock::now();
  Wait wait(context_, std::chrono::duration<double>(0.15), what_);
  EXPECT_EQ(wait.Poll(read_end_.get(), POLLIN, milliseconds(50)), 0);
  EXPECT_GE(Clock::now() - start, milliseconds(50));
  EXPECT_THROW(wait.Poll(read_end_.get(), POLLIN), DeadlineExceededError);
  EXPECT_GE(Clock::now() - start, milliseconds(150));
  EXPECT_LT(Clock::now() - start, milliseconds(150) + kSlack);
  stop = true;
  sender.join();
  ::sigaction(SIGUSR1, &saved, nullptr);
  // Whoever waits may want to look after its own signals.
  EXPECT_GT(observer_.ticks, 0);
}

TEST_F(WaitTest, LongWaitsAreReported) {
  const auto start = Clock::now();
  Wait wait(context_, TimeLimit(10.3), what_);
  EXPECT_EQ(wait.Poll(-1, 0, milliseconds(9'800)), 0);
  EXPECT_TRUE(observer_.reports.empty());
  EXPECT_THROW(wait.Poll(-1, 0), DeadlineExceededError);
  EXPECT_GE(Clock::now() - start, milliseconds(10'300));
  ASSERT_EQ(observer_.reports.size(), 1U);
  EXPECT_EQ(observer_.reports[0].first, "something");
  EXPECT_EQ(observer_.reports[0].second, 10);
}

// What ends it at the next tick.
class EndingObserver final : public CountingObserver {
 public:
  void OnTick() override {
    CountingObserver::OnTick();
    throw CancelledError("ended");
  }
};

TEST_F(WaitTest, AnEndCheckLooksForCancellationEachTime) {
  EndCheck check(context_);
  check.Look(what_);
  cancel_.Cancel();
  for (int i = 0; i < 3; ++i) {
    EXPECT_THAT([&] { check.Look(what_); },
                ThrowsMessage<CancelledError>("cancelled while reading something"));
  }
  cancel_.Reset();
  check.Look(what_);
}

TEST_F(WaitTest, AnEndCheckAsksTheObserverEveryTickAndNotEachTime) {
  EndCheck check(context_);
  const Clock::time_point begin = Clock::now();
  while (observer_.ticks < 3) {
    check.Look(what_);
    ASSERT_LT(Clock::now() - begin, kPatience);
  }
  EXPECT_EQ(observer_.blocks, 3);
  // The clock that it goes by moves in steps of some milliseconds.
  EXPECT_GT(Milliseconds(Clock::now() - begin), 2.5 * kWaitTick.count());
}

TEST_F(WaitTest, AnEndCheckEndsByTheObserver) {
  EndingObserver observer;
  EndCheck check({&cancel_, &observer});
  const Clock::time_point begin = Clock::now();
  EXPECT_THAT(
      [&] {
        while (Clock::now() - begin < kPatience) check.Look(what_);
      },
      ThrowsMessage<CancelledError>("ended"));
  EXPECT_EQ(observer.ticks, 1);
}

TEST_F(WaitTest, AnEndCheckNeedsNoObserver) {
  EndCheck check({&cancel_, nullptr});
  check.Look(what_);
}

TEST(FormatSecondsTest, IsAsShortAsItCanBe) {
  EXPECT_EQ(FormatSeconds(TimeLimit(1800)), "1800 s");
  EXPECT_EQ(FormatSeconds(TimeLimit(0.5)), "0.5 s");
  EXPECT_EQ(FormatSeconds(TimeLimit(1e-3)), "0.001 s");
  EXPECT_EQ(FormatSeconds(TimeLimit(123456)), "123456 s");
  EXPECT_EQ(FormatSeconds(kNoLimit), "inf s");
}

}  // namespace
}  // namespace pipemode
