// SPDX-License-Identifier: Apache-2.0
//
// What runs where. OnSignal: any thread, async-signal-safe. Helper: one thread a process, asleep
// but for signals. PassOn: the main thread, with the GIL. ShouldStopWaiting: any thread. They share
// atomics and one semaphore; `watch_mutex` guards only the placing of handlers.
#include "tf/python_interrupt.h"

#include <pthread.h>
#include <semaphore.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <ctime>
#include <mutex>
#include <thread>

#include "tf/python_api.h"

namespace pipemode {
namespace {

// How long a wait goes on once a signal is held back. SIGINT is mostly a person who wants out;
// SIGTERM announces the end of the job to scripts that save their model at the next step, and data
// on its way must not be cut off.
constexpr int64_t kInterruptGraceNs = 50'000'000;
constexpr int64_t kTerminateGraceNs = 1'000'000'000;
constexpr std::chrono::milliseconds kHelperTick{20};

using PlainHandler = void (*)(int);
using InfoHandler = void (*)(int, siginfo_t*, void*);

// The handler that stood where ours is. Written under `watch_mutex`.
struct Chained {
  std::atomic<PlainHandler> plain{nullptr};
  std::atomic<InfoHandler> info{nullptr};
};

constexpr int kSignals[] = {SIGINT, SIGTERM};
Chained chained[2];
std::mutex watch_mutex;

const PythonApi* python = nullptr;  // set before the first handler is placed
pid_t process = 0;                  // likewise; a forked child has another, and no helper
sem_t wake_helper;

std::atomic<int> held_signal{0};  // held back, 0 if none
std::atomic<int64_t> held_since_ns{0};
std::atomic<bool> pass_through{false};

static_assert(std::atomic<int64_t>::is_always_lock_free, "needed by a signal handler");

Chained& ChainedOf(int signal_number) { return chained[signal_number == SIGINT ? 0 : 1]; }

int64_t NowNs() noexcept {
  timespec now;  // clock_gettime is async-signal-safe, std::chrono is not promised to be
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

bool OnMainThread() noexcept { return ::syscall(SYS_gettid) == ::getpid(); }

void CallChained(int signal_number, siginfo_t* info, void* context) {
  const Chained& next = ChainedOf(signal_number);
  if (const InfoHandler handler = next.info.load(std::memory_order_acquire)) {
    handler(signal_number, info, context);
  } else if (const PlainHandler plain = next.plain.load(std::memory_order_acquire)) {
    plain(signal_number);
  }
}

void OnSignal(int signal_number, siginfo_t* info, void* context) {
  const int saved_errno = errno;
  if (::getpid() != process || pass_through.exchange(false) ||
      (OnMainThread() && python->CurrentThreadHoldsGil())) {
    CallChained(signal_number, info, context);
  } else {
    held_since_ns.store(NowNs(), std::memory_order_relaxed);
    held_signal.store(signal_number, std::memory_order_release);
    ::sem_post(&wake_helper);
  }
  errno = saved_errno;
}

// The pending call: the main thread runs bytecode again.
int PassOn(void* /*unused*/) {
  if (held_signal.load(std::memory_order_acquire) == 0) return 0;
  if (python->IsMakingException() && python->AddPendingCall(PassOn)) return 0;
  const int signal_number = held_signal.exchange(0);
  if (signal_number != 0) CallChained(signal_number, nullptr, nullptr);
  return 0;
}

void* Helper(void* /*unused*/) {
  // Handlers belong on the main thread.
  sigset_t all;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
  for (;;) {
    while (::sem_wait(&wake_helper) != 0) {
    }
    bool queued = false;
    while (held_signal.load(std::memory_order_acquire) != 0) {
      if (!queued) queued = python->AddPendingCall(PassOn);
      if (!python->MainThreadIsInTensorFlow()) {
        const int signal_number = held_signal.exchange(0);
        if (signal_number != 0) {
          pass_through.store(true);
          ::syscall(SYS_tgkill, process, process, signal_number);  // the main thread
        }
        break;
      }
      std::this_thread::sleep_for(kHelperTick);
    }
  }
  return nullptr;
}

bool StartHelper() noexcept {
  pthread_t helper;
  if (::sem_init(&wake_helper, 0, 0) != 0) return false;
  if (::pthread_create(&helper, nullptr, Helper, nullptr) != 0) return false;
  ::pthread_detach(helper);
  return true;
}

bool IsFirstFound(const struct sigaction& current, const Chained& first) {
  if ((current.sa_flags & SA_SIGINFO) != 0) {
    return first.info.load(std::memory_order_relaxed) == current.sa_sigaction;
  }
  return first.plain.load(std::memory_order_relaxed) == current.sa_handler;
}

void WatchOne(int signal_number) noexcept {
  struct sigaction current;
  if (::sigaction(signal_number, nullptr, &current) != 0) return;
  const bool has_info = (current.sa_flags & SA_SIGINFO) != 0;
  if (has_info && current.sa_sigaction == OnSignal) return;
  if (!has_info && (current.sa_handler == SIG_DFL || current.sa_handler == SIG_IGN)) return;
  Chained& first = ChainedOf(signal_number);
  const bool first_time = first.info.load(std::memory_order_relaxed) == nullptr &&
                          first.plain.load(std::memory_order_relaxed) == nullptr;
  // signal.signal() puts Python's handler back in place of ours: chain it again. A handler that is
  // neither may well call ours: chaining that would go in circles.
  if (!first_time && !IsFirstFound(current, first)) return;
  if (has_info) {
    first.info.store(current.sa_sigaction, std::memory_order_release);
  } else {
    first.plain.store(current.sa_handler, std::memory_order_release);
  }
  struct sigaction ours = current;
  ours.sa_sigaction = OnSignal;
  ours.sa_flags |= SA_SIGINFO;
  ::sigaction(signal_number, &ours, nullptr);
}

}  // namespace

void PythonInterrupt::Watch() noexcept {
  const PythonApi* const api = PythonApi::Find();
  if (api == nullptr) return;
  // A child that is forked while another thread holds the lock would never get it.
  static const bool guarded =
      ::pthread_atfork([] { watch_mutex.lock(); }, [] { watch_mutex.unlock(); },
                       [] { watch_mutex.unlock(); }) == 0;
  if (!guarded) return;
  const std::lock_guard<std::mutex> lock(watch_mutex);
  if (process != ::getpid()) {
    // The first call of this process; before it, the handler of a parent passes all signals on.
    python = api;
    held_signal.store(0);
    if (!StartHelper()) return;
    process = ::getpid();
  }
  for (const int signal_number : kSignals) WatchOne(signal_number);
}

bool PythonInterrupt::ShouldStopWaiting(std::chrono::steady_clock::time_point begun) noexcept {
  const int signal_number = held_signal.load(std::memory_order_acquire);
  if (signal_number == 0) return false;
  // steady_clock is CLOCK_MONOTONIC.
  const int64_t begun_ns = std::chrono::nanoseconds(begun.time_since_epoch()).count();
  const int64_t since_ns = std::max(begun_ns, held_since_ns.load(std::memory_order_relaxed));
  return NowNs() - since_ns >= (signal_number == SIGINT ? kInterruptGraceNs : kTerminateGraceNs);
}

}  // namespace pipemode
