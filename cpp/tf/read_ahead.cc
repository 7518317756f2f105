// SPDX-License-Identifier: Apache-2.0
#include "tf/read_ahead.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "core/base/error.h"
#include "tf/warning_log.h"

namespace pipemode {
namespace {

using tensorflow::Allocator;
using tensorflow::Tensor;

// Scalars go through the queue in groups: a lock for each would cost more than the rest.
constexpr size_t kMaxGroupElements = 512;
constexpr size_t kMaxGroupBytes = size_t{256} << 10;
// What a string takes besides its bytes.
constexpr size_t kElementOverheadBytes = 64;

}  // namespace

ReadAhead::ReadAhead(const ElementOptions& options, size_t budget_bytes)
    : batched_(options.batch_size > 0),
      group_bytes_(std::min(budget_bytes / 4, kMaxGroupBytes)),
      reader_(options, WaitContext{&cancel_, this}, [this] { WaitForDemand(); }),
      queue_(budget_bytes) {}

ReadAhead::~ReadAhead() {
  cancel_.Cancel();
  queue_.Close();
  if (thread_.joinable()) thread_.join();
}

Tensor ReadAhead::Next(Allocator* allocator, const WaitContext& context) {
  if (!thread_.joinable()) thread_ = std::thread([this, allocator] { Run(allocator); });
  for (;;) {
    if (taken_ < taking_.elements.size()) {
      return std::move(taking_.elements[taken_++]);
    }
    if (taking_.error) std::rethrow_exception(std::exchange(taking_.error, nullptr));
    if (taking_.at_end) return Tensor(tensorflow::DT_STRING, tensorflow::TensorShape({0}));
    taking_ = PopGroup(context);
    taken_ = 0;
  }
}

ReadAhead::Group ReadAhead::PopGroup(const WaitContext& context) {
  std::optional<Group> group = queue_.Pop(std::chrono::milliseconds(0));
  if (!group) context.observer->OnBlock();
  while (!group) {
    if (context.cancel->cancelled()) throw CancelledError("cancelled while waiting for records");
    context.observer->OnTick();
    group = queue_.Pop(kWaitTick);
  }
  return std::move(*group);
}

void ReadAhead::Run(Allocator* allocator) {
  for (;;) {
    Tensor element;
    try {
      element = reader_.Next(allocator);
    } catch (...) {
      filling_.error = std::current_exception();
    }
    if (cancel_.cancelled()) return;
    if (filling_.error) {
      // Not a byte is read, no epoch claimed, for a consumer that gives up after an error.
      if (!Flush() || !queue_.WaitForDemand()) return;
    } else if (element.NumElements() == 0) {
      filling_.at_end = true;
      Flush();
      return;
    } else {
      filling_.bytes +=
          StringBytes(element) + static_cast<size_t>(element.NumElements()) * kElementOverheadBytes;
      filling_.elements.push_back(std::move(element));
      const bool full = batched_ || filling_.elements.size() >= kMaxGroupElements ||
                        filling_.bytes >= group_bytes_;
      if (full && !Flush()) return;
    }
  }
}

// Returns false once the consumer is gone.
bool ReadAhead::Flush() {
  const size_t bytes = filling_.bytes;
  return queue_.Push(std::exchange(filling_, Group()), bytes);
}

void ReadAhead::WaitForDemand() {
  if ((filling_.elements.empty() || Flush()) && queue_.WaitForDemand()) return;
  throw CancelledError("the consumer is gone");
}

void ReadAhead::OnBlock() {
  // What is there must not wait for what is not.
  if (!filling_.elements.empty() && !Flush()) throw CancelledError("the consumer is gone");
}

void ReadAhead::OnStillWaiting(std::string_view what, std::chrono::seconds waited) {
  LogLongWait(what, waited);
}

}  // namespace pipemode
