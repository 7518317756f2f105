// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_CORE_CHANNEL_CHANNEL_READER_H_
#define PIPEMODE_CORE_CHANNEL_CHANNEL_READER_H_

#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/error.h"
#include "core/channel/epoch_reader.h"
#include "core/channel/epoch_recovery.h"
#include "core/channel/files_reader.h"
#include "core/channel/pipe_state.h"
#include "core/format/record_format.h"
#include "core/format/record_stream.h"
#include "core/io/directory_watch.h"
#include "core/io/fifo_source.h"
#include "core/io/wait.h"

namespace pipemode {

struct ChannelOptions {
  std::string channel;
  std::string pipe_dir;
  std::string state_dir;
  StreamOptions stream;
  TimeLimit open_timeout{1800};  // for the FIFO to appear and to be opened by its writer
  TimeLimit read_timeout{1800};  // for each next byte from then on
  // In File mode: what to read in place of a pipe. The folders and time limits mean nothing then.
  std::shared_ptr<const FileList> files;
};

// Throws InvalidArgumentError if an option is not valid.
void CheckOptions(const ChannelOptions& options);

// The records of one epoch of one channel: the next one that has not been read.
//
// Nothing is touched until the first record is asked for. Then the reader waits for the FIFO of the
// epoch that is due, claims it, waits for its writer, moves the state on to the next epoch, and
// reads. A reader that ends before there is a writer (time limit, cancellation, kill) leaves the
// epoch to the next one; later than that the writer would see EPIPE and go on to the next epoch, so
// this one is over. Where a reader has ended in the instant between, the next one finds out which
// of the two it was by where the writer is.
//
// Once there is a writer, nothing but Close() and the end of the reader lets go of the epoch: a
// call that fails, or is interrupted, before the first byte is read leaves it to the next call. A
// wait for the writer that fails, or whose time is over, as the writer comes is not a failure.
//
// Not safe for use by two threads at once, but for CancelToken.
class ChannelReader final : public EpochReader {
 public:
  // Throws as CheckOptions does. What `context` points to must outlive the reader. `watch`, which
  // must as well, is where a watch of the FIFOs' folder is found or left, for the reader of the
  // next epoch: to end one takes the kernel some 15 ms.
  ChannelReader(ChannelOptions options, const WaitContext& context,
                std::optional<DirectoryWatch>* watch = nullptr);

  // Reads the next record into `sink`. Returns false at the end of the epoch, then always; the FIFO
  // is closed by then. Throws as RecordStream::Read; while the epoch has not begun, also
  // DeadlineExceededError at open_timeout, FailedPreconditionError if the state file or what stands
  // at the FIFO's path is not valid, or the FIFO is read already, and IoError. After one of these,
  // before there is a writer, every later call returns false. Messages begin with channel, epoch
  // and path.
  bool Read(RecordSink& sink) override;

  // Drops the next record. Returns and throws as Read.
  bool Skip() override;

  // See RecordReader::TakeBuffered. Never waits, never throws.
  void TakeBuffered(size_t max, std::vector<std::string_view>* records) override {
    if (stream_ != nullptr) stream_->TakeBuffered(max, records);
  }

  // Closes the FIFO, so that its writer sees EPIPE. Every later Read returns false.
  void Close() noexcept override;

  // The epoch that is, or was, read; none before it could be begun.
  std::optional<uint64_t> epoch() const noexcept { return epoch_; }
  bool has_begun() const noexcept override { return epoch_.has_value(); }

  uint64_t file() const noexcept override { return 0; }

  // How many epochs before this one were due, but lost to a reader that ended just as their writer
  // came.
  uint64_t lost_epochs() const noexcept override { return lost_epochs_; }

  // Corrupt records passed over.
  uint64_t corrupted_records() const noexcept override { return corrupted_records_; }

 private:
  bool Next(RecordSink* sink);
  void Begin();
  void Open();
  EpochClaim WaitForClaim(const EpochRecovery& recovery, Wait& wait);
  // Waits for a writer at the FIFO of `claim`, or, where the state allows it, at one after it;
  // returns the one that has it. Returns nothing if the FIFO was replaced or removed, or given up
  // by its writer. Other epochs that were claimed for it are in `later`. What interrupts the wait
  // just as a writer comes goes to `interruption`, to be thrown once the epoch has begun.
  std::optional<EpochClaim> WaitForWriter(const PipeState& state, const EpochRecovery& recovery,
                                          EpochClaim claim, Wait& wait,
                                          std::vector<EpochClaim>* later,
                                          std::exception_ptr* interruption);
  void MarkStarted(const PipeState& state, const EpochClaim& claim, Wait& wait);

  const ChannelOptions options_;
  const WaitContext context_;
  std::optional<DirectoryWatch> own_watch_;
  std::optional<DirectoryWatch>& watch_;  // none before a FIFO had to be waited for
  std::string position_;                  // "channel 'train' epoch 3 (/...)", as messages begin
  std::string wait_what_;                 // what Open() waits for just now
  std::optional<uint64_t> epoch_;
  std::unique_ptr<RecordStream> stream_;
  FifoSource* source_ = nullptr;     // of `stream_`; reads from the FIFO once the epoch has begun
  std::optional<EpochClaim> claim_;  // of an epoch that has a writer; without its FIFO once begun
  uint64_t lost_epochs_ = 0;
  uint64_t corrupted_records_ = 0;
  bool has_begun_ = false;
  bool done_ = false;
};

}  // namespace pipemode

#endif  // PIPEMODE_CORE_CHANNEL_CHANNEL_READER_H_
