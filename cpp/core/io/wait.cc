// SPDX-License-Identifier: Apache-2.0
#include "core/io/wait.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <ctime>
#include <utility>

#include "core/base/error.h"

namespace pipemode {
namespace {

constexpr std::chrono::seconds kFirstReport{10};
constexpr std::chrono::seconds kLaterReports{60};

Wait::Clock::time_point Add(Wait::Clock::time_point start, TimeLimit limit) {
  const TimeLimit room = Wait::Clock::time_point::max() - start;
  if (limit >= room) return Wait::Clock::time_point::max();
  return start + std::chrono::duration_cast<Wait::Clock::duration>(limit);
}

timespec ToTimespec(Wait::Clock::duration duration) {
  duration = std::max(duration, Wait::Clock::duration::zero());
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(duration);
  timespec result;
  result.tv_sec = static_cast<time_t>(seconds.count());
  result.tv_nsec = static_cast<long>(std::chrono::nanoseconds(duration - seconds).count());
  return result;
}

}  // namespace

Wait::Wait(const WaitContext& context, TimeLimit limit, const std::string& what)
    : context_(context),
      what_(what),
      start_(Clock::now()),
      deadline_(Add(start_, limit)),
      next_report_(start_ + kFirstReport) {}

short Wait::Poll(int fd, short events, Clock::duration at_most) {
  Clock::time_point now = Clock::now();
  const Clock::time_point until = Add(now, at_most);
  if (!announced_) {
    if (context_.observer != nullptr) context_.observer->OnBlock();
    announced_ = true;
  }
  pollfd polled[2] = {{fd, events, 0}, {context_.cancel->fd(), POLLIN, 0}};
  for (;;) {
    ThrowIfOver(now);
    ReportIfLong(now);
    if (context_.observer != nullptr) context_.observer->OnTick();
    Clock::time_point wake = std::min({until, deadline_, next_report_});
    if (context_.observer != nullptr) wake = std::min(wake, now + Clock::duration(kWaitTick));
    const timespec timeout = ToTimespec(wake - now);
    const int ready = ::ppoll(polled, 2, &timeout, nullptr);
    if (ready < 0 && errno != EINTR) throw IoError(errno, "poll");
    const Clock::time_point slept_since = std::exchange(now, Clock::now());
    if (context_.observer != nullptr) context_.observer->OnWaited(now - slept_since);
    if (ready > 0 && polled[0].revents != 0) return polled[0].revents;
    if (ready == 0 && now >= until) return 0;
  }
}

void Wait::ThrowIfOver(Clock::time_point now) const {
  if (context_.cancel->is_foreign()) {
    throw FailedPreconditionError("what waits for " + what_ +
                                  " belongs to the process that this one was forked from");
  }
  if (context_.cancel->cancelled()) {
    throw CancelledError("cancelled while waiting for " + what_);
  }
  if (now >= deadline_) {
    throw DeadlineExceededError("waited " + FormatSeconds(deadline_ - start_) + " for " + what_);
  }
}

void Wait::ReportIfLong(Clock::time_point now) {
  if (now < next_report_) return;
  next_report_ = now + kLaterReports;
  if (context_.observer != nullptr) {
    context_.observer->OnStillWaiting(
        what_, std::chrono::duration_cast<std::chrono::seconds>(now - start_));
  }
}

void EndCheck::Look(std::string_view what) {
  if (context_.cancel->cancelled()) {
    throw CancelledError("cancelled while reading " + std::string(what));
  }
  if (context_.observer == nullptr) return;
  const auto now = CoarseNow();
  if (now - looked_ < kWaitTick) return;
  looked_ = now;
  context_.observer->OnBlock();
  context_.observer->OnTick();
}

std::string FormatSeconds(TimeLimit limit) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.6g s", limit.count());
  return text;
}

}  // namespace pipemode
