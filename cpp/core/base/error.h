// SPDX-License-Identifier: Apache-2.0
//
// The one family of exceptions of the core. It is caught at exactly two boundaries: the TensorFlow
// op (status_adapter.h) and the Python module (error_translator.h). End of data is a value, never
// an error. Whatever allocates may throw bad_alloc besides; comments say so where that leaves a
// state of its own.
#ifndef PIPEMODE_CORE_BASE_ERROR_H_
#define PIPEMODE_CORE_BASE_ERROR_H_

#include <exception>
#include <string>
#include <string_view>

namespace pipemode {

// The names follow TensorFlow's canonical codes.
enum class ErrorCode {
  kCancelled,
  kInvalidArgument,
  kDeadlineExceeded,
  kNotFound,
  kPermissionDenied,
  kResourceExhausted,
  kFailedPrecondition,
  kUnavailable,
  kDataLoss,
  kInternal,
};

// What a message may show of a file, or of a name from outside: printable, and no more than
// 40 characters of it.
std::string Excerpt(std::string_view text);

// A path as messages show it: whole, but for its control characters.
std::string ShownPath(std::string_view path);

class PipeError : public std::exception {
 public:
  PipeError(ErrorCode code, std::string message);

  ErrorCode code() const noexcept { return code_; }
  const char* what() const noexcept override { return message_.c_str(); }

  // Turns "message" into "context: message". Each layer adds what it alone knows, once.
  void AddContext(std::string_view context);
  // Turns "message" into "message; advice".
  void AddAdvice(std::string_view advice);

 private:
  ErrorCode code_;
  std::string message_;
};

// Bytes are corrupt or missing.
class DataLossError : public PipeError {
 public:
  explicit DataLossError(std::string message);
};

// One record is corrupt, but where it ends is known: the reader already stands on the next one.
class CorruptRecordError final : public DataLossError {
 public:
  explicit CorruptRecordError(std::string message);
};

// A file is not what it was when it was listed.
class FileChangedError final : public DataLossError {
 public:
  explicit FileChangedError(std::string message);
};

// The caller, or a signal, asked the call to stop. The same call may be made again.
class CancelledError final : public PipeError {
 public:
  explicit CancelledError(std::string message);
};

class DeadlineExceededError final : public PipeError {
 public:
  explicit DeadlineExceededError(std::string message);
};

class InvalidArgumentError final : public PipeError {
 public:
  explicit InvalidArgumentError(std::string message);
};

class FailedPreconditionError final : public PipeError {
 public:
  explicit FailedPreconditionError(std::string message);
};

// A system call failed. The code fits `error_number`, the message ends with its text.
class IoError final : public PipeError {
 public:
  IoError(int error_number, std::string_view message);
};

}  // namespace pipemode

#endif  // PIPEMODE_CORE_BASE_ERROR_H_
