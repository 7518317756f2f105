// SPDX-License-Identifier: Apache-2.0
//
// What a reader does until its epoch begins: it waits for the FIFO, then for the writer.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "channel/channel_reader_fixture.h"
#include "core/base/error.h"
#include "core/base/unique_fd.h"
#include "core/channel/channel_reader.h"
#include "core/io/cancel_token.h"
#include "core/io/wait.h"
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
using ::pipemode::testing::Clock;
using ::pipemode::testing::Encode;
using ::pipemode::testing::Event;
using ::pipemode::testing::FifoServer;
using ::pipemode::testing::kPatience;
using ::pipemode::testing::MakeFifo;
using ::pipemode::testing::Milliseconds;
using ::pipemode::testing::ProcessEvent;
using ::pipemode::testing::ReadAllRecords;
using ::pipemode::testing::Records;
using ::pipemode::testing::StringSink;
using ::pipemode::testing::TfRecord;
using ::pipemode::testing::ThreadCpuTime;
using ::pipemode::testing::WriteAll;
using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using ::testing::ThrowsMessage;

// Waiting for the FIFO.

// Makes the FIFO after the reader has begun to wait. Returns how long after that it has a reader.
Clock::duration NoticeLatency(const std::string& path, const std::function<void()>& make) {
  std::this_thread::sleep_for(milliseconds(60));
  make();
  const auto made_at = Clock::now();
  UniqueFd writer;
  while (!writer && Clock::now() < made_at + kPatience) {
    writer = UniqueFd(::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
  }
  const auto latency = Clock::now() - made_at;
  WriteAll(writer.get(), Encode(TfRecord(), {"late"}).bytes);
  return latency;
}

TEST_F(ChannelReaderTest, AFifoThatAppearsIsNoticedAtOnce) {
  Clock::duration latency{};
  std::thread maker(
      [&] { latency = NoticeLatency(FifoPath(0), [this] { MakeFifo(FifoPath(0)); }); });
  ChannelReader reader = Reader();
  EXPECT_EQ(ReadAllRecords(reader), Records{"late"});
  maker.join();
  EXPECT_LT(latency, milliseconds(testing::kSanitized ? 2000 : 200));
  RecordProperty("latency_ms", std::to_string(Milliseconds(latency)));
}

TEST_F(ChannelReaderTest, SoIsOneThatIsMovedThere) {
  Clock::duration latency{};
  std::thread maker([&] {
    latency = NoticeLatency(FifoPath(0), [this] {
      MakeFifo(folder_ / "hidden");
      std::filesystem::rename(folder_ / "hidden", FifoPath(0));
    });
  });
  ChannelReader reader = Reader();
  EXPECT_EQ(ReadAllRecords(reader), Records{"late"});
  maker.join();
  EXPECT_LT(latency, milliseconds(testing::kSanitized ? 2000 : 200));
}

TEST_F(ChannelReaderTest, EvenItsFolderMayComeLater) {
  Clock::duration latency{};
  ChannelOptions options = Options();
  options.pipe_dir = folder_ / "later";
  const std::string path = folder_ / "later/train_0";
  std::thread maker([&] {
    latency = NoticeLatency(path, [&] {
      std::filesystem::create_directory(folder_ / "later");
      MakeFifo(path);
    });
  });
  ChannelReader reader(options, context_);
  EXPECT_EQ(ReadAllRecords(reader), Records{"late"});
  maker.join();
  EXPECT_LT(latency, milliseconds(testing::kSanitized ? 2000 : 200));
  RecordProperty("latency_ms", std::to_string(Milliseconds(latency)));
}

TEST_F(ChannelReaderTest, WaitingForAFifoTakesLittleProcessorTime) {
  ChannelOptions options = Options();
  options.open_timeout = std::chrono::seconds(1);
  StringSink sink;
  for (const bool exists : {false, true}) {  // no FIFO, then no writer
    if (exists) MakeFifo(FifoPath(0));
    ChannelReader reader(options, context_);
    const auto before = ThreadCpuTime();
    EXPECT_THROW(reader.Read(sink), DeadlineExceededError);
    const auto used = ThreadCpuTime() - before;
    EXPECT_LT(used, milliseconds(testing::kSanitized ? 500 : 100));
    RecordProperty(exists ? "writer_cpu_percent" : "fifo_cpu_percent",
                   std::to_string(Milliseconds(used) / 10));
  }
}

TEST_F(ChannelReaderTest, AFifoThatNeverComesIsADeadline) {
  ChannelOptions options = Options();
  options.open_timeout = milliseconds(100);
  ChannelReader reader(options, context_);
  StringSink sink;
  const auto start = Clock::now();
  EXPECT_THAT([&] { reader.Read(sink); }, ThrowsMessage<DeadlineExceededError>(AllOf(
                                              StartsWith(Position(0)), HasSubstr("waited 0.1 s"),
                                              HasSubstr("to appear"), HasSubstr("open_timeout"))));
  EXPECT_GE(Clock::now() - start, milliseconds(100));
  EXPECT_LT(Clock::now() - start, milliseconds(testing::kSanitized ? 2000 : 500));
  EXPECT_FALSE(reader.epoch());
  EXPECT_FALSE(reader.Read(sink));
  EXPECT_EQ(State(), "");
}

// Waiting for its writer.

TEST_F(ChannelReaderTest, AWriterThatNeverComesIsADeadlineAndLeavesTheEpoch) {
  MakeFifo(FifoPath(0));
  {
    ChannelOptions options = Options();
    options.open_timeout = milliseconds(100);
    ChannelReader reader(options, context_);
    StringSink sink;
    EXPECT_THAT([&] { reader.Read(sink); },
                ThrowsMessage<DeadlineExceededError>(AllOf(StartsWith(Position(0)),
                                                           HasSubstr("a writer to open FIFO"),
                                                           HasSubstr("open_timeout"))));
    EXPECT_EQ(State(), "");
  }
  FifoServer server(FifoPath(0), Encode(TfRecord(), {"still there"}).bytes);
  ChannelReader reader = Reader();
  EXPECT_EQ(ReadAllRecords(reader), Records{"still there"});
  EXPECT_EQ(reader.epoch(), 0U);
}

TEST_F(ChannelReaderTest, AFifoThatIsReplacedBeforeItsWriterComesIsTakenAnew) {
  // As when a local service starts after its reader, and clears the folder first.
  MakeFifo(FifoPath(0));
  Event waits;
  std::thread service([&] {
    ASSERT_TRUE(waits.Wait());
    std::filesystem::remove(FifoPath(0));
    std::this_thread::sleep_for(milliseconds(30));
    MakeFifo(FifoPath(0));
    WriteAll(OpenWriter(0).get(), Encode(TfRecord(), {"new"}).bytes);
  });
  BlockObserver observer([&] { waits.Set(); });
  ChannelReader reader(Options(), {&cancel_, &observer});
  EXPECT_EQ(ReadAllRecords(reader), Records{"new"});
  service.join();
  EXPECT_EQ(State(), "1");
}

TEST_F(ChannelReaderTest, CancelledBeforeThereIsAWriterLeavesTheEpoch) {
  for (const bool exists : {false, true}) {  // waiting for the FIFO, then for the writer
    if (exists) MakeFifo(FifoPath(0));
    ChannelReader reader = Reader();
    StringSink sink;
    Clock::time_point cancelled_at;
    std::thread canceller([&] {
      std::this_thread::sleep_for(milliseconds(50));
      cancelled_at = Clock::now();
      cancel_.Cancel();
    });
    EXPECT_THAT([&] { reader.Read(sink); },
                ThrowsMessage<CancelledError>(
                    AllOf(HasSubstr("cancelled while waiting for"), HasSubstr(FifoPath(0)))));
    const auto latency = Clock::now() - cancelled_at;
    canceller.join();
    EXPECT_LT(latency, milliseconds(testing::kSanitized ? 2000 : 100));
    EXPECT_EQ(State(), "");
    cancel_.Reset();
    if (!exists) continue;
    // Another reader may have it, or the call may be made again.
    {
      FifoServer server(FifoPath(0), Encode(TfRecord(), {"zero"}).bytes);
      ChannelReader other = Reader();
      EXPECT_EQ(ReadAllRecords(other), Records{"zero"});
    }
    MakeFifo(FifoPath(1));
    FifoServer server(FifoPath(1), Encode(TfRecord(), {"one"}).bytes);
    EXPECT_EQ(ReadAllRecords(reader), Records{"one"});
  }
}

TEST_F(ChannelReaderTest, AWriterThatComesInTheLastMomentIsNotLost) {
  // The FIFO is not closed on it, and the state moves on, whatever ends the wait.
  struct Interrupted {};
  const std::vector<std::pair<std::string, std::function<void()>>> stops = {
      {"cancelled", [this] { cancel_.Cancel(); }},
      {"refused", [] { throw CancelledError("by the observer"); }},
      {"something else", [] { throw Interrupted(); }},
  };
  uint64_t epoch = 0;
  for (const auto& [name, stop] : stops) {
    MakeFifo(FifoPath(epoch));
    UniqueFd writer;
    BlockObserver observer([&, stop = stop] {
      writer = OpenWriter(epoch);
      stop();
    });
    const WaitContext context{&cancel_, &observer};
    ChannelReader reader(Options(), context);
    StringSink sink;
    try {
      reader.Read(sink);
      FAIL() << name;
    } catch (const CancelledError&) {
      EXPECT_NE(name, "something else");
    } catch (const Interrupted&) {
      EXPECT_EQ(name, "something else");
    }
    EXPECT_EQ(State(), std::to_string(epoch + 1)) << name;
    cancel_.Reset();
    // The same call, made again, goes on with it.
    EXPECT_TRUE(WriteAll(writer.get(), Encode(TfRecord(), {name}).bytes));
    writer.Reset();
    EXPECT_EQ(ReadAllRecords(reader), Records{name});
    ++epoch;
  }
}

TEST_F(ChannelReaderTest, AWriterThatComesWithTheDeadlineIsRead) {
  MakeFifo(FifoPath(0));
  ChannelOptions options = Options();
  options.open_timeout = milliseconds(3);  // less than from one look for a writer to the next
  UniqueFd writer;
  Event opened;
  BlockObserver observer([&] {
    writer = OpenWriter(0);
    opened.Set();
  });
  std::thread service([&] {
    ASSERT_TRUE(opened.Wait());
    std::this_thread::sleep_for(milliseconds(50));
    EXPECT_TRUE(WriteAll(writer.get(), Encode(TfRecord(), {"in time"}).bytes));
    writer.Reset();
  });
  ChannelReader reader(options, {&cancel_, &observer});
  Records records;
  EXPECT_NO_THROW(records = ReadAllRecords(reader));
  service.join();
  EXPECT_EQ(records, Records{"in time"});
  EXPECT_EQ(State(), "1");
}

TEST_F(ChannelReaderTest, AStateThatCannotBeMovedOnLeavesTheEpochToTheNextCall) {
  if (::getuid() == 0) {
    // The folder's mode does not keep root from writing there; a folder in the file's place does.
    std::filesystem::create_directories(state_dir_ + "/.train-pipe_mode-state.tmp/full");
  } else {
    std::filesystem::create_directories(state_dir_);
  }
  MakeFifo(FifoPath(0));
  UniqueFd writer;
  BlockObserver observer([&] {
    writer = OpenWriter(0);
    std::filesystem::permissions(
        state_dir_, std::filesystem::perms::owner_read | std::filesystem::perms::owner_exec);
  });
  ChannelReader reader(Options(), {&cancel_, &observer});
  StringSink sink;
  for (int call = 0; call < 2; ++call) {
    EXPECT_THAT([&] { reader.Read(sink); },
                ThrowsMessage<IoError>(
                    AllOf(StartsWith(Position(0)), HasSubstr(".train-pipe_mode-state"))));
    EXPECT_FALSE(reader.epoch());
    EXPECT_EQ(State(), "");
  }
  std::filesystem::permissions(state_dir_, std::filesystem::perms::owner_all);
  std::filesystem::remove_all(state_dir_ + "/.train-pipe_mode-state.tmp");
  EXPECT_TRUE(WriteAll(writer.get(), Encode(TfRecord(), {"still there"}).bytes));
  writer.Reset();
  EXPECT_EQ(ReadAllRecords(reader), Records{"still there"});
  EXPECT_EQ(State(), "1");
}

TEST_F(ChannelReaderTest, ALockedStateDoesNotLoseTheEpoch) {
  MakeFifo(FifoPath(0));
  UniqueFd writer;
  UniqueFd lock;
  Event locked;
  BlockObserver observer([&] {
    const std::string path = state_dir_ + "/.train-pipe_mode-lock";
    lock = UniqueFd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    ASSERT_EQ(::flock(lock.get(), LOCK_EX), 0);
    writer = OpenWriter(0);
    cancel_.Cancel();
    locked.Set();
  });
  std::thread holder([&] {
    ASSERT_TRUE(locked.Wait());
    std::this_thread::sleep_for(milliseconds(50));
    EXPECT_EQ(::flock(lock.get(), LOCK_UN), 0);
  });
  const WaitContext context{&cancel_, &observer};
  ChannelReader reader(Options(), context);
  StringSink sink;
  EXPECT_THROW(reader.Read(sink), CancelledError);
  holder.join();
  EXPECT_EQ(State(), "1");
}

TEST_F(ChannelReaderTest, AKilledWaiterLeavesTheEpoch) {
  MakeFifo(FifoPath(0));
  ProcessEvent waits;
  Child child([&]() -> std::string {
    BlockObserver observer([&] { waits.Set(); });
    const CancelToken cancel;
    ChannelReader reader(Options(), {&cancel, &observer});
    StringSink sink;
    reader.Read(sink);
    return "read something";
  });
  ASSERT_TRUE(waits.Wait());
  child.Signal(SIGKILL);
  EXPECT_EQ(child.Result(), "killed by signal 9");
  EXPECT_EQ(State(), "");
  FifoServer server(FifoPath(0), Encode(TfRecord(), {"still there"}).bytes);
  ChannelReader reader = Reader();
  EXPECT_EQ(ReadAllRecords(reader), Records{"still there"});
}

TEST_F(ChannelReaderTest, AKilledReaderEndsTheEpoch) {
  MakeFifo(FifoPath(0));
  ProcessEvent reads;
  Child child([&]() -> std::string {
    const CancelToken cancel;
    ChannelReader reader(Options(), {&cancel});
    StringSink sink;
    if (!reader.Read(sink)) return "no record";
    reads.Set();
    ::pause();
    return "";
  });
  const UniqueFd writer = OpenWriter(0);
  ASSERT_TRUE(WriteAll(writer.get(), Encode(TfRecord(), {"first"}).bytes));
  ASSERT_TRUE(reads.Wait());
  child.Signal(SIGKILL);
  EXPECT_EQ(child.Result(), "killed by signal 9");
  EXPECT_FALSE(WriteAll(writer.get(), "more"));
  EXPECT_EQ(State(), "1");
}

}  // namespace
}  // namespace pipemode
