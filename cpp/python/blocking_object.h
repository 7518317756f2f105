// SPDX-License-Identifier: Apache-2.0
//
// What Python objects whose calls may block have in common: one call at a time, whatever the
// threads; the GIL let go while it waits; signal handlers run while it waits; an end to all of it
// from any thread.
#ifndef PIPEMODE_PYTHON_BLOCKING_OBJECT_H_
#define PIPEMODE_PYTHON_BLOCKING_OBJECT_H_

#include <atomic>
#include <chrono>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "core/io/cancel_token.h"
#include "core/io/wait.h"
#include "python/gil.h"

namespace pipemode::python {

class BlockingObject {
 public:
  class Call;

  BlockingObject(const BlockingObject&) = delete;
  BlockingObject& operator=(const BlockingObject&) = delete;

  // How long calls have slept so far, the one that is going on among them.
  double seconds_waited() const noexcept {
    return std::chrono::duration<double>(waited_.load(std::memory_order_relaxed)).count();
  }
  // Whether a call is going on that had to sleep; of a writer, for a reader looks now and then
  // whether it is to end as if it had.
  bool is_waiting() const noexcept { return is_waiting_.load(std::memory_order_relaxed); }

  // Ends the call that is going on, and every later one, with CancelledError, and lets go of what
  // the object holds. Any thread may call it, and so may a signal handler that runs in the midst of
  // a call; then the object lets go at the end of that call. In a forked child, which holds nothing
  // of it, only calls end. Unless `wait`, it does not wait for that end, which a file system that
  // hangs may hold up; then the next Close() lets go for sure.
  void Close(bool wait = true);

 protected:
  // `name` is what messages call the object. `log_level` is the method of Python's logging.Logger
  // that is told of long waits.
  BlockingObject(const char* name, const char* log_level)
      : name_(name), log_level_(log_level), forwarder_(this) {}
  virtual ~BlockingObject() = default;

  // For all that waits on behalf of the object.
  WaitContext context() noexcept { return {&cancel_, &forwarder_}; }
  bool closed() const noexcept { return closed_.load(std::memory_order_acquire); }
  // The call that is going on; to be used from within it.
  Call& call() noexcept { return *call_; }

  // Both are called at the end of a call, alone. Makes what properties show visible to other
  // threads.
  virtual void Publish() noexcept = 0;
  // Frees files. May be called more than once.
  virtual void Release() noexcept = 0;

 private:
  // The core keeps one observer for the life of an object; calls come and go.
  class Forwarder final : public WaitObserver {
   public:
    explicit Forwarder(BlockingObject* object) : object_(*object) {}
    void OnBlock() override;
    void OnTick() override;
    void OnWaited(Wait::Clock::duration time) override;
    void OnStillWaiting(std::string_view what, std::chrono::seconds waited) override;

   private:
    BlockingObject& object_;
  };

  const char* const name_;
  const char* const log_level_;
  CancelToken cancel_;
  Forwarder forwarder_;
  std::atomic<bool> closed_{false};
  std::atomic<Wait::Clock::duration> waited_{Wait::Clock::duration::zero()};
  std::atomic<bool> is_waiting_{false};
  std::mutex mutex_;                      // held during a call; never waited for with the GIL held
  std::atomic<std::thread::id> owner_{};  // the thread that holds `mutex_`
  Call* call_ = nullptr;                  // guarded by `mutex_`
};

// One call of a method, from its construction to its destruction. Begins and ends with the GIL
// held.
class BlockingObject::Call final : public WaitObserver {
 public:
  // Waits for the calls of other threads to end. Throws CancelledError if the object is closed,
  // FailedPreconditionError if this very thread is in the midst of another call of it (in a signal
  // handler) or this process is a forked child of the object's, and what a signal handler raised.
  explicit Call(BlockingObject* object);
  ~Call() override;

  Gil& gil() noexcept { return gil_; }

  // To be called in loops that may go on for long without a wait, with the GIL let go. Throws
  // CancelledError if the object is closed, and what a signal handler raised.
  void CheckNowAndThen();

  void OnBlock() override { gil_.Release(); }
  void OnTick() override;
  void OnStillWaiting(std::string_view what, std::chrono::seconds waited) override;

 private:
  // Runs the handlers of signals that arrived; begins and ends with the GIL let go.
  void CheckSignals();

  BlockingObject& object_;
  Gil gil_;  // taken back after the lock is let go
  std::unique_lock<std::mutex> lock_;
  Wait::Clock::time_point next_check_;
};

}  // namespace pipemode::python

#endif  // PIPEMODE_PYTHON_BLOCKING_OBJECT_H_
