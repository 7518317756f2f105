// SPDX-License-Identifier: Apache-2.0
#include "core/base/error.h"

#include <cerrno>
#include <cstdio>
#include <system_error>
#include <utility>

namespace pipemode {
namespace {

ErrorCode CodeOfErrno(int error_number) {
  switch (error_number) {
    case ENOENT:
    case ENOTDIR:
      return ErrorCode::kNotFound;
    case EACCES:
    case EPERM:
    case EROFS:
      return ErrorCode::kPermissionDenied;
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
      return ErrorCode::kResourceExhausted;
    case EINVAL:
    case ENAMETOOLONG:
      return ErrorCode::kInvalidArgument;
    case EISDIR:
    case ELOOP:
    case EBUSY:
      return ErrorCode::kFailedPrecondition;
    case EPIPE:
    case EIO:
      return ErrorCode::kUnavailable;
    default:
      return ErrorCode::kInternal;
  }
}

std::string WithErrnoText(std::string_view message, int error_number) {
  // std::generic_category, unlike strerror, is safe with threads.
  return std::string(message) + ": " + std::generic_category().message(error_number);
}

void AppendEscaped(char c, std::string* text) {
  char code[8];
  std::snprintf(code, sizeof(code), "\\x%02x", static_cast<unsigned char>(c));
  *text += code;
}

}  // namespace

std::string ShownPath(std::string_view path) {
  std::string shown;
  for (const char c : path) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < ' ' || byte == 0x7f) {
      AppendEscaped(c, &shown);
    } else {
      shown += c;
    }
  }
  return shown;
}

std::string Excerpt(std::string_view text) {
  std::string escaped;
  for (const char c : text.substr(0, 40)) {
    if (c >= ' ' && c <= '~') {
      escaped += c;
    } else {
      AppendEscaped(c, &escaped);
    }
  }
  if (text.size() > 40) escaped += "...";
  return escaped;
}

PipeError::PipeError(ErrorCode code, std::string message)
    : code_(code), message_(std::move(message)) {}

void PipeError::AddContext(std::string_view context) {
  message_.insert(0, std::string(context) + ": ");
}

void PipeError::AddAdvice(std::string_view advice) { message_.append("; ").append(advice); }

DataLossError::DataLossError(std::string message)
    : PipeError(ErrorCode::kDataLoss, std::move(message)) {}

CorruptRecordError::CorruptRecordError(std::string message) : DataLossError(std::move(message)) {}

FileChangedError::FileChangedError(std::string message) : DataLossError(std::move(message)) {}

CancelledError::CancelledError(std::string message)
    : PipeError(ErrorCode::kCancelled, std::move(message)) {}

DeadlineExceededError::DeadlineExceededError(std::string message)
    : PipeError(ErrorCode::kDeadlineExceeded, std::move(message)) {}

InvalidArgumentError::InvalidArgumentError(std::string message)
    : PipeError(ErrorCode::kInvalidArgument, std::move(message)) {}

FailedPreconditionError::FailedPreconditionError(std::string message)
    : PipeError(ErrorCode::kFailedPrecondition, std::move(message)) {}

IoError::IoError(int error_number, std::string_view message)
    : PipeError(CodeOfErrno(error_number), WithErrnoText(message, error_number)) {}

}  // namespace pipemode
