// SPDX-License-Identifier: Apache-2.0
#include "core/base/fork_guarded_fd.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <mutex>
#include <utility>
#include <vector>

#include "core/base/error.h"

namespace pipemode {
namespace {

constexpr size_t kMinCapacity = 256;

// All guarded descriptors of the process.
class Registry {
 public:
  // Never destroyed: threads may be at work while the process exits.
  static Registry& Get() {
    static auto& registry = *new Registry;
    return registry;
  }

  int Open(const std::function<int()>& open) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!stand_in_) stand_in_ = UniqueFd(::open("/", O_PATH | O_CLOEXEC));
    if (!stand_in_) return -1;
    // In large steps: what a process takes should not depend on how many were ever open at once.
    if (fds_.size() == fds_.capacity()) fds_.reserve(std::max(kMinCapacity, 2 * fds_.size()));
    const int fd = open();
    if (fd >= 0) fds_.push_back(fd);
    return fd;
  }

  // How many forks lie between the process that began with this and the current one.
  unsigned generation() const noexcept { return generation_; }

  void Close(UniqueFd* fd) noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    fds_.erase(std::find(fds_.begin(), fds_.end(), fd->get()));
    fd->Reset();
  }

 private:
  Registry() {
    // The locks keep a fork from coming between a descriptor and its entry.
    const int error = ::pthread_atfork([] { Get().mutex_.lock(); }, [] { Get().mutex_.unlock(); },
                                       [] { Get().LeaveToParent(); });
    if (error != 0) throw IoError(error, "pthread_atfork");
  }

  // In the child, where nothing but what is safe in a signal handler may be called.
  void LeaveToParent() {
    for (const int fd : fds_) ::dup3(stand_in_.get(), fd, O_CLOEXEC);
    ++generation_;  // a child has no other thread that could see it
    mutex_.unlock();
  }

  std::mutex mutex_;
  UniqueFd stand_in_;
  std::vector<int> fds_;
  unsigned generation_ = 0;
};

}  // namespace

ForkGuardedFd::ForkGuardedFd(const std::function<int()>& open)
    : fd_(Registry::Get().Open(open)), generation_(Registry::Get().generation()) {}

// A descriptor that is set has made the registry, so that Get() does not throw.
// NOLINTNEXTLINE(bugprone-exception-escape)
bool ForkGuardedFd::is_foreign() const noexcept {
  return fd_ && generation_ != Registry::Get().generation();
}

ForkGuardedFd& ForkGuardedFd::operator=(ForkGuardedFd&& other) noexcept {
  if (this != &other) {
    Reset();
    fd_ = std::move(other.fd_);
    generation_ = other.generation_;
  }
  return *this;
}

// As above.
// NOLINTNEXTLINE(bugprone-exception-escape)
void ForkGuardedFd::Reset() noexcept {
  if (fd_) Registry::Get().Close(&fd_);
}

}  // namespace pipemode
