// SPDX-License-Identifier: Apache-2.0
#include "tf/read_ahead.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "core/base/error.h"
#include "tf/warning_log.h"

namespace pipemode {
namespace {

using tensorflow::Tensor;

// Scalars go through the queue in groups: a lock for each would cost more than the rest.
constexpr size_t kMaxGroupRows = 512;
constexpr size_t kMaxGroupBytes = size_t{256} << 10;
// What a string takes besides its bytes.
constexpr size_t kRecordOverheadBytes = 64;

}  // namespace

ReadAhead::ReadAhead(const ElementOptions& options, size_t budget_bytes, ReaderCounters* counters)
    : batched_(options.batch_size > 0),
      components_(options.components),
      stride_(options.shard.count * components_.size()),
      group_rows_(batched_ ? static_cast<size_t>(options.batch_size) : kMaxGroupRows),
      group_bytes_(batched_ ? std::numeric_limits<size_t>::max()
                            : std::min(budget_bytes / 4, kMaxGroupBytes)),
      counters_(*counters),
      reader_(
          options, budget_bytes, WaitContext{&cancel_, this}, counters,
          [this] { BeforeNextEpoch(); }, [this] { BeforeNextFile(); }),
      queue_(budget_bytes) {}

ReadAhead::~ReadAhead() {
  cancel_.Cancel();
  queue_.Close();
  if (thread_.joinable()) thread_.join();
}

std::optional<Element> ReadAhead::Next(const WaitContext& context) {
  if (!thread_.joinable()) thread_ = std::thread([this] { Run(); });
  for (;;) {
    if (std::optional<Element> element = TakeElement()) return element;
    if (taking_.error) std::rethrow_exception(std::exchange(taking_.error, nullptr));
    if (taking_.at_end) return std::nullopt;
    taking_ = PopGroup(context);
    taken_ = 0;
  }
}

std::optional<Element> ReadAhead::TakeElement() {
  if (taking_.columns.empty()) return std::nullopt;
  const size_t rows = RowsOf(taking_.columns);
  if (batched_) {
    // What memory runs out for is there the next time.
    std::vector<Tensor> tensors = VectorTensors(components_, taking_.columns);
    const RecordColumns columns = std::exchange(taking_.columns, {});
    return Take(std::move(tensors), rows * columns.size(), BytesOf(columns), taking_.position);
  }
  const size_t row = taken_;
  size_t bytes = 0;
  for (const auto& column : taking_.columns) bytes += column->data()[row].size();
  // Scalars that go together are of one file.
  SequencePosition position = taking_.position;
  position.GoBack((rows - row - 1) * stride_);
  std::vector<Tensor> tensors = ScalarTensors(components_, taking_.columns, row);
  if (++taken_ == rows) taking_.columns.clear();
  return Take(std::move(tensors), components_.size(), bytes, position);
}

Element ReadAhead::Take(std::vector<Tensor> tensors, size_t records, size_t bytes,
                        const SequencePosition& position) {
  counters_.records_out.Add(records);
  counters_.bytes_out.Add(bytes);
  return {std::move(tensors), records, bytes, position};
}

ReadAhead::Group ReadAhead::PopGroup(const WaitContext& context) {
  std::optional<Group> group = queue_.Pop(std::chrono::milliseconds(0));
  if (!group) context.observer->OnBlock();
  auto now = std::chrono::steady_clock::now();
  while (!group) {
    if (context.cancel->cancelled()) throw CancelledError("cancelled while waiting for records");
    context.observer->OnTick();
    group = queue_.Pop(kWaitTick);
    const auto since = std::exchange(now, std::chrono::steady_clock::now());
    counters_.starved.Add(now - since);
  }
  return std::move(*group);
}

void ReadAhead::Run() noexcept {
  try {
    while (ReadGroup()) {
    }
  } catch (...) {
    // No memory for the group itself. It is lost, so there must be no more behind it.
    Group group;
    group.error = std::current_exception();
    group.at_end = true;
    queue_.PushLast(std::move(group));
  }
}

// Returns false after the last one.
bool ReadAhead::ReadGroup() {
  Group group;
  try {
    group.at_end = !reader_.FillRows(group_rows_, group_bytes_);
  } catch (...) {
    group.error = std::current_exception();
  }
  if (cancel_.cancelled()) return false;
  // A batch that an error interrupts is filled further by what comes after it.
  const bool complete = !batched_ || !group.error;
  if (complete && reader_.IsElement(reader_.filled())) group.columns = reader_.TakeRows();
  const bool failed = group.error != nullptr;
  const bool at_end = group.at_end;
  if (!Push(std::move(group)) || at_end) return false;
  // Not a byte is read, no epoch claimed, for a consumer that gives up after an error.
  return !failed || WaitForDemand();
}

// Returns false once the consumer is gone.
bool ReadAhead::Push(Group group) {
  group.position = reader_.filled_to();
  size_t size = 0;
  if (!group.columns.empty()) {
    const size_t records = RowsOf(group.columns) * group.columns.size();
    const size_t bytes = BytesOf(group.columns);
    counters_.records_in.Add(records);
    counters_.bytes_in.Add(bytes);
    size = bytes + records * kRecordOverheadBytes;
  }
  counters_.backpressure.Start();
  const bool pushed = queue_.Push(std::move(group), size);
  counters_.backpressure.Stop();
  return pushed;
}

// Hands over what is there; of a batch, nothing before it is full.
bool ReadAhead::Flush() {
  if (batched_ || reader_.filled() == 0) return true;
  Group group;
  group.columns = reader_.TakeRows();
  return Push(std::move(group));
}

// Returns false once the consumer is gone.
bool ReadAhead::WaitForDemand() {
  counters_.backpressure.Start();
  const bool demanded = queue_.WaitForDemand();
  counters_.backpressure.Stop();
  return demanded;
}

void ReadAhead::BeforeNextEpoch() {
  if (Flush() && WaitForDemand()) return;
  throw CancelledError("the consumer is gone");
}

void ReadAhead::BeforeNextFile() {
  if (!Flush()) throw CancelledError("the consumer is gone");
}

void ReadAhead::OnBlock() {
  // What is there must not wait for what is not.
  BeforeNextFile();
}

void ReadAhead::OnStillWaiting(std::string_view what, std::chrono::seconds waited) {
  LogLongWait(what, waited);
}

void ReadAhead::OnWaited(std::chrono::steady_clock::duration time) {
  counters_.pipe_wait.Add(time);
}

}  // namespace pipemode
