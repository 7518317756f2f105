// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_CORE_IO_BUFFERED_READER_H_
#define PIPEMODE_CORE_IO_BUFFERED_READER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "core/io/byte_source.h"

namespace pipemode {

// Large reads from a ByteSource, handed out in small pieces without copying.
//
// What buffered() returns points into the buffer and is valid until the next call of Fill or
// ReadInto. Not safe for use by two threads at once.
class BufferedReader {
 public:
  static constexpr size_t kDefaultCapacity = size_t{1} << 20;

  explicit BufferedReader(std::unique_ptr<ByteSource> source, size_t capacity = kDefaultCapacity);

  // The bytes that are buffered and not yet consumed.
  std::string_view buffered() const noexcept { return {buffer_.get() + begin_, end_ - begin_}; }

  // Reads until at least `size` bytes (at most capacity()) are buffered. Returns false if the
  // stream ends before that: then buffered() is all that is left. Throws what the source throws;
  // bytes already buffered stay.
  bool Fill(size_t size) { return size <= end_ - begin_ || FillSlow(size); }

  // Drops the first `size` buffered bytes; there must be as many.
  void Consume(size_t size) noexcept { begin_ += size; }

  // Copies up to `size` bytes to `dst`, past the buffer where it is empty. Returns how many, fewer
  // than `size` only at the end of the stream. Throws what the source throws; the bytes that this
  // call has read are lost then.
  size_t ReadInto(char* dst, size_t size);

  size_t capacity() const noexcept { return capacity_; }

  // How many bytes of the stream have been consumed.
  uint64_t position() const noexcept { return source_bytes_ - (end_ - begin_); }

 private:
  bool FillSlow(size_t size);

  const std::unique_ptr<ByteSource> source_;
  const size_t capacity_;
  const std::unique_ptr<char[]> buffer_;  // [begin_, end_) holds the bytes not yet consumed
  size_t begin_ = 0;
  size_t end_ = 0;
  uint64_t source_bytes_ = 0;
};

}  // namespace pipemode

#endif  // PIPEMODE_CORE_IO_BUFFERED_READER_H_
