// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_TF_ELEMENT_READER_H_
#define PIPEMODE_TF_ELEMENT_READER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "core/channel/channel_reader.h"
#include "core/channel/channel_stats.h"
#include "core/channel/epoch_sequence.h"
#include "core/io/wait.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/platform/tstring.h"
#include "tf/record_array.h"

namespace pipemode {

struct ElementOptions {
  ChannelOptions channel;
  int64_t epochs = 1;      // negative: endless
  int64_t batch_size = 0;  // 0: elements are scalars
  bool drop_remainder = false;
  Shard shard;
};

// One element of a dataset.
struct Element {
  tensorflow::Tensor tensor;
  size_t records = 0;
  size_t bytes = 0;           // of all records together
  SequencePosition position;  // behind the last one
};

// The records of a dataset, one by one or in arrays. Not safe for use by two threads at once.
class ElementReader {
 public:
  // What `context` points to, and `counters`, must outlive the reader, which counts epochs and
  // corrupt records. `before_next_epoch`: see EpochSequence. Keeps up to `max_idle_bytes` of memory
  // for the next arrays. Throws InvalidArgumentError.
  ElementReader(const ElementOptions& options, size_t max_idle_bytes, const WaitContext& context,
                ReaderCounters* counters, std::function<void()> before_next_epoch = nullptr);

  // See EpochSequence.
  void Resume(const SequencePosition& position);

  // Where the next record is that neither an element nor the array has.
  const SequencePosition& position() const noexcept { return records_.position(); }

  // Returns the next element; nothing at the end, then always. Throws as EpochSequence::Read. A
  // batch keeps the records that it has when a call throws; the next call goes on filling it.
  std::optional<Element> Next();

  // Drops one element. Returns false at the end.
  bool Skip();

  // Reads until the array that TakeArray returns has `max_records`, or `max_bytes` or more. Returns
  // false if the records end before that. Throws as EpochSequence::Read.
  bool FillArray(size_t max_records, size_t max_bytes);

  // The position behind the last record of the array.
  const SequencePosition& filled_to() const noexcept { return filled_to_; }

  // How many records TakeArray would return.
  size_t filled() const noexcept { return array_ == nullptr ? 0 : array_->size(); }

  // Takes what FillArray has read so far; may be called from a WaitObserver while FillArray waits.
  // There must be records.
  std::shared_ptr<RecordArray> TakeArray() { return std::move(array_); }

  // What is left of the records at the end makes an element too, unless it is to be dropped.
  bool IsElement(size_t records) const noexcept;

 private:
  bool ReadPending();
  void LogLostEpochs();
  // Reads the next record into `sink`, or drops it if that is null.
  bool NextRecord(RecordSink* sink);
  void Count();
  void LogCorruptedRecords();

  const ElementOptions options_;
  ReaderCounters& counters_;
  EpochSequence records_;
  uint64_t epochs_before_ = 0;  // in another iterator's time
  RecordArrayPool arrays_;
  std::shared_ptr<RecordArray> array_;  // being filled, if any
  SequencePosition filled_to_;
  tensorflow::tstring pending_;  // the record being read, where it is not wholly buffered
  std::vector<std::string_view> views_;
  uint64_t lost_logged_ = 0;
  uint64_t corrupted_logged_ = 0;
};

}  // namespace pipemode

#endif  // PIPEMODE_TF_ELEMENT_READER_H_
