// SPDX-License-Identifier: Apache-2.0
#include "core/base/fork_guarded_fd.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "testing/child.h"
#include "testing/temp_dir.h"

namespace pipemode {
namespace {

using ::pipemode::testing::Child;
using ::pipemode::testing::ProcessEvent;
using ::pipemode::testing::RunInChild;
using ::pipemode::testing::TempDir;

ForkGuardedFd Duplicate(int fd) {
  return ForkGuardedFd([fd] { return ::fcntl(fd, F_DUPFD_CLOEXEC, 0); });
}

TEST(ForkGuardedFdTest, OwnsADescriptorOrNone) {
  EXPECT_FALSE(ForkGuardedFd());
  EXPECT_EQ(ForkGuardedFd().get(), -1);
  errno = 0;
  EXPECT_FALSE(ForkGuardedFd([] { return ::open("/no such file", O_RDONLY | O_CLOEXEC); }));
  EXPECT_EQ(errno, ENOENT);
  int number = -1;
  {
    ForkGuardedFd first = Duplicate(0);
    ASSERT_TRUE(first);
    number = first.get();
    EXPECT_GE(::fcntl(number, F_GETFD), 0);
    ForkGuardedFd second(std::move(first));
    EXPECT_FALSE(first);  // NOLINT(bugprone-use-after-move): none is left
    EXPECT_EQ(second.get(), number);
    first = std::move(second);
    EXPECT_EQ(first.get(), number);
  }
  EXPECT_EQ(::fcntl(number, F_GETFD), -1);
}

TEST(ForkGuardedFdTest, AChildKeepsNoEndOfAPipe) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd out(ends[0]);
  ForkGuardedFd in = Duplicate(ends[1]);
  UniqueFd(ends[1]).Reset();
  const ProcessEvent ready;
  Child child([&]() -> std::string {
    ready.Set();
    ::pause();
    return "";
  });
  ASSERT_TRUE(ready.Wait());
  in.Reset();
  char byte;
  EXPECT_EQ(::read(out.get(), &byte, 1), 0) << "the child has the pipe open";
  child.Signal(SIGKILL);
}

TEST(ForkGuardedFdTest, AChildKeepsNoLock) {
  const TempDir folder;
  const auto open = [&folder] {
    return ForkGuardedFd([&folder] {
      return ::open((folder / "lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    });
  };
  ForkGuardedFd lock = open();
  ASSERT_EQ(::flock(lock.get(), LOCK_EX | LOCK_NB), 0);
  const ProcessEvent ready;
  Child child([&]() -> std::string {
    ready.Set();
    ::pause();
    return "";
  });
  ASSERT_TRUE(ready.Wait());
  const ForkGuardedFd other = open();
  EXPECT_NE(::flock(other.get(), LOCK_EX | LOCK_NB), 0);
  lock.Reset();
  EXPECT_EQ(::flock(other.get(), LOCK_EX | LOCK_NB), 0) << "the child has the lock";
  child.Signal(SIGKILL);
}

TEST(ForkGuardedFdTest, InAChildTheNumberStaysTaken) {
  const TempDir folder;
  ForkGuardedFd file(
      [&folder] { return ::open((folder / "file").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600); });
  const std::string result = RunInChild([&]() -> std::string {
    char byte = 'x';
    if (::write(file.get(), &byte, 1) != -1 || errno != EBADF) return "written";
    if (::read(file.get(), &byte, 1) != -1 || errno != EBADF) return "read";
    if ((::fcntl(file.get(), F_GETFD) & FD_CLOEXEC) == 0) return "survives exec";
    // Descriptors of its own work, and so does closing.
    ForkGuardedFd own = Duplicate(1);
    if (own.get() == file.get()) return "number taken";
    file.Reset();
    return "";
  });
  EXPECT_EQ(result, "");
  EXPECT_EQ(::write(file.get(), "x", 1), 1);
}

TEST(ForkGuardedFdTest, ThreadsMayOpenAndCloseMeanwhile) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
  const UniqueFd out(ends[0]);
  UniqueFd in(ends[1]);
  std::atomic<bool> stop{false};
  std::thread opener([&] {
    while (!stop) Duplicate(in.get());
  });
  std::vector<pid_t> children;
  for (int i = 0; i < 100; ++i) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      // Its copy of what is not guarded.
      in.Reset();
      ::pause();
    }
    children.push_back(pid);
  }
  stop = true;
  opener.join();
  in.Reset();
  // The pipe ends when the last child has closed its copy: none has another one.
  char byte;
  const auto limit = ::pipemode::testing::Clock::now() + ::pipemode::testing::kPatience;
  ssize_t count = -1;
  while ((count = ::read(out.get(), &byte, 1)) < 0 && ::pipemode::testing::Clock::now() < limit) {
    std::this_thread::yield();
  }
  EXPECT_EQ(count, 0);
  for (const pid_t pid : children) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }
}

}  // namespace
}  // namespace pipemode
