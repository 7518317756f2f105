// SPDX-License-Identifier: Apache-2.0
#include "core/channel/epoch_recovery.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/base/fork_guarded_fd.h"
#include "core/base/unique_fd.h"
#include "core/channel/pipe_state.h"
#include "testing/child.h"
#include "testing/temp_dir.h"

namespace pipemode {
namespace {

using ::pipemode::testing::Child;
using ::pipemode::testing::MakeFifo;
using ::pipemode::testing::ReadFile;
using ::pipemode::testing::TempDir;
using ::pipemode::testing::WriteFile;
using ::testing::HasSubstr;

class EpochRecoveryTest : public ::testing::Test {
 protected:
  // A claim that is dropped is that of a reader that was killed.
  EpochRecovery Recovery() const { return EpochRecovery(state_); }
  std::string FifoPath(uint64_t epoch) const { return folder_ / "train_" + std::to_string(epoch); }
  void SetState(const std::string& content) const { WriteFile(state_path_, content); }

  // The epoch that is due and all that may be in its place.
  std::vector<EpochClaim> ClaimAll() const {
    PipeState::Attempt due = Recovery().TryClaim();
    std::vector<EpochClaim> claims;
    Recovery().TryClaimLater(*due.claim, &claims);
    claims.insert(claims.begin(), std::move(*due.claim));
    return claims;
  }
  bool GiveUp(std::vector<EpochClaim> claims) const { return Recovery().TryGiveUp(&claims); }

  const TempDir folder_;
  const std::string state_dir_ = folder_ / "state";
  const std::string state_path_ = state_dir_ + "/.train-pipe_mode-state";
  const std::string lock_path_ = state_dir_ + "/.train-pipe_mode-lock";
  const PipeState state_{state_dir_, folder_.path(), "train"};
};

TEST_F(EpochRecoveryTest, ALaterEpochIsClaimedOnlyIfTheFirstWasOpenedBefore) {
  MakeFifo(FifoPath(0));
  MakeFifo(FifoPath(1));
  std::vector<EpochClaim> later;
  PipeState::Attempt first = Recovery().TryClaim();
  ASSERT_TRUE(first.claim);
  Recovery().TryClaimLater(*first.claim, &later);
  EXPECT_TRUE(later.empty());
  first.claim.reset();
  first = Recovery().TryClaim();
  ASSERT_TRUE(first.claim);
  for (int look = 0; look < 3; ++look) Recovery().TryClaimLater(*first.claim, &later);
  ASSERT_EQ(later.size(), 1U);
  EXPECT_EQ(later[0].epoch, 1U);
  EXPECT_EQ(later[0].due, 0U);
  // Moves the state over both.
  EXPECT_TRUE(state_.TryMarkStarted(later[0]));
  EXPECT_EQ(ReadFile(state_path_), "2");
}

TEST_F(EpochRecoveryTest, EachReaderLooksOneEpochFurther) {
  for (const uint64_t epoch : {0, 1, 2}) MakeFifo(FifoPath(epoch));
  for (size_t reader = 0; reader < 3; ++reader) {
    const PipeState::Attempt first = Recovery().TryClaim();
    ASSERT_TRUE(first.claim);
    EXPECT_EQ(first.claim->epoch, 0U);
    std::vector<EpochClaim> later;
    for (int look = 0; look < 3; ++look) Recovery().TryClaimLater(*first.claim, &later);
    EXPECT_EQ(later.size(), reader);
    EXPECT_EQ(ReadFile(lock_path_), "0 " + std::to_string(reader) + " marked\n");
  }
  // What was opened and is due now was opened before, too.
  SetState("1");
  EXPECT_EQ(Recovery().TryClaim().claim->opened_end, 3U);
}

TEST_F(EpochRecoveryTest, WhatIsKnownOfOtherEpochsDoesNotCount) {
  MakeFifo(FifoPath(3));
  SetState("3");
  for (const std::string content :
       {"", "\n", "3", "4 5\n", "1 2\n", "3 2\n", "3 1003\n", "3 99999999999999999999\n", "3 -1\n",
        "x y\n", "3 3x\n", "3 3 closed \n", " closed\n", "3 closed\n", "3 marked\n", " marked\n",
        "3 3 marked closed\n"}) {
    WriteFile(lock_path_, content);
    const PipeState::Attempt attempt = Recovery().TryClaim();
    ASSERT_TRUE(attempt.claim) << content;
    EXPECT_EQ(attempt.claim->opened_end, 3U) << content;
    EXPECT_EQ(ReadFile(lock_path_).substr(0, 11), "3 3 marked\n") << content;
  }
}

TEST_F(EpochRecoveryTest, WhatWasThereAtOnceMayBeForAReaderThatWasKilled) {
  MakeFifo(FifoPath(0));
  PipeState::Attempt first = Recovery().TryClaim();
  ASSERT_TRUE(first.claim);
  EXPECT_EQ(first.claim->left, std::nullopt);
  const UniqueFd writer(::open(FifoPath(0).c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
  ASSERT_EQ(::write(writer.get(), "bytes", 5), 5);
  first.claim.reset();
  EXPECT_EQ(Recovery().TryClaim().claim->left, 5U);
}

TEST_F(EpochRecoveryTest, WordOfAPipeWithoutAMarkStays) {
  MakeFifo(FifoPath(0));
  Recovery().TryClaim();
  WriteFile(lock_path_, "0 0\n");  // one was killed before it could
  for (int reader = 0; reader < 2; ++reader) {
    EXPECT_EQ(Recovery().TryClaim().claim->left, 0U);
    EXPECT_EQ(ReadFile(lock_path_).substr(0, 4), "0 0\n");
  }
}

TEST_F(EpochRecoveryTest, AlsoIfTheWriterHasMadeThePipeLarger) {
  MakeFifo(FifoPath(0));
  Recovery().TryClaim();
  const UniqueFd other(::open(FifoPath(0).c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  UniqueFd writer(::open(FifoPath(0).c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
  ASSERT_GT(::fcntl(writer.get(), F_SETPIPE_SZ, 1 << 20), 0);
  ASSERT_EQ(::write(writer.get(), "epoch", 5), 5);
  writer.Reset();
  EXPECT_EQ(Recovery().TryClaim().claim->left, 5U);
}

TEST_F(EpochRecoveryTest, AReaderThatFindsAnotherDoesNotChangeTheWord) {
  MakeFifo(FifoPath(0));
  const PipeState::Attempt first = Recovery().TryClaim();
  ASSERT_TRUE(first.claim);
  EXPECT_TRUE(Recovery().TryClaim().busy);
  EXPECT_EQ(ReadFile(lock_path_), "0 0 marked\n");
}

TEST_F(EpochRecoveryTest, AReaderThatGivesUpLeavesNothing) {
  for (const uint64_t epoch : {0, 1}) MakeFifo(FifoPath(epoch));
  for (const bool after_a_kill : {false, true}) {
    if (after_a_kill) {
      Recovery().TryClaim();
      WriteFile(lock_path_, "0 0\n");
    }
    std::vector<EpochClaim> claims = ClaimAll();
    EXPECT_EQ(claims.front().left.has_value(), after_a_kill);
    EXPECT_TRUE(GiveUp(std::move(claims)));
    EXPECT_THAT(ReadFile(lock_path_), HasSubstr(" closed\n"));
    const std::vector<EpochClaim> next = ClaimAll();
    for (const EpochClaim& claim : next) EXPECT_EQ(claim.left, std::nullopt);
    // From now on it may be killed.
    EXPECT_EQ(ReadFile(lock_path_).find(" closed"), std::string::npos);
  }
}

TEST_F(EpochRecoveryTest, UnlessThereIsAWriter) {
  MakeFifo(FifoPath(0));
  for (const bool has_written : {false, true}) {
    std::vector<EpochClaim> claims = ClaimAll();
    UniqueFd writer(::open(FifoPath(0).c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
    if (has_written) {
      ASSERT_EQ(::write(writer.get(), "bytes", 5), 5);
    }
    EXPECT_FALSE(GiveUp(std::move(claims)));
    EXPECT_EQ(Recovery().TryClaim().claim->left, has_written ? 5U : 0U);
  }
}

TEST_F(EpochRecoveryTest, OrOneMayBeAtAnotherEpoch) {
  // A reader was killed while it had both open; this one comes to the first only.
  for (const uint64_t epoch : {0, 1}) MakeFifo(FifoPath(epoch));
  Recovery().TryClaim();
  ClaimAll();
  std::vector<EpochClaim> claims = ClaimAll();
  ASSERT_EQ(claims.size(), 2U);
  claims.pop_back();
  EXPECT_TRUE(GiveUp(std::move(claims)));
  EXPECT_EQ(ReadFile(lock_path_).find(" closed"), std::string::npos);
  // If that FIFO is gone, so is its pipe.
  claims = ClaimAll();
  claims.pop_back();
  std::filesystem::remove(FifoPath(1));
  EXPECT_TRUE(GiveUp(std::move(claims)));
  EXPECT_EQ(ReadFile(lock_path_), "0 1 closed\n");
}

TEST_F(EpochRecoveryTest, OrTheFifoIsAnotherOne) {
  MakeFifo(FifoPath(0));
  std::vector<EpochClaim> claims = ClaimAll();
  std::filesystem::remove(FifoPath(0));
  MakeFifo(FifoPath(0));
  EXPECT_TRUE(GiveUp(std::move(claims)));
  EXPECT_EQ(ReadFile(lock_path_), "0 0 marked\n");
}

TEST_F(EpochRecoveryTest, OrTheStateIsLocked) {
  MakeFifo(FifoPath(0));
  std::vector<EpochClaim> claims = ClaimAll();
  const ForkGuardedFd lock = state_.TryLock();
  ASSERT_TRUE(lock);
  EXPECT_TRUE(GiveUp(std::move(claims)));
  EXPECT_EQ(ReadFile(lock_path_), "0 0 marked\n");
}

TEST_F(EpochRecoveryTest, AWriterMayEnlargeItsPipe) {
  // Before this reader looks, and end: what a pipe holds, and can hold, tells nothing.
  MakeFifo(FifoPath(0));
  EXPECT_TRUE(GiveUp(ClaimAll()));
  const UniqueFd other(::open(FifoPath(0).c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  UniqueFd writer(::open(FifoPath(0).c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
  ::fcntl(writer.get(), F_SETPIPE_SZ, 1 << 20);
  ASSERT_EQ(::write(writer.get(), "epoch", 5), 5);
  writer.Reset();
  EXPECT_EQ(Recovery().TryClaim().claim->left, std::nullopt);
}

TEST_F(EpochRecoveryTest, AFullDiskTakesNoEpoch) {
  MakeFifo(FifoPath(0));
  Child child([this]() -> std::string {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit one_byte{1, 1};
    if (::setrlimit(RLIMIT_FSIZE, &one_byte) != 0) return "setrlimit";
    try {
      Recovery().TryClaim();
    } catch (const IoError& error) {
      return error.code() == ErrorCode::kResourceExhausted ? "" : error.what();
    }
    return "no error";
  });
  EXPECT_EQ(child.Result(), "");
}

}  // namespace
}  // namespace pipemode
