// SPDX-License-Identifier: Apache-2.0
#include "tf/channel_stats_registry.h"

namespace pipemode {

ChannelStatsRegistry& StatsRegistry() {
  // Never destroyed: iterators may outlive static objects.
  static auto* const registry = new ChannelStatsRegistry;
  return *registry;
}

}  // namespace pipemode
