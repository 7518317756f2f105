// SPDX-License-Identifier: Apache-2.0
#include "core/format/detecting_source.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

#include "core/base/error.h"
#include "core/format/content.h"
#include "core/io/inflate_source.h"

namespace pipemode {

// What has been read of a stream, then the rest of it.
class DetectingSource::HeadSource final : public ByteSource {
 public:
  HeadSource(std::string head, const std::exception_ptr& error, std::unique_ptr<ByteSource> rest)
      : head_(std::move(head)), rest_(std::move(rest)) {
    error_ = error;
  }

  size_t Read(char* dst, size_t size) override {
    if (taken_ == head_.size()) {
      if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
      return rest_->Read(dst, size);
    }
    const size_t count = std::min(size, head_.size() - taken_);
    std::memcpy(dst, head_.data() + taken_, count);
    taken_ += count;
    return count;
  }

 private:
  const std::string head_;
  size_t taken_ = 0;
  const std::unique_ptr<ByteSource> rest_;
  std::exception_ptr error_;  // comes behind the head
};

size_t DetectingSource::ReadScattered(char* dst, size_t size, char* tail, size_t tail_size) {
  if (!decided_) {
    if (head_.empty()) {
      const size_t count = source_->ReadScattered(dst, size, tail, tail_size);
      const size_t first = std::min(count, size);
      decided_ = count == 0 || !MayBeCompressed({dst, first});
      if (decided_) return count;
      head_.assign(dst, first);
      if (count > first) head_.append(tail, count - first);
    }
    Decide();
  }
  if (head_taken_ < head_.size()) {
    const size_t count = std::min(size, head_.size() - head_taken_);
    std::memcpy(dst, head_.data() + head_taken_, count);
    head_taken_ += count;
    return count;
  }
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  return source_->ReadScattered(dst, size, tail, tail_size);
}

void DetectingSource::Decide() {
  std::array<char, kContentHeadBytes> more;
  while (MayBeCompressed(head_) && head_.size() < kContentHeadBytes) {
    size_t count = 0;
    try {
      count = source_->Read(more.data(), kContentHeadBytes - head_.size());
    } catch (const CancelledError&) {
      throw;
    } catch (const PipeError&) {
      error_ = std::current_exception();  // what came before it is data
    }
    if (count == 0) break;
    head_.append(more.data(), count);
  }
  decided_ = true;
  if (ContentOf(head_) != Content::kGzip) return;
  if (found_gzip_ != nullptr) found_gzip_->store(true, std::memory_order_relaxed);
  source_ = std::make_unique<InflateSource>(
      std::make_unique<HeadSource>(std::exchange(head_, {}), std::exchange(error_, nullptr),
                                   std::move(source_)),
      Compression::kGzip);
}

}  // namespace pipemode
