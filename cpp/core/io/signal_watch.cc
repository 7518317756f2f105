// SPDX-License-Identifier: Apache-2.0
#include "core/io/signal_watch.h"

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <ctime>
#include <mutex>

namespace pipemode {
namespace {

constexpr int kSignals[] = {SIGINT, SIGTERM};

using PlainHandler = void (*)(int);
using InfoHandler = void (*)(int, siginfo_t*, void*);

// What stood in the place of our handler. Written under `arm_mutex`, read by the handler.
struct Chained {
  std::atomic<PlainHandler> plain{nullptr};
  std::atomic<InfoHandler> info{nullptr};
};

std::atomic<bool> enabled{false};
std::atomic<int64_t> last_signal_ns{0};  // steady clock; 0: none yet
std::mutex arm_mutex;
Chained chained[2];

static_assert(std::atomic<int64_t>::is_always_lock_free, "needed by a signal handler");
static_assert(std::atomic<PlainHandler>::is_always_lock_free, "needed by a signal handler");

int64_t NowNanoseconds() {
  // clock_gettime is async-signal-safe, std::chrono is not promised to be.
  timespec now;
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

void OnSignal(int signal_number, siginfo_t* info, void* context) {
  const int saved_errno = errno;
  last_signal_ns.store(NowNanoseconds(), std::memory_order_release);
  const Chained& next = chained[signal_number == SIGINT ? 0 : 1];
  if (const InfoHandler handler = next.info.load(std::memory_order_acquire)) {
    handler(signal_number, info, context);
  } else if (const PlainHandler plain = next.plain.load(std::memory_order_acquire)) {
    plain(signal_number);
  }
  errno = saved_errno;
}

bool IsFirstFound(const struct sigaction& current, const Chained& first) {
  if ((current.sa_flags & SA_SIGINFO) != 0) {
    return first.info.load(std::memory_order_relaxed) == current.sa_sigaction;
  }
  return first.plain.load(std::memory_order_relaxed) == current.sa_handler;
}

bool ArmOne(int signal_number, Chained& first) {
  struct sigaction current;
  if (::sigaction(signal_number, nullptr, &current) != 0) return false;
  const bool has_info = (current.sa_flags & SA_SIGINFO) != 0;
  if (has_info && current.sa_sigaction == OnSignal) return true;
  if (!has_info && (current.sa_handler == SIG_DFL || current.sa_handler == SIG_IGN)) return false;
  const bool never_armed = first.info.load(std::memory_order_relaxed) == nullptr &&
                           first.plain.load(std::memory_order_relaxed) == nullptr;
  // A handler that is neither ours nor the one we found may well call ours: chaining it would go in
  // circles.
  if (!never_armed && !IsFirstFound(current, first)) return false;
  if (has_info) {
    first.info.store(current.sa_sigaction, std::memory_order_release);
  } else {
    first.plain.store(current.sa_handler, std::memory_order_release);
  }
  struct sigaction ours = current;
  ours.sa_sigaction = OnSignal;
  ours.sa_flags |= SA_SIGINFO;
  return ::sigaction(signal_number, &ours, nullptr) == 0;
}

}  // namespace

void SignalWatch::Enable() noexcept { enabled.store(true, std::memory_order_release); }

bool SignalWatch::Arm() noexcept {
  if (!enabled.load(std::memory_order_acquire)) return false;
  const std::lock_guard<std::mutex> lock(arm_mutex);
  bool armed = false;
  for (size_t i = 0; i < 2; ++i) armed |= ArmOne(kSignals[i], chained[i]);
  return armed;
}

std::optional<std::chrono::steady_clock::time_point> SignalWatch::LastSignal() noexcept {
  const int64_t at = last_signal_ns.load(std::memory_order_acquire);
  if (at == 0) return std::nullopt;
  return std::chrono::steady_clock::time_point(std::chrono::nanoseconds(at));
}

}  // namespace pipemode
