// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_TESTS_TESTING_CHILD_H_
#define PIPEMODE_TESTS_TESTING_CHILD_H_

#include <fcntl.h>
#include <poll.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <exception>
#include <functional>
#include <string>
#include <system_error>

#include "core/base/unique_fd.h"
#include "testing/environment.h"

namespace pipemode::testing {

// Something that one process tells another. To be made before the fork.
class ProcessEvent {
 public:
  ProcessEvent() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) {
      throw std::system_error(errno, std::generic_category(), "pipe2");
    }
    out_ = UniqueFd(ends[0]);
    in_ = UniqueFd(ends[1]);
  }

  void Set() const {
    while (::write(in_.get(), "x", 1) < 0 && errno == EINTR) {
    }
  }

  // Returns false if it does not come.
  bool Wait() const {
    const Clock::time_point limit = Clock::now() + kPatience;
    pollfd polled{out_.get(), POLLIN, 0};
    while (::poll(&polled, 1, 1000) <= 0) {
      if (Clock::now() > limit) return false;
    }
    char byte;
    return ::read(out_.get(), &byte, 1) == 1;
  }

 private:
  UniqueFd out_;
  UniqueFd in_;
};

// A forked process that runs `body` and hands what that returns to its parent. To be made while no
// other thread runs. Killed, if it still lives, by the destructor.
class Child {
 public:
  explicit Child(const std::function<std::string()>& body) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) Fail("pipe2");
    output_ = UniqueFd(ends[0]);
    UniqueFd input(ends[1]);
    pid_ = ::fork();
    if (pid_ < 0) Fail("fork");
    if (pid_ > 0) return;
    std::string result;
    try {
      result = body();
    } catch (const std::exception& error) {
      result = std::string("exception: ") + error.what();
    }
    const ssize_t written = ::write(input.get(), result.data(), result.size());
    ::_exit(written == static_cast<ssize_t>(result.size()) ? 0 : 1);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (reaped_) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }

  pid_t pid() const { return pid_; }
  void Signal(int signal_number) const { ::kill(pid_, signal_number); }

  // What `body` returned. A child that died by a signal, or does not end, says so instead.
  std::string Result() {
    std::string result;
    const Clock::time_point limit = Clock::now() + kPatience;
    for (;;) {
      pollfd polled{output_.get(), POLLIN, 0};
      const auto rest = std::chrono::duration_cast<std::chrono::milliseconds>(limit - Clock::now());
      const int ready = ::poll(&polled, 1, rest.count() > 0 ? static_cast<int>(rest.count()) : 0);
      if (ready < 0 && errno == EINTR) continue;
      if (ready <= 0) return "the child does not end";
      char piece[4096];
      const ssize_t count = ::read(output_.get(), piece, sizeof(piece));
      if (count <= 0) break;
      result.append(piece, static_cast<size_t>(count));
    }
    int status = 0;
    ::waitpid(pid_, &status, 0);
    reaped_ = true;
    if (WIFSIGNALED(status)) return "killed by signal " + std::to_string(WTERMSIG(status));
    if (WEXITSTATUS(status) != 0) return "exit code " + std::to_string(WEXITSTATUS(status));
    return result;
  }

 private:
  [[noreturn]] static void Fail(const char* what) {
    throw std::system_error(errno, std::generic_category(), what);
  }

  UniqueFd output_;
  pid_t pid_ = -1;
  bool reaped_ = false;
};

inline std::string RunInChild(const std::function<std::string()>& body) {
  return Child(body).Result();
}

}  // namespace pipemode::testing

#endif  // PIPEMODE_TESTS_TESTING_CHILD_H_
