// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_TF_WARNING_LOG_H_
#define PIPEMODE_TF_WARNING_LOG_H_

#include <chrono>
#include <string_view>

namespace pipemode {

// A line in TensorFlow's log. Any thread.
void LogWarning(std::string_view message);

// Likewise: of a wait that lasts long.
void LogLongWait(std::string_view what, std::chrono::seconds waited);

}  // namespace pipemode

#endif  // PIPEMODE_TF_WARNING_LOG_H_
