// SPDX-License-Identifier: Apache-2.0
#include "core/channel/epoch_sequence.h"

#include <utility>

namespace pipemode {

EpochSequence::EpochSequence(const ChannelOptions& options, int64_t epochs,
                             const WaitContext& context, std::function<void()> before_next_epoch)
    : options_(options),
      context_(context),
      before_next_epoch_(std::move(before_next_epoch)),
      epochs_left_(epochs) {
  CheckOptions(options_);
}

bool EpochSequence::Next(RecordSink* sink) {
  while (epochs_left_ != 0) {
    if (reader_ == nullptr) {
      if (!is_first_ && before_next_epoch_) before_next_epoch_();
      reader_ = std::make_unique<ChannelReader>(options_, context_);
      is_first_ = false;
    }
    if (sink != nullptr ? reader_->Read(*sink) : reader_->Skip()) return true;
    corrupted_before_ += reader_->corrupted_records();
    reader_.reset();
    if (epochs_left_ > 0) --epochs_left_;
  }
  return false;
}

void EpochSequence::TakeBuffered(size_t max, std::vector<std::string_view>* records) {
  if (reader_ != nullptr) reader_->TakeBuffered(max, records);
}

}  // namespace pipemode
