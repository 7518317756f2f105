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
  // Which attribute of a line each component of an element is; one for plain records.
  std::vector<size_t> components = {0};
  bool drop_remainder = false;
  Shard shard;
};

// One element of a dataset: of one line, a record or the attributes of a manifest's line, or of a
// batch of them.
struct Element {
  std::vector<tensorflow::Tensor> tensors;
  size_t records = 0;         // each attribute is one
  size_t bytes = 0;           // of all records together
  SequencePosition position;  // behind the last one
};

// The tensors of an element, one for each of `components`: vectors, which share the memory of
// `columns`, or scalars of their row `row`, whose records in `columns` may be any afterwards.
std::vector<tensorflow::Tensor> VectorTensors(const std::vector<size_t>& components,
                                              const RecordColumns& columns);
std::vector<tensorflow::Tensor> ScalarTensors(const std::vector<size_t>& components,
                                              const RecordColumns& columns, size_t row);

// The records of a dataset, one by one or in arrays. Not safe for use by two threads at once.
class ElementReader {
 public:
  // Keeps up to `max_idle_bytes` of memory for the next arrays. `before_next_epoch`,
  // `before_next_file`: see EpochSequence. Throws InvalidArgumentError. What `context` points to,
  // and `counters`, must outlive the reader, which counts epochs and corrupt records.
  ElementReader(const ElementOptions& options, size_t max_idle_bytes, const WaitContext& context,
                ReaderCounters* counters, std::function<void()> before_next_epoch = nullptr,
                std::function<void()> before_next_file = nullptr);

  // See EpochSequence.
  void Resume(const SequencePosition& position);

  // Where the next record is that neither an element nor the rows have.
  const SequencePosition& position() const noexcept { return records_.position(); }

  // Returns the next element; nothing at the end, then always. Throws as EpochSequence::Read. A
  // batch keeps the records that it has when a call throws; the next call goes on filling it.
  std::optional<Element> Next();

  // Drops one element, with what an error has left of it. Returns false at the end. Throws as
  // EpochSequence::Read; what was dropped until then stays so.
  bool Skip();

  // Reads until there are `max_rows`, one for each line, or `max_bytes` or more; one row at least.
  // Returns false if the records end before that. Throws as EpochSequence::Read; the rows so far
  // stay.
  bool FillRows(size_t max_rows, size_t max_bytes);

  // The position behind the last row.
  const SequencePosition& filled_to() const noexcept { return filled_to_; }

  // How many rows TakeRows would return.
  size_t filled() const noexcept { return table_.rows(); }

  // Takes what FillRows has read so far, whole lines only; may be called from a WaitObserver while
  // FillRows waits. There must be rows.
  RecordColumns TakeRows() { return table_.TakeRows(); }

  // What is left of the rows at the end makes an element too, unless it is to be dropped.
  bool IsElement(size_t rows) const noexcept;

 private:
  void Align();
  void AppendRead();
  bool ReadPending();
  void LogLostEpochs();
  // Reads the next record into `sink`, or drops a line if that is null.
  bool NextRecord(RecordSink* sink);
  void Count();
  void LogCorruptedRecords();

  const ElementOptions options_;
  ReaderCounters& counters_;
  EpochSequence records_;
  uint64_t epochs_before_ = 0;  // in another iterator's time
  RecordArrayPool arrays_;
  RecordTable table_;  // being filled
  SequencePosition filled_to_;
  tensorflow::tstring pending_;  // the record being read, where it is not wholly buffered
  std::vector<std::string_view> views_;
  uint64_t lost_logged_ = 0;
  uint64_t corrupted_logged_ = 0;
};

}  // namespace pipemode

#endif  // PIPEMODE_TF_ELEMENT_READER_H_
