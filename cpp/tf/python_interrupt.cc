// SPDX-License-Identifier: Apache-2.0
//
// What runs where. OnSignal: any thread, async-signal-safe. Helper: one thread a process, asleep
// but for signals. PassOn: the main thread, with the GIL. ShouldStopWaiting: any thread. They share
// the two slots below and one semaphore, which OnSignal posts and Helper waits for; none of them
// takes a lock. `watch_mutex` guards only the placing of handlers.
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

// Where a slot is. Who makes one of these steps has made it alone, by compare-and-exchange:
//   kEmpty -> kCopying -> kHeld    OnSignal, of a signal that is held back
//   kHeld -> kRaised               Helper or PassOn, which then send the signal to the main thread
//   kRaised -> kCopying -> kEmpty  OnSignal, of that signal, before it calls the chained handler
// In kCopying the one who came there has `info` for itself.
enum class Hold : int { kEmpty, kCopying, kHeld, kRaised };

// One signal: the handler that stood where ours is, and what is held back of the signal.
//
// One that comes while the slot is taken is dropped, as the kernel drops it where one is pending.
struct Slot {
  const int signal_number;
  const int64_t grace_ns;
  std::atomic<PlainHandler> plain{nullptr};  // these two are written under `watch_mutex`
  std::atomic<InfoHandler> info_handler{nullptr};
  std::atomic<Hold> hold{Hold::kEmpty};
  std::atomic<int64_t> since_ns{0};
  siginfo_t info{};
};

Slot slots[] = {{SIGINT, kInterruptGraceNs}, {SIGTERM, kTerminateGraceNs}};
std::mutex watch_mutex;

const PythonApi* python = nullptr;   // set before the first handler is placed
std::atomic<pid_t> process{0};       // likewise; a forked child has another, and no helper
std::atomic<bool> is_queued{false};  // whether PassOn is on its way
sem_t wake_helper;

static_assert(std::atomic<int64_t>::is_always_lock_free && std::atomic<Hold>::is_always_lock_free &&
                  std::atomic<pid_t>::is_always_lock_free,
              "needed by a signal handler");

Slot& SlotOf(int signal_number) { return slots[signal_number == SIGINT ? 0 : 1]; }

int64_t NowNs() noexcept {
  timespec now;  // clock_gettime is async-signal-safe, std::chrono is not promised to be
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

bool InOurProcess() noexcept { return ::getpid() == process.load(std::memory_order_acquire); }

bool OnMainThread() noexcept { return ::syscall(SYS_gettid) == ::getpid(); }

bool Step(Slot& slot, Hold from, Hold to) noexcept {
  return slot.hold.compare_exchange_strong(from, to, std::memory_order_acq_rel);
}

void CallChained(const Slot& slot, siginfo_t* info, void* context) {
  if (const InfoHandler handler = slot.info_handler.load(std::memory_order_acquire)) {
    handler(slot.signal_number, info, context);
  } else if (const PlainHandler plain = slot.plain.load(std::memory_order_acquire)) {
    plain(slot.signal_number);
  }
}

// Sends the main thread the signal of a slot that is raised. It is known by its value, so that one
// that comes second does nothing, and one of another sender is not taken for it.
void SendRaised(Slot& slot) noexcept {
  const pid_t main_thread = ::getpid();
  siginfo_t info{};
  info.si_signo = slot.signal_number;
  info.si_code = SI_QUEUE;
  info.si_pid = main_thread;
  info.si_uid = ::getuid();
  info.si_value.sival_ptr = &slot;
  ::syscall(SYS_rt_tgsigqueueinfo, main_thread, main_thread, slot.signal_number, &info);
}

bool IsRaised(const Slot& slot, const siginfo_t& info) noexcept {
  return info.si_code == SI_QUEUE && info.si_pid == ::getpid() && info.si_value.sival_ptr == &slot;
}

void OnSignal(int signal_number, siginfo_t* info, void* context) {
  const int saved_errno = errno;
  Slot& slot = SlotOf(signal_number);
  const bool is_ours = InOurProcess();
  if (is_ours && IsRaised(slot, *info)) {
    if (Step(slot, Hold::kRaised, Hold::kCopying)) {
      // The kernel's context is that of this thread, as it is now; who sent the signal is held.
      siginfo_t held = slot.info;
      slot.hold.store(Hold::kEmpty, std::memory_order_release);
      CallChained(slot, &held, context);
    }
  } else if (!is_ours || (OnMainThread() && python->CurrentThreadHoldsGil())) {
    CallChained(slot, info, context);
  } else if (Step(slot, Hold::kEmpty, Hold::kCopying)) {
    slot.info = *info;
    slot.since_ns.store(NowNs(), std::memory_order_relaxed);
    slot.hold.store(Hold::kHeld, std::memory_order_release);
    ::sem_post(&wake_helper);
  }
  errno = saved_errno;
}

// The signal that has waited longest, null if none does.
Slot* FirstHeld() noexcept {
  Slot* first = nullptr;
  for (Slot& slot : slots) {
    const Hold hold = slot.hold.load(std::memory_order_acquire);
    if (hold != Hold::kHeld && hold != Hold::kRaised) continue;
    if (first == nullptr || slot.since_ns < first->since_ns) first = &slot;
  }
  return first;
}

// Passes a held signal on: on the main thread, that has Python's GIL. When this returns, the
// handler has run. Python's may run on any thread, whatever signals the main thread blocks, so that
// does not count here either.
void RaiseHere(Slot& slot) noexcept {
  sigset_t signals;
  sigset_t before;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, slot.signal_number);
  ::pthread_sigmask(SIG_UNBLOCK, &signals, &before);
  Step(slot, Hold::kHeld, Hold::kRaised);
  SendRaised(slot);  // the helper may have raised it, and not come to that yet
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  // If the script has just set a handler, Python's is in the place of ours and has had the signal.
  Step(slot, Hold::kRaised, Hold::kEmpty);
}

int PassOn(void* unused);

// Returns whether it will be called.
bool QueuePassOn() noexcept {
  if (is_queued.exchange(true)) return true;
  if (python->AddPendingCall(PassOn)) return true;
  is_queued = false;
  return false;
}

// The pending call: the main thread runs bytecode again.
int PassOn(void* /*unused*/) {
  is_queued = false;
  if (!InOurProcess()) return 0;
  if (FirstHeld() != nullptr && python->WouldLoseException() && QueuePassOn()) return 0;
  // Python takes of several signals that it has noted the lowest number first, and runs handlers at
  // its next chance, which may be inside a finalizer. So each has its handler run here, before the
  // next is passed on. If one raises, this call comes again: the helper queues it for as long as a
  // signal is held.
  for (;;) {
    if (!python->RunSignalHandlers()) return -1;
    Slot* const slot = FirstHeld();
    if (slot == nullptr) break;
    RaiseHere(*slot);
  }
  return 0;
}

void* Helper(void* /*unused*/) {
  for (;;) {
    while (::sem_wait(&wake_helper) != 0) {
    }
    while (Slot* const slot = FirstHeld()) {
      QueuePassOn();
      if (!python->MainThreadIsInTensorFlow() && Step(*slot, Hold::kHeld, Hold::kRaised)) {
        SendRaised(*slot);
      }
      std::this_thread::sleep_for(kHelperTick);
    }
  }
  return nullptr;
}

bool StartHelper() noexcept {
  if (::sem_init(&wake_helper, 0, 0) != 0) return false;
  // Handlers belong on the main thread. A thread begins with the mask of the one that starts it, so
  // that no signal finds the helper before it could block them.
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t helper;
  const bool is_started = ::pthread_create(&helper, nullptr, Helper, nullptr) == 0;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (is_started) ::pthread_detach(helper);
  return is_started;
}

bool IsFirstFound(const struct sigaction& current, const Slot& slot) {
  if ((current.sa_flags & SA_SIGINFO) != 0) {
    return slot.info_handler.load(std::memory_order_relaxed) == current.sa_sigaction;
  }
  return slot.plain.load(std::memory_order_relaxed) == current.sa_handler;
}

void WatchOne(Slot& slot) noexcept {
  struct sigaction current;
  if (::sigaction(slot.signal_number, nullptr, &current) != 0) return;
  const bool has_info = (current.sa_flags & SA_SIGINFO) != 0;
  if (has_info && current.sa_sigaction == OnSignal) return;
  if (!has_info && (current.sa_handler == SIG_DFL || current.sa_handler == SIG_IGN)) return;
  // One that is to run once would be gone by the time that the signal is passed on.
  if ((current.sa_flags & static_cast<int>(SA_RESETHAND)) != 0) return;
  const bool first_time = slot.info_handler.load(std::memory_order_relaxed) == nullptr &&
                          slot.plain.load(std::memory_order_relaxed) == nullptr;
  // signal.signal() puts Python's handler back in place of ours: chain it again. A handler that is
  // neither may well call ours: chaining that would go in circles.
  if (!first_time && !IsFirstFound(current, slot)) return;
  if (has_info) {
    slot.info_handler.store(current.sa_sigaction, std::memory_order_release);
  } else {
    slot.plain.store(current.sa_handler, std::memory_order_release);
  }
  struct sigaction ours = current;
  ours.sa_sigaction = OnSignal;
  ours.sa_flags |= SA_SIGINFO;
  ::sigaction(slot.signal_number, &ours, nullptr);
}

}  // namespace

void PythonInterrupt::Watch() noexcept {
  const PythonApi* const api = PythonApi::Find();
  if (api == nullptr) return;
  // A child that is forked while another thread holds the lock would never get it.
  static const bool kGuarded =
      ::pthread_atfork([] { watch_mutex.lock(); }, [] { watch_mutex.unlock(); },
                       [] { watch_mutex.unlock(); }) == 0;
  if (!kGuarded) return;
  const std::lock_guard<std::mutex> lock(watch_mutex);
  if (!InOurProcess()) {
    // The first call of this process; before it, the handler of a parent passes all signals on.
    python = api;
    for (Slot& slot : slots) slot.hold = Hold::kEmpty;
    is_queued = false;
    if (!StartHelper()) return;
    process.store(::getpid(), std::memory_order_release);
  }
  for (Slot& slot : slots) WatchOne(slot);
}

bool PythonInterrupt::ShouldStopWaiting(std::chrono::steady_clock::time_point begun) noexcept {
  // steady_clock is CLOCK_MONOTONIC.
  const int64_t begun_ns = std::chrono::nanoseconds(begun.time_since_epoch()).count();
  for (const Slot& slot : slots) {
    if (slot.hold.load(std::memory_order_acquire) != Hold::kHeld) continue;
    const int64_t since_ns = std::max(begun_ns, slot.since_ns.load(std::memory_order_relaxed));
    if (NowNs() - since_ns >= slot.grace_ns) return true;
  }
  return false;
}

}  // namespace pipemode
