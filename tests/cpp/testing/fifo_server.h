// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_TESTS_TESTING_FIFO_SERVER_H_
#define PIPEMODE_TESTS_TESTING_FIFO_SERVER_H_

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "core/base/unique_fd.h"
#include "testing/environment.h"

namespace pipemode::testing {

// Writes all of `bytes`. Returns false if the reader has closed the FIFO.
inline bool WriteAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(fd, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      EXPECT_EQ(errno, EPIPE);
      return false;
    }
    bytes.remove_prefix(static_cast<size_t>(count));
  }
  return true;
}

// Opens a FIFO for writing as soon as it has a reader. Returns nothing if `stop` is set before.
inline UniqueFd OpenForWriting(const std::string& path, const std::atomic<bool>& stop) {
  while (!stop) {
    UniqueFd fd(::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
    if (fd) {
      ::fcntl(fd.get(), F_SETFL, 0);  // from here on it may block
      return fd;
    }
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  return UniqueFd();
}

// A thread that runs `body` with the write end of a FIFO once that has a reader, and then closes
// it. To be declared before the reader: a writer that waits for room goes on when the reader is
// gone.
class FifoServer {
 public:
  FifoServer(const std::string& path, std::function<void(int fd)> body)
      : thread_([this, path, body = std::move(body)] {
          const UniqueFd fd = OpenForWriting(path, stop_);
          if (fd) body(fd.get());
        }) {}
  // Writes `bytes`, at most `chunk` of them at a time.
  FifoServer(const std::string& path, std::string bytes, size_t chunk = SIZE_MAX)
      : FifoServer(path, [this, bytes = std::move(bytes), chunk](int fd) {
          for (size_t at = 0; at < bytes.size(); at += std::min(chunk, bytes.size() - at)) {
            if (!WriteAll(fd, std::string_view(bytes).substr(at, chunk))) {
              reader_left_ = true;
              break;
            }
          }
        }) {}
  FifoServer(const FifoServer&) = delete;
  FifoServer& operator=(const FifoServer&) = delete;
  ~FifoServer() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }

  // Waits until the FIFO is closed.
  void Join() { thread_.join(); }

  // Whether the reader closed the FIFO before everything was written. To be asked after Join().
  bool reader_left() const { return reader_left_; }

 private:
  std::atomic<bool> stop_{false};
  std::atomic<bool> reader_left_{false};
  std::thread thread_;
};

// Something that one thread tells another, once.
class Event {
 public:
  void Set() { set_ = true; }
  bool IsSet() const { return set_; }

  // Returns false if it does not come.
  bool Wait() const {
    const Clock::time_point limit = Clock::now() + kPatience;
    while (!set_) {
      if (Clock::now() > limit) return false;
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
    return true;
  }

 private:
  std::atomic<bool> set_{false};
};

}  // namespace pipemode::testing

#endif  // PIPEMODE_TESTS_TESTING_FIFO_SERVER_H_
