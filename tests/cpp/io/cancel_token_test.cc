// SPDX-License-Identifier: Apache-2.0
#include "core/io/cancel_token.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <string>
#include <thread>
#include <vector>

#include "testing/child.h"

namespace pipemode {
namespace {

bool IsReadable(int fd) {
  pollfd polled{fd, POLLIN, 0};
  return ::poll(&polled, 1, 0) == 1;
}

TEST(CancelTokenTest, IsNotCancelledAtFirst) {
  const CancelToken token;
  EXPECT_FALSE(token.cancelled());
  EXPECT_FALSE(IsReadable(token.fd()));
}

TEST(CancelTokenTest, IsReadableWhileCancelled) {
  CancelToken token;
  token.Cancel();
  EXPECT_TRUE(token.cancelled());
  EXPECT_TRUE(IsReadable(token.fd()));
  EXPECT_TRUE(IsReadable(token.fd()));
}

TEST(CancelTokenTest, ResetTakesAllCancelsBack) {
  CancelToken token;
  for (int i = 0; i < 1000; ++i) token.Cancel();
  token.Reset();
  EXPECT_FALSE(token.cancelled());
  EXPECT_FALSE(IsReadable(token.fd()));
  token.Reset();
  token.Cancel();
  EXPECT_TRUE(token.cancelled());
  EXPECT_TRUE(IsReadable(token.fd()));
}

TEST(CancelTokenTest, ManyThreadsMayCancel) {
  CancelToken token;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&token] {
      for (int j = 0; j < 1000; ++j) token.Cancel();
    });
  }
  // A flag that is set makes the descriptor readable soon, whoever set it.
  while (!token.cancelled()) std::this_thread::yield();
  pollfd polled{token.fd(), POLLIN, 0};
  EXPECT_EQ(::poll(&polled, 1, 10'000), 1);
  for (std::thread& thread : threads) thread.join();
  token.Reset();
  EXPECT_FALSE(IsReadable(token.fd()));
}

TEST(CancelTokenTest, AForkedChildCannotWakeItsParent) {
  CancelToken token;
  EXPECT_FALSE(token.is_foreign());
  EXPECT_EQ(testing::RunInChild([&]() -> std::string {
              token.Cancel();
              return token.is_foreign() && token.cancelled() ? "its own" : "the parent's";
            }),
            "its own");
  EXPECT_FALSE(token.is_foreign());
  EXPECT_FALSE(IsReadable(token.fd()));
}

}  // namespace
}  // namespace pipemode
