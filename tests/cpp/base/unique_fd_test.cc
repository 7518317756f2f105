// SPDX-License-Identifier: Apache-2.0
#include "core/base/unique_fd.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <utility>

namespace pipemode {
namespace {

int OpenNull() { return ::open("/dev/null", O_RDONLY | O_CLOEXEC); }

bool IsOpen(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

TEST(UniqueFdTest, IsEmptyByDefault) {
  const UniqueFd fd;
  EXPECT_FALSE(fd);
  EXPECT_EQ(fd.get(), -1);
}

TEST(UniqueFdTest, ClosesWhatItOwns) {
  const int number = OpenNull();
  {
    const UniqueFd fd(number);
    EXPECT_TRUE(fd);
    EXPECT_EQ(fd.get(), number);
    EXPECT_TRUE(IsOpen(number));
  }
  EXPECT_FALSE(IsOpen(number));
}

TEST(UniqueFdTest, ResetClosesOnce) {
  UniqueFd fd(OpenNull());
  const int number = fd.get();
  fd.Reset();
  EXPECT_FALSE(fd);
  EXPECT_FALSE(IsOpen(number));
  // The number may belong to somebody else by now.
  const UniqueFd other(OpenNull());
  ASSERT_EQ(other.get(), number);
  fd.Reset();
  EXPECT_TRUE(IsOpen(number));
}

TEST(UniqueFdTest, MovesOwnership) {
  UniqueFd first(OpenNull());
  const int number = first.get();
  UniqueFd second(std::move(first));
  EXPECT_FALSE(first);  // NOLINT(bugprone-use-after-move): an empty object is what a move leaves
  EXPECT_EQ(second.get(), number);

  UniqueFd third(OpenNull());
  const int replaced = third.get();
  third = std::move(second);
  EXPECT_EQ(third.get(), number);
  EXPECT_TRUE(IsOpen(number));
  EXPECT_FALSE(IsOpen(replaced));
}

TEST(UniqueFdTest, SurvivesMovingToItself) {
  UniqueFd fd(OpenNull());
  const int number = fd.get();
  UniqueFd& same = fd;
  fd = std::move(same);
  EXPECT_EQ(fd.get(), number);
  EXPECT_TRUE(IsOpen(number));
}

}  // namespace
}  // namespace pipemode
