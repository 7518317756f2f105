// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_CORE_BASE_BYTE_BUDGET_QUEUE_H_
#define PIPEMODE_CORE_BASE_BYTE_BUDGET_QUEUE_H_

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

namespace pipemode {

// Hands items from one producing thread to one consuming thread, in order, as long as they hold no
// more than so many bytes together; one item always finds room. One mutex guards everything; it is
// never held while anything else is called. Both threads must be done with it when it is destroyed.
template <typename Item>
class ByteBudgetQueue {
 public:
  explicit ByteBudgetQueue(size_t budget_bytes) : budget_bytes_(budget_bytes) {}
  ByteBudgetQueue(const ByteBudgetQueue&) = delete;
  ByteBudgetQueue& operator=(const ByteBudgetQueue&) = delete;

  // Producer: waits for room, then appends `item`. Returns false, having dropped it, once Close was
  // called. Throws bad_alloc: then too `item` is dropped, and the queue is as it was.
  bool Push(Item item, size_t bytes) {
    std::unique_lock<std::mutex> lock(mutex_);
    room_.wait(lock, [&] { return closed_ || items_.empty() || bytes_ + bytes <= budget_bytes_; });
    if (closed_) return false;
    items_.emplace_back(std::move(item), bytes);
    bytes_ += bytes;  // after what may throw
    lock.unlock();
    filled_.notify_one();
    return true;
  }

  // Producer: appends `item` as the last one, without waiting for room. Allocates nothing.
  void PushLast(Item item) noexcept {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      last_.emplace(std::move(item));
    }
    filled_.notify_one();
  }

  // Producer: waits until the consumer has taken everything and is waiting for more. Returns false
  // once Close was called.
  bool WaitForDemand() {
    std::unique_lock<std::mutex> lock(mutex_);
    room_.wait(lock, [&] { return closed_ || (items_.empty() && demanded_); });
    return !closed_;
  }

  // Consumer: waits up to `at_most` for an item and takes it. Returns nothing if none came.
  std::optional<Item> Pop(std::chrono::milliseconds at_most) {
    std::unique_lock<std::mutex> lock(mutex_);
    if (items_.empty()) {
      demanded_ = true;
      room_.notify_one();
      filled_.wait_for(lock, at_most, [&] { return !items_.empty() || last_; });
    }
    // Also where nothing came: a consumer that gives up then wants no more.
    demanded_ = false;
    if (items_.empty()) return std::exchange(last_, std::nullopt);
    std::pair<Item, size_t> front = std::move(items_.front());
    items_.pop_front();
    bytes_ -= front.second;
    lock.unlock();
    room_.notify_one();
    return std::move(front.first);
  }

  // Any thread: the producer's calls return false from now on.
  void Close() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      closed_ = true;
    }
    room_.notify_all();
  }

 private:
  const size_t budget_bytes_;
  std::mutex mutex_;
  std::condition_variable room_;    // the producer waits here
  std::condition_variable filled_;  // the consumer waits here
  std::deque<std::pair<Item, size_t>> items_;
  std::optional<Item> last_;  // comes after them
  size_t bytes_ = 0;
  bool demanded_ = false;
  bool closed_ = false;
};

}  // namespace pipemode

#endif  // PIPEMODE_CORE_BASE_BYTE_BUDGET_QUEUE_H_
