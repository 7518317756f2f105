// SPDX-License-Identifier: Apache-2.0
#include "tf/element_reader.h"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "core/format/record_reader.h"
#include "tf/warning_log.h"

namespace pipemode {
namespace {

using tensorflow::Tensor;
using tensorflow::tstring;

constexpr size_t kUnlimited = std::numeric_limits<size_t>::max();
// Few enough that their bytes are still in cache when they are copied.
constexpr size_t kMaxViews = 256;

// The bytes of one record in a string that may have held another one.
class TStringSink final : public RecordSink {
 public:
  explicit TStringSink(tstring* record) : record_(*record) {}

  char* Resize(size_t size) override {
    // A string that grows would copy what it held before.
    if (is_first_ && size > record_.capacity()) record_ = tstring();
    is_first_ = false;
    record_.resize_uninitialized(size);
    return record_.mdata();
  }

  size_t capacity() const override { return record_.capacity(); }

 private:
  tstring& record_;
  bool is_first_ = true;
};

}  // namespace

std::vector<Tensor> VectorTensors(const std::vector<size_t>& components,
                                  const RecordColumns& columns) {
  std::vector<Tensor> tensors;
  tensors.reserve(components.size());
  for (const size_t column : components) tensors.push_back(VectorTensor(columns[column]));
  return tensors;
}

std::vector<Tensor> ScalarTensors(const std::vector<size_t>& components,
                                  const RecordColumns& columns, size_t row) {
  std::vector<Tensor> tensors;
  tensors.reserve(components.size());
  for (const size_t column : components) {
    tensors.push_back(ScalarTensor(columns[column]->data()[row]));
  }
  return tensors;
}

ElementReader::ElementReader(const ElementOptions& options, size_t max_idle_bytes,
                             const WaitContext& context, ReaderCounters* counters,
                             std::function<void()> before_next_epoch,
                             std::function<void()> before_next_file)
    : options_(options),
      counters_(*counters),
      records_(
          options.channel, options.epochs < 0 ? EpochSequence::kEndless : options.epochs, context,
          [this, before_next_epoch = std::move(before_next_epoch)] {
            Count();
            if (before_next_epoch) before_next_epoch();
          },
          options.shard, std::move(before_next_file)),
      arrays_(max_idle_bytes, options.components.size()),
      table_(&arrays_) {}

void ElementReader::Resume(const SequencePosition& position) {
  records_.Resume(position);
  epochs_before_ = position.epochs;
}

std::optional<Element> ElementReader::Next() {
  const bool batched = options_.batch_size > 0;
  FillRows(batched ? static_cast<size_t>(options_.batch_size) : 1, kUnlimited);
  if (!IsElement(filled())) return std::nullopt;
  Element element;
  element.records = filled() * options_.components.size();
  element.bytes = table_.bytes();
  element.position = filled_to_;
  if (batched) {
    const RecordColumns columns = TakeRows();
    try {
      element.tensors = VectorTensors(options_.components, columns);
    } catch (...) {
      records_.EndEpoch();  // see AppendRead
      throw;
    }
  } else {
    element.tensors = ScalarTensors(options_.components, table_.columns(), 0);
    table_.Clear();
  }
  return element;
}

bool ElementReader::Skip() {
  // Lines that an error left in the batch count.
  size_t dropped = filled();
  table_.Clear();
  const auto wanted = static_cast<size_t>(std::max<int64_t>(options_.batch_size, 1));
  while (dropped < wanted && NextRecord(nullptr)) ++dropped;
  return IsElement(dropped);
}

bool ElementReader::IsElement(size_t rows) const noexcept {
  if (options_.batch_size == 0 || !options_.drop_remainder) return rows > 0;
  return rows == static_cast<size_t>(options_.batch_size);
}

bool ElementReader::FillRows(size_t max_rows, size_t max_bytes) {
  Align();
  const size_t columns = options_.components.size();
  // Whole rows, and at least one, whatever their size.
  while (filled() == 0 || table_.rest() > 0 ||
         (filled() < max_rows && table_.bytes() < max_bytes)) {
    views_.clear();
    const size_t wanted = std::min(max_rows - filled(), kMaxViews) * columns - table_.rest();
    records_.TakeBuffered(std::min(wanted, kMaxViews), &views_);
    if (views_.empty() && !ReadPending()) return false;
    AppendRead();
    filled_to_ = position();
    // Of a line that has begun, of this shard or of another one, nothing is in whole rows.
    filled_to_.GoBack(filled_to_.records % columns);
  }
  return true;
}

// After an error, the table may end with a part of a line of which no more will come, or without
// the first part of one that goes on.
void ElementReader::Align() {
  if (table_.rest() == records_.column()) return;
  table_.DropRest();
  if (records_.column() > 0) NextRecord(nullptr);
}

void ElementReader::AppendRead() {
  try {
    if (views_.empty()) table_.AppendSwapped(pending_);
    for (const std::string_view view : views_) table_.Append(view);
  } catch (...) {
    // No memory, and records that are out of the stream already. To go on behind them would be to
    // leave them out silently.
    table_.DropRest();
    records_.EndEpoch();
    throw;
  }
}

// Reads one record to where it stays untouched if the rows are taken meanwhile.
bool ElementReader::ReadPending() {
  TStringSink sink(&pending_);
  const bool found = NextRecord(&sink);
  if (records_.lost_epochs() > lost_logged_) LogLostEpochs();
  // At once, then each time that the number has doubled.
  if (counters_.corrupt_records.value() > 2 * corrupted_logged_) LogCorruptedRecords();
  return found;
}

void ElementReader::LogLostEpochs() {
  const uint64_t lost =
      records_.lost_epochs() - std::exchange(lost_logged_, records_.lost_epochs());
  LogWarning("PipeModeDataset goes on without " + std::to_string(lost) + " epoch(s) of channel '" +
             options_.channel.channel +
             "': an earlier reader ended just as the service began to send, and it does not send "
             "an epoch twice");
}

bool ElementReader::NextRecord(RecordSink* sink) {
  try {
    const bool found = sink != nullptr ? records_.Read(*sink) : records_.Skip();
    Count();
    return found;
  } catch (...) {
    Count();
    throw;
  }
}

void ElementReader::Count() {
  counters_.epochs.Set(position().epochs - epochs_before_);
  counters_.lost_epochs.Set(records_.lost_epochs());
  counters_.corrupt_records.Set(records_.corrupted_records());
}

void ElementReader::LogCorruptedRecords() {
  corrupted_logged_ = counters_.corrupt_records.value();
  LogWarning("PipeModeDataset has skipped " + std::to_string(corrupted_logged_) +
             " corrupt records of channel '" + options_.channel.channel + "' so far");
}

}  // namespace pipemode
