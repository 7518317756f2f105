// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_CORE_IO_FILE_SOURCE_H_
#define PIPEMODE_CORE_IO_FILE_SOURCE_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "core/base/unique_fd.h"
#include "core/io/byte_source.h"
#include "core/io/wait.h"

namespace pipemode {

// The bytes of one regular file whose size was known before: one that is shorter or longer now, or
// becomes so while it is read, is FileChangedError, and its end is never taken for that of the
// data.
class FileSource final : public ByteSource {
 public:
  // Opens the file and tells the system that it will be read from front to back, so that the disk
  // is at work before the first Read. Throws FileChangedError if it does not have `size` bytes,
  // FailedPreconditionError if it is not a regular file, IoError if it cannot be opened. Messages
  // do not name the file: a caller that has more than one does. What `context` points to must
  // outlive the source.
  FileSource(const std::string& path, uint64_t size, const WaitContext& context);

  size_t Read(char* dst, size_t size) override { return ReadScattered(dst, size, nullptr, 0); }
  size_t ReadScattered(char* dst, size_t size, char* tail, size_t tail_size) override;

 private:
  size_t ReadSome(char* dst, size_t size, char* tail, size_t tail_size);
  void CheckSize();

  const WaitContext context_;
  const uint64_t size_;
  EndCheck end_check_;
  UniqueFd fd_;  // none at the end
  uint64_t position_ = 0;
};

}  // namespace pipemode

#endif  // PIPEMODE_CORE_IO_FILE_SOURCE_H_
