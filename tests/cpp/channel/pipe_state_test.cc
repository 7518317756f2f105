// SPDX-License-Identifier: Apache-2.0
#include "core/channel/pipe_state.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <numeric>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "testing/child.h"
#include "testing/environment.h"
#include "testing/random.h"
#include "testing/temp_dir.h"

namespace pipemode {
namespace {

using ::pipemode::testing::Child;
using ::pipemode::testing::Clock;
using ::pipemode::testing::Exists;
using ::pipemode::testing::kPatience;
using ::pipemode::testing::MakeFifo;
using ::pipemode::testing::ProcessEvent;
using ::pipemode::testing::Random;
using ::pipemode::testing::ReadFile;
using ::pipemode::testing::TempDir;
using ::pipemode::testing::WriteFile;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

class PipeStateTest : public ::testing::Test {
 protected:
  PipeState State() const { return PipeState(state_dir_, folder_.path(), "train"); }
  PipeState OtherFoldersState() const {
    return PipeState(folder_ / "other_state", folder_.path(), "train");
  }
  std::string FifoPath(uint64_t epoch) const { return folder_ / "train_" + std::to_string(epoch); }

  // What only the next reader of the number needs to know.
  void SetState(const std::string& content) const {
    std::filesystem::create_directories(state_dir_);
    WriteFile(state_path_, content);
  }

  const TempDir folder_;
  const std::string state_dir_ = folder_ / "state";
  const std::string state_path_ = state_dir_ + "/.train-pipe_mode-state";
  const std::string lock_path_ = state_dir_ + "/.train-pipe_mode-lock";
};

// Channel names.

TEST(ChannelNameTest, LettersDigitsAndAFewMore) {
  for (const std::string name : {"train", "a", "A.b-c_0", "train_0", "..", "-", "_"}) {
    EXPECT_NO_THROW(CheckChannelName(name)) << name;
  }
  EXPECT_NO_THROW(CheckChannelName(std::string(64, 'x')));
}

TEST(ChannelNameTest, NothingElse) {
  const std::vector<std::string> names = {"",
                                          "/",
                                          "a/b",
                                          "../train",
                                          "a b",
                                          "train\n",
                                          "tr\xc3\xa4",
                                          std::string(65, 'x'),
                                          "a\\b",
                                          "a:b",
                                          std::string("a\0b", 3)};
  for (const std::string& name : names) {
    EXPECT_THAT([&] { CheckChannelName(name); },
                ThrowsMessage<InvalidArgumentError>(HasSubstr("is not a valid channel name")))
        << name;
    const TempDir folder;
    EXPECT_THROW(PipeState(folder / "state", folder.path(), name), InvalidArgumentError);
    EXPECT_FALSE(Exists(folder / "state"));
  }
  // What cannot be printed does not get into a message, nor does what is too long.
  EXPECT_THAT([] { CheckChannelName("\x1b[31mred\n"); },
              ThrowsMessage<InvalidArgumentError>(HasSubstr("'\\x1b[31mred\\x0a'")));
  EXPECT_THAT([] { CheckChannelName(std::string(5000, 'x')); },
              ThrowsMessage<InvalidArgumentError>(HasSubstr("xxx...'")));
}

// The number.

TEST_F(PipeStateTest, AMissingFileMeansZero) {
  EXPECT_EQ(State().NextEpoch(), 0U);
  EXPECT_FALSE(Exists(state_path_));
}

TEST_F(PipeStateTest, FoldersAreMadeAsNeeded) {
  const PipeState state(folder_ / "a/b/c", folder_.path(), "train");
  EXPECT_TRUE(Exists(folder_ / "a/b/c"));
  EXPECT_NO_THROW(PipeState(folder_ / "a/b/c/", folder_.path() + "/", "train"));
}

TEST_F(PipeStateTest, NumbersOfOtherToolsAreRead) {
  for (const auto& [content, number] :
       std::vector<std::pair<std::string, uint64_t>>{{"0", 0},
                                                     {"7", 7},
                                                     {"12\n", 12},
                                                     {"12\r\n", 12},
                                                     {"5  \n", 5},
                                                     {"007", 7},
                                                     {"2147483647", 2147483647}}) {
    SetState(content);
    EXPECT_EQ(State().NextEpoch(), number) << content;
  }
}

TEST_F(PipeStateTest, AnythingElseIsAnErrorAndIsLeftAlone) {
  MakeFifo(FifoPath(0));
  const PipeState state = State();
  PipeState::Attempt attempt = state.TryClaim();
  ASSERT_TRUE(attempt.claim);
  const std::vector<std::string> contents = {"",
                                             "\n",
                                             " ",
                                             "abc",
                                             "1x",
                                             "1 2",
                                             " 1",
                                             "-1",
                                             "+1",
                                             "1.0",
                                             "0x10",
                                             "2147483648",
                                             "9999999999",
                                             "00000000001",
                                             "18446744073709551616",
                                             std::string(100'000, '9'),
                                             std::string(100'000, '\0'),
                                             std::string("1\0", 2),
                                             "1" + std::string(64, ' ') + "2",
                                             "\xff\xfe"};
  for (const std::string& content : contents) {
    SetState(content);
    const auto names_the_file = ThrowsMessage<FailedPreconditionError>(AllOf(
        HasSubstr("state file '" + state_path_ + "'"), HasSubstr("write that number into it")));
    EXPECT_THAT([&] { state.NextEpoch(); }, names_the_file);
    EXPECT_THAT([&] { state.TryClaim(); }, names_the_file);
    EXPECT_THAT([&] { state.TryMarkStarted(*attempt.claim); }, names_the_file);
    EXPECT_TRUE(ReadFile(state_path_) == content);
  }
  SetState("\x1b[2J");
  EXPECT_THAT([&] { state.NextEpoch(); },
              ThrowsMessage<FailedPreconditionError>(HasSubstr("holds '\\x1b[2J'")));
}

TEST_F(PipeStateTest, MarkingWritesTheNextNumber) {
  for (const uint64_t epoch : {0, 1, 9, 10}) {
    if (epoch > 1) SetState(std::to_string(epoch));
    MakeFifo(FifoPath(epoch));
    const PipeState::Attempt attempt = State().TryClaim();
    ASSERT_TRUE(attempt.claim);
    EXPECT_EQ(State().NextEpoch(), epoch);
    EXPECT_TRUE(State().TryMarkStarted(*attempt.claim));
    EXPECT_EQ(ReadFile(state_path_), std::to_string(epoch + 1));
    EXPECT_EQ(State().NextEpoch(), epoch + 1);
  }
  // Nothing else is left in the folder.
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(state_dir_)) {
    names.push_back(entry.path().filename());
  }
  EXPECT_THAT(names,
              ::testing::UnorderedElementsAre(".train-pipe_mode-state", ".train-pipe_mode-lock"));
}

TEST_F(PipeStateTest, MarkingLeavesAStateThatIsElsewhere) {
  MakeFifo(FifoPath(0));
  const PipeState::Attempt attempt = State().TryClaim();
  ASSERT_TRUE(attempt.claim);
  SetState("5");
  EXPECT_TRUE(State().TryMarkStarted(*attempt.claim));
  EXPECT_EQ(ReadFile(state_path_), "5");
}

TEST_F(PipeStateTest, ThereIsALastEpoch) {
  SetState("2147483647");
  MakeFifo(FifoPath(2147483647));
  const PipeState::Attempt attempt = State().TryClaim();
  ASSERT_TRUE(attempt.claim);
  EXPECT_THAT([&] { State().TryMarkStarted(*attempt.claim); },
              ThrowsMessage<FailedPreconditionError>(HasSubstr("no epoch after 2147483647")));
  EXPECT_EQ(ReadFile(state_path_), "2147483647");
}

TEST_F(PipeStateTest, TheNumberIsReplacedAtOnce) {
  // Whoever looks without the lock, at any moment, sees the old or the new number.
  MakeFifo(FifoPath(0));
  SetState("0");
  std::atomic<bool> stop{false};
  std::atomic<int> wrong{0};
  std::thread looker([&] {
    while (!stop) {
      const std::string content = ReadFile(state_path_);
      if (content != "0" && content != "1") ++wrong;
    }
  });
  const int rounds = testing::kSanitized ? 50 : 200;
  for (int i = 0; i < rounds; ++i) {
    const PipeState::Attempt attempt = State().TryClaim();
    ASSERT_TRUE(attempt.claim);
    ASSERT_TRUE(State().TryMarkStarted(*attempt.claim));
    WriteFile(state_path_ + ".zero", "0");
    std::filesystem::rename(state_path_ + ".zero", state_path_);
  }
  stop = true;
  looker.join();
  EXPECT_EQ(wrong, 0);
}

TEST_F(PipeStateTest, WhatAKilledWriterLeftIsOverwritten) {
  MakeFifo(FifoPath(0));
  std::filesystem::create_directories(state_dir_);
  WriteFile(state_path_ + ".tmp", "a long text that somebody left here");
  const PipeState::Attempt attempt = State().TryClaim();
  ASSERT_TRUE(attempt.claim);
  EXPECT_TRUE(State().TryMarkStarted(*attempt.claim));
  EXPECT_EQ(ReadFile(state_path_), "1");
}

TEST_F(PipeStateTest, AFullDiskLeavesTheNumber) {
  SetState("9");
  MakeFifo(FifoPath(9));
  Child child([this]() -> std::string {
    const PipeState::Attempt attempt = State().TryClaim();
    // The second digit does not fit.
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit one_byte{1, 1};
    if (::setrlimit(RLIMIT_FSIZE, &one_byte) != 0) return "setrlimit";
    try {
      State().TryMarkStarted(*attempt.claim);
    } catch (const IoError& error) {
      return error.code() == ErrorCode::kResourceExhausted ? "" : error.what();
    }
    return "no error";
  });
  EXPECT_EQ(child.Result(), "");
  EXPECT_EQ(ReadFile(state_path_), "9");
  EXPECT_FALSE(Exists(state_path_ + ".tmp"));
}

TEST_F(PipeStateTest, LinksAreRefused) {
  MakeFifo(FifoPath(0));
  std::filesystem::create_directories(state_dir_);
  WriteFile(folder_ / "victim", "0");
  {
    std::filesystem::create_symlink(folder_ / "victim", state_path_);
    EXPECT_THAT([&] { State().NextEpoch(); }, ThrowsMessage<IoError>(HasSubstr(state_path_)));
    EXPECT_THROW(State().TryClaim(), IoError);
    std::filesystem::remove(state_path_);
  }
  {
    std::filesystem::remove(lock_path_);
    std::filesystem::create_symlink(folder_ / "made by nobody", lock_path_);
    EXPECT_THAT([&] { State().TryClaim(); }, ThrowsMessage<IoError>(HasSubstr(lock_path_)));
    EXPECT_FALSE(Exists(folder_ / "made by nobody"));
    std::filesystem::remove(lock_path_);
  }
  const PipeState::Attempt attempt = State().TryClaim();
  ASSERT_TRUE(attempt.claim);
  std::filesystem::create_symlink(folder_ / "victim", state_path_ + ".tmp");
  EXPECT_TRUE(State().TryMarkStarted(*attempt.claim));
  EXPECT_EQ(ReadFile(folder_ / "victim"), "0");
  EXPECT_EQ(ReadFile(state_path_), "1");
}

TEST_F(PipeStateTest, SecondNamesOfOtherFilesAreNotWrittenTo) {
  MakeFifo(FifoPath(0));
  std::filesystem::create_directories(state_dir_);
  WriteFile(folder_ / "victim", "precious");
  std::filesystem::create_hard_link(folder_ / "victim", lock_path_);
  EXPECT_THAT([&] { State().TryClaim(); },
              ThrowsMessage<FailedPreconditionError>(HasSubstr(lock_path_)));
  std::filesystem::remove(lock_path_);
  const PipeState::Attempt attempt = State().TryClaim();
  ASSERT_TRUE(attempt.claim);
  std::filesystem::create_hard_link(folder_ / "victim", state_path_ + ".tmp");
  EXPECT_TRUE(State().TryMarkStarted(*attempt.claim));
  EXPECT_EQ(ReadFile(folder_ / "victim"), "precious");
  EXPECT_EQ(ReadFile(state_path_), "1");
}

TEST_F(PipeStateTest, NobodyElseCanReadOrLockItsFiles) {
  const mode_t before = ::umask(0);
  MakeFifo(FifoPath(0));
  const PipeState::Attempt attempt = State().TryClaim();
  ASSERT_TRUE(attempt.claim);
  EXPECT_TRUE(State().TryMarkStarted(*attempt.claim));
  ::umask(before);
  for (const std::string& path : {lock_path_, state_path_}) {
    struct stat status;
    ASSERT_EQ(::stat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0600U) << path;
  }
}

TEST_F(PipeStateTest, OtherThingsInTheFilesPlaceAreErrors) {
  std::filesystem::create_directories(state_dir_);
  MakeFifo(state_path_);  // opening it must not wait for a writer
  EXPECT_THROW(State().NextEpoch(), PipeError);
  std::filesystem::remove(state_path_);
  std::filesystem::create_directory(state_path_);
  EXPECT_THAT([&] { State().NextEpoch(); }, ThrowsMessage<IoError>(HasSubstr(state_path_)));
  std::filesystem::remove(state_path_);
  std::filesystem::create_directory(lock_path_);
  EXPECT_THAT([&] { State().TryClaim(); }, ThrowsMessage<IoError>(HasSubstr(lock_path_)));
  std::filesystem::remove(lock_path_);
  MakeFifo(lock_path_);
  EXPECT_THAT([&] { State().TryClaim(); },
              ThrowsMessage<FailedPreconditionError>(HasSubstr(lock_path_)));
}

TEST_F(PipeStateTest, AFolderThatCannotBeMadeIsNamed) {
  WriteFile(folder_ / "file", "");
  for (const std::string& path : {folder_ / "file/state", folder_ / "file",
                                  std::string("/proc/no_such_folder/state"), std::string()}) {
    EXPECT_THAT([&] { PipeState(path, folder_.path(), "train"); },
                ThrowsMessage<IoError>(HasSubstr("state_dir '" + path + "'")));
  }
}

// Claims.

TEST_F(PipeStateTest, NoFifoNoClaim) {
  const PipeState::Attempt attempt = State().TryClaim();
  EXPECT_EQ(attempt.epoch, 0U);
  EXPECT_EQ(attempt.path, FifoPath(0));
  EXPECT_FALSE(attempt.busy);
  EXPECT_FALSE(attempt.claim);
  EXPECT_FALSE(Exists(state_path_));
}

TEST_F(PipeStateTest, AClaimIsTheOpenFifo) {
  SetState("3");
  MakeFifo(FifoPath(3));
  const PipeState::Attempt attempt = State().TryClaim();
  ASSERT_TRUE(attempt.claim);
  EXPECT_EQ(attempt.claim->epoch, 3U);
  EXPECT_EQ(attempt.claim->path, FifoPath(3));
  struct stat of_claim{};
  struct stat of_path{};
  ASSERT_EQ(::fstat(attempt.claim->fd.get(), &of_claim), 0);
  ASSERT_EQ(::stat(FifoPath(3).c_str(), &of_path), 0);
  EXPECT_EQ(of_claim.st_ino, of_path.st_ino);
}

TEST_F(PipeStateTest, AFolderMayEndWithASlash) {
  MakeFifo(FifoPath(0));
  const PipeState state(state_dir_ + "/", folder_.path() + "/", "train");
  EXPECT_EQ(state.PipePath(0), FifoPath(0));
  EXPECT_TRUE(state.TryClaim().claim);
}

TEST_F(PipeStateTest, ARegularFileCanBeClaimed) {
  WriteFile(FifoPath(0), "data");
  const PipeState::Attempt attempt = State().TryClaim();
  ASSERT_TRUE(attempt.claim);
  EXPECT_TRUE(State().TryMarkStarted(*attempt.claim));
}

TEST_F(PipeStateTest, AFolderCannot) {
  std::filesystem::create_directory(FifoPath(0));
  EXPECT_THAT([&] { State().TryClaim(); },
              ThrowsMessage<FailedPreconditionError>(HasSubstr(FifoPath(0))));
}

TEST_F(PipeStateTest, AFifoThatWasReplacedIsNotCurrent) {
  MakeFifo(FifoPath(0));
  const PipeState::Attempt attempt = State().TryClaim();
  ASSERT_TRUE(attempt.claim);
  EXPECT_TRUE(State().IsCurrent(*attempt.claim));
  std::filesystem::remove(FifoPath(0));
  EXPECT_FALSE(State().IsCurrent(*attempt.claim));
  MakeFifo(FifoPath(0));
  EXPECT_FALSE(State().IsCurrent(*attempt.claim));
  EXPECT_TRUE(State().TryClaim().claim);
}

TEST_F(PipeStateTest, OneWaiterAtATime) {
  MakeFifo(FifoPath(0));
  PipeState::Attempt first = State().TryClaim();
  ASSERT_TRUE(first.claim);
  for (const PipeState& state : {State(), OtherFoldersState()}) {
    const PipeState::Attempt second = state.TryClaim();
    EXPECT_TRUE(second.busy);
    EXPECT_FALSE(second.claim);
    EXPECT_EQ(second.path, FifoPath(0));
  }
  first.claim.reset();  // it gave up: the epoch is still there
  EXPECT_TRUE(State().TryClaim().claim);
}

TEST_F(PipeStateTest, AStartedEpochIsFollowedByTheNext) {
  MakeFifo(FifoPath(0));
  const PipeState::Attempt first = State().TryClaim();
  ASSERT_TRUE(State().TryMarkStarted(*first.claim));
  const PipeState::Attempt second = State().TryClaim();
  EXPECT_EQ(second.epoch, 1U);
  EXPECT_FALSE(second.busy);
  EXPECT_FALSE(second.claim);
  MakeFifo(FifoPath(1));
  EXPECT_TRUE(State().TryClaim().claim);
}

TEST_F(PipeStateTest, ALockedStateIsBusy) {
  MakeFifo(FifoPath(0));
  const PipeState::Attempt first = State().TryClaim();
  ASSERT_TRUE(first.claim);
  UniqueFd lock(::open(lock_path_.c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_EQ(::flock(lock.get(), LOCK_EX), 0);
  const PipeState::Attempt second = State().TryClaim();
  EXPECT_TRUE(second.busy);
  EXPECT_EQ(second.path, "");
  EXPECT_FALSE(State().TryMarkStarted(*first.claim));
  EXPECT_FALSE(Exists(state_path_));
  lock.Reset();
  EXPECT_TRUE(State().TryMarkStarted(*first.claim));
}

TEST_F(PipeStateTest, AFifoThatIsReadIsRefusedWithItsReader) {
  MakeFifo(FifoPath(0));
  const PipeState::Attempt reader = State().TryClaim();
  ASSERT_TRUE(reader.claim);
  ASSERT_TRUE(State().TryMarkStarted(*reader.claim));
  const auto names_this_process = ThrowsMessage<FailedPreconditionError>(
      AllOf(HasSubstr("'" + FifoPath(0) + "' is being read already, by process " +
                      std::to_string(::getpid()) + ";")));
  // By a reader with another state folder, or with this one set back.
  EXPECT_THAT([&] { OtherFoldersState().TryClaim(); }, names_this_process);
  SetState("0");
  EXPECT_THAT([&] { State().TryClaim(); }, names_this_process);
  // Being refused takes nothing from the reader.
  EXPECT_THAT([&] { State().TryClaim(); }, names_this_process);
  EXPECT_EQ(ReadFile(state_path_), "0");
}

TEST_F(PipeStateTest, AReaderInAnotherProcessIsNamedByItsPid) {
  MakeFifo(FifoPath(0));
  const ProcessEvent claimed;
  Child child([&]() -> std::string {
    const PipeState::Attempt attempt = OtherFoldersState().TryClaim();
    if (!attempt.claim || !OtherFoldersState().TryMarkStarted(*attempt.claim)) return "no claim";
    claimed.Set();
    ::pause();
    return "";
  });
  ASSERT_TRUE(claimed.Wait());
  EXPECT_THAT([&] { State().TryClaim(); }, ThrowsMessage<FailedPreconditionError>(HasSubstr(
                                               "by process " + std::to_string(child.pid()) + ";")));
  // With its process the claim ends.
  child.Signal(SIGKILL);
  EXPECT_EQ(child.Result(), "killed by signal 9");
  EXPECT_TRUE(State().TryClaim().claim);
}

TEST_F(PipeStateTest, AKilledWaiterLeavesTheEpoch) {
  MakeFifo(FifoPath(0));
  const ProcessEvent claimed;
  Child child([&]() -> std::string {
    const PipeState::Attempt attempt = State().TryClaim();
    if (!attempt.claim) return "no claim";
    claimed.Set();
    ::pause();
    return "";
  });
  ASSERT_TRUE(claimed.Wait());
  EXPECT_TRUE(State().TryClaim().busy);
  child.Signal(SIGKILL);
  EXPECT_EQ(child.Result(), "killed by signal 9");
  EXPECT_TRUE(State().TryClaim().claim);
  EXPECT_EQ(State().NextEpoch(), 0U);
}

// Many at once.

// Claims epochs until `epochs` of them are gone, and notes each in the file `log_path`. One claim
// in `give_up_one_in` is dropped before it is marked. Returns what went wrong.
std::string ClaimAll(const PipeState& state, uint64_t epochs, const std::string& log_path,
                     uint32_t seed, size_t give_up_one_in) {
  Random random(seed);
  const UniqueFd log(::open(log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  const Clock::time_point limit = Clock::now() + kPatience;
  try {
    while (Clock::now() < limit) {
      PipeState::Attempt attempt = state.TryClaim();
      if (!attempt.claim) {
        if (!attempt.busy && attempt.epoch >= epochs) return "";
        std::this_thread::yield();
        continue;
      }
      if (random.OneIn(3)) std::this_thread::yield();
      if (random.OneIn(give_up_one_in)) continue;
      while (!state.TryMarkStarted(*attempt.claim)) std::this_thread::yield();
      const std::string line = std::to_string(attempt.claim->epoch) + "\n";
      if (::write(log.get(), line.data(), line.size()) < 0) return "cannot write the log";
    }
  } catch (const PipeError& error) {
    return error.what();
  }
  return "too slow";
}

std::vector<uint64_t> SortedLog(const std::string& path) {
  std::istringstream lines(ReadFile(path));
  std::vector<uint64_t> epochs;
  for (uint64_t epoch; lines >> epoch;) epochs.push_back(epoch);
  std::sort(epochs.begin(), epochs.end());
  return epochs;
}

std::vector<uint64_t> Range(uint64_t count) {
  std::vector<uint64_t> range(count);
  std::iota(range.begin(), range.end(), uint64_t{0});
  return range;
}

class CrowdTest : public PipeStateTest, public ::testing::WithParamInterface<size_t> {};

// Nobody gives up, or every other one.
INSTANTIATE_TEST_SUITE_P(GiveUpOneIn, CrowdTest, ::testing::Values(SIZE_MAX, 2),
                         [](const auto& suite) { return suite.param == 2 ? "Two" : "None"; });

TEST_P(CrowdTest, ThreadsClaimEachEpochOnce) {
  constexpr uint64_t kEpochs = 100;
  for (uint64_t epoch = 0; epoch < kEpochs; ++epoch) MakeFifo(FifoPath(epoch));
  std::vector<std::string> results(6);
  std::vector<std::thread> threads;
  for (uint32_t i = 0; i < results.size(); ++i) {
    threads.emplace_back([this, &results, i] {
      results[i] = ClaimAll(State(), kEpochs, folder_ / "log", i, GetParam());
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& result : results) EXPECT_EQ(result, "");
  EXPECT_EQ(SortedLog(folder_ / "log"), Range(kEpochs));
  EXPECT_EQ(State().NextEpoch(), kEpochs);
}

TEST_P(CrowdTest, ProcessesClaimEachEpochOnce) {
  constexpr uint64_t kEpochs = 100;
  for (uint64_t epoch = 0; epoch < kEpochs; ++epoch) MakeFifo(FifoPath(epoch));
  std::vector<std::unique_ptr<Child>> children;
  for (uint32_t i = 0; i < 5; ++i) {
    children.push_back(std::make_unique<Child>([this, i] {
      std::string results[2];
      std::thread other(
          [&] { results[0] = ClaimAll(State(), kEpochs, folder_ / "log", 2 * i, GetParam()); });
      results[1] = ClaimAll(State(), kEpochs, folder_ / "log", 2 * i + 1, GetParam());
      other.join();
      return results[0] + results[1];
    }));
  }
  for (const auto& child : children) EXPECT_EQ(child->Result(), "");
  EXPECT_EQ(SortedLog(folder_ / "log"), Range(kEpochs));
}

TEST_P(CrowdTest, StateFoldersDoNotShareAFifo) {
  // Each folder counts for itself, so one is told off as long as the other reads; but never both.
  constexpr uint64_t kEpochs = 50;
  for (uint64_t epoch = 0; epoch < kEpochs; ++epoch) MakeFifo(FifoPath(epoch));
  std::atomic<int> at_once[kEpochs] = {};
  std::atomic<int> shared{0};
  std::vector<std::thread> threads;
  for (uint32_t i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      const PipeState state = i % 2 == 0 ? State() : OtherFoldersState();
      const Clock::time_point limit = Clock::now() + kPatience;
      while (Clock::now() < limit) {
        try {
          PipeState::Attempt attempt = state.TryClaim();
          if (!attempt.claim && !attempt.busy && attempt.epoch >= kEpochs) return;
          if (!attempt.claim) continue;
          while (!state.TryMarkStarted(*attempt.claim)) std::this_thread::yield();
          if (at_once[attempt.epoch]++ > 0) ++shared;
          std::this_thread::yield();
          --at_once[attempt.epoch];
        } catch (const FailedPreconditionError&) {
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(shared, 0);
}

TEST_F(PipeStateTest, OfSeveralThatComeAtOnceOneWaitsAndNoneIsRefused) {
  // Each has a state folder of its own, claims the FIFO, and gives it up; none ever reads.
  const int kClaims = testing::kSanitized ? 2000 : 20'000;
  MakeFifo(FifoPath(0));
  std::atomic<int> at_once{0};
  std::atomic<int> shared{0};
  std::atomic<int> refused{0};
  std::atomic<int> claims{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&, i] {
      const PipeState state(folder_ / "state" + std::to_string(i), folder_.path(), "train");
      const Clock::time_point limit = Clock::now() + kPatience;
      while (claims < kClaims && Clock::now() < limit) {
        try {
          const PipeState::Attempt attempt = state.TryClaim();
          if (!attempt.claim) continue;
          if (at_once++ > 0) ++shared;
          ++claims;
          --at_once;
        } catch (const FailedPreconditionError&) {
          ++refused;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GE(claims, kClaims);
  EXPECT_EQ(shared, 0);
  EXPECT_EQ(refused, 0);
}

TEST_F(PipeStateTest, KilledAtAnyMomentTheNumberIsAlwaysGood) {
  // One file stands for all FIFOs; what counts is the number.
  Random random(1);
  uint64_t last = 0;
  const int rounds = testing::kSanitized ? 60 : 200;
  for (int round = 0; round < rounds; ++round) {
    const ProcessEvent begun;
    Child child([&]() -> std::string {
      const PipeState state = State();
      begun.Set();
      for (;;) {
        const uint64_t next = state.NextEpoch();
        if (!Exists(FifoPath(next))) WriteFile(FifoPath(next), "");
        const PipeState::Attempt attempt = state.TryClaim();
        if (!attempt.claim) return "no claim for epoch " + std::to_string(next);
        if (!state.TryMarkStarted(*attempt.claim)) return "state is locked";
      }
    });
    ASSERT_TRUE(begun.Wait());
    std::this_thread::sleep_for(std::chrono::microseconds(random.Below(4'000)));
    child.Signal(SIGKILL);
    ASSERT_EQ(child.Result(), "killed by signal 9");
    const uint64_t next = State().NextEpoch();
    ASSERT_GE(next, last);
    last = next;
    ASSERT_EQ(Exists(state_path_) ? ReadFile(state_path_) : "0", std::to_string(next));
  }
  EXPECT_GT(last, 0U);
  RecordProperty("epochs", std::to_string(last));
}

}  // namespace
}  // namespace pipemode
