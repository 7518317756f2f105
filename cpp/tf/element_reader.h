// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_TF_ELEMENT_READER_H_
#define PIPEMODE_TF_ELEMENT_READER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "core/channel/channel_reader.h"
#include "core/channel/epoch_sequence.h"
#include "core/io/wait.h"
#include "tensorflow/core/framework/allocator.h"
#include "tensorflow/core/framework/tensor.h"

namespace pipemode {

struct ElementOptions {
  ChannelOptions channel;
  int64_t epochs = 1;      // negative: endless
  int64_t batch_size = 0;  // 0: elements are scalars
  bool drop_remainder = false;
};

// The elements of a dataset: tensors of records. Not safe for use by two threads at once.
class ElementReader {
 public:
  // What `context` points to must outlive the reader. `before_next_epoch`: see EpochSequence.
  // Throws InvalidArgumentError.
  ElementReader(const ElementOptions& options, const WaitContext& context,
                std::function<void()> before_next_epoch = nullptr);

  // Returns the next element, or a tensor without elements at the end, then always. Throws as
  // EpochSequence::Read. A batch keeps the records that it has when a call throws; the next call
  // goes on filling it.
  tensorflow::Tensor Next(tensorflow::Allocator* allocator);

  // Drops one element. Returns false at the end.
  bool Skip();

 private:
  void LogCorruptedRecords();
  tensorflow::Tensor NextScalar(tensorflow::Allocator* allocator);
  tensorflow::Tensor NextBatch(tensorflow::Allocator* allocator);
  bool FillBatch();

  const ElementOptions options_;
  EpochSequence records_;
  tensorflow::Tensor batch_;  // the batch that is being filled, if any
  int64_t filled_ = 0;        // records that it holds
  std::vector<std::string_view> views_;
  uint64_t corrupted_logged_ = 0;
};

// How many bytes the strings of `element` hold.
size_t StringBytes(const tensorflow::Tensor& element);

}  // namespace pipemode

#endif  // PIPEMODE_TF_ELEMENT_READER_H_
