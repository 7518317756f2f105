// SPDX-License-Identifier: Apache-2.0
//
// System calls that fail on purpose. The linker's --wrap leads those of the core, in this test
// program alone, through functions that count them: docs/adr/0013-system-calls-that-fail.md.
#ifndef PIPEMODE_TESTS_FAULTS_SYSCALL_FAULTS_H_
#define PIPEMODE_TESTS_FAULTS_SYSCALL_FAULTS_H_

#include <cstdint>
#include <functional>
#include <ostream>
#include <string>
#include <string_view>

namespace pipemode::testing {

// What one of the calls of one name does instead of its work.
struct SyscallFault {
  std::string call;      // as in syscall_faults.cc
  int error_number = 0;  // it fails with this; 0: it moves one byte only
  bool lasting = false;  // so do all later ones
  int command = -1;      // fcntl only: those with this command; -1: any
};

void PrintTo(const SyscallFault& fault, std::ostream* out);

// Lets the `at`-th (from 1) call of the thread that made this object fail. One at a time.
class ScopedSyscallFault {
 public:
  ScopedSyscallFault(SyscallFault fault, uint64_t at);
  ScopedSyscallFault(const ScopedSyscallFault&) = delete;
  ScopedSyscallFault& operator=(const ScopedSyscallFault&) = delete;
  ~ScopedSyscallFault();

  // Whether there was such a call.
  bool struck() const;

 private:
  const SyscallFault fault_;
};

// Runs `hook` before the `at`-th wrapped call of this thread, whichever it is, and before each
// later one until it returns true: what another process does between two calls. One at a time, and
// not with a fault.
class ScopedSyscallHook {
 public:
  ScopedSyscallHook(std::function<bool()> hook, uint64_t at);
  ScopedSyscallHook(const ScopedSyscallHook&) = delete;
  ScopedSyscallHook& operator=(const ScopedSyscallHook&) = delete;
  ~ScopedSyscallHook();

  // Whether it has returned true.
  bool done() const;

 private:
  const std::function<bool()> hook_;
};

}  // namespace pipemode::testing

#endif  // PIPEMODE_TESTS_FAULTS_SYSCALL_FAULTS_H_
