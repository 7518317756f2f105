// SPDX-License-Identifier: Apache-2.0
//
// Where the exceptions of the core end: none of them may pass through TensorFlow, which is built
// without them.
#ifndef PIPEMODE_TF_STATUS_ADAPTER_H_
#define PIPEMODE_TF_STATUS_ADAPTER_H_

#include <functional>

#include "absl/status/status.h"

namespace pipemode {

// Runs `call` and returns OK, or the status that fits what it throws.
absl::Status StatusOf(const std::function<void()>& call);

}  // namespace pipemode

#endif  // PIPEMODE_TF_STATUS_ADAPTER_H_
