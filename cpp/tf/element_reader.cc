// SPDX-License-Identifier: Apache-2.0
#include "tf/element_reader.h"

#include <algorithm>
#include <string>
#include <utility>

#include "core/format/record_reader.h"
#include "tensorflow/core/framework/tensor_shape.h"
#include "tensorflow/core/platform/tstring.h"
#include "tf/warning_log.h"

namespace pipemode {
namespace {

using tensorflow::Allocator;
using tensorflow::Tensor;
using tensorflow::TensorShape;
using tensorflow::tstring;

// The bytes of one record in the string of a tensor.
class TStringSink final : public RecordSink {
 public:
  explicit TStringSink(tstring* record) : record_(*record) {}

  char* Resize(size_t size) override {
    record_.resize_uninitialized(size);
    return record_.mdata();
  }

 private:
  tstring& record_;
};

Tensor NoElement() { return Tensor(tensorflow::DT_STRING, TensorShape({0})); }

}  // namespace

ElementReader::ElementReader(const ElementOptions& options, const WaitContext& context,
                             std::function<void()> before_next_epoch)
    : options_(options),
      records_(options.channel, options.epochs < 0 ? EpochSequence::kEndless : options.epochs,
               context, std::move(before_next_epoch)),
      batch_(NoElement()) {}

Tensor ElementReader::Next(Allocator* allocator) {
  Tensor element = options_.batch_size > 0 ? NextBatch(allocator) : NextScalar(allocator);
  // At once, then each time that the number has doubled.
  if (records_.corrupted_records() > 2 * corrupted_logged_) LogCorruptedRecords();
  return element;
}

void ElementReader::LogCorruptedRecords() {
  corrupted_logged_ = records_.corrupted_records();
  LogWarning("PipeModeDataset has skipped " + std::to_string(corrupted_logged_) +
             " corrupt records of channel '" + options_.channel.channel + "' so far");
}

bool ElementReader::Skip() {
  if (options_.batch_size == 0) return records_.Skip();
  // Records that an error left in the batch count.
  int64_t dropped = batch_.NumElements() == 0 ? 0 : filled_;
  batch_ = NoElement();
  while (dropped < options_.batch_size && records_.Skip()) ++dropped;
  return dropped == options_.batch_size || (dropped > 0 && !options_.drop_remainder);
}

Tensor ElementReader::NextScalar(Allocator* allocator) {
  Tensor element(allocator, tensorflow::DT_STRING, TensorShape({}));
  TStringSink sink(&element.scalar<tstring>()());
  return records_.Read(sink) ? element : NoElement();
}

Tensor ElementReader::NextBatch(Allocator* allocator) {
  if (batch_.NumElements() == 0) {
    batch_ = Tensor(allocator, tensorflow::DT_STRING, TensorShape({options_.batch_size}));
    filled_ = 0;
  }
  const bool full = FillBatch();
  Tensor batch = std::exchange(batch_, NoElement());
  if (full) return batch;
  if (filled_ == 0 || options_.drop_remainder) return NoElement();
  Tensor rest(allocator, tensorflow::DT_STRING, TensorShape({filled_}));
  tstring* const records = batch.flat<tstring>().data();
  std::move(records, records + filled_, rest.flat<tstring>().data());
  return rest;
}

// Returns false if the records end before the batch is full.
bool ElementReader::FillBatch() {
  tstring* const records = batch_.flat<tstring>().data();
  while (filled_ < options_.batch_size) {
    views_.clear();
    records_.TakeBuffered(static_cast<size_t>(options_.batch_size - filled_), &views_);
    for (const std::string_view view : views_) records[filled_++].assign(view.data(), view.size());
    if (!views_.empty()) continue;
    TStringSink sink(&records[filled_]);
    if (!records_.Read(sink)) return false;
    ++filled_;
  }
  return true;
}

size_t StringBytes(const Tensor& element) {
  size_t bytes = 0;
  const auto strings = element.flat<tstring>();
  for (int64_t i = 0; i < strings.size(); ++i) bytes += strings(i).size();
  return bytes;
}

}  // namespace pipemode
