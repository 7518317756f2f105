// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_CORE_CHANNEL_EPOCH_SEQUENCE_H_
#define PIPEMODE_CORE_CHANNEL_EPOCH_SEQUENCE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "core/channel/channel_reader.h"
#include "core/format/record_reader.h"
#include "core/io/wait.h"

namespace pipemode {

// The records of several epochs of one channel, one after the other. Each epoch is read by a
// ChannelReader; an empty one is passed over. Not safe for use by two threads at once.
class EpochSequence {
 public:
  static constexpr int64_t kEndless = -1;

  // `epochs` is how many to read, or kEndless. What `context` points to must outlive the sequence.
  // Throws as CheckOptions. `before_next_epoch` is called before any epoch but the first is
  // touched; it may take its time, and may throw, which leaves that epoch alone.
  EpochSequence(const ChannelOptions& options, int64_t epochs, const WaitContext& context,
                std::function<void()> before_next_epoch = nullptr);

  // Reads the next record into `sink`. Returns false at the end of the last epoch, then always.
  // Throws as ChannelReader::Read; after an error that ends an epoch the next call goes on to the
  // next one.
  bool Read(RecordSink& sink) { return Next(&sink); }

  // Drops the next record.
  bool Skip() { return Next(nullptr); }

  // Takes records of the current epoch that are buffered already; see RecordReader::TakeBuffered.
  void TakeBuffered(size_t max, std::vector<std::string_view>* records);

  // Corrupt records passed over so far, in all epochs.
  uint64_t corrupted_records() const noexcept {
    return corrupted_before_ + (reader_ == nullptr ? 0 : reader_->corrupted_records());
  }

 private:
  bool Next(RecordSink* sink);

  const ChannelOptions options_;
  const WaitContext context_;
  const std::function<void()> before_next_epoch_;
  int64_t epochs_left_;
  bool is_first_ = true;
  uint64_t corrupted_before_ = 0;          // in the epochs before the current one
  std::unique_ptr<ChannelReader> reader_;  // of the current epoch
};

}  // namespace pipemode

#endif  // PIPEMODE_CORE_CHANNEL_EPOCH_SEQUENCE_H_
