// SPDX-License-Identifier: Apache-2.0
#include "core/channel/channel_stats.h"

#include <algorithm>

namespace pipemode {
namespace {

void Add(const ChannelStats& more, ChannelStats* sum) {
  sum->records += more.records;
  sum->bytes += more.bytes;
  sum->epochs += more.epochs;
  sum->lost_epochs += more.lost_epochs;
  sum->corrupt_records += more.corrupt_records;
  sum->queued_records += more.queued_records;
  sum->queued_bytes += more.queued_bytes;
  sum->pipe_wait += more.pipe_wait;
  sum->backpressure += more.backpressure;
  sum->starved += more.starved;
}

// Of two numbers that two threads move on, one behind the other.
uint64_t Between(const Counter& out, const Counter& in) {
  const uint64_t behind = out.value();
  const uint64_t ahead = in.value();
  return ahead - std::min(ahead, behind);
}

}  // namespace

ChannelStats ReaderCounters::Get() const {
  ChannelStats stats;
  stats.records = records.value();
  stats.bytes = bytes.value();
  stats.epochs = epochs.value();
  stats.lost_epochs = lost_epochs.value();
  stats.corrupt_records = corrupt_records.value();
  stats.queued_records = Between(records_out, records_in);
  stats.queued_bytes = Between(bytes_out, bytes_in);
  stats.pipe_wait = pipe_wait.elapsed();
  stats.backpressure = backpressure.elapsed();
  stats.starved = starved.elapsed();
  return stats;
}

void ChannelStatsRegistry::Announce(const std::string& pipe_dir, const std::string& channel) {
  const std::lock_guard<std::mutex> lock(mutex_);
  channels_.try_emplace({pipe_dir, channel});
}

std::shared_ptr<ReaderCounters> ChannelStatsRegistry::Add(const std::string& pipe_dir,
                                                          const std::string& channel) {
  Channel* all;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    all = &channels_[{pipe_dir, channel}];  // it stays where it is
    all->was_read = true;
  }
  std::shared_ptr<ReaderCounters> counters(new ReaderCounters, [this, all](ReaderCounters* ended) {
    Remove(*all, ended);
    delete ended;
  });
  const std::lock_guard<std::mutex> lock(mutex_);
  all->readers.push_back(counters.get());
  return counters;
}

void ChannelStatsRegistry::Remove(Channel& channel, const ReaderCounters* counters) {
  ChannelStats stats = counters->Get();
  // What lay ready is gone.
  stats.queued_records = stats.queued_bytes = 0;
  const std::lock_guard<std::mutex> lock(mutex_);
  pipemode::Add(stats, &channel.ended);
  std::vector<const ReaderCounters*>& readers = channel.readers;
  readers.erase(std::remove(readers.begin(), readers.end(), counters), readers.end());
}

std::vector<std::string> ChannelStatsRegistry::Folders(const std::string& channel,
                                                       const std::string& default_dir) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (channels_.count({default_dir, channel}) > 0) return {default_dir};
  std::vector<std::string> folders;
  for (const auto& [key, numbers] : channels_) {
    if (key.second == channel && numbers.was_read) folders.push_back(key.first);
  }
  return folders;
}

ChannelStats ChannelStatsRegistry::Get(const std::string& pipe_dir,
                                       const std::string& channel) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = channels_.find({pipe_dir, channel});
  if (found == channels_.end()) return {};
  ChannelStats sum = found->second.ended;
  for (const ReaderCounters* reader : found->second.readers) pipemode::Add(reader->Get(), &sum);
  return sum;
}

}  // namespace pipemode
