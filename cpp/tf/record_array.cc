// SPDX-License-Identifier: Apache-2.0
#include "tf/record_array.h"

#include <algorithm>
#include <memory>
#include <new>
#include <utility>

#include "tensorflow/core/framework/allocation_description.pb.h"
#include "tensorflow/core/framework/allocator.h"
#include "tensorflow/core/framework/tensor_shape.h"

namespace pipemode {
namespace {

using tensorflow::Tensor;
using tensorflow::TensorBuffer;
using tensorflow::TensorShape;
using tensorflow::tstring;

// What tensors insist on.
constexpr size_t kAlignment = tensorflow::Allocator::kAllocatorAlignment;
constexpr size_t kFirstCapacity = 64;
constexpr size_t kMinIdleArrays = 2;
// From here on a move and a new allocation cost less than a copy.
constexpr size_t kMovedBytes = 4096;

// Our own buffers, so that we learn when a tensor is gone.
class StringBuffer : public TensorBuffer {
 public:
  StringBuffer(tstring* strings, size_t count) : TensorBuffer(strings), count_(count) {}

  size_t size() const override { return count_ * sizeof(tstring); }
  TensorBuffer* root_buffer() override { return this; }
  void FillAllocationDescription(tensorflow::AllocationDescription* proto) const override {
    proto->set_requested_bytes(static_cast<int64_t>(size()));
    proto->set_allocated_bytes(static_cast<int64_t>(size()));
    proto->set_allocator_name("pipemode");
  }

 private:
  const size_t count_;
};

class VectorBuffer final : public StringBuffer {
 public:
  explicit VectorBuffer(std::shared_ptr<RecordArray> array)
      : StringBuffer(array->data(), array->size()), array_(std::move(array)) {}

 private:
  const std::shared_ptr<RecordArray> array_;
};

// One string. Aligned by hand: what operator new aligns for us comes from a slow path of malloc.
class ScalarBuffer final : public StringBuffer {
 public:
  ScalarBuffer() : StringBuffer(Aligned(storage_), 1) { ::new (data()) tstring(); }
  ~ScalarBuffer() override { base<tstring>()->~tstring(); }

 private:
  static tstring* Aligned(void* storage) {
    size_t room = sizeof(storage_);
    return static_cast<tstring*>(std::align(kAlignment, sizeof(tstring), storage, room));
  }

  char storage_[sizeof(tstring) + kAlignment - 1];
};

// Takes over the caller's reference to `buffer`.
Tensor MakeTensor(const TensorShape& shape, TensorBuffer* buffer) {
  Tensor tensor(tensorflow::DT_STRING, shape, buffer);
  buffer->Unref();
  return tensor;
}

}  // namespace

RecordArray::~RecordArray() {
  std::destroy_n(strings_, capacity_);
  ::operator delete(strings_, std::align_val_t{kAlignment});
}

void RecordArray::Append(std::string_view record) {
  AddString().assign(record.data(), record.size());
  bytes_ += record.size();
}

void RecordArray::AppendSwapped(tstring& record) {
  bytes_ += record.size();
  std::swap(AddString(), record);
}

void RecordArray::RemoveLast(tstring& record) {
  std::swap(record, strings_[--size_]);
  bytes_ -= record.size();
}

tstring& RecordArray::AddString() {
  if (size_ == capacity_) Grow();
  return strings_[size_++];
}

void RecordArray::Grow() {
  const size_t capacity = std::max(kFirstCapacity, 2 * capacity_);
  auto* const strings = static_cast<tstring*>(
      ::operator new(capacity * sizeof(tstring), std::align_val_t{kAlignment}));
  std::uninitialized_move_n(strings_, capacity_, strings);
  std::uninitialized_default_construct_n(strings + capacity_, capacity - capacity_);
  std::destroy_n(strings_, capacity_);
  ::operator delete(strings_, std::align_val_t{kAlignment});
  strings_ = strings;
  capacity_ = capacity;
}

size_t RecordArray::AllocatedBytes() const {
  size_t bytes = capacity_ * sizeof(tstring);
  for (size_t i = 0; i < capacity_; ++i) bytes += strings_[i].capacity();
  return bytes;
}

struct RecordArrayPool::Idle {
  using Arrays = std::vector<std::pair<std::unique_ptr<RecordArray>, size_t>>;

  const size_t max_bytes;
  std::mutex mutex;  // guards all below; only moves are done under it
  std::vector<Arrays> columns;
  size_t bytes = 0;
};

RecordArrayPool::RecordArrayPool(size_t max_idle_bytes, size_t columns)
    : idle_(new Idle{max_idle_bytes, {}, std::vector<Idle::Arrays>(columns), 0}) {}

size_t RecordArrayPool::columns() const noexcept { return idle_->columns.size(); }

std::shared_ptr<RecordArray> RecordArrayPool::Get(size_t column) {
  std::unique_ptr<RecordArray> array;
  {
    const std::lock_guard<std::mutex> lock(idle_->mutex);
    Idle::Arrays& arrays = idle_->columns[column];
    if (!arrays.empty()) {
      // The last one that came back is the one most likely to be in cache.
      array = std::move(arrays.back().first);
      idle_->bytes -= arrays.back().second;
      arrays.pop_back();
    }
  }
  if (array == nullptr) array = std::make_unique<RecordArray>();
  return {array.release(), [weak = std::weak_ptr<Idle>(idle_), column](RecordArray* used) {
            std::unique_ptr<RecordArray> owned(used);
            if (const auto idle = weak.lock()) Put(std::move(owned), column, *idle);
          }};
}

void RecordArrayPool::Put(std::unique_ptr<RecordArray> array, size_t column, Idle& idle) noexcept {
  array->Clear();
  const size_t bytes = array->AllocatedBytes();
  const std::lock_guard<std::mutex> lock(idle.mutex);
  Idle::Arrays& arrays = idle.columns[column];
  if (arrays.size() >= kMinIdleArrays && idle.bytes + bytes > idle.max_bytes) return;
  try {
    arrays.emplace_back(std::move(array), bytes);
    idle.bytes += bytes;
  } catch (const std::bad_alloc&) {
    return;  // not an error of the thread that gives a tensor back; the array is freed
  }
}

size_t BytesOf(const RecordColumns& columns) noexcept {
  size_t bytes = 0;
  for (const auto& column : columns) bytes += column->bytes();
  return bytes;
}

void RecordTable::DropRest() {
  tstring record;
  while (column_ > 0) columns_[--column_]->RemoveLast(record);
}

RecordColumns RecordTable::TakeRows() {
  if (column_ == 0) return std::exchange(columns_, {});
  RecordTable rest(&pool_);
  for (const auto& column : columns_) {
    if (rest.rest() == column_) break;
    tstring record;
    column->RemoveLast(record);
    rest.AppendSwapped(record);
  }
  std::swap(columns_, rest.columns_);
  return std::move(rest.columns_);
}

void RecordTable::Clear() noexcept {
  for (const auto& column : columns_) column->Clear();
  column_ = 0;
}

void RecordTable::MakeColumns() {
  RecordColumns columns;
  columns.reserve(pool_.columns());
  for (size_t column = 0; column < pool_.columns(); ++column) columns.push_back(pool_.Get(column));
  columns_ = std::move(columns);
}

Tensor VectorTensor(std::shared_ptr<RecordArray> array) {
  const TensorShape shape({static_cast<int64_t>(array->size())});
  return MakeTensor(shape, new VectorBuffer(std::move(array)));
}

Tensor ScalarTensor(tstring& record) {
  auto* buffer = new ScalarBuffer;
  auto& string = *buffer->base<tstring>();
  if (record.size() < kMovedBytes) {
    string.assign(record.data(), record.size());
  } else {
    string = std::move(record);
  }
  return MakeTensor(TensorShape({}), buffer);
}

}  // namespace pipemode
