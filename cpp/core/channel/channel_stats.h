// SPDX-License-Identifier: Apache-2.0
//
// How the reading of a channel goes, in numbers that another thread may look at meanwhile. Counting
// costs a plain addition: each reader has counters of its own, which only it changes; a look at the
// channel adds them up.
#ifndef PIPEMODE_CORE_CHANNEL_CHANNEL_STATS_H_
#define PIPEMODE_CORE_CHANNEL_CHANNEL_STATS_H_

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "core/base/stopwatch.h"

namespace pipemode {

// The numbers of a channel, or of one reader.
struct ChannelStats {
  uint64_t records = 0;          // given to the consumer
  uint64_t bytes = 0;            // of these
  uint64_t epochs = 0;           // read to their end
  uint64_t lost_epochs = 0;      // passed over, since the service does not send them again
  uint64_t corrupt_records = 0;  // passed over, or reported
  uint64_t queued_records = 0;   // read, and not yet taken by the consumer
  uint64_t queued_bytes = 0;
  Stopwatch::Duration pipe_wait{0};     // we waited for the pipe
  Stopwatch::Duration backpressure{0};  // the pipe waited for us
  Stopwatch::Duration starved{0};       // the consumer waited for us
};

// A number that one thread at a time changes and any thread may look at.
class Counter {
 public:
  void Add(uint64_t count) noexcept { Set(value() + count); }
  void Set(uint64_t value) noexcept { value_.store(value, std::memory_order_relaxed); }
  uint64_t value() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

// The counters of one reader. Those of the reading thread and those of the consumer lie on
// cache lines of their own.
struct ReaderCounters {
  // The reading thread's.
  alignas(64) Counter epochs;
  Counter lost_epochs;
  Counter corrupt_records;
  Counter records_in;  // put into the queue
  Counter bytes_in;
  Stopwatch pipe_wait;
  Stopwatch backpressure;
  // The consumer's.
  alignas(64) Counter records;
  Counter bytes;
  Counter records_out;  // taken out of the queue
  Counter bytes_out;
  Stopwatch starved;

  // The numbers as they are just now. Any thread.
  ChannelStats Get() const;
};

// The counters of all readers of all channels. Safe for use by several threads at once.
class ChannelStatsRegistry {
 public:
  ChannelStatsRegistry() = default;
  ChannelStatsRegistry(const ChannelStatsRegistry&) = delete;
  ChannelStatsRegistry& operator=(const ChannelStatsRegistry&) = delete;

  // Tells that `channel` in `pipe_dir` is to be read.
  void Announce(const std::string& pipe_dir, const std::string& channel);

  // The counters for a reader of `channel` in `pipe_dir`. What they have counted stays when they
  // are gone. The registry must outlive them.
  std::shared_ptr<ReaderCounters> Add(const std::string& pipe_dir, const std::string& channel);

  // To be called by the thread that forks, the second in both processes, so that the child's copy
  // is whole and free.
  void BeforeFork() { mutex_.lock(); }
  void AfterFork() { mutex_.unlock(); }

  // Where a channel is that is asked for by its name alone: in `default_dir` if it was announced or
  // read there, else in each folder where it was read, in the order of their names.
  std::vector<std::string> Folders(const std::string& channel,
                                   const std::string& default_dir) const;

  // All that was counted for the channel.
  ChannelStats Get(const std::string& pipe_dir, const std::string& channel) const;

 private:
  struct Channel {
    bool was_read = false;
    ChannelStats ended;  // of readers that are gone
    std::vector<const ReaderCounters*> readers;
  };

  void Remove(Channel& channel, const ReaderCounters* counters);

  mutable std::mutex mutex_;
  std::map<std::pair<std::string, std::string>, Channel> channels_;  // by folder and name
};

}  // namespace pipemode

#endif  // PIPEMODE_CORE_CHANNEL_CHANNEL_STATS_H_
