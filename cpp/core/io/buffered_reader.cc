// SPDX-License-Identifier: Apache-2.0
#include "core/io/buffered_reader.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <utility>

namespace pipemode {

// new char[n] rather than make_unique: no need to write a megabyte of zeros first.
BufferedReader::BufferedReader(std::unique_ptr<ByteSource> source, size_t capacity)
    : source_(std::move(source)), capacity_(capacity), buffer_(new char[capacity]) {}

bool BufferedReader::FillSlow(size_t size) {
  assert(size <= capacity_);
  if (begin_ > 0) {
    // The rest, less than one record, moves to the front: every read then has the whole room behind
    // it.
    std::memmove(buffer_.get(), buffer_.get() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  while (end_ - begin_ < size) {
    const size_t count = source_->Read(buffer_.get() + end_, capacity_ - end_);
    if (count == 0) return false;
    end_ += count;
    source_bytes_ += count;
  }
  return true;
}

size_t BufferedReader::ReadInto(char* dst, size_t size) {
  size_t done = std::min(size, end_ - begin_);
  std::memcpy(dst, buffer_.get() + begin_, done);
  begin_ += done;
  while (done < size) {
    const size_t count = source_->Read(dst + done, size - done);
    if (count == 0) break;
    done += count;
    source_bytes_ += count;
  }
  return done;
}

}  // namespace pipemode
