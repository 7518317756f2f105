// SPDX-License-Identifier: Apache-2.0
#include "tf/channel_stats_registry.h"

#include <pthread.h>

namespace pipemode {

ChannelStatsRegistry& StatsRegistry() {
  // Never destroyed: iterators may outlive static objects.
  static ChannelStatsRegistry& registry = *[] {
    auto* const made = new ChannelStatsRegistry;
    // A child that is forked while another thread counts would never get the lock.
    ::pthread_atfork([] { StatsRegistry().BeforeFork(); }, [] { StatsRegistry().AfterFork(); },
                     [] { StatsRegistry().AfterFork(); });
    return made;
  }();
  return registry;
}

}  // namespace pipemode
