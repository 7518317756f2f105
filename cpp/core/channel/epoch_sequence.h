// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_CORE_CHANNEL_EPOCH_SEQUENCE_H_
#define PIPEMODE_CORE_CHANNEL_EPOCH_SEQUENCE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "core/channel/channel_reader.h"
#include "core/channel/epoch_reader.h"
#include "core/format/record_reader.h"
#include "core/io/directory_watch.h"
#include "core/io/wait.h"

namespace pipemode {

// How far the records of an EpochSequence have been read. Where records are attributes of lines,
// each of them counts; those of a line that is not whole do not, once its epoch is over.
struct SequencePosition {
  // For a position that tells no file, as one in a pipe.
  static constexpr uint64_t kNoFile = UINT64_MAX;

  uint64_t epochs = 0;          // that are over
  uint64_t records = 0;         // read, or dropped, of the current one
  uint64_t records_before = 0;  // likewise, of those that are over
  uint64_t file = 0;            // the file of the epoch that the last record was of
  uint64_t file_records = 0;    // likewise of `records`, those of this file

  // Goes back over the last `count` records, which are of this file.
  void GoBack(uint64_t count) noexcept {
    records -= count;
    file_records -= count;
  }
};

// A part of the lines: of all, counted from 0, those whose number leaves `index` when it is divided
// by `count`. A line is a record, or the attributes of a line of an augmented manifest.
struct Shard {
  uint64_t count = 1;
  uint64_t index = 0;          // below `count`
  bool across_epochs = false;  // whether to count on from epoch to epoch
};

// The records of several epochs of one channel, one after the other, or those of one shard; the
// others are dropped with all the checks of reading. Each epoch is read by a ChannelReader or, if
// the channel has files, by a FilesReader; an empty one is passed over. Not safe for use by two
// threads at once.
class EpochSequence {
 public:
  static constexpr int64_t kEndless = -1;

  // `epochs` is how many to read, or kEndless. `before_next_epoch` is called before any epoch but
  // the first is touched, `before_next_file` before any file of an epoch but the first; they may
  // take their time, and may throw, which leaves that epoch or file alone. Throws as CheckOptions.
  // What `context` points to must outlive the sequence.
  EpochSequence(const ChannelOptions& options, int64_t epochs, const WaitContext& context,
                std::function<void()> before_next_epoch = nullptr, const Shard& shard = {},
                std::function<void()> before_next_file = nullptr);

  // Goes on where another sequence of the same channel was, before anything is read. The records
  // before that are dropped when the first one is asked for, out of the next epoch that has not
  // been read: it is taken to carry what the interrupted one carried. If it is shorter, that call
  // throws DataLossError; if there is no such epoch within the time limit, the call after that
  // looks for it again. Of an epoch of files, those before the position's file are not read. Throws
  // InvalidArgumentError, and changes nothing, if there are not so many epochs.
  void Resume(const SequencePosition& position);

  // Where the next record is.
  const SequencePosition& position() const noexcept { return position_; }

  // Reads the next record into `sink`. Returns false at the end of the last epoch, then always.
  // Throws as EpochReader::Read, and what the functions of the constructor throw. After an error
  // that ends an epoch the next call goes on to the next one, and to the beginning of a line.
  bool Read(RecordSink& sink) { return Next(&sink); }

  // Drops what is left of the line whose attributes are being read, or else the next line. Returns
  // and throws as Read.
  bool Skip();

  // How many attributes of its line come before the next record of this shard.
  size_t column() const noexcept {
    return resume_at_ > 0 || ForeignRecords() > 0 ? 0 : position_.records % records_in_line_;
  }

  // Takes records of the current epoch that are buffered already; see RecordReader::TakeBuffered.
  // Never waits.
  void TakeBuffered(size_t max, std::vector<std::string_view>* records);

  // Gives the current epoch up; the next call goes on to the next one, as after an error.
  void EndEpoch() noexcept {
    if (reader_ != nullptr) reader_->Close();
  }

  // Epochs passed over so far; see ChannelReader::lost_epochs.
  uint64_t lost_epochs() const noexcept {
    return lost_before_ + (reader_ == nullptr ? 0 : reader_->lost_epochs());
  }

  // Corrupt records passed over so far, in all epochs.
  uint64_t corrupted_records() const noexcept {
    return corrupted_before_ + (reader_ == nullptr ? 0 : reader_->corrupted_records());
  }

 private:
  bool Next(RecordSink* sink);
  bool NextOfEpoch(RecordSink* sink, bool* is_foreign);
  std::unique_ptr<EpochReader> MakeReader();
  // `count` records have been read, or dropped.
  void Advance(uint64_t count) noexcept;
  bool DropRecords();
  void CloseReader();
  // After an error: a line that came in part will not be whole, nor a saved position be reached.
  void GiveUpPosition() noexcept;
  // How many records of other shards come before the next one of this.
  uint64_t ForeignRecords() const noexcept;

  const ChannelOptions options_;
  const WaitContext context_;
  const std::function<void()> before_next_epoch_;
  const std::function<void()> before_next_file_;
  const Shard shard_;
  const size_t records_in_line_;
  std::vector<std::string_view> taken_;  // of all shards
  int64_t epochs_left_;
  SequencePosition position_;
  uint64_t resume_at_ = 0;                            // how many records of the first epoch to drop
  uint64_t resume_file_ = SequencePosition::kNoFile;  // that the last one of them is of
  bool is_first_ = true;
  std::optional<DirectoryWatch> watch_;
  uint64_t lost_before_ = 0;             // before the current epoch's reader
  uint64_t corrupted_before_ = 0;        // in the epochs before the current one
  std::unique_ptr<EpochReader> reader_;  // of the current epoch
};

}  // namespace pipemode

#endif  // PIPEMODE_CORE_CHANNEL_EPOCH_SEQUENCE_H_
