// SPDX-License-Identifier: Apache-2.0
//
// Reading ahead of the consumer, so that neither the writer of the pipe nor the model waits for the
// other.
//
// Who does what: a thread of its own reads, inflates, frames and fills tensors, and puts them into
// a queue that holds so many bytes. It starts when the first element is asked for, and begins a
// further epoch only when the consumer, having taken all before it, asks for more: an epoch that is
// begun and then not wanted is lost. It waits for data (ended by `cancel_`), for room in the queue
// or for demand (both ended by closing it). The consumer waits for the queue only. The destructor
// ends all waits and joins the thread, which takes milliseconds whatever it waits for.
#ifndef PIPEMODE_TF_READ_AHEAD_H_
#define PIPEMODE_TF_READ_AHEAD_H_

#include <chrono>
#include <cstddef>
#include <exception>
#include <string_view>
#include <thread>
#include <vector>

#include "core/base/byte_budget_queue.h"
#include "core/io/cancel_token.h"
#include "core/io/wait.h"
#include "tensorflow/core/framework/allocator.h"
#include "tensorflow/core/framework/tensor.h"
#include "tf/element_reader.h"

namespace pipemode {

// All but the destructor is for one consumer thread at a time.
class ReadAhead final : private WaitObserver {
 public:
  // `budget_bytes` is how much may lie ready. Throws as ElementReader.
  ReadAhead(const ElementOptions& options, size_t budget_bytes);
  ~ReadAhead() override;

  // Returns the next element, or a tensor without elements at the end, then always. What
  // ElementReader throws is thrown in its place in the order; reading goes on when more is asked
  // for after it. Waits as `context` says; what ends the wait loses nothing.
  tensorflow::Tensor Next(tensorflow::Allocator* allocator, const WaitContext& context);

 private:
  // What goes through the queue at once.
  struct Group {
    std::vector<tensorflow::Tensor> elements;
    size_t bytes = 0;
    std::exception_ptr error;  // comes after `elements`
    bool at_end = false;       // likewise
  };

  void Run(tensorflow::Allocator* allocator);
  bool Flush();
  void WaitForDemand();
  Group PopGroup(const WaitContext& context);

  // The thread's own waits.
  void OnBlock() override;
  void OnStillWaiting(std::string_view what, std::chrono::seconds waited) override;

  const bool batched_;
  const size_t group_bytes_;
  CancelToken cancel_;
  ElementReader reader_;  // the thread's, once that has started
  Group filling_;         // likewise
  ByteBudgetQueue<Group> queue_;
  Group taking_;  // the consumer's, as all below
  size_t taken_ = 0;
  std::thread thread_;
};

}  // namespace pipemode

#endif  // PIPEMODE_TF_READ_AHEAD_H_
