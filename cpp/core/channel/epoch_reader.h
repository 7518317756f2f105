// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_CORE_CHANNEL_EPOCH_READER_H_
#define PIPEMODE_CORE_CHANNEL_EPOCH_READER_H_

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "core/format/record_reader.h"

namespace pipemode {

// The records of one epoch of a channel, whatever it comes from. Nothing is touched before the
// first record is asked for. Not safe for use by two threads at once.
class EpochReader {
 public:
  virtual ~EpochReader() = default;

  // Reads the next record into `sink`. Returns false at the end of the epoch, then always. Throws
  // as RecordStream::Read, and what beginning the epoch, or its next file, throws. Messages begin
  // with where in the channel that was.
  virtual bool Read(RecordSink& sink) = 0;

  // Drops the next record, with all the checks of Read. Returns and throws as that.
  virtual bool Skip() = 0;

  // Takes records that are buffered already, out of one file; see RecordReader::TakeBuffered. Never
  // waits, never throws.
  virtual void TakeBuffered(size_t max, std::vector<std::string_view>* records) = 0;

  // Gives up what is left of the epoch. Every later Read returns false.
  virtual void Close() noexcept = 0;

  // Whether the epoch has begun: what was read of it will not come again.
  virtual bool has_begun() const noexcept = 0;

  // Which file of the epoch the last record was of; 0 for a pipe.
  virtual uint64_t file() const noexcept = 0;

  // How many epochs before this one were due, but lost to a reader that ended just as their writer
  // came.
  virtual uint64_t lost_epochs() const noexcept = 0;

  // Corrupt records passed over, or reported.
  virtual uint64_t corrupted_records() const noexcept = 0;
};

}  // namespace pipemode

#endif  // PIPEMODE_CORE_CHANNEL_EPOCH_READER_H_
