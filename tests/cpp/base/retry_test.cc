// SPDX-License-Identifier: Apache-2.0
#include "core/base/retry.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace pipemode {
namespace {

TEST(RetryOnSignalTest, GoesOnUntilTheCallIsThrough) {
  int calls = 0;
  const auto interrupted_twice = [&] {
    errno = EINTR;
    return ++calls < 3 ? -1 : 7;
  };
  EXPECT_EQ(RetryOnSignal(interrupted_twice), 7);
  EXPECT_EQ(calls, 3);
}

TEST(RetryOnSignalTest, OtherErrorsAreTheCallers) {
  int calls = 0;
  const auto fails = [&] {
    ++calls;
    errno = EIO;
    return -1;
  };
  EXPECT_EQ(RetryOnSignal(fails), -1);
  EXPECT_EQ(errno, EIO);
  EXPECT_EQ(calls, 1);
}

TEST(RetryOnSignalTest, AnErrorOfOldDoesNotCount) {
  errno = EINTR;
  EXPECT_EQ(RetryOnSignal([] { return 0; }), 0);
}

}  // namespace
}  // namespace pipemode
