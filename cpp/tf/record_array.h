// SPDX-License-Identifier: Apache-2.0
//
// The memory of the records on their way to the consumer. To allocate and free it for each batch
// would cost more than to fill it: page faults for large records, a lock and a search for each
// small one, since it is freed by another thread. So arrays of strings go round: filled, given to
// the consumer in a tensor, and filled again once the last tensor that shares the array is gone.
#ifndef PIPEMODE_TF_RECORD_ARRAY_H_
#define PIPEMODE_TF_RECORD_ARRAY_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string_view>
#include <vector>

#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/platform/tstring.h"

namespace pipemode {

// An array of strings that keeps its allocations, and theirs, when it is filled anew. Not safe for
// use by two threads at once.
class RecordArray {
 public:
  RecordArray() = default;
  RecordArray(const RecordArray&) = delete;
  RecordArray& operator=(const RecordArray&) = delete;
  ~RecordArray();

  // The records are the first size() strings; what stands in the others is arbitrary.
  tensorflow::tstring* data() noexcept { return strings_; }
  size_t size() const noexcept { return size_; }
  // How many bytes the records have together.
  size_t bytes() const noexcept { return bytes_; }

  // Appends a copy of `record`.
  void Append(std::string_view record);
  // Appends `record` itself; it is some other string with allocated memory afterwards, or empty.
  void AppendSwapped(tensorflow::tstring& record);

  // Takes the last record away, into `record`; there must be one.
  void RemoveLast(tensorflow::tstring& record);

  // Forgets all records.
  void Clear() noexcept { size_ = bytes_ = 0; }

  // How many bytes are allocated. Looks at every string.
  size_t AllocatedBytes() const;

 private:
  tensorflow::tstring& AddString();
  void Grow();

  tensorflow::tstring* strings_ = nullptr;  // `capacity_` of them, aligned as tensors have to be
  size_t capacity_ = 0;
  size_t size_ = 0;
  size_t bytes_ = 0;
};

// Hands out arrays to one thread, or more, and takes them back from any. What is handed out may
// outlive the pool.
class RecordArrayPool {
 public:
  // Keeps arrays with up to `max_idle_bytes` for the next use, but always two of each column: a
  // smaller budget than a batch must not mean page faults at every batch.
  RecordArrayPool(size_t max_idle_bytes, size_t columns);

  size_t columns() const noexcept;

  // Returns an array without records for a column. One that comes back serves the same column
  // again, or an array of labels would grow as large as one of images.
  std::shared_ptr<RecordArray> Get(size_t column);

 private:
  struct Idle;
  static void Put(std::unique_ptr<RecordArray> array, size_t column, Idle& idle) noexcept;

  const std::shared_ptr<Idle> idle_;
};

// The arrays of a table, one for each column, all as long.
using RecordColumns = std::vector<std::shared_ptr<RecordArray>>;

inline size_t RowsOf(const RecordColumns& columns) noexcept {
  return columns.empty() ? 0 : columns.front()->size();
}
size_t BytesOf(const RecordColumns& columns) noexcept;

// Records that come one after the other, sorted into the rows and columns of a table. Not safe for
// use by two threads at once.
class RecordTable {
 public:
  // `pool` must outlive the table.
  explicit RecordTable(RecordArrayPool* pool) : pool_(*pool) {}

  // Appends a copy of `record`.
  void Append(std::string_view record) {
    Column().Append(record);
    Advance();
  }
  // Appends `record` itself; see RecordArray.
  void AppendSwapped(tensorflow::tstring& record) {
    Column().AppendSwapped(record);
    Advance();
  }

  // Rows that are complete.
  size_t rows() const noexcept { return columns_.empty() ? 0 : columns_.back()->size(); }
  // Records of the row that is not.
  size_t rest() const noexcept { return column_; }
  // The bytes of all records.
  size_t bytes() const noexcept { return BytesOf(columns_); }

  // Drops the row that is not complete.
  void DropRest();
  // Takes all complete rows; there must be some. What is not complete stays.
  RecordColumns TakeRows();
  // Where the records are.
  RecordColumns& columns() noexcept { return columns_; }
  // Drops all records.
  void Clear() noexcept;

 private:
  RecordArray& Column() {
    if (columns_.empty()) MakeColumns();
    return *columns_[column_];
  }
  void Advance() noexcept {
    if (++column_ == columns_.size()) column_ = 0;
  }
  void MakeColumns();

  RecordArrayPool& pool_;
  RecordColumns columns_;
  size_t column_ = 0;  // of the next record
};

// A vector of the records of `array`, which must not change any more. The array comes back to its
// pool with the last tensor that shares it.
tensorflow::Tensor VectorTensor(std::shared_ptr<RecordArray> array);

// A scalar with the bytes of `record`: large ones are moved, small ones copied, so that the
// allocation stays where it can be used again.
tensorflow::Tensor ScalarTensor(tensorflow::tstring& record);

}  // namespace pipemode

#endif  // PIPEMODE_TF_RECORD_ARRAY_H_
