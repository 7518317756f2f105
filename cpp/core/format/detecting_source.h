// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_CORE_FORMAT_DETECTING_SOURCE_H_
#define PIPEMODE_CORE_FORMAT_DETECTING_SOURCE_H_

#include <atomic>
#include <cstddef>
#include <exception>
#include <memory>
#include <string>
#include <utility>

#include "core/io/byte_source.h"

namespace pipemode {

// The bytes of a stream; decompressed if it begins like gzip, else as they are.
//
// The first bytes decide, and as few of them as do: a slow stream that is not compressed is not
// held up. zlib is not recognised: text may begin like it.
class DetectingSource final : public ByteSource {
 public:
  // Sets `found_gzip`, which must outlive the source, if there is one and the stream begins so.
  explicit DetectingSource(std::unique_ptr<ByteSource> source,
                           std::atomic<bool>* found_gzip = nullptr)
      : source_(std::move(source)), found_gzip_(found_gzip) {}

  size_t Read(char* dst, size_t size) override { return ReadScattered(dst, size, nullptr, 0); }
  size_t ReadScattered(char* dst, size_t size, char* tail, size_t tail_size) override;

 private:
  class HeadSource;

  void Decide();

  std::unique_ptr<ByteSource> source_;  // of the decompressed bytes, once that is known
  std::atomic<bool>* const found_gzip_;
  std::string head_;  // read, and not handed on yet
  size_t head_taken_ = 0;
  std::exception_ptr error_;  // came behind the head
  bool decided_ = false;
};

}  // namespace pipemode

#endif  // PIPEMODE_CORE_FORMAT_DETECTING_SOURCE_H_
