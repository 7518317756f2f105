// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_FUZZ_GUARDED_BUFFER_H_
#define PIPEMODE_FUZZ_GUARDED_BUFFER_H_

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>

#include "fuzz/check.h"

namespace pipemode::fuzz {

// Memory whose last byte is the last one of a page, with a forbidden page behind. ISA-L is
// assembler, where AddressSanitizer sees nothing.
class GuardedBuffer {
 public:
  explicit GuardedBuffer(size_t capacity)
      : page_(static_cast<size_t>(::sysconf(_SC_PAGESIZE))),
        capacity_((capacity + page_ - 1) / page_ * page_) {
    void* const memory = ::mmap(nullptr, capacity_ + page_, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    Check(memory != MAP_FAILED, "mmap");
    start_ = static_cast<char*>(memory);
    Check(::mprotect(start_ + capacity_, page_, PROT_NONE) == 0, "mprotect");
  }
  GuardedBuffer(const GuardedBuffer&) = delete;
  GuardedBuffer& operator=(const GuardedBuffer&) = delete;
  ~GuardedBuffer() { ::munmap(start_, capacity_ + page_); }

  // The last `size` bytes, at most as many as asked for.
  char* Last(size_t size) const { return start_ + capacity_ - size; }

 private:
  const size_t page_;
  const size_t capacity_;
  char* start_;
};

}  // namespace pipemode::fuzz

#endif  // PIPEMODE_FUZZ_GUARDED_BUFFER_H_
