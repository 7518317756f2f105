// SPDX-License-Identifier: Apache-2.0
//
// Signal handlers belong to the process, and SignalWatch can never be switched off again: each test
// runs in a child of its own.
#include "core/io/signal_watch.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <string>
#include <thread>

#include "core/base/error.h"
#include "core/base/unique_fd.h"
#include "core/io/wait.h"
#include "testing/child.h"
#include "testing/environment.h"

namespace pipemode {
namespace {

using ::pipemode::testing::Clock;
using ::pipemode::testing::RunInChild;
using std::chrono::milliseconds;

// EXPECT_... is of no use in a child.
#define CHECK_THAT(condition)                                                          \
  if (!(condition)) {                                                                  \
    return std::string(#condition " does not hold, line ") + std::to_string(__LINE__); \
  }                                                                                    \
  static_assert(true, "")

std::atomic<int> plain_calls{0};
std::atomic<int> info_calls{0};
std::atomic<int> later_calls{0};
std::atomic<pid_t> sender_pid{0};

void PlainHandler(int) {
  ++plain_calls;
  errno = EDOM;  // a careless handler
}

void InfoHandler(int, siginfo_t* info, void* context) {
  if (context != nullptr) sender_pid = info->si_pid;
  ++info_calls;
}

struct sigaction Current(int signal_number) {
  struct sigaction action{};
  ::sigaction(signal_number, nullptr, &action);
  return action;
}

void Install(int signal_number, void (*handler)(int)) {
  struct sigaction action{};
  action.sa_handler = handler;
  ::sigaction(signal_number, &action, nullptr);
}

void InstallInfo(int signal_number, void (*handler)(int, siginfo_t*, void*)) {
  struct sigaction action{};
  action.sa_sigaction = handler;
  action.sa_flags = SA_SIGINFO;
  ::sigaction(signal_number, &action, nullptr);
}

TEST(SignalWatchTest, DoesNothingUnlessEnabled) {
  EXPECT_EQ(RunInChild([]() -> std::string {
              Install(SIGINT, PlainHandler);
              CHECK_THAT(!SignalWatch::Arm());
              CHECK_THAT(Current(SIGINT).sa_handler == PlainHandler);
              ::raise(SIGINT);
              CHECK_THAT(plain_calls == 1);
              CHECK_THAT(!SignalWatch::LastSignal());
              return "";
            }),
            "");
}

TEST(SignalWatchTest, LeavesDefaultAndIgnoredSignalsAlone) {
  EXPECT_EQ(RunInChild([]() -> std::string {
              SignalWatch::Enable();
              Install(SIGINT, SIG_DFL);
              Install(SIGTERM, SIG_IGN);
              CHECK_THAT(!SignalWatch::Arm());
              CHECK_THAT(Current(SIGINT).sa_handler == SIG_DFL);
              CHECK_THAT(Current(SIGTERM).sa_handler == SIG_IGN);
              return "";
            }),
            "");
}

TEST(SignalWatchTest, CtrlCStillKillsWhereNothingIsInstalled) {
  EXPECT_EQ(RunInChild([]() -> std::string {
              SignalWatch::Enable();
              Install(SIGINT, SIG_DFL);
              Install(SIGTERM, PlainHandler);
              SignalWatch::Arm();
              ::raise(SIGINT);
              return "survived";
            }),
            "killed by signal " + std::to_string(SIGINT));
}

TEST(SignalWatchTest, ChainsInFrontOfAPlainHandler) {
  EXPECT_EQ(RunInChild([]() -> std::string {
              SignalWatch::Enable();
              for (const int signal_number : {SIGINT, SIGTERM}) {
                struct sigaction action{};
                action.sa_handler = PlainHandler;
                action.sa_flags = SA_ONSTACK;
                ::sigaddset(&action.sa_mask, SIGUSR2);
                ::sigaction(signal_number, &action, nullptr);
              }
              CHECK_THAT(SignalWatch::Arm());
              CHECK_THAT(SignalWatch::Arm());
              CHECK_THAT(!SignalWatch::LastSignal());
              int expected_calls = 0;
              for (const int signal_number : {SIGINT, SIGTERM}) {
                const struct sigaction ours = Current(signal_number);
                CHECK_THAT(ours.sa_handler != PlainHandler);
                CHECK_THAT((ours.sa_flags & SA_ONSTACK) != 0);
                CHECK_THAT((ours.sa_flags & SA_RESTART) == 0);
                CHECK_THAT(::sigismember(&ours.sa_mask, SIGUSR2) == 1);
                const auto before = Clock::now();
                errno = EXDEV;
                ::raise(signal_number);
                CHECK_THAT(errno == EXDEV);
                CHECK_THAT(plain_calls == ++expected_calls);
                CHECK_THAT(SignalWatch::LastSignal() >= before);
                CHECK_THAT(SignalWatch::LastSignal() <= Clock::now());
              }
              return "";
            }),
            "");
}

TEST(SignalWatchTest, ChainsInFrontOfAHandlerWithInfo) {
  EXPECT_EQ(RunInChild([]() -> std::string {
              SignalWatch::Enable();
              InstallInfo(SIGINT, InfoHandler);
              CHECK_THAT(SignalWatch::Arm());
              CHECK_THAT(Current(SIGINT).sa_sigaction != InfoHandler);
              ::raise(SIGINT);
              CHECK_THAT(info_calls == 1);
              CHECK_THAT(sender_pid == ::getpid());
              CHECK_THAT(SignalWatch::LastSignal());
              return "";
            }),
            "");
}

TEST(SignalWatchTest, ArmsAgainWhenTheFirstHandlerIsRestored) {
  EXPECT_EQ(RunInChild([]() -> std::string {
              SignalWatch::Enable();
              Install(SIGINT, PlainHandler);
              CHECK_THAT(SignalWatch::Arm());
              for (int i = 1; i <= 3; ++i) {
                Install(SIGINT, PlainHandler);
                CHECK_THAT(SignalWatch::Arm());
                CHECK_THAT(Current(SIGINT).sa_handler != PlainHandler);
                ::raise(SIGINT);
                CHECK_THAT(plain_calls == i);
              }
              return "";
            }),
            "");
}

TEST(SignalWatchTest, AHandlerSetLaterIsLeftAlone) {
  EXPECT_EQ(RunInChild([]() -> std::string {
              SignalWatch::Enable();
              Install(SIGINT, PlainHandler);
              CHECK_THAT(SignalWatch::Arm());
              const auto later = +[](int) { ++later_calls; };
              Install(SIGINT, later);
              CHECK_THAT(!SignalWatch::Arm());
              CHECK_THAT(Current(SIGINT).sa_handler == later);
              ::raise(SIGINT);
              CHECK_THAT(later_calls == 1);
              CHECK_THAT(plain_calls == 0);
              // Nor is one of the other kind taken for the first.
              InstallInfo(SIGINT, InfoHandler);
              CHECK_THAT(!SignalWatch::Arm());
              CHECK_THAT(Current(SIGINT).sa_sigaction == InfoHandler);
              return "";
            }),
            "");
}

TEST(SignalWatchTest, AHandlerSetLaterMayCallOurs) {
  EXPECT_EQ(RunInChild([]() -> std::string {
              static struct sigaction previous;
              SignalWatch::Enable();
              Install(SIGINT, PlainHandler);
              CHECK_THAT(SignalWatch::Arm());
              struct sigaction later{};
              later.sa_flags = SA_SIGINFO;
              later.sa_sigaction = [](int signal_number, siginfo_t* info, void* context) {
                if (++later_calls < 100) previous.sa_sigaction(signal_number, info, context);
              };
              ::sigaction(SIGINT, &later, &previous);
              SignalWatch::Arm();  // must not put ours in front of one that calls it
              ::raise(SIGINT);
              CHECK_THAT(later_calls == 1);
              CHECK_THAT(plain_calls == 1);
              CHECK_THAT(SignalWatch::LastSignal());
              return "";
            }),
            "");
}

// Waits on nothing for at most 5 s, while `signal_number` comes to the thread that waits or to
// another one. Returns what went wrong.
std::string WaitWithSignal(int signal_number, bool to_other_thread) {
  SignalWatch::Enable();
  Install(signal_number, PlainHandler);
  CancelToken cancel;
  const WaitContext context{&cancel};
  const std::string what = "nothing";
  const pthread_t waiter = ::pthread_self();
  Clock::time_point sent_at;
  std::atomic<bool> ended{false};
  std::thread sender([&] {
    // The wait has begun once the handler is in place.
    while ((Current(signal_number).sa_flags & SA_SIGINFO) == 0) std::this_thread::yield();
    sent_at = Clock::now();
    ::pthread_kill(to_other_thread ? ::pthread_self() : waiter, signal_number);
    while (!ended) std::this_thread::sleep_for(milliseconds(1));
  });
  std::string message = "no error";
  try {
    Wait(context, std::chrono::seconds(5), what).Poll(-1, 0);
  } catch (const PipeError& error) {
    message = error.what();
  }
  const Clock::time_point ended_at = Clock::now();
  ended = true;
  sender.join();
  CHECK_THAT(message == "interrupted by a signal while waiting for nothing");
  CHECK_THAT(plain_calls == 1);
  CHECK_THAT(ended_at - sent_at >= kSignalGrace);
  CHECK_THAT(ended_at - sent_at < milliseconds(testing::kSanitized ? 1000 : 200));
  return "";
}

TEST(SignalWatchTest, AWaitEndsSoonAfterCtrlC) {
  EXPECT_EQ(RunInChild([] { return WaitWithSignal(SIGINT, false); }), "");
}

TEST(SignalWatchTest, AWaitEndsSoonAfterASignalToAnotherThread) {
  EXPECT_EQ(RunInChild([] { return WaitWithSignal(SIGINT, true); }), "");
}

TEST(SignalWatchTest, AWaitEndsSoonAfterSigterm) {
  EXPECT_EQ(RunInChild([] { return WaitWithSignal(SIGTERM, false); }), "");
}

TEST(SignalWatchTest, WithoutItCtrlCEndsNoWait) {
  EXPECT_EQ(RunInChild([]() -> std::string {
              Install(SIGINT, PlainHandler);
              CancelToken cancel;
              const WaitContext context{&cancel};
              const std::string what = "nothing";
              ::raise(SIGINT);
              Wait wait(context, std::chrono::milliseconds(250), what);
              try {
                wait.Poll(-1, 0);
              } catch (const DeadlineExceededError&) {
                return plain_calls == 1 ? "" : "handler not called";
              }
              return "no deadline";
            }),
            "");
}

TEST(SignalWatchTest, ASignalJustBeforeAWaitCountsToo) {
  EXPECT_EQ(RunInChild([]() -> std::string {
              SignalWatch::Enable();
              Install(SIGINT, PlainHandler);
              SignalWatch::Arm();
              CancelToken cancel;
              const WaitContext context{&cancel};
              const std::string what = "nothing";
              for (;;) {
                ::raise(SIGINT);
                const auto sent_at = Clock::now();
                Wait wait(context, std::chrono::seconds(5), what);
                if (Clock::now() >= sent_at + kSignalGrace / 2) continue;  // a busy machine
                try {
                  wait.Poll(-1, 0);
                  return "no error";
                } catch (const CancelledError&) {
                }
                CHECK_THAT(Clock::now() - sent_at >= kSignalGrace / 2);
                CHECK_THAT(Clock::now() - sent_at < milliseconds(1000));
                return "";
              }
            }),
            "");
}

TEST(SignalWatchTest, AnOldSignalDoesNotCount) {
  EXPECT_EQ(RunInChild([]() -> std::string {
              SignalWatch::Enable();
              Install(SIGINT, PlainHandler);
              SignalWatch::Arm();
              CancelToken cancel;
              const WaitContext context{&cancel};
              const std::string what = "nothing";
              ::raise(SIGINT);
              std::this_thread::sleep_for(kSignalGrace + milliseconds(1));
              Wait wait(context, kNoLimit, what);
              CHECK_THAT(wait.Poll(-1, 0, milliseconds(150)) == 0);
              return "";
            }),
            "");
}

TEST(SignalWatchTest, DataWithinTheGraceIsStillTaken) {
  EXPECT_EQ(RunInChild([]() -> std::string {
              SignalWatch::Enable();
              Install(SIGINT, PlainHandler);
              SignalWatch::Arm();
              CancelToken cancel;
              const WaitContext context{&cancel};
              const std::string what = "data";
              int ends[2];
              CHECK_THAT(::pipe2(ends, O_CLOEXEC) == 0);
              const UniqueFd out(ends[0]);
              const UniqueFd in(ends[1]);
              CHECK_THAT(::write(in.get(), "x", 1) == 1);
              for (;;) {
                Wait wait(context, kNoLimit, what);
                const auto start = Clock::now();
                ::raise(SIGINT);
                try {
                  CHECK_THAT(wait.Poll(out.get(), POLLIN) == POLLIN);
                  return "";
                } catch (const CancelledError&) {
                  CHECK_THAT(Clock::now() >= start + kSignalGrace);  // a busy machine
                }
              }
            }),
            "");
}

TEST(SignalWatchTest, AnObserverMayDealWithASignal) {
  EXPECT_EQ(RunInChild([]() -> std::string {
              class Observer : public WaitObserver {
               public:
                bool OnSignal() override {
                  ++calls;
                  return deals;
                }
                bool deals = true;
                int calls = 0;
              };
              SignalWatch::Enable();
              Install(SIGINT, PlainHandler);
              SignalWatch::Arm();
              Observer observer;
              CancelToken cancel;
              const WaitContext context{&cancel, &observer};
              const std::string what = "nothing";
              Wait wait(context, kNoLimit, what);
              ::raise(SIGINT);
              CHECK_THAT(wait.Poll(-1, 0, milliseconds(150)) == 0);
              CHECK_THAT(observer.calls == 1);  // once for each signal
              observer.deals = false;
              ::raise(SIGINT);
              try {
                wait.Poll(-1, 0, milliseconds(2000));
                return "no error";
              } catch (const CancelledError&) {
              }
              CHECK_THAT(observer.calls == 2);
              return "";
            }),
            "");
}

}  // namespace
}  // namespace pipemode
