// SPDX-License-Identifier: Apache-2.0
//
// A reader that is killed in the instant in which its writer comes: the state still names the
// epoch, but the service has done with it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "channel/channel_reader_fixture.h"
#include "core/base/error.h"
#include "core/base/unique_fd.h"
#include "core/channel/channel_reader.h"
#include "core/channel/epoch_recovery.h"
#include "core/channel/pipe_state.h"
#include "testing/child.h"
#include "testing/environment.h"
#include "testing/fifo_server.h"
#include "testing/record_formats.h"
#include "testing/string_sink.h"
#include "testing/temp_dir.h"

namespace pipemode {
namespace {

using ::pipemode::testing::BlockObserver;
using ::pipemode::testing::ChannelReaderTest;
using ::pipemode::testing::Child;
using ::pipemode::testing::Encode;
using ::pipemode::testing::Event;
using ::pipemode::testing::FifoServer;
using ::pipemode::testing::JoiningThread;
using ::pipemode::testing::kPatience;
using ::pipemode::testing::MakeFifo;
using ::pipemode::testing::ProcessEvent;
using ::pipemode::testing::ReadAllRecords;
using ::pipemode::testing::ReadFile;
using ::pipemode::testing::Records;
using ::pipemode::testing::StringSink;
using ::pipemode::testing::TfRecord;
using ::pipemode::testing::WriteAll;
using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using ::testing::ThrowsMessage;

class LostEpochTest : public ChannelReaderTest {
 protected:
  // Has a process open the FIFO, a writer come, and the process killed.
  void LoseEpoch(uint64_t epoch) const {
    MakeFifo(FifoPath(epoch));
    const ProcessEvent opened;
    Child child([&]() -> std::string {
      const PipeState state(state_dir_, folder_.path(), "train");
      const EpochRecovery recovery(state);
      const PipeState::Attempt due = recovery.TryClaim();
      if (!due.claim) return "no claim";
      std::vector<EpochClaim> later;
      recovery.TryClaimLater(*due.claim, &later);
      if (due.claim->epoch + later.size() < epoch) return "not so far";
      opened.Set();
      ::pause();
      return "";
    });
    ASSERT_TRUE(opened.Wait());
    const UniqueFd writer = OpenWriter(epoch);
    child.Signal(SIGKILL);
    ASSERT_EQ(child.Result(), "killed by signal 9");
    ASSERT_FALSE(WriteAll(writer.get(), "data"));
    ASSERT_EQ(State(), "");
  }
};

TEST_F(LostEpochTest, TheNextReaderGoesToTheWriter) {
  LoseEpoch(0);
  MakeFifo(FifoPath(1));
  FifoServer server(FifoPath(1), Encode(TfRecord(), {"second"}).bytes);
  ChannelReader reader = Reader();
  EXPECT_EQ(ReadAllRecords(reader), Records{"second"});
  EXPECT_EQ(reader.epoch(), 1U);
  EXPECT_EQ(reader.lost_epochs(), 1U);
  EXPECT_EQ(State(), "2");
}

TEST_F(LostEpochTest, AlsoIfItsFifoComesLater) {
  LoseEpoch(0);
  Event waits;
  BlockObserver observer([&] { waits.Set(); });
  const JoiningThread service([&] {
    ASSERT_TRUE(waits.Wait());
    MakeFifo(FifoPath(1));
    WriteAll(OpenWriter(1).get(), Encode(TfRecord(), {"second"}).bytes);
  });
  ChannelReader reader(Options(), {&cancel_, &observer});
  EXPECT_EQ(ReadAllRecords(reader), Records{"second"});
  EXPECT_EQ(State(), "2");
}

TEST_F(LostEpochTest, AlsoIfTheServiceHasRemovedTheLostFifo) {
  LoseEpoch(0);
  std::filesystem::remove(FifoPath(0));
  MakeFifo(FifoPath(1));
  FifoServer server(FifoPath(1), Encode(TfRecord(), {"second"}).bytes);
  ChannelReader reader = Reader();
  EXPECT_EQ(ReadAllRecords(reader), Records{"second"});
  EXPECT_EQ(reader.lost_epochs(), 1U);
  EXPECT_EQ(State(), "2");
}

TEST_F(LostEpochTest, AFifoThatComesBackIsReadFirst) {
  LoseEpoch(0);
  std::filesystem::remove(FifoPath(0));
  MakeFifo(FifoPath(1));
  Event waits;
  BlockObserver observer([&] { waits.Set(); });
  const JoiningThread service([&] {
    ASSERT_TRUE(waits.Wait());
    MakeFifo(FifoPath(0));
    WriteAll(OpenWriter(0).get(), Encode(TfRecord(), {"first"}).bytes);
  });
  ChannelReader reader(Options(), {&cancel_, &observer});
  EXPECT_EQ(ReadAllRecords(reader), Records{"first"});
  EXPECT_EQ(State(), "1");
}

TEST_F(LostEpochTest, SeveralInARow) {
  for (const uint64_t epoch : {0, 1, 2}) LoseEpoch(epoch);
  MakeFifo(FifoPath(3));
  FifoServer server(FifoPath(3), Encode(TfRecord(), {"fourth"}).bytes);
  ChannelReader reader = Reader();
  EXPECT_EQ(ReadAllRecords(reader), Records{"fourth"});
  EXPECT_EQ(reader.lost_epochs(), 3U);
  EXPECT_EQ(State(), "4");
  MakeFifo(FifoPath(4));
  FifoServer next_server(FifoPath(4), Encode(TfRecord(), {"fifth"}).bytes);
  ChannelReader next = Reader();
  EXPECT_EQ(ReadAllRecords(next), Records{"fifth"});
  EXPECT_EQ(next.lost_epochs(), 0U);
}

// The writer still has the FIFO open when the next reader comes.
class UnnoticedKillTest : public LostEpochTest {
 protected:
  // A process opens FIFO 0 and is killed when `bytes` have been written there.
  UniqueFd BeginEpoch(const std::string& bytes) const {
    MakeFifo(FifoPath(0));
    const ProcessEvent opened;
    Child child([&]() -> std::string {
      const PipeState state(state_dir_, folder_.path(), "train");
      const PipeState::Attempt attempt = EpochRecovery(state).TryClaim();
      if (!attempt.claim) return "no claim";
      opened.Set();
      ::pause();
      return "";
    });
    EXPECT_TRUE(opened.Wait());
    UniqueFd writer = OpenWriter(0);
    EXPECT_TRUE(WriteAll(writer.get(), bytes));
    child.Signal(SIGKILL);
    EXPECT_EQ(child.Result(), "killed by signal 9");
    return writer;
  }
};

TEST_F(UnnoticedKillTest, WhatAWriterLeftThatNoticedIsNoEpoch) {
  for (const std::string& left : {std::string(), Encode(TfRecord(), {"first"}).bytes}) {
    UniqueFd writer = BeginEpoch(left);
    Event waits;
    // At the first wait, so that no delay makes it seem one that is only slow.
    BlockObserver observer([&] {
      writer.Reset();
      waits.Set();
    });
    const JoiningThread service([&] {
      EXPECT_TRUE(waits.Wait());
      MakeFifo(FifoPath(1));
      WriteAll(OpenWriter(1).get(), Encode(TfRecord(), {"second"}).bytes);
    });
    ChannelReader reader(Options(), {&cancel_, &observer});
    EXPECT_EQ(ReadAllRecords(reader), Records{"second"});
    EXPECT_EQ(reader.lost_epochs(), 1U);
    EXPECT_EQ(reader.epoch(), 1U);
    EXPECT_EQ(State(), "2");
    std::filesystem::remove_all(state_dir_);
    for (const uint64_t epoch : {0, 1}) std::filesystem::remove(FifoPath(epoch));
  }
}

TEST_F(UnnoticedKillTest, AlsoIfTheWaitEndsMeanwhile) {
  for (const bool is_cancelled : {false, true}) {
    UniqueFd writer = BeginEpoch(Encode(TfRecord(), {"first"}).bytes);
    ChannelOptions options = Options();
    options.open_timeout = is_cancelled ? kPatience : milliseconds(20);
    BlockObserver observer([&] {
      if (is_cancelled) {
        cancel_.Cancel();
      } else {
        std::this_thread::sleep_for(milliseconds(30));
      }
    });
    StringSink sink;
    const JoiningThread service([&] {
      std::this_thread::sleep_for(milliseconds(60));
      writer.Reset();
    });
    ChannelReader reader(options, {&cancel_, &observer});
    if (is_cancelled) {
      EXPECT_THROW(reader.Read(sink), CancelledError);
    } else {
      EXPECT_THROW(reader.Read(sink), DeadlineExceededError);
    }
    EXPECT_EQ(reader.lost_epochs(), 1U);
    EXPECT_EQ(State(), "1");
    cancel_.Reset();
    std::filesystem::remove_all(state_dir_);
    std::filesystem::remove(FifoPath(0));
  }
}

TEST_F(UnnoticedKillTest, AWriterThatGoesOnIsRead) {
  const std::string bytes = Encode(TfRecord(), {"one", "two", "three"}).bytes;
  for (const size_t left : {size_t{0}, size_t{19}, bytes.size() - 1}) {
    UniqueFd writer = BeginEpoch(bytes.substr(0, left));
    Event waits;
    BlockObserver observer([&] { waits.Set(); });
    const JoiningThread service([&] {
      EXPECT_TRUE(waits.Wait());
      EXPECT_TRUE(WriteAll(writer.get(), bytes.substr(left)));
      writer.Reset();
    });
    ChannelReader reader(Options(), {&cancel_, &observer});
    EXPECT_EQ(ReadAllRecords(reader), (Records{"one", "two", "three"}));
    EXPECT_EQ(reader.lost_epochs(), 0U);
    EXPECT_EQ(State(), "1");
    std::filesystem::remove_all(state_dir_);
    std::filesystem::remove(FifoPath(0));
  }
}

TEST_F(UnnoticedKillTest, SoIsOneThatIsSlow) {
  const std::string bytes = Encode(TfRecord(), {"one", "two"}).bytes;
  UniqueFd writer = BeginEpoch(bytes.substr(0, 19));
  ChannelReader reader = Reader();
  StringSink sink;
  ASSERT_TRUE(reader.Read(sink));  // without another byte
  EXPECT_EQ(sink.record(), "one");
  ASSERT_TRUE(WriteAll(writer.get(), bytes.substr(19)));
  writer.Reset();
  EXPECT_EQ(ReadAllRecords(reader), Records{"two"});
}

TEST_F(LostEpochTest, AWriterThatOnlyLooksWhetherThereIsAReaderSendsNoEpoch) {
  // It wrote all of it, and closed, while the reader before was still there, which then was killed.
  MakeFifo(FifoPath(0));
  const PipeState state(state_dir_, folder_.path(), "train");
  ASSERT_TRUE(EpochRecovery(state).TryClaim().claim);
  Event waits;
  BlockObserver observer([&] { waits.Set(); });
  const JoiningThread service([&] {
    ASSERT_TRUE(waits.Wait());
    OpenWriter(0).Reset();
    MakeFifo(FifoPath(1));
    WriteAll(OpenWriter(1).get(), Encode(TfRecord(), {"second"}).bytes);
  });
  ChannelReader reader(Options(), {&cancel_, &observer});
  EXPECT_EQ(ReadAllRecords(reader), Records{"second"});
  EXPECT_EQ(reader.lost_epochs(), 1U);
  EXPECT_EQ(State(), "2");
}

TEST_F(LostEpochTest, OneThatIsNotLostIsRead) {
  // The reader before gave up; its writer is late. A service may have made the next FIFO already.
  MakeFifo(FifoPath(0));
  MakeFifo(FifoPath(1));
  const PipeState state(state_dir_, folder_.path(), "train");
  ASSERT_TRUE(EpochRecovery(state).TryClaim().claim);
  const std::string record(2 << 20, 'x');  // more than a pipe holds
  Event waits;
  BlockObserver observer([&] { waits.Set(); });
  const JoiningThread service([&] {
    ASSERT_TRUE(waits.Wait());
    WriteAll(OpenWriter(0).get(), Encode(TfRecord(), {record}).bytes);
    WriteAll(OpenWriter(1).get(), Encode(TfRecord(), {"second"}).bytes);
  });
  ChannelReader reader(Options(), {&cancel_, &observer});
  EXPECT_EQ(ReadAllRecords(reader), Records{record});
  EXPECT_EQ(reader.lost_epochs(), 0U);
  EXPECT_EQ(State(), "1");
  // The next reader need not doubt what it finds there.
  EXPECT_EQ(ReadFile(state_dir_ + "/.train-pipe_mode-lock"), "1 1 closed\n");
  ChannelReader next = Reader();
  EXPECT_EQ(ReadAllRecords(next), Records{"second"});
}

TEST_F(LostEpochTest, AfterAReaderThatGaveUpAnEmptyEpochIsOne) {
  MakeFifo(FifoPath(0));
  for (const bool is_cancelled : {false, true}) {
    ChannelOptions options = Options();
    if (!is_cancelled) options.open_timeout = milliseconds(20);
    BlockObserver observer([&] {
      if (is_cancelled) cancel_.Cancel();
    });
    ChannelReader reader(options, {&cancel_, &observer});
    StringSink sink;
    EXPECT_THROW(reader.Read(sink), PipeError);
    cancel_.Reset();
  }
  Event waits;
  BlockObserver observer([&] { waits.Set(); });
  const JoiningThread service([&] {
    ASSERT_TRUE(waits.Wait());
    OpenWriter(0).Reset();
  });
  ChannelReader reader(Options(), {&cancel_, &observer});
  EXPECT_EQ(ReadAllRecords(reader), Records());
  EXPECT_EQ(reader.epoch(), 0U);
  EXPECT_EQ(reader.lost_epochs(), 0U);
  EXPECT_EQ(State(), "1");
}

TEST_F(LostEpochTest, TheDeadlineNamesTheEpochThatIsDue) {
  LoseEpoch(0);
  MakeFifo(FifoPath(1));
  ChannelOptions options = Options();
  options.open_timeout = milliseconds(100);
  ChannelReader reader(options, context_);
  StringSink sink;
  EXPECT_THAT([&] { reader.Read(sink); },
              ThrowsMessage<DeadlineExceededError>(
                  AllOf(StartsWith(Position(0)), HasSubstr("a writer to open FIFO"))));
  EXPECT_EQ(State(), "");
}

}  // namespace
}  // namespace pipemode
