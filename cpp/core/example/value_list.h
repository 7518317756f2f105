// SPDX-License-Identifier: Apache-2.0
//
// Numbers whose number is not known beforehand.
#ifndef PIPEMODE_CORE_EXAMPLE_VALUE_LIST_H_
#define PIPEMODE_CORE_EXAMPLE_VALUE_LIST_H_

#include <algorithm>
#include <cstddef>
#include <memory>
#include <type_traits>

namespace pipemode {

// A vector whose room is not filled with zeros before the values are written there.
template <typename Value>
class ValueList {
 public:
  static_assert(std::is_trivial_v<Value>);

  const Value* data() const noexcept { return values_.get(); }
  size_t size() const noexcept { return size_; }

  // Returns room for `more` values behind those that are there. It is good until the next call.
  Value* Reserve(size_t more) {
    if (capacity_ - size_ < more) Grow(size_ + more);
    return values_.get() + size_;
  }
  // `more` values were written to the room of Reserve.
  void Add(size_t more) noexcept { size_ += more; }
  // Forgets all but the first `size`.
  void Truncate(size_t size) noexcept { size_ = size; }

 private:
  void Grow(size_t needed) {
    const size_t capacity = std::max(needed, 2 * capacity_);
    std::unique_ptr<Value[]> values(new Value[capacity]);
    std::copy_n(values_.get(), size_, values.get());
    values_ = std::move(values);
    capacity_ = capacity;
  }

  std::unique_ptr<Value[]> values_;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

}  // namespace pipemode

#endif  // PIPEMODE_CORE_EXAMPLE_VALUE_LIST_H_
