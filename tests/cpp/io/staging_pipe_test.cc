// SPDX-License-Identifier: Apache-2.0
#include "core/io/staging_pipe.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "testing/child.h"
#include "testing/fifo_server.h"
#include "testing/random.h"
#include "testing/temp_dir.h"

namespace pipemode {
namespace {

using ::pipemode::testing::MakeFifo;
using ::pipemode::testing::RandomBytes;
using ::pipemode::testing::RunInChild;
using ::pipemode::testing::TempDir;
using ::pipemode::testing::WriteAll;

class StagingPipeTest : public ::testing::Test {
 protected:
  StagingPipeTest() {
    MakeFifo(path_);
    fifo_ = UniqueFd(::open(path_.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    ::fcntl(fifo_.get(), F_SETPIPE_SZ, 1 << 20);
  }

  void SetUp() override {
    if (!staging_) GTEST_SKIP() << "the system gives no large pipes";
  }

  UniqueFd OpenWriter() const {
    return UniqueFd(::open(path_.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
  }

  std::string Read(size_t size) {
    std::string bytes(size, '?');
    const iovec part{bytes.data(), bytes.size()};
    const ssize_t count = staging_.Read(&part, 1);
    bytes.resize(count < 0 ? 0 : static_cast<size_t>(count));
    return bytes;
  }

  const TempDir folder_;
  const std::string path_ = folder_ / "train_0";
  UniqueFd fifo_;
  StagingPipe staging_;
};

TEST_F(StagingPipeTest, MovesWhatIsThereAndGivesItInOrder) {
  const std::string bytes = RandomBytes(100'000, 1);
  const UniqueFd writer = OpenWriter();
  ASSERT_TRUE(WriteAll(writer.get(), bytes));
  EXPECT_EQ(staging_.size(), 0U);
  ASSERT_EQ(staging_.Fill(fifo_.get()), 100'000);
  EXPECT_EQ(staging_.size(), 100'000U);
  EXPECT_TRUE(Read(60'000) == bytes.substr(0, 60'000));
  EXPECT_EQ(staging_.size(), 40'000U);
  // What comes into the FIFO meanwhile stays there.
  ASSERT_TRUE(WriteAll(writer.get(), "more"));
  EXPECT_TRUE(Read(60'000) == bytes.substr(60'000));
  EXPECT_EQ(staging_.size(), 0U);
  EXPECT_EQ(staging_.Fill(fifo_.get()), 4);
  EXPECT_EQ(Read(10), "more");
}

TEST_F(StagingPipeTest, TakesNoMoreThanItHasRoomFor) {
  const UniqueFd writer = OpenWriter();
  const std::string bytes = RandomBytes(1 << 20, 2);
  if (::fcntl(fifo_.get(), F_GETPIPE_SZ) < 1 << 20) GTEST_SKIP() << "the FIFO is not large";
  ASSERT_TRUE(WriteAll(writer.get(), bytes));
  std::string got;
  while (got.size() < bytes.size()) {
    const ssize_t moved = staging_.Fill(fifo_.get());
    ASSERT_GT(moved, 0);
    ASSERT_LT(moved, 1 << 20);
    while (staging_.size() > 0) got += Read(300'000);
  }
  EXPECT_TRUE(got == bytes);
}

TEST_F(StagingPipeTest, TellsNoDataFromTheEndAsReadDoes) {
  EXPECT_EQ(staging_.Fill(fifo_.get()), 0);  // nobody has come yet
  UniqueFd writer = OpenWriter();
  errno = 0;
  EXPECT_EQ(staging_.Fill(fifo_.get()), -1);
  EXPECT_EQ(errno, EAGAIN);
  writer.Reset();
  EXPECT_EQ(staging_.Fill(fifo_.get()), 0);
}

TEST_F(StagingPipeTest, AForkedChildCannotTakeTheBytes) {
  ASSERT_TRUE(WriteAll(OpenWriter().get(), "parent's"));
  ASSERT_EQ(staging_.Fill(fifo_.get()), 8);
  EXPECT_EQ(RunInChild([this] { return "got '" + Read(8) + "'"; }), "got ''");
  EXPECT_EQ(Read(8), "parent's");
}

}  // namespace
}  // namespace pipemode
