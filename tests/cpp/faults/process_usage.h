// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_TESTS_FAULTS_PROCESS_USAGE_H_
#define PIPEMODE_TESTS_FAULTS_PROCESS_USAGE_H_

#include <cstdint>
#include <ostream>

namespace pipemode::testing {

// What this process holds. Memory is what operator new has given and delete has not had back,
// since malloc's own numbers count what it keeps for later.
struct ProcessUsage {
  static ProcessUsage Now();

  bool operator==(const ProcessUsage& other) const {
    return descriptors == other.descriptors && threads == other.threads && bytes == other.bytes;
  }

  int64_t descriptors;
  int64_t threads;
  int64_t bytes;
};

// Lets the `at`-th (from 1) operator new of this thread throw bad_alloc. One at a time. Does
// nothing under sanitizers, which have their own.
class ScopedAllocationFault {
 public:
  explicit ScopedAllocationFault(uint64_t at);
  ScopedAllocationFault(const ScopedAllocationFault&) = delete;
  ScopedAllocationFault& operator=(const ScopedAllocationFault&) = delete;
  ~ScopedAllocationFault();

  // Whether there was such an allocation.
  bool struck() const;
};

inline void PrintTo(const ProcessUsage& usage, std::ostream* out) {
  *out << usage.descriptors << " descriptors, " << usage.threads << " threads, " << usage.bytes
       << " bytes";
}

}  // namespace pipemode::testing

#endif  // PIPEMODE_TESTS_FAULTS_PROCESS_USAGE_H_
