// SPDX-License-Identifier: Apache-2.0
#include "core/base/byte_budget_queue.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <new>
#include <optional>
#include <thread>
#include <utility>

namespace pipemode {
namespace {

using std::chrono::milliseconds;

// Much longer than anything here takes.
constexpr milliseconds kLong{20'000};

TEST(ByteBudgetQueueTest, KeepsTheOrderWhateverTheBudget) {
  for (const size_t budget : {0, 1, 7, 100, 100'000}) {
    ByteBudgetQueue<int> queue(budget);
    std::thread producer([&] {
      for (int i = 0; i < 2000; ++i) ASSERT_TRUE(queue.Push(i, static_cast<size_t>(i % 13)));
    });
    for (int i = 0; i < 2000; ++i) ASSERT_EQ(queue.Pop(kLong), i);
    producer.join();
    EXPECT_EQ(queue.Pop(milliseconds(0)), std::nullopt);
  }
}

TEST(ByteBudgetQueueTest, HoldsNoMoreThanItsBudget) {
  ByteBudgetQueue<int> queue(10);
  std::atomic<int> pushed{0};
  std::thread producer([&] {
    for (int i = 0; i < 100; ++i) {
      queue.Push(i, 4);
      ++pushed;
    }
  });
  for (int taken = 0; taken < 100; ++taken) {
    ASSERT_LE(pushed, taken + 2);
    ASSERT_EQ(queue.Pop(kLong), taken);
  }
  producer.join();
}

TEST(ByteBudgetQueueTest, OneItemAlwaysFindsRoom) {
  ByteBudgetQueue<int> queue(10);
  EXPECT_TRUE(queue.Push(1, 1'000'000));
  EXPECT_EQ(queue.Pop(milliseconds(0)), 1);
}

TEST(ByteBudgetQueueTest, PopWaitsOnlySoLong) {
  ByteBudgetQueue<int> queue(10);
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(queue.Pop(milliseconds(20)), std::nullopt);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, milliseconds(20));
}

TEST(ByteBudgetQueueTest, CloseEndsThePushThatWaitsForRoom) {
  ByteBudgetQueue<std::unique_ptr<int>> queue(10);
  ASSERT_TRUE(queue.Push(std::make_unique<int>(1), 10));
  std::thread producer([&] { EXPECT_FALSE(queue.Push(std::make_unique<int>(2), 10)); });
  queue.Close();
  producer.join();
  EXPECT_FALSE(queue.Push(std::make_unique<int>(3), 0));
}

TEST(ByteBudgetQueueTest, DemandIsAPopThatFindsNothing) {
  ByteBudgetQueue<int> queue(10);
  ASSERT_TRUE(queue.Push(1, 1));
  std::atomic<bool> demanded{false};
  std::thread producer([&] {
    EXPECT_TRUE(queue.WaitForDemand());
    demanded = true;
    EXPECT_TRUE(queue.Push(2, 1));
  });
  EXPECT_EQ(queue.Pop(kLong), 1);
  EXPECT_FALSE(demanded);
  EXPECT_EQ(queue.Pop(kLong), 2);
  EXPECT_TRUE(demanded);
  producer.join();
}

TEST(ByteBudgetQueueTest, WhoeverGivesUpDemandsNothing) {
  ByteBudgetQueue<int> queue(10);
  EXPECT_EQ(queue.Pop(milliseconds(0)), std::nullopt);
  std::atomic<bool> demanded{false};
  std::thread producer([&] {
    EXPECT_TRUE(queue.WaitForDemand());
    demanded = true;
    EXPECT_TRUE(queue.Push(1, 1));
  });
  std::this_thread::sleep_for(milliseconds(20));  // nothing comes of it, however long it is
  EXPECT_FALSE(demanded);
  EXPECT_EQ(queue.Pop(kLong), 1);
  producer.join();
}

TEST(ByteBudgetQueueTest, WhatCannotBeAppendedTakesNoRoom) {
  struct Item {
    Item() = default;
    Item(Item&& other) noexcept(false) : moves_left(other.moves_left - 1) {
      if (moves_left < 0) throw std::bad_alloc();
    }
    int moves_left = 100;
  };
  ByteBudgetQueue<Item> queue(10);
  Item failing;
  failing.moves_left = 1;  // to Push, and not into the queue
  EXPECT_THROW(queue.Push(std::move(failing), 10), std::bad_alloc);
  ASSERT_TRUE(queue.Push(Item(), 5));
  ASSERT_TRUE(queue.Push(Item(), 5));  // or it would wait for room that nobody makes
  EXPECT_TRUE(queue.Pop(milliseconds(0)));
  EXPECT_TRUE(queue.Pop(milliseconds(0)));
}

TEST(ByteBudgetQueueTest, CloseEndsTheWaitForDemand) {
  ByteBudgetQueue<int> queue(10);
  std::thread producer([&] { EXPECT_FALSE(queue.WaitForDemand()); });
  queue.Close();
  producer.join();
}

TEST(ByteBudgetQueueTest, TheLastItemComesBehindAllOthersAndNeedsNoRoom) {
  ByteBudgetQueue<int> queue(10);
  ASSERT_TRUE(queue.Push(1, 10));
  queue.PushLast(2);
  EXPECT_EQ(queue.Pop(milliseconds(0)), 1);
  EXPECT_EQ(queue.Pop(milliseconds(0)), 2);
  EXPECT_EQ(queue.Pop(milliseconds(0)), std::nullopt);
}

TEST(ByteBudgetQueueTest, TheLastItemWakesThePopThatWaits) {
  ByteBudgetQueue<int> queue(10);
  std::thread producer([&] {
    EXPECT_TRUE(queue.WaitForDemand());
    queue.PushLast(1);
  });
  EXPECT_EQ(queue.Pop(kLong), 1);
  producer.join();
}

}  // namespace
}  // namespace pipemode
