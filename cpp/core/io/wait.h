// SPDX-License-Identifier: Apache-2.0
//
// Every place where the core sleeps goes through Wait, so that each of them ends at once when it is
// cancelled, soon after Ctrl-C, and at its time limit, and says so when it takes long.
#ifndef PIPEMODE_CORE_IO_WAIT_H_
#define PIPEMODE_CORE_IO_WAIT_H_

#include <chrono>
#include <limits>
#include <string>
#include <string_view>

#include "core/base/coarse_clock.h"
#include "core/io/cancel_token.h"

namespace pipemode {

// Told about waiting. Called by the thread that waits, while it waits; and every kWaitTick by one
// that reads without ever having to wait, first OnBlock, then OnTick, so that it can be ended, too.
class WaitObserver {
 public:
  virtual ~WaitObserver() = default;

  // The thread is about to block. Comes at the beginning of each wait; may throw CancelledError
  // instead of letting it block.
  virtual void OnBlock() {}

  // Comes every kWaitTick while the thread is blocked, and when a signal handler has run on it: the
  // place to look for whatever cannot wake the wait. May throw to end it.
  virtual void OnTick() {}

  // The thread has slept for `time`: a whole wait, or a part of it, so that a long one shows while
  // it lasts. Must not throw.
  virtual void OnWaited(std::chrono::steady_clock::duration time) { (void)time; }

  // The wait for `what` has lasted `waited` by now: first at 10 s, then every minute.
  virtual void OnStillWaiting(std::string_view what, std::chrono::seconds waited) {
    (void)what;
    (void)waited;
  }
};

// 50 wake-ups a second cost a blocked wait below 0.1 % of a core.
inline constexpr std::chrono::milliseconds kWaitTick{20};

// Who may end a wait and who is told of it. Both must outlive everything that waits; `observer` may
// be null.
struct WaitContext {
  const CancelToken* cancel;
  WaitObserver* observer = nullptr;
};

// A time limit in seconds; infinity is none.
using TimeLimit = std::chrono::duration<double>;
inline constexpr TimeLimit kNoLimit{std::numeric_limits<double>::infinity()};

// One wait for one thing, from its construction on. Not safe for use by two threads at once.
class Wait {
 public:
  using Clock = std::chrono::steady_clock;

  // `what` completes "waiting for ..."; it must outlive the object and may change between calls.
  Wait(const WaitContext& context, TimeLimit limit, const std::string& what);

  // Sleeps until `fd` has one of `events` (or POLLHUP, POLLERR), or `at_most` is over, whichever is
  // first. `fd` may be -1: nothing but time. Returns poll's revents, 0 when `at_most` passed.
  // Throws CancelledError when the token is cancelled, DeadlineExceededError when the limit is
  // reached, FailedPreconditionError in a forked child of the token's process, IoError if poll()
  // fails, and what the observer throws. May be called again then.
  short Poll(int fd, short events, Clock::duration at_most = Clock::duration::max());

 private:
  void ThrowIfOver(Clock::time_point now) const;
  void ReportIfLong(Clock::time_point now);

  const WaitContext context_;
  const std::string& what_;
  const Clock::time_point start_;
  const Clock::time_point deadline_;
  Clock::time_point next_report_;
  bool announced_ = false;
};

// For what reads without ever having to wait: bytes that never become a record would keep a call
// from noticing that it is to end. Not safe for use by two threads at once.
class EndCheck {
 public:
  explicit EndCheck(const WaitContext& context) : context_(context) {}

  // To be called before each read; `what` completes "cancelled while reading ...". Throws
  // CancelledError when the token is cancelled and, every kWaitTick, what the observer throws.
  void Look(std::string_view what);

 private:
  const WaitContext context_;
  std::chrono::steady_clock::time_point looked_ = CoarseNow();
};

// "1800 s", "0.5 s": a time limit as messages show it.
std::string FormatSeconds(TimeLimit limit);

}  // namespace pipemode

#endif  // PIPEMODE_CORE_IO_WAIT_H_
