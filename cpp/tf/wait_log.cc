// SPDX-License-Identifier: Apache-2.0
#include "tf/wait_log.h"

// For LOG, whose own header moves from version to version.
#include "tensorflow/core/framework/op_kernel.h"

namespace pipemode {

void LogLongWait(std::string_view what, std::chrono::seconds waited) {
  LOG(WARNING) << "PipeModeDataset has waited " << waited.count() << " s for " << what;
}

}  // namespace pipemode
