// SPDX-License-Identifier: Apache-2.0
#include "python/record_batch.h"

#include <pybind11/numpy.h>

#include <cstring>

namespace pipemode::python {
namespace {

namespace py = pybind11;

template <class Element, class T>
py::array ToArray(GrowingArray<T>* values) {
  const auto size = static_cast<py::ssize_t>(values->size());
  T* const data = values->Take();
  const py::capsule owner(data, [](void* memory) { std::free(memory); });
  return py::array_t<Element>(size, reinterpret_cast<const Element*>(data), owner);
}

}  // namespace

void RecordBatch::Commit() {
  const auto end = static_cast<int64_t>(bytes_.size());
  offsets_.Resize(offsets_.size() + 1);
  offsets_.data()[offsets_.size() - 1] = end;
}

uint64_t RecordBatch::bytes() noexcept {
  return end() - static_cast<size_t>(offsets_.data()[popped_]);
}

std::string_view RecordBatch::front() noexcept {
  const int64_t* const offset = offsets_.data() + popped_;
  return {bytes_.data() + offset[0], static_cast<size_t>(offset[1] - offset[0])};
}

void RecordBatch::PopFront() noexcept {
  ++popped_;
  if (size() == 0) ForgetPopped();
}

RecordBatch RecordBatch::Split(size_t count) {
  RecordBatch first;
  for (; count > 0; --count) {
    const std::string_view record = front();
    std::memcpy(first.Resize(record.size()), record.data(), record.size());
    first.Commit();
    PopFront();
  }
  return first;
}

void RecordBatch::Clear() {
  bytes_.Resize(0);
  offsets_.Resize(1);
  offsets_.data()[0] = 0;
  popped_ = 0;
}

py::tuple RecordBatch::ToArrays() {
  ForgetPopped();
  bytes_.Resize(end());  // without what is there of a record that failed
  py::array bytes = ToArray<uint8_t>(&bytes_);
  py::array offsets = ToArray<int64_t>(&offsets_);
  Clear();
  return py::make_tuple(std::move(bytes), std::move(offsets));
}

void RecordBatch::ForgetPopped() noexcept {
  if (popped_ == 0) return;
  const int64_t begin = offsets_.data()[popped_];
  std::memmove(bytes_.data(), bytes_.data() + begin, end() - static_cast<size_t>(begin));
  const size_t left = offsets_.size() - popped_;
  for (size_t i = 0; i < left; ++i) offsets_.data()[i] = offsets_.data()[i + popped_] - begin;
  offsets_.Resize(left);
  popped_ = 0;
}

}  // namespace pipemode::python
