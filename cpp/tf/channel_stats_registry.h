// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_TF_CHANNEL_STATS_REGISTRY_H_
#define PIPEMODE_TF_CHANNEL_STATS_REGISTRY_H_

#include "core/channel/channel_stats.h"

namespace pipemode {

// The registry of all iterators in this process.
ChannelStatsRegistry& StatsRegistry();

}  // namespace pipemode

#endif  // PIPEMODE_TF_CHANNEL_STATS_REGISTRY_H_
