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
// More lines than come one after the other, few enough to be multiplied.
constexpr uint64_t kMaxLines = uint64_t{1} << 48;

}  // namespace

EpochSequence::EpochSequence(const ChannelOptions& options, int64_t epochs,
                             const WaitContext& context, std::function<void()> before_next_epoch,
                             const Shard& shard, std::function<void()> before_next_file)
    : options_(options),
      context_(context),
      before_next_epoch_(std::move(before_next_epoch)),
      before_next_file_(std::move(before_next_file)),
      shard_(shard),
      records_in_line_(RecordsInLine(options.stream)),
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
  if (options_.files == nullptr || position.file == SequencePosition::kNoFile) return;
  position_.file = resume_file_ = position.file;
  position_.records = position.records - position.file_records;
}

bool EpochSequence::Skip() {
  do {
    if (!Next(nullptr)) return false;
  } while (column() > 0);
  return true;
}

bool EpochSequence::Next(RecordSink* sink) {
  while (epochs_left_ != 0) {
    if (reader_ == nullptr) {
      if (!is_first_ && before_next_epoch_) before_next_epoch_();
      reader_ = MakeReader();
      is_first_ = false;
    }
    bool is_foreign = false;
    if (NextOfEpoch(sink, &is_foreign)) {
      Advance(1);
      if (is_foreign) continue;
      return true;
    }
    CloseReader();
    if (epochs_left_ > 0) --epochs_left_;
    ++position_.epochs;
    position_.records_before += std::exchange(position_.records, 0);
    position_.file = position_.file_records = 0;
  }
  return false;
}

std::unique_ptr<EpochReader> EpochSequence::MakeReader() {
  if (options_.files == nullptr) {
    return std::make_unique<ChannelReader>(options_, context_, &watch_);
  }
  return std::make_unique<FilesReader>(options_.channel, options_.files, options_.stream, context_,
                                       std::max(position_.file, options_.files->first),
                                       before_next_file_);
}

void EpochSequence::Advance(uint64_t count) noexcept {
  position_.records += count;
  if (std::exchange(position_.file, reader_->file()) != reader_->file()) position_.file_records = 0;
  position_.file_records += count;
}

// Reads a record of the current epoch, or drops it because it is of another shard. Returns false
// when the epoch is over.
bool EpochSequence::NextOfEpoch(RecordSink* sink, bool* is_foreign) {
  try {
    if (resume_at_ > 0 && !DropRecords()) return false;
    *is_foreign = ForeignRecords() > 0;
    return sink != nullptr && !*is_foreign ? reader_->Read(*sink) : reader_->Skip();
  } catch (const CancelledError&) {
    throw;
  } catch (const DeadlineExceededError&) {
    if (resume_at_ > 0 && !reader_->has_begun()) {
      // An epoch that has not begun is not the one that is too short.
      CloseReader();
    } else {
      GiveUpPosition();
    }
    throw;
  } catch (...) {
    GiveUpPosition();
    throw;
  }
}

void EpochSequence::GiveUpPosition() noexcept {
  if (reader_->has_begun()) resume_at_ = 0;
  position_.GoBack(position_.records % records_in_line_);
}

void EpochSequence::CloseReader() {
  lost_before_ += reader_->lost_epochs();
  corrupted_before_ += reader_->corrupted_records();
  reader_.reset();
}

// Returns false if there was no epoch to drop them from. May be interrupted by an exception; the
// next call goes on.
bool EpochSequence::DropRecords() {
  std::vector<std::string_view> views;
  while (position_.records < resume_at_) {
    views.clear();
    reader_->TakeBuffered(std::min<uint64_t>(resume_at_ - position_.records, kMaxViews), &views);
    if (!views.empty()) {
      Advance(views.size());
      continue;
    }
    try {
      if (reader_->Skip()) {
        if (resume_file_ == SequencePosition::kNoFile || reader_->file() == resume_file_) {
          Advance(1);
          continue;
        }
        reader_->Close();  // what would come next is of another file
      }
    } catch (const CorruptRecordError&) {
      // The reader whose position was saved has reported it.
      continue;
    }
    if (!reader_->has_begun()) return false;
    throw DataLossError("channel '" + options_.channel + "': the epoch to go on with ends after " +
                        std::to_string(position_.records) +
                        " records, before the saved position, " + std::to_string(resume_at_) +
                        "; is it the same data, in the same order?");
  }
  resume_at_ = 0;
  return true;
}

void EpochSequence::TakeBuffered(size_t max, std::vector<std::string_view>* records) {
  if (reader_ == nullptr || resume_at_ > 0) return;
  if (shard_.count == 1) {
    const size_t before = records->size();
    reader_->TakeBuffered(max, records);
    if (records->size() > before) Advance(records->size() - before);
    return;
  }
  const uint64_t gap = std::min<uint64_t>(shard_.count - 1, kMaxViews) * records_in_line_;
  for (max = std::min(max, kMaxViews); max > 0;) {
    const uint64_t foreign = ForeignRecords();
    uint64_t left_of_line = records_in_line_ - column();
    taken_.clear();
    // No further than to the last record that is wanted.
    const uint64_t gaps = (max - 1 + records_in_line_ - left_of_line) / records_in_line_;
    reader_->TakeBuffered(std::min<uint64_t>(foreign + max + gaps * gap, kMaxViews), &taken_);
    if (taken_.empty()) return;
    Advance(taken_.size());
    for (uint64_t own = foreign; own < taken_.size(); ++own, --max) {
      records->push_back(taken_[own]);
      if (--left_of_line > 0) continue;
      left_of_line = records_in_line_;
      own += gap;
    }
  }
}

uint64_t EpochSequence::ForeignRecords() const noexcept {
  if (shard_.count == 1) return 0;
  const uint64_t records =
      position_.records + (shard_.across_epochs ? position_.records_before : 0);
  const uint64_t line = records / records_in_line_;
  const uint64_t lines = (shard_.index + shard_.count - line % shard_.count) % shard_.count;
  return lines == 0 ? 0
                    : std::min(lines, kMaxLines) * records_in_line_ - records % records_in_line_;
}

}  // namespace pipemode
