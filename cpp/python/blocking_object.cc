// SPDX-License-Identifier: Apache-2.0
#include "python/blocking_object.h"

#include <pybind11/pybind11.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "core/base/error.h"

namespace pipemode::python {
namespace {

namespace py = pybind11;

// How often to look for signals. Python only notes them; their handlers run in the main thread,
// when it looks.
constexpr std::chrono::milliseconds kCheckSignals{20};
// How often to look whether another thread's call is over.
constexpr std::chrono::milliseconds kFirstLookForLock{1};
constexpr std::chrono::milliseconds kLastLookForLock{16};

// glibc has a function for it only since 2.30.
bool IsMainThread() { return ::syscall(SYS_gettid) == ::getpid(); }

}  // namespace

void BlockingObject::Close(bool wait) {
  closed_.store(true, std::memory_order_release);
  cancel_.Cancel();
  // The copy of a mutex that another thread held at the fork is never let go.
  if (cancel_.is_foreign()) return;
  if (owner_.load(std::memory_order_relaxed) == std::this_thread::get_id()) return;
  Gil gil;
  gil.Release();
  // The call that is going on ends at once.
  std::unique_lock<std::mutex> lock(mutex_, std::defer_lock);
  if (wait) lock.lock();
  if (wait || lock.try_lock()) Release();
}

void BlockingObject::Forwarder::OnBlock() {
  object_.is_waiting_.store(true, std::memory_order_relaxed);
  object_.call_->OnBlock();
}

void BlockingObject::Forwarder::OnTick() { object_.call_->OnTick(); }

// Only the one call that is going on writes it.
void BlockingObject::Forwarder::OnWaited(Wait::Clock::duration time) {
  object_.waited_.store(object_.waited_.load(std::memory_order_relaxed) + time,
                        std::memory_order_relaxed);
}

void BlockingObject::Forwarder::OnStillWaiting(std::string_view what, std::chrono::seconds waited) {
  object_.call_->OnStillWaiting(what, waited);
}

BlockingObject::Call::Call(BlockingObject* object)
    : object_(*object),
      lock_(object->mutex_, std::defer_lock),
      next_check_(Wait::Clock::now() + kCheckSignals) {
  const std::string name = object_.name_;
  if (object_.cancel_.is_foreign()) {
    throw FailedPreconditionError("the " + name +
                                  " belongs to the process that this one was forked from; make "
                                  "another one here");
  }
  if (object_.owner_.load(std::memory_order_relaxed) == std::this_thread::get_id()) {
    throw FailedPreconditionError("the " + name +
                                  " is in the midst of a call that a signal handler interrupted");
  }
  if (!lock_.try_lock()) {
    const std::string what = "another thread's call on the same " + name;
    Wait wait({&object_.cancel_, this}, kNoLimit, what);
    std::chrono::milliseconds delay = kFirstLookForLock;
    do {
      wait.Poll(-1, 0, delay);
      delay = std::min(2 * delay, kLastLookForLock);
    } while (!lock_.try_lock());
    gil_.Acquire();
  }
  if (object_.closed()) throw CancelledError("the " + name + " is closed");
  object_.owner_.store(std::this_thread::get_id(), std::memory_order_relaxed);
  object_.call_ = this;
}

BlockingObject::Call::~Call() {
  object_.Publish();
  object_.is_waiting_.store(false, std::memory_order_relaxed);
  if (object_.closed()) object_.Release();
  object_.call_ = nullptr;
  object_.owner_.store(std::thread::id(), std::memory_order_relaxed);
  lock_.unlock();
}

void BlockingObject::Call::CheckNowAndThen() {
  OnTick();
  if (object_.closed()) throw CancelledError("the " + std::string(object_.name_) + " was closed");
}

void BlockingObject::Call::OnTick() {
  const Wait::Clock::time_point now = Wait::Clock::now();
  if (now >= next_check_ && IsMainThread()) CheckSignals();
}

void BlockingObject::Call::OnStillWaiting(std::string_view what, std::chrono::seconds waited) {
  gil_.Acquire();
  py::module_::import("logging")
      .attr("getLogger")("sagemaker_tensorflow")
      .attr(object_.log_level_)("waiting for %s: %d s so far", what, waited.count());
  gil_.Release();
}

void BlockingObject::Call::CheckSignals() {
  gil_.Acquire();
  if (PyErr_CheckSignals() != 0) throw py::error_already_set();
  gil_.Release();
  next_check_ = Wait::Clock::now() + kCheckSignals;
}

}  // namespace pipemode::python
