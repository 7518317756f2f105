// SPDX-License-Identifier: Apache-2.0
#include "faults/process_usage.h"

#include <malloc.h>

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <new>

#include "testing/environment.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
// Of <sanitizer/allocator_interface.h>, which GCC does not bring.
extern "C" size_t __sanitizer_get_current_allocated_bytes();
#endif

namespace pipemode::testing {
namespace {

int64_t Entries(const char* folder) {
  return std::distance(std::filesystem::directory_iterator(folder), {});
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
int64_t AllocatedBytes() {
  return static_cast<int64_t>(::__sanitizer_get_current_allocated_bytes());
}
#else
std::atomic<int64_t> allocated_bytes{0};

int64_t AllocatedBytes() { return allocated_bytes; }
#endif

// Of this thread: how many allocations until one fails; 0: none will, or it has.
thread_local uint64_t allocations_left = 0;

}  // namespace

ProcessUsage ProcessUsage::Now() {
  return {Entries("/proc/self/fd"), Entries("/proc/self/task"), AllocatedBytes()};
}

ScopedAllocationFault::ScopedAllocationFault(uint64_t at) { allocations_left = at; }

ScopedAllocationFault::~ScopedAllocationFault() { allocations_left = 0; }

bool ScopedAllocationFault::struck() const { return allocations_left == 0; }

}  // namespace pipemode::testing

// Sanitizers count by themselves, and want to see the real ones.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
void* operator new(size_t size) {
  using pipemode::testing::allocations_left;
  const bool fails = allocations_left > 0 && --allocations_left == 0;
  void* const memory = fails ? nullptr : std::malloc(size);
  if (memory == nullptr) throw std::bad_alloc();
  pipemode::testing::allocated_bytes += static_cast<int64_t>(::malloc_usable_size(memory));
  return memory;
}

void operator delete(void* memory) noexcept {
  pipemode::testing::allocated_bytes -= static_cast<int64_t>(::malloc_usable_size(memory));
  std::free(memory);
}

void operator delete(void* memory, size_t /*size*/) noexcept { operator delete(memory); }
#endif
