// SPDX-License-Identifier: Apache-2.0
//
// Signals that are held back, with a Python that is ours, so that each place of its main thread is
// there for as long as a test wants. Each test is a process of its own: handlers stay for good.
#include "tf/python_interrupt.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <ucontext.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <functional>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "testing/child.h"
#include "testing/environment.h"
#include "tf/fake_python.h"

namespace pipemode {
namespace {

using ::pipemode::testing::Clock;
using ::pipemode::testing::kPatience;
using ::pipemode::testing::Place;
using ::pipemode::testing::RaiseException;
using ::pipemode::testing::RunBytecode;
using ::pipemode::testing::RunInChild;
using ::pipemode::testing::SetInitialized;
using ::pipemode::testing::SetPendingCallsRefused;
using ::pipemode::testing::SetPlace;
using ::pipemode::testing::SetPythonHandler;
using std::chrono::milliseconds;

std::string order;  // of the script's handlers

void OnInterrupt(int /*unused*/) { order += "INT "; }
void OnTerminate(int /*unused*/) { order += "TERM "; }

void WatchPython() {
  SetPythonHandler(SIGINT, OnInterrupt);
  SetPythonHandler(SIGTERM, OnTerminate);
  PythonInterrupt::Watch();
}

struct sigaction HandlerOf(int signal_number) {
  struct sigaction action = {};
  ::sigaction(signal_number, nullptr, &action);
  return action;
}

bool IsPlain(int signal_number, void (*handler)(int)) {
  const struct sigaction action = HandlerOf(signal_number);
  return (action.sa_flags & SA_SIGINFO) == 0 && action.sa_handler == handler;
}

// A handler that wants to know who sent the signal.
std::atomic<int> told{0};
siginfo_t told_info{};
bool told_context = false;

void OnInfo(int /*unused*/, siginfo_t* info, void* context) {
  if (info != nullptr) told_info = *info;
  // One that the kernel made knows where the thread was.
  auto* const interrupted = static_cast<ucontext_t*>(context);
  told_context = interrupted != nullptr && interrupted->uc_stack.ss_flags >= 0;
  ++told;
}

void WatchInfoHandler() {
  struct sigaction action = {};
  action.sa_sigaction = OnInfo;
  action.sa_flags = SA_SIGINFO;
  ::sigaction(SIGTERM, &action, nullptr);
  PythonInterrupt::Watch();
}

void SendWithValue(int signal_number, int value) {
  sigval number{};
  number.sival_int = value;
  ::sigqueue(::getpid(), signal_number, number);
}

bool WaitFor(const std::function<bool()>& condition) {
  const Clock::time_point limit = Clock::now() + kPatience;
  while (!condition()) {
    if (Clock::now() > limit) return false;
    std::this_thread::sleep_for(milliseconds(1));
  }
  return true;
}

// The main thread comes back from TensorFlow, again and again, as the helper may be late.
bool RunBytecodeUntil(const std::function<bool()>& condition) {
  SetPlace(Place::kBytecode);
  return WaitFor([&] {
    RunBytecode();
    return condition();
  });
}

TEST(PythonInterruptTest, BothOfTwoSignalsReachTheirHandlersInOrder) {
  for (const auto& [first, second, expected] :
       {std::tuple(SIGTERM, SIGINT, "TERM INT "), std::tuple(SIGINT, SIGTERM, "INT TERM ")}) {
    EXPECT_EQ(RunInChild([first = first, second = second] {
                WatchPython();
                SetPlace(Place::kTensorFlow);
                ::kill(::getpid(), first);
                ::kill(::getpid(), second);
                if (!order.empty()) return "too early: " + order;
                // For the helper this is still TensorFlow, so that it sends nothing: of two signals
                // that it has noted, Python, too, takes the lower number first.
                WaitFor([] {
                  RunBytecode();
                  return order.size() >= 9;
                });
                return order;
              }),
              expected);
  }
}

TEST(PythonInterruptTest, OneThatIsHeldComesOnceHoweverOftenItIsSent) {
  EXPECT_EQ(RunInChild([] {
              WatchPython();
              SetPlace(Place::kTensorFlow);
              for (int i = 0; i < 5; ++i) ::kill(::getpid(), SIGINT);
              ::kill(::getpid(), SIGTERM);
              RunBytecodeUntil([] { return order.size() >= 9; });
              return order;
            }),
            "INT TERM ");
}

TEST(PythonInterruptTest, NothingIsPassedOnWhileAnExceptionIsMade) {
  for (const Place place : {Place::kException, Place::kCallOfException}) {
    EXPECT_EQ(RunInChild([place] {
                WatchPython();
                SetPlace(Place::kTensorFlow);
                ::kill(::getpid(), SIGINT);
                SetPlace(place);
                for (int i = 0; i < 100; ++i) {
                  RunBytecode();
                  std::this_thread::sleep_for(milliseconds(1));
                }
                if (!order.empty()) return "too early: " + order;
                RunBytecodeUntil([] { return !order.empty(); });
                return order;
              }),
              "INT ");
  }
}

TEST(PythonInterruptTest, OneIsHeldForAsLongAsTensorFlowRuns) {
  EXPECT_EQ(RunInChild([]() -> std::string {
              WatchPython();
              SetPlace(Place::kTensorFlow);
              ::kill(::getpid(), SIGTERM);
              // A second, in which the helper looks again and again.
              const Clock::time_point begun = Clock::now();
              if (!WaitFor([begun] { return PythonInterrupt::ShouldStopWaiting(begun); })) {
                return "waits go on";
              }
              if (!order.empty()) return "too early: " + order;
              RunBytecodeUntil([] { return !order.empty(); });
              return order;
            }),
            "TERM ");
}

TEST(PythonInterruptTest, AnExceptionOfOneHandlerDoesNotLoseTheNextSignal) {
  EXPECT_EQ(RunInChild([] {
              WatchPython();
              SetPythonHandler(SIGTERM, [](int /*unused*/) {
                order += "TERM ";
                RaiseException();
              });
              PythonInterrupt::Watch();
              SetPlace(Place::kTensorFlow);
              ::kill(::getpid(), SIGTERM);
              ::kill(::getpid(), SIGINT);
              SetPlace(Place::kBytecode);
              WaitFor([] {
                if (!RunBytecode()) order += "raised ";
                return order.find("INT") != std::string::npos;
              });
              return order;
            }),
            "TERM raised INT ");
}

TEST(PythonInterruptTest, AFullQueueOfPendingCallsIsTriedAgain) {
  EXPECT_EQ(RunInChild([] {
              WatchPython();
              SetPendingCallsRefused(3);
              SetPlace(Place::kTensorFlow);
              ::kill(::getpid(), SIGINT);
              RunBytecodeUntil([] { return !order.empty(); });
              return order;
            }),
            "INT ");
}

TEST(PythonInterruptTest, OneThatComesToAnotherThreadIsHandledOnTheMainThread) {
  for (const Place place : {Place::kBytecode, Place::kTensorFlow, Place::kSystemCall}) {
    EXPECT_EQ(RunInChild([place]() -> std::string {
                static std::atomic<pid_t> handled_by{0};
                struct sigaction action = {};
                action.sa_handler = [](int /*unused*/) {
                  handled_by = static_cast<pid_t>(::syscall(SYS_gettid));
                };
                ::sigaction(SIGTERM, &action, nullptr);
                PythonInterrupt::Watch();
                SetPlace(place);
                std::thread([] { ::pthread_kill(::pthread_self(), SIGTERM); }).join();
                if (!RunBytecodeUntil([] { return handled_by != 0; })) return "never";
                return handled_by == ::getpid() ? "" : "by another thread";
              }),
              "");
  }
}

TEST(PythonInterruptTest, TheInterruptedCodeKeepsItsErrno) {
  EXPECT_EQ(RunInChild([]() -> std::string {
              struct sigaction action = {};
              action.sa_handler = [](int /*unused*/) {
                errno = EBADF;
                ++told;
              };
              ::sigaction(SIGTERM, &action, nullptr);
              PythonInterrupt::Watch();
              errno = 0;
              ::raise(SIGTERM);
              return std::to_string(told) + ", " + std::to_string(errno);
            }),
            "1, 0");
}

// Which handlers are ours to stand in front of.

TEST(PythonInterruptTest, WithoutPythonNothingIsTouched) {
  EXPECT_EQ(RunInChild([]() -> std::string {
              SetInitialized(false);
              SetPythonHandler(SIGTERM, OnTerminate);
              const auto before = HandlerOf(SIGTERM).sa_handler;
              PythonInterrupt::Watch();
              if (!IsPlain(SIGTERM, before)) return "the handler is another";
              return PythonInterrupt::ShouldStopWaiting(Clock::time_point()) ? "waits end" : "";
            }),
            "");
}

TEST(PythonInterruptTest, ASignalWithoutAHandlerStaysWithoutOne) {
  EXPECT_EQ(RunInChild([]() -> std::string {
              ::signal(SIGINT, SIG_DFL);
              ::signal(SIGTERM, SIG_IGN);
              PythonInterrupt::Watch();
              if (!IsPlain(SIGINT, SIG_DFL)) return "not the default action";
              return IsPlain(SIGTERM, SIG_IGN) ? "" : "not ignored";
            }),
            "");
}

TEST(PythonInterruptTest, NothingOfOursIsLeftOnceTheScriptTakesItsHandlerAway) {
  EXPECT_EQ(RunInChild([]() -> std::string {
              WatchPython();
              if (IsPlain(SIGINT, SIG_DFL)) return "not watched at all";
              ::signal(SIGINT, SIG_DFL);
              ::signal(SIGTERM, SIG_IGN);
              PythonInterrupt::Watch();
              if (!IsPlain(SIGTERM, SIG_IGN)) return "not ignored";
              if (!IsPlain(SIGINT, SIG_DFL)) return "not the default action";
              SetPlace(Place::kTensorFlow);
              ::kill(::getpid(), SIGINT);
              return "held";
            }),
            "killed by signal 2");
}

TEST(PythonInterruptTest, OneOfAnotherLibraryInFrontOfOursStaysInFront) {
  EXPECT_EQ(RunInChild([]() -> std::string {
              static void (*ours)(int, siginfo_t*, void*) = nullptr;
              static std::atomic<int> seen{0};
              WatchPython();
              ours = HandlerOf(SIGTERM).sa_sigaction;
              struct sigaction action = {};
              action.sa_flags = SA_SIGINFO;
              action.sa_sigaction = [](int signal_number, siginfo_t* info, void* context) {
                ++seen;
                ours(signal_number, info, context);
              };
              ::sigaction(SIGTERM, &action, nullptr);
              PythonInterrupt::Watch();
              if (HandlerOf(SIGTERM).sa_sigaction != action.sa_sigaction) return "not in front";
              SetPlace(Place::kTensorFlow);
              ::kill(::getpid(), SIGTERM);
              if (!order.empty()) return "not held";
              RunBytecodeUntil([] { return !order.empty(); });
              // As it came, and as it was passed on: by the helper, by the main thread, or by both.
              return order + (seen == 2 || seen == 3 ? "seen" : std::to_string(seen));
            }),
            "TERM seen");
}

TEST(PythonInterruptTest, PythonsHandlerThatComesBackIsWatchedAgain) {
  EXPECT_EQ(RunInChild([]() -> std::string {
              WatchPython();
              const auto ours = HandlerOf(SIGTERM).sa_sigaction;
              // signal.signal() of a script that sets a handler later.
              SetPythonHandler(SIGTERM, [](int /*unused*/) { order += "LATER "; });
              PythonInterrupt::Watch();
              if (HandlerOf(SIGTERM).sa_sigaction != ours) return "not watched";
              SetPlace(Place::kTensorFlow);
              ::kill(::getpid(), SIGTERM);
              if (!order.empty()) return "not held";
              RunBytecodeUntil([] { return !order.empty(); });
              return order;
            }),
            "LATER ");
}

TEST(PythonInterruptTest, TheFlagsAndTheMaskOfAHandlerStay) {
  EXPECT_EQ(RunInChild([]() -> std::string {
              struct sigaction action = {};
              action.sa_handler = OnTerminate;
              action.sa_flags = SA_RESTART | SA_ONSTACK;
              ::sigaddset(&action.sa_mask, SIGUSR1);
              ::sigaction(SIGTERM, &action, nullptr);
              PythonInterrupt::Watch();
              const struct sigaction ours = HandlerOf(SIGTERM);
              if ((ours.sa_flags & SA_SIGINFO) == 0) return "not watched";
              if ((ours.sa_flags & SA_RESTART) == 0) return "no longer restarts";
              if ((ours.sa_flags & SA_ONSTACK) == 0) return "on another stack";
              if (::sigismember(&ours.sa_mask, SIGUSR1) != 1) return "no longer blocks";
              return ::sigismember(&ours.sa_mask, SIGUSR2) == 1 ? "blocks more" : "";
            }),
            "");
}

TEST(PythonInterruptTest, AHandlerIsToldWhoSentTheSignal) {
  for (const Place place : {Place::kBytecode, Place::kTensorFlow, Place::kSystemCall}) {
    EXPECT_EQ(RunInChild([place]() -> std::string {
                WatchInfoHandler();
                SetPlace(place);
                SendWithValue(SIGTERM, 42);
                if (place == Place::kBytecode && told != 1) return "not at once";
                if (place == Place::kTensorFlow && told != 0) return "too early";
                if (place == Place::kTensorFlow) SetPlace(Place::kBytecode);
                // In a system call it comes all by itself.
                if (!WaitFor([place] {
                      if (place == Place::kTensorFlow) RunBytecode();
                      return told != 0;
                    })) {
                  return "never";
                }
                if (!told_context) return "no context";
                if (told_info.si_code != SI_QUEUE || told_info.si_pid != ::getpid()) return "whose";
                return std::to_string(told_info.si_value.sival_int);
              }),
              "42");
  }
}

TEST(PythonInterruptTest, AlsoIfTheMainThreadBlocksTheSignal) {
  EXPECT_EQ(RunInChild([]() -> std::string {
              WatchInfoHandler();
              SetPlace(Place::kSystemCall);
              // It comes to a thread that does not block it. That one has slept before it is sent:
              // GCC 12's ThreadSanitizer loses a signal that comes within the first blocking call
              // of a thread, where it makes the thread's room for signals.
              std::atomic<bool> begun{false};
              std::atomic<bool> over{false};
              std::thread other([&] {
                std::this_thread::sleep_for(milliseconds(1));
                begun = true;
                WaitFor([&over] { return over.load(); });
              });
              if (!WaitFor([&begun] { return begun.load(); })) return "no other thread";
              sigset_t blocked;
              sigset_t after;
              ::sigemptyset(&blocked);
              ::sigaddset(&blocked, SIGTERM);
              ::pthread_sigmask(SIG_BLOCK, &blocked, nullptr);
              SendWithValue(SIGTERM, 42);
              const bool came = RunBytecodeUntil([] { return told != 0; });
              over = true;
              other.join();
              ::pthread_sigmask(SIG_BLOCK, nullptr, &after);
              if (!came) return "never";
              if (::sigismember(&after, SIGTERM) != 1) return "no longer blocked";
              return std::to_string(told_info.si_value.sival_int) + ", " + std::to_string(told);
            }),
            "42, 1");
}

TEST(PythonInterruptTest, AHandlerThatIsToRunOnceIsLeftAlone) {
  EXPECT_EQ(RunInChild([]() -> std::string {
              struct sigaction action = {};
              action.sa_sigaction = OnInfo;
              action.sa_flags = static_cast<int>(SA_SIGINFO | SA_RESETHAND);
              ::sigaction(SIGTERM, &action, nullptr);
              PythonInterrupt::Watch();
              SetPlace(Place::kTensorFlow);
              SendWithValue(SIGTERM, 42);
              return std::to_string(told);
            }),
            "1");
}

TEST(PythonInterruptTest, TheShortestOfTheTimesThatAreLeftCounts) {
  for (const std::vector<int>& sent :
       {std::vector{SIGINT}, std::vector{SIGTERM, SIGINT}, std::vector{SIGINT, SIGTERM, SIGTERM}}) {
    EXPECT_EQ(RunInChild([&sent]() -> std::string {
                WatchPython();
                SetPlace(Place::kTensorFlow);
                const Clock::time_point begun = Clock::now();
                for (const int signal_number : sent) ::kill(::getpid(), signal_number);
                // One that goes on being sent does not put it off.
                while (!PythonInterrupt::ShouldStopWaiting(begun)) {
                  if (Clock::now() - begun > milliseconds(900)) return "the longer one";
                  ::kill(::getpid(), sent.back());
                  std::this_thread::sleep_for(milliseconds(5));
                }
                return Clock::now() - begun < milliseconds(50) ? "too early" : "";
              }),
              "");
  }
}

TEST(PythonInterruptTest, AllThreadsThatWaitGiveUp) {
  EXPECT_EQ(RunInChild([]() -> std::string {
              WatchPython();
              if (PythonInterrupt::ShouldStopWaiting(Clock::time_point())) return "no signal yet";
              SetPlace(Place::kTensorFlow);
              std::atomic<int> waiting{0};
              std::atomic<int> stopped{0};
              std::vector<std::thread> threads;
              for (int i = 0; i < 2; ++i) {
                threads.emplace_back([&] {
                  const Clock::time_point begun = Clock::now();
                  ++waiting;
                  if (WaitFor([begun] { return PythonInterrupt::ShouldStopWaiting(begun); })) {
                    ++stopped;
                  }
                });
              }
              WaitFor([&] { return waiting == 2; });
              ::kill(::getpid(), SIGINT);
              for (std::thread& thread : threads) thread.join();
              RunBytecodeUntil([] { return !order.empty(); });
              if (stopped != 2) return std::to_string(stopped) + " stopped";
              // The signal is passed on: the next wait need not end.
              return PythonInterrupt::ShouldStopWaiting(Clock::time_point()) ? "still" : order;
            }),
            "INT ");
}

TEST(PythonInterruptTest, AWaitThatBeginsLaterHasAsMuchGrace) {
  EXPECT_EQ(
      RunInChild([]() -> std::string {
        WatchPython();
        SetPlace(Place::kTensorFlow);
        ::kill(::getpid(), SIGINT);
        if (!WaitFor([] { return PythonInterrupt::ShouldStopWaiting(Clock::time_point()); })) {
          return "the first goes on";
        }
        const Clock::time_point begun = Clock::now();
        if (!WaitFor([begun] { return PythonInterrupt::ShouldStopWaiting(begun); })) {
          return "the second goes on";
        }
        return Clock::now() - begun < milliseconds(50) ? "too early" : "";
      }),
      "");
}

TEST(PythonInterruptTest, AForkedChildHasNothingOfWhatIsHeld) {
  EXPECT_EQ(RunInChild([]() -> std::string {
              WatchPython();
              SetPlace(Place::kTensorFlow);
              ::kill(::getpid(), SIGINT);
              const std::string of_child = RunInChild([]() -> std::string {
                SetPlace(Place::kBytecode);
                for (int i = 0; i < 50; ++i) {
                  RunBytecode();
                  std::this_thread::sleep_for(milliseconds(1));
                }
                return "child: " + order;
              });
              RunBytecodeUntil([] { return !order.empty(); });
              return of_child + "parent: " + order;
            }),
            "child: parent: INT ");
}

// Signals from all sides, while the main thread goes to and fro.
TEST(PythonInterruptTest, ManySignalsAtOnce) {
  EXPECT_EQ(RunInChild([]() -> std::string {
              WatchInfoHandler();
              SetPythonHandler(SIGINT, OnInterrupt);
              PythonInterrupt::Watch();
              std::atomic<bool> over{false};
              std::vector<std::thread> senders;
              for (const int signal_number : {SIGINT, SIGTERM}) {
                senders.emplace_back([&over, signal_number] {
                  while (!over) {
                    // Each value is a whole one: the process and the number that it stands for.
                    SendWithValue(signal_number, static_cast<int>(::getpid()) ^ signal_number);
                    std::this_thread::sleep_for(std::chrono::microseconds(100));
                  }
                });
              }
              std::string result;
              const Clock::time_point limit = Clock::now() + milliseconds(500);
              while (Clock::now() < limit && result.empty()) {
                SetPlace(Place::kTensorFlow);
                std::this_thread::sleep_for(milliseconds(1));
                SetPlace(Place::kBytecode);
                RunBytecode();
                sigset_t blocked;
                sigset_t before;
                ::sigemptyset(&blocked);
                ::sigaddset(&blocked, SIGTERM);
                ::pthread_sigmask(SIG_BLOCK, &blocked, &before);
                if (told > 0 && told_info.si_code == SI_QUEUE &&
                    told_info.si_value.sival_int != (told_info.si_pid ^ SIGTERM)) {
                  result = "a torn siginfo_t";
                }
                ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
              }
              over = true;
              for (std::thread& sender : senders) sender.join();
              if (told == 0 || order.empty()) return "nothing came";
              // After all this one more comes through.
              order.clear();
              SetPlace(Place::kTensorFlow);
              ::kill(::getpid(), SIGINT);
              RunBytecodeUntil([] { return !order.empty(); });
              return result + (order.empty() ? "lost" : "");
            }),
            "");
}

}  // namespace
}  // namespace pipemode
