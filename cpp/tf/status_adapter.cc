// SPDX-License-Identifier: Apache-2.0
#include "tf/status_adapter.h"

#include <exception>
#include <new>

#include "core/base/error.h"

namespace pipemode {
namespace {

absl::StatusCode ToStatusCode(ErrorCode code) {
  switch (code) {
    case ErrorCode::kCancelled:
      return absl::StatusCode::kCancelled;
    case ErrorCode::kInvalidArgument:
      return absl::StatusCode::kInvalidArgument;
    case ErrorCode::kDeadlineExceeded:
      return absl::StatusCode::kDeadlineExceeded;
    case ErrorCode::kNotFound:
      return absl::StatusCode::kNotFound;
    case ErrorCode::kPermissionDenied:
      return absl::StatusCode::kPermissionDenied;
    case ErrorCode::kResourceExhausted:
      return absl::StatusCode::kResourceExhausted;
    case ErrorCode::kFailedPrecondition:
      return absl::StatusCode::kFailedPrecondition;
    case ErrorCode::kUnavailable:
      return absl::StatusCode::kUnavailable;
    case ErrorCode::kDataLoss:
      return absl::StatusCode::kDataLoss;
    case ErrorCode::kInternal:
      break;
  }
  return absl::StatusCode::kInternal;
}

}  // namespace

absl::Status StatusOf(const std::function<void()>& call) {
  try {
    call();
    return absl::OkStatus();
  } catch (const PipeError& error) {
    return absl::Status(ToStatusCode(error.code()), error.what());
  } catch (const std::bad_alloc&) {
    return absl::Status(absl::StatusCode::kResourceExhausted, "out of memory");
  } catch (const std::exception& error) {
    return absl::Status(absl::StatusCode::kInternal, error.what());
  } catch (...) {
    return absl::Status(absl::StatusCode::kInternal, "unknown exception");
  }
}

}  // namespace pipemode
