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
  while (end_ < size) {
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
  if (done == size) return size;
  // The buffer is empty: it takes what comes after these bytes, in the same call.
  begin_ = end_ = 0;
  while (done < size) {
    const size_t rest = size - done;
    const size_t count = source_->ReadScattered(dst + done, rest, buffer_.get(), capacity_);
    if (count == 0) break;
    source_bytes_ += count;
    end_ = count - std::min(count, rest);
    done += count - end_;
  }
  return done;
}

}  // namespace pipemode
