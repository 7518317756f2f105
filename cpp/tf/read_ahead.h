// SPDX-License-Identifier: Apache-2.0
//
// Reading ahead of the consumer, so that neither the writer of the pipe nor the model waits for the
// other.
//
// Who does what: a thread of its own reads, inflates, frames and fills arrays of records, and puts
// them into a queue that holds so many bytes; the consumer makes tensors of them. It starts when
// the first element is asked for, and begins a further epoch only when the consumer, having taken
// all before it, asks for more: an epoch that is begun and then not wanted is lost. It waits for
// data (ended by `cancel_`), for room in the queue or for demand (both ended by closing it). The
// consumer waits for the queue only. The destructor ends all waits and joins the thread, which
// takes milliseconds whatever it waits for.
#ifndef PIPEMODE_TF_READ_AHEAD_H_
#define PIPEMODE_TF_READ_AHEAD_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string_view>
#include <thread>
#include <vector>

#include "core/base/byte_budget_queue.h"
#include "core/channel/channel_stats.h"
#include "core/io/cancel_token.h"
#include "core/io/wait.h"
#include "tf/element_reader.h"
#include "tf/record_array.h"

namespace pipemode {

// All but the destructor is for one consumer thread at a time.
class ReadAhead final : private WaitObserver {
 public:
  // `budget_bytes` is how much may lie ready. Throws as ElementReader. `counters` must outlive the
  // object.
  ReadAhead(const ElementOptions& options, size_t budget_bytes, ReaderCounters* counters);
  ~ReadAhead() override;

  // Before the first element is asked for; see EpochSequence, also for what it throws.
  void Resume(const SequencePosition& position) { reader_.Resume(position); }

  // Returns the next element; nothing at the end, then always. Throws what ElementReader threw, in
  // its place in the order; reading goes on when more is asked for after it. Throws what ends the
  // wait, by `context`, which loses nothing, and std::system_error if no thread can be had.
  std::optional<Element> Next(const WaitContext& context);

 private:
  // What goes through the queue at once.
  struct Group {
    RecordColumns columns;      // of one batch, or of scalars; may be none
    SequencePosition position;  // behind the last of them
    std::exception_ptr error;   // comes after them
    bool at_end = false;        // likewise
  };

  void Run() noexcept;
  bool ReadGroup();
  bool Push(Group group);
  bool Flush();
  std::optional<Element> TakeElement();
  Element Take(std::vector<tensorflow::Tensor> tensors, size_t records, size_t bytes,
               const SequencePosition& position);
  bool WaitForDemand();
  void BeforeNextEpoch();
  void BeforeNextFile();
  Group PopGroup(const WaitContext& context);

  // The thread's own waits.
  void OnBlock() override;
  void OnStillWaiting(std::string_view what, std::chrono::seconds waited) override;
  void OnWaited(std::chrono::steady_clock::duration time) override;

  const bool batched_;
  const std::vector<size_t> components_;
  const uint64_t stride_;  // in records, from a line to the next one of this shard
  const size_t group_rows_;
  const size_t group_bytes_;
  ReaderCounters& counters_;
  CancelToken cancel_;
  ElementReader reader_;  // the thread's, once that has started
  ByteBudgetQueue<Group> queue_;
  Group taking_;      // the consumer's, as all below
  size_t taken_ = 0;  // rows of it
  std::thread thread_;
};

}  // namespace pipemode

#endif  // PIPEMODE_TF_READ_AHEAD_H_
