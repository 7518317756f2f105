// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_TESTS_TESTING_FAKE_SOURCE_H_
#define PIPEMODE_TESTS_TESTING_FAKE_SOURCE_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/io/byte_source.h"

namespace pipemode::testing {

// What a FakeSource does besides handing out its bytes.
struct FakeScript {
  // How many bytes each Read returns at most, over and over.
  std::vector<size_t> chunks = {SIZE_MAX};
  // Throws once exactly so many bytes are out, before any more of them.
  std::optional<uint64_t> fail_at;
  // What it throws there; not a CancelledError: the source is at its end afterwards.
  std::function<void()> fail = [] { throw CancelledError("cancelled by the test"); };
  // Throws CancelledError before each Read that is then served when it is repeated.
  bool cancel_each = false;
  // Whether ReadScattered uses its second destination.
  bool scatters = false;
};

// Bytes in memory, in the pieces and with the faults of a script. Checks that its caller keeps to
// the contract of ByteSource.
class FakeSource final : public ByteSource {
 public:
  explicit FakeSource(std::string bytes, FakeScript script = {})
      : bytes_(std::move(bytes)), script_(std::move(script)) {}

  size_t Read(char* dst, size_t size) override {
    EXPECT_GT(size, 0U) << "ByteSource::Read must not be asked for nothing";
    ++reads_;
    if (failed_) return 0;
    if (script_.fail_at == position_ && !std::exchange(has_failed_, true)) {
      try {
        script_.fail();
      } catch (const CancelledError&) {
        throw;
      } catch (...) {
        failed_ = true;
        throw;
      }
    }
    if (script_.cancel_each && (cancel_next_ = !cancel_next_)) {
      throw CancelledError("cancelled by the test");
    }
    size_t count = std::min(size, NextCount());
    ++turn_;
    if (script_.fail_at && position_ < *script_.fail_at) {
      count = std::min<uint64_t>(count, *script_.fail_at - position_);
    }
    if (count > 0) std::memcpy(dst, bytes_.data() + position_, count);
    position_ += count;
    return count;
  }

  size_t ReadScattered(char* dst, size_t size, char* tail, size_t tail_size) override {
    if (!script_.scatters) return Read(dst, size);
    // Not for all that there is room for: sanitizers take long over large allocations.
    std::string both(std::min(size + tail_size, std::max<size_t>(NextCount(), 1)), '\0');
    const size_t count = Read(both.data(), both.size());
    const size_t first = std::min(count, size);
    std::memcpy(dst, both.data(), first);
    if (count > size) std::memcpy(tail, both.data() + size, count - size);
    return count;
  }

  uint64_t position() const { return position_; }
  uint64_t reads() const { return reads_; }

 private:
  // How many bytes the next Read gives at most.
  size_t NextCount() const {
    return std::min(bytes_.size() - position_, script_.chunks[turn_ % script_.chunks.size()]);
  }

  const std::string bytes_;
  const FakeScript script_;
  size_t position_ = 0;
  size_t turn_ = 0;
  uint64_t reads_ = 0;
  bool has_failed_ = false;
  bool failed_ = false;
  bool cancel_next_ = false;
};

inline std::unique_ptr<FakeSource> MakeSource(std::string bytes, size_t chunk = SIZE_MAX) {
  FakeScript script;
  script.chunks = {chunk};
  return std::make_unique<FakeSource>(std::move(bytes), std::move(script));
}

inline std::unique_ptr<FakeSource> MakeSource(std::string bytes, FakeScript script) {
  return std::make_unique<FakeSource>(std::move(bytes), std::move(script));
}

// All that `source` has, read `size` bytes at a time.
inline std::string ReadAll(ByteSource& source, size_t size = size_t{1} << 16) {
  std::string all;
  std::string piece(size, '\0');
  for (;;) {
    const size_t count = source.Read(piece.data(), piece.size());
    if (count == 0) return all;
    all.append(piece, 0, count);
  }
}

}  // namespace pipemode::testing

#endif  // PIPEMODE_TESTS_TESTING_FAKE_SOURCE_H_
