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

ElementReader::ElementReader(const ElementOptions& options, size_t max_idle_bytes,
                             const WaitContext& context, ReaderCounters* counters,
                             std::function<void()> before_next_epoch)
    : options_(options),
      counters_(*counters),
      records_(
          options.channel, options.epochs < 0 ? EpochSequence::kEndless : options.epochs, context,
          [this, before_next_epoch = std::move(before_next_epoch)] {
            Count();
            if (before_next_epoch) before_next_epoch();
          },
          options.shard),
      arrays_(max_idle_bytes) {}

void ElementReader::Resume(const SequencePosition& position) {
  records_.Resume(position);
  epochs_before_ = position.epochs;
}

std::optional<Element> ElementReader::Next() {
  if (options_.batch_size == 0) {
    if (!ReadPending()) return std::nullopt;
    const size_t bytes = pending_.size();
    return Element{ScalarTensor(pending_), 1, bytes, position()};
  }
  FillArray(static_cast<size_t>(options_.batch_size), kUnlimited);
  if (!IsElement(filled())) return std::nullopt;
  std::shared_ptr<RecordArray> array = TakeArray();
  const size_t records = array->size();
  const size_t bytes = array->bytes();
  return Element{VectorTensor(std::move(array)), records, bytes, filled_to_};
}

bool ElementReader::Skip() {
  if (options_.batch_size == 0) return NextRecord(nullptr);
  // Records that an error left in the batch count.
  size_t dropped = filled();
  array_ = nullptr;
  while (dropped < static_cast<size_t>(options_.batch_size) && NextRecord(nullptr)) {
    ++dropped;
  }
  return IsElement(dropped);
}

bool ElementReader::IsElement(size_t records) const noexcept {
  if (options_.batch_size == 0 || !options_.drop_remainder) return records > 0;
  return records == static_cast<size_t>(options_.batch_size);
}

bool ElementReader::FillArray(size_t max_records, size_t max_bytes) {
  while (filled() < max_records && (array_ == nullptr || array_->bytes() < max_bytes)) {
    views_.clear();
    records_.TakeBuffered(std::min(max_records - filled(), kMaxViews), &views_);
    if (views_.empty() && !ReadPending()) return false;
    if (array_ == nullptr) array_ = arrays_.Get();
    if (views_.empty()) array_->AppendSwapped(pending_);
    for (const std::string_view view : views_) array_->Append(view);
    filled_to_ = position();
  }
  return true;
}

// Reads one record to where it stays untouched if the array is taken meanwhile.
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
