// SPDX-License-Identifier: Apache-2.0
#include "core/channel/epoch_sequence.h"

#include <algorithm>
#include <string>
#include <utility>

#include "core/base/error.h"

namespace pipemode {
namespace {

// How many records to look at, or to drop, at once.
constexpr size_t kMaxViews = 256;

}  // namespace

EpochSequence::EpochSequence(const ChannelOptions& options, int64_t epochs,
                             const WaitContext& context, std::function<void()> before_next_epoch,
                             const Shard& shard)
    : options_(options),
      context_(context),
      before_next_epoch_(std::move(before_next_epoch)),
      shard_(shard),
      epochs_left_(epochs) {
  CheckOptions(options_);
}

void EpochSequence::Resume(const SequencePosition& position) {
  if (epochs_left_ >= 0) {
    const auto epochs = static_cast<uint64_t>(epochs_left_);
    if (position.epochs > epochs || (position.epochs == epochs && position.records > 0)) {
      throw InvalidArgumentError("the saved position is behind " + std::to_string(position.epochs) +
                                 " epochs, but the dataset reads " + std::to_string(epochs) +
                                 " only; has its repeat changed?");
    }
    epochs_left_ -= static_cast<int64_t>(position.epochs);
  }
  position_.epochs = position.epochs;
  position_.records_before = position.records_before;
  resume_at_ = position.records;
}

bool EpochSequence::Next(RecordSink* sink) {
  while (epochs_left_ != 0) {
    if (reader_ == nullptr) {
      if (!is_first_ && before_next_epoch_) before_next_epoch_();
      reader_ = std::make_unique<ChannelReader>(options_, context_, &watch_);
      is_first_ = false;
    }
    if (resume_at_ > 0) DropRecords();
    const bool is_foreign = ForeignRecords() > 0;
    if (sink != nullptr && !is_foreign ? reader_->Read(*sink) : reader_->Skip()) {
      ++position_.records;
      if (is_foreign) continue;
      return true;
    }
    lost_before_ += reader_->lost_epochs();
    corrupted_before_ += reader_->corrupted_records();
    reader_.reset();
    if (epochs_left_ > 0) --epochs_left_;
    ++position_.epochs;
    position_.records_before += std::exchange(position_.records, 0);
  }
  return false;
}

// May be interrupted by an exception; the next call goes on.
void EpochSequence::DropRecords() {
  std::vector<std::string_view> views;
  while (position_.records < resume_at_) {
    views.clear();
    reader_->TakeBuffered(std::min<uint64_t>(resume_at_ - position_.records, kMaxViews), &views);
    position_.records += views.size();
    if (!views.empty()) continue;
    try {
      if (reader_->Skip()) {
        ++position_.records;
        continue;
      }
    } catch (const CorruptRecordError&) {
      // Whoever saved the position has been told of it.
      continue;
    }
    const uint64_t wanted = std::exchange(resume_at_, 0);
    throw DataLossError("channel '" + options_.channel + "': the epoch to go on with ends after " +
                        std::to_string(position_.records) +
                        " records, before the saved position, " + std::to_string(wanted) +
                        "; is it the same data, in the same order?");
  }
  resume_at_ = 0;
}

void EpochSequence::TakeBuffered(size_t max, std::vector<std::string_view>* records) {
  if (reader_ == nullptr || resume_at_ > 0) return;
  if (shard_.count == 1) {
    const size_t before = records->size();
    reader_->TakeBuffered(max, records);
    position_.records += records->size() - before;
    return;
  }
  const uint64_t stride = std::min<uint64_t>(shard_.count, kMaxViews);
  for (max = std::min(max, kMaxViews); max > 0;) {
    const uint64_t foreign = ForeignRecords();
    taken_.clear();
    // No further than to the last record that is wanted.
    reader_->TakeBuffered(std::min<uint64_t>(foreign + (max - 1) * stride + 1, kMaxViews), &taken_);
    if (taken_.empty()) return;
    position_.records += taken_.size();
    for (uint64_t own = foreign; own < taken_.size(); own += shard_.count, --max) {
      records->push_back(taken_[own]);
    }
  }
}

uint64_t EpochSequence::ForeignRecords() const noexcept {
  if (shard_.count == 1) return 0;
  const uint64_t number = position_.records + (shard_.across_epochs ? position_.records_before : 0);
  return (shard_.index + shard_.count - number % shard_.count) % shard_.count;
}

}  // namespace pipemode
