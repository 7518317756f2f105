// SPDX-License-Identifier: Apache-2.0
#include "tf/warning_log.h"

#include <string>

// For LOG, whose own header moves from version to version.
#include "tensorflow/core/framework/op_kernel.h"

namespace pipemode {

void LogWarning(std::string_view message) { LOG(WARNING) << message; }

void LogLongWait(std::string_view what, std::chrono::seconds waited) {
  LogWarning("PipeModeDataset has waited " + std::to_string(waited.count()) + " s for " +
             std::string(what));
}

}  // namespace pipemode
