// SPDX-License-Identifier: Apache-2.0
#include "core/channel/channel_stats.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace pipemode {
namespace {

using std::chrono::milliseconds;

TEST(ChannelStatsTest, NothingIsKnownOfAChannelThatNobodyReads) {
  const ChannelStatsRegistry registry;
  const ChannelStats stats = registry.Get("/pipes", "training");
  EXPECT_EQ(stats.records, 0U);
  EXPECT_EQ(stats.pipe_wait, Stopwatch::Duration::zero());
}

TEST(ChannelStatsTest, ShowsAllThatAReaderCounts) {
  ChannelStatsRegistry registry;
  const auto counters = registry.Add("/pipes", "training");
  counters->epochs.Set(2);
  counters->lost_epochs.Set(7);
  counters->corrupt_records.Set(3);
  counters->records_in.Add(10);
  counters->bytes_in.Add(1000);
  counters->records_out.Add(4);
  counters->bytes_out.Add(400);
  counters->records.Add(1);
  counters->records.Add(3);
  counters->bytes.Add(400);
  counters->pipe_wait.Add(milliseconds(1));
  counters->backpressure.Add(milliseconds(2));
  counters->starved.Add(milliseconds(3));
  const ChannelStats stats = registry.Get("/pipes", "training");
  EXPECT_EQ(stats.epochs, 2U);
  EXPECT_EQ(stats.lost_epochs, 7U);
  EXPECT_EQ(stats.corrupt_records, 3U);
  EXPECT_EQ(stats.queued_records, 6U);
  EXPECT_EQ(stats.queued_bytes, 600U);
  EXPECT_EQ(stats.records, 4U);
  EXPECT_EQ(stats.bytes, 400U);
  EXPECT_EQ(stats.pipe_wait, milliseconds(1));
  EXPECT_EQ(stats.backpressure, milliseconds(2));
  EXPECT_EQ(stats.starved, milliseconds(3));
}

TEST(ChannelStatsTest, ReadersOfOneChannelAddUpAndOthersAreApart) {
  ChannelStatsRegistry registry;
  const auto first = registry.Add("/pipes", "training");
  const auto second = registry.Add("/pipes", "training");
  const auto other_channel = registry.Add("/pipes", "validation");
  const auto other_folder = registry.Add("/other", "training");
  first->records.Add(1);
  second->records.Add(10);
  other_channel->records.Add(100);
  other_folder->records.Add(1000);
  EXPECT_EQ(registry.Get("/pipes", "training").records, 11U);
  EXPECT_EQ(registry.Get("/pipes", "validation").records, 100U);
  EXPECT_EQ(registry.Get("/other", "training").records, 1000U);
}

TEST(ChannelStatsTest, AChannelByItsNameIsInTheDefaultFolderOrWhereItWasRead) {
  using Folders = std::vector<std::string>;
  ChannelStatsRegistry registry;
  EXPECT_EQ(registry.Folders("training", "/default"), Folders());
  registry.Announce("/announced", "training");
  registry.Add("/other", "validation");
  EXPECT_EQ(registry.Folders("training", "/default"), Folders());
  registry.Add("/second", "training");  // and its reader is gone at once
  const auto counters = registry.Add("/first", "training");
  EXPECT_EQ(registry.Folders("training", "/default"), (Folders{"/first", "/second"}));
  EXPECT_EQ(registry.Folders("training", "/second"), Folders{"/second"});
  EXPECT_EQ(registry.Folders("training", "/announced"), Folders{"/announced"});
  registry.Announce("/first", "training");
  EXPECT_EQ(registry.Folders("training", "/default"), (Folders{"/first", "/second"}));
}

TEST(ChannelStatsTest, WhatWasCountedStaysAndTheQueueGoes) {
  ChannelStatsRegistry registry;
  auto counters = registry.Add("/pipes", "training");
  counters->records.Add(5);
  counters->epochs.Set(1);
  counters->records_in.Add(9);
  counters->records_out.Add(5);
  counters->backpressure.Add(milliseconds(4));
  counters.reset();
  const ChannelStats stats = registry.Get("/pipes", "training");
  EXPECT_EQ(stats.records, 5U);
  EXPECT_EQ(stats.epochs, 1U);
  EXPECT_EQ(stats.queued_records, 0U);
  EXPECT_EQ(stats.backpressure, milliseconds(4));
}

TEST(ChannelStatsTest, NumbersOnlyGrowWhileReadersComeAndGo) {
  ChannelStatsRegistry registry;
  std::atomic<bool> done{false};
  std::thread looks([&] {
    ChannelStats last;
    while (!done.load()) {
      const ChannelStats now = registry.Get("/pipes", "training");
      ASSERT_GE(now.records, last.records);
      ASSERT_GE(now.pipe_wait, last.pipe_wait);
      last = now;
    }
  });
  std::vector<std::thread> readers;
  for (int thread = 0; thread < 2; ++thread) {
    readers.emplace_back([&] {
      for (int reader = 0; reader < 200; ++reader) {
        const auto counters = registry.Add("/pipes", "training");
        for (int i = 0; i < 50; ++i) {
          counters->records_in.Add(10);
          counters->records_out.Add(10);
          counters->records.Add(10);
          counters->pipe_wait.Add(milliseconds(1));
        }
      }
    });
  }
  for (std::thread& reader : readers) reader.join();
  done = true;
  looks.join();
  const ChannelStats stats = registry.Get("/pipes", "training");
  EXPECT_EQ(stats.records, 200'000U);
  EXPECT_EQ(stats.pipe_wait, milliseconds(20'000));
}

}  // namespace
}  // namespace pipemode
