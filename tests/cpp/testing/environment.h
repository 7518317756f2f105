// SPDX-License-Identifier: Apache-2.0
//
// What the build and the machine mean for a test.
#ifndef PIPEMODE_TESTS_TESTING_ENVIRONMENT_H_
#define PIPEMODE_TESTS_TESTING_ENVIRONMENT_H_

#include <sys/resource.h>

#include <chrono>
#include <csignal>
#include <cstddef>

namespace pipemode::testing {

#if defined(__SANITIZE_THREAD__)
inline constexpr bool kThreadSanitizer = true;
#else
inline constexpr bool kThreadSanitizer = false;
#endif
#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool kAddressSanitizer = true;
#else
inline constexpr bool kAddressSanitizer = false;
#endif
inline constexpr bool kSanitized = kThreadSanitizer || kAddressSanitizer;

using Clock = std::chrono::steady_clock;

// No test waits longer than this for anything: what takes longer will never come.
inline constexpr std::chrono::seconds kPatience{30};

// Writers in this process want EPIPE, not death.
inline const bool kSigpipeIgnored = std::signal(SIGPIPE, SIG_IGN) != SIG_ERR;

inline std::chrono::microseconds ToDuration(const timeval& time) {
  return std::chrono::seconds(time.tv_sec) + std::chrono::microseconds(time.tv_usec);
}

// The processor time that the calling thread has used.
inline std::chrono::microseconds ThreadCpuTime() {
  rusage usage{};
  ::getrusage(RUSAGE_THREAD, &usage);
  return ToDuration(usage.ru_utime) + ToDuration(usage.ru_stime);
}

// The most memory that this process ever held.
inline size_t PeakMemoryBytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<size_t>(usage.ru_maxrss) * 1024;
}

inline double Milliseconds(Clock::duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

}  // namespace pipemode::testing

#endif  // PIPEMODE_TESTS_TESTING_ENVIRONMENT_H_
