// SPDX-License-Identifier: Apache-2.0
#include "faults/syscall_faults.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace pipemode::testing {
namespace {

// Of this thread. Plain data: it is looked at in the midst of whatever makes a system call.
struct Plan {
  const SyscallFault* fault = nullptr;
  const std::function<bool()>* hook = nullptr;
  uint64_t at = 0;
  uint64_t calls = 0;
  bool struck = false;
};

thread_local Plan plan;

void RunHook() {
  if (plan.hook == nullptr || ++plan.calls < plan.at) return;
  const std::function<bool()>* const hook = std::exchange(plan.hook, nullptr);
  plan.struck = (*hook)();
  if (!plan.struck) plan.hook = hook;
}

bool Strikes(const char* call, int command = -1) {
  RunHook();
  if (plan.fault == nullptr || plan.fault->call != call) return false;
  if (plan.fault->command >= 0 && plan.fault->command != command) return false;
  ++plan.calls;
  const bool strikes = plan.fault->lasting ? plan.calls >= plan.at : plan.calls == plan.at;
  plan.struck = plan.struck || strikes;
  return strikes;
}

// For calls that have nothing to shorten.
int Fail() {
  errno = plan.fault->error_number;
  return -1;
}

}  // namespace

void PrintTo(const SyscallFault& fault, std::ostream* out) {
  *out << fault.call << ": "
       << (fault.error_number == 0 ? "one byte only" : std::strerror(fault.error_number))
       << (fault.lasting ? ", from then on" : "");
}

ScopedSyscallFault::ScopedSyscallFault(SyscallFault fault, uint64_t at) : fault_(std::move(fault)) {
  if (plan.fault != nullptr || plan.hook != nullptr) throw std::logic_error("one at a time");
  plan = Plan{&fault_, nullptr, at};
}

ScopedSyscallFault::~ScopedSyscallFault() { plan.fault = nullptr; }

bool ScopedSyscallFault::struck() const { return plan.struck; }

ScopedSyscallHook::ScopedSyscallHook(std::function<bool()> hook, uint64_t at)
    : hook_(std::move(hook)) {
  if (plan.fault != nullptr || plan.hook != nullptr) throw std::logic_error("one at a time");
  plan = Plan{nullptr, &hook_, at};
}

ScopedSyscallHook::~ScopedSyscallHook() { plan.hook = nullptr; }

bool ScopedSyscallHook::done() const { return plan.struck; }

}  // namespace pipemode::testing

using pipemode::testing::Fail;
using pipemode::testing::plan;
using pipemode::testing::Strikes;

// NOLINTBEGIN: the linker wants these names.

// One that returns -1 and sets errno.
#define PIPEMODE_WRAP(result, name, parameters, arguments) \
  extern "C" result __real_##name parameters;              \
  extern "C" result __wrap_##name parameters;              \
  result __wrap_##name parameters {                        \
    if (Strikes(#name)) return Fail();                     \
    return __real_##name arguments;                        \
  }

// One that moves up to `size` bytes.
#define PIPEMODE_WRAP_TRANSFER(name, parameters, arguments) \
  extern "C" ssize_t __real_##name parameters;              \
  extern "C" ssize_t __wrap_##name parameters;              \
  ssize_t __wrap_##name parameters {                        \
    if (Strikes(#name)) {                                   \
      if (plan.fault->error_number != 0) return Fail();     \
      size = std::min<size_t>(size, 1);                     \
    }                                                       \
    return __real_##name arguments;                         \
  }

PIPEMODE_WRAP(int, eventfd, (unsigned count, int flags), (count, flags))
PIPEMODE_WRAP(int, fdatasync, (int fd), (fd))
PIPEMODE_WRAP(int, flock, (int fd, int operation), (fd, operation))
PIPEMODE_WRAP(int, fstat, (int fd, struct stat* status), (fd, status))
PIPEMODE_WRAP(int, inotify_add_watch, (int fd, const char* path, uint32_t mask), (fd, path, mask))
PIPEMODE_WRAP(int, inotify_init1, (int flags), (flags))
PIPEMODE_WRAP(int, mkfifo, (const char* path, mode_t mode), (path, mode))
PIPEMODE_WRAP(int, pipe2, (int* ends, int flags), (ends, flags))
PIPEMODE_WRAP(int, ioctl, (int fd, unsigned long request, void* argument), (fd, request, argument))
PIPEMODE_WRAP(int, poll, (pollfd * polled, nfds_t count, int timeout), (polled, count, timeout))
PIPEMODE_WRAP(int, ppoll,
              (pollfd * polled, nfds_t count, const timespec* timeout, const sigset_t* signals),
              (polled, count, timeout, signals))
PIPEMODE_WRAP(int, rename, (const char* from, const char* to), (from, to))
PIPEMODE_WRAP(int, stat, (const char* path, struct stat* status), (path, status))
PIPEMODE_WRAP(ssize_t, tee, (int from, int to, size_t size, unsigned flags),
              (from, to, size, flags))
PIPEMODE_WRAP(int, unlink, (const char* path), (path))
PIPEMODE_WRAP_TRANSFER(splice,
                       (int from, off64_t* at, int to, off64_t* to_at, size_t size, unsigned flags),
                       (from, at, to, to_at, size, flags))
PIPEMODE_WRAP_TRANSFER(pread, (int fd, void* data, size_t size, off_t at), (fd, data, size, at))
PIPEMODE_WRAP_TRANSFER(pwrite, (int fd, const void* data, size_t size, off_t at),
                       (fd, data, size, at))
PIPEMODE_WRAP_TRANSFER(read, (int fd, void* data, size_t size), (fd, data, size))
PIPEMODE_WRAP_TRANSFER(write, (int fd, const void* data, size_t size), (fd, data, size))

extern "C" ssize_t __real_readv(int fd, const iovec* parts, int count);
extern "C" ssize_t __wrap_readv(int fd, const iovec* parts, int count);
ssize_t __wrap_readv(int fd, const iovec* parts, int count) {
  if (Strikes("readv")) {
    if (plan.fault->error_number != 0) return Fail();
    return __real_read(fd, parts[0].iov_base, std::min<size_t>(parts[0].iov_len, 1));
  }
  return __real_readv(fd, parts, count);
}

extern "C" ssize_t __real_preadv(int fd, const iovec* parts, int count, off_t at);
extern "C" ssize_t __wrap_preadv(int fd, const iovec* parts, int count, off_t at);
ssize_t __wrap_preadv(int fd, const iovec* parts, int count, off_t at) {
  if (Strikes("preadv")) {
    if (plan.fault->error_number != 0) return Fail();
    return __real_pread(fd, parts[0].iov_base, std::min<size_t>(parts[0].iov_len, 1), at);
  }
  return __real_preadv(fd, parts, count, at);
}

// Returns its error.
extern "C" int __real_posix_fadvise(int fd, off_t at, off_t size, int advice);
extern "C" int __wrap_posix_fadvise(int fd, off_t at, off_t size, int advice);
int __wrap_posix_fadvise(int fd, off_t at, off_t size, int advice) {
  if (Strikes("posix_fadvise")) return plan.fault->error_number;
  return __real_posix_fadvise(fd, at, size, advice);
}

extern "C" int __real_open(const char* path, int flags, ...);
extern "C" int __wrap_open(const char* path, int flags, ...);
int __wrap_open(const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  if (Strikes("open")) return Fail();
  return __real_open(path, flags, mode);
}

extern "C" int __real_fcntl(int fd, int command, ...);
extern "C" int __wrap_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...) {
  va_list rest;
  va_start(rest, command);
  void* const argument = va_arg(rest, void*);  // an int takes its place, too
  va_end(rest);
  if (Strikes("fcntl", command)) return Fail();
  return __real_fcntl(fd, command, argument);
}

// NOLINTEND
