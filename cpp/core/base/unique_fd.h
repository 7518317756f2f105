// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_CORE_BASE_UNIQUE_FD_H_
#define PIPEMODE_CORE_BASE_UNIQUE_FD_H_

#include <unistd.h>

#include <utility>

namespace pipemode {

// Owns a file descriptor; -1 is none.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) noexcept : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) {
      Reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~UniqueFd() { Reset(); }

  int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }

  void Reset() noexcept {
    // Never retried: Linux has closed the descriptor even when close() says EINTR.
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

 private:
  int fd_ = -1;
};

}  // namespace pipemode

#endif  // PIPEMODE_CORE_BASE_UNIQUE_FD_H_
