// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_PYTHON_RECORD_BATCH_H_
#define PIPEMODE_PYTHON_RECORD_BATCH_H_

#include <pybind11/pybind11.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <string_view>

#include "core/format/record_reader.h"

namespace pipemode::python {

// Memory that grows in place where the system can do that (realloc), and that NumPy can own (free).
template <class T>
class GrowingArray {
 public:
  T* data() noexcept { return data_.get(); }
  size_t size() const noexcept { return size_; }

  // What is added holds no particular values. data() is never null from then on. After bad_alloc
  // the array is as before.
  void Resize(size_t size) {
    if (size > capacity_ || data_ == nullptr) {
      Reallocate(size > 2 * capacity_ ? size : 2 * capacity_);
    }
    size_ = size;
  }

  // Returns the memory, no more than it needs, which belongs to the caller; the array is empty
  // then.
  T* Take() {
    Reallocate(size_);
    size_ = 0;
    capacity_ = 0;
    return data_.release();
  }

 private:
  struct Free {
    void operator()(T* data) const noexcept { std::free(data); }
  };

  void Reallocate(size_t capacity) {
    // Never of 0 bytes: that may return null.
    void* const data = std::realloc(data_.get(), std::max<size_t>(capacity, 1) * sizeof(T));
    if (data == nullptr) throw std::bad_alloc();
    (void)data_.release();
    data_.reset(static_cast<T*>(data));
    capacity_ = capacity;
  }

  std::unique_ptr<T[], Free> data_;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

// Records one behind the other. As a sink it takes the next one, which belongs to the batch once it
// is committed. Needs no GIL but for ToArrays.
class RecordBatch final : public RecordSink {
 public:
  RecordBatch() { Clear(); }

  char* Resize(size_t size) override {
    bytes_.Resize(end() + size);
    return bytes_.data() + end();
  }
  void Commit();

  // How many records there are, without those popped.
  size_t size() const noexcept { return offsets_.size() - 1 - popped_; }
  // Bytes of those records.
  uint64_t bytes() noexcept;
  std::string_view front() noexcept;
  void PopFront() noexcept;
  // Takes out the first `count` records; there must be as many.
  RecordBatch Split(size_t count);
  void Clear();

  // Returns (bytes: uint8 of shape [total], offsets: int64 of shape [size() + 1]) without a copy;
  // the batch is empty then. Needs the GIL.
  pybind11::tuple ToArrays();

 private:
  size_t end() noexcept { return static_cast<size_t>(offsets_.data()[offsets_.size() - 1]); }
  void ForgetPopped() noexcept;

  GrowingArray<char> bytes_;
  GrowingArray<int64_t>
      offsets_;        // where each record begins in `bytes_`, and where the last one ends
  size_t popped_ = 0;  // records
};

}  // namespace pipemode::python

#endif  // PIPEMODE_PYTHON_RECORD_BATCH_H_
