// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_FUZZ_CHUNKED_SOURCE_H_
#define PIPEMODE_FUZZ_CHUNKED_SOURCE_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <utility>

#include "core/base/error.h"
#include "core/io/byte_source.h"
#include "fuzz/check.h"

namespace pipemode::fuzz {

// How bytes come out of a source.
struct Chunking {
  size_t bytes = SIZE_MAX;  // at most so many at a time; 0: one more each time, up to 40
  bool cancelling = false;  // CancelledError before many reads, which are then made again
  bool scatter = false;     // ReadScattered uses its second destination

  // Any byte is some chunking, without cancellation.
  static Chunking FromByte(uint8_t byte) {
    constexpr size_t kSizes[] = {SIZE_MAX, 1, 2, 3, 5, 13, 100, 0};
    Chunking chunking;
    chunking.bytes = kSizes[byte % 8];
    chunking.scatter = (byte & 8) != 0;
    return chunking;
  }
};

// Bytes in memory. Checks that its caller keeps to the contract of ByteSource.
class ChunkedSource final : public ByteSource {
 public:
  // `bytes` must outlive the source.
  ChunkedSource(std::string_view bytes, const Chunking& chunking)
      : rest_(bytes), chunking_(chunking) {}

  size_t Read(char* dst, size_t size) override {
    Check(size > 0, "asked for nothing");
    if (chunking_.cancelling && !std::exchange(cancelled_, false)) {
      // Not always: exceptions are slow.
      ++cancels_;
      if (cancels_ < 8 || cancels_ % 16 == 0) {
        cancelled_ = true;
        throw CancelledError("cancelled by the fuzzer");
      }
    }
    const size_t limit = chunking_.bytes != 0 ? chunking_.bytes : 1 + turn_++ % 40;
    const size_t count = std::min({size, rest_.size(), limit});
    if (count > 0) std::memcpy(dst, rest_.data(), count);
    rest_.remove_prefix(count);
    return count;
  }

  size_t ReadScattered(char* dst, size_t size, char* tail, size_t tail_size) override {
    const size_t count = Read(dst, size);
    if (!chunking_.scatter || count < size) return count;
    const size_t more = std::min(tail_size, rest_.size());
    if (more > 0) std::memcpy(tail, rest_.data(), more);
    rest_.remove_prefix(more);
    return count + more;
  }

 private:
  std::string_view rest_;
  const Chunking chunking_;
  size_t turn_ = 0;
  size_t cancels_ = 0;
  bool cancelled_ = false;
};

}  // namespace pipemode::fuzz

#endif  // PIPEMODE_FUZZ_CHUNKED_SOURCE_H_
