// SPDX-License-Identifier: Apache-2.0
#include "core/channel/channel_reader.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/writer/fifo_channel_writer.h"
#include "testing/child.h"
#include "testing/deflate.h"
#include "testing/environment.h"
#include "testing/fifo_server.h"
#include "testing/record_formats.h"
#include "testing/string_sink.h"
#include "testing/temp_dir.h"

namespace pipemode {
namespace {

using ::pipemode::testing::AllFormats;
using ::pipemode::testing::Child;
using ::pipemode::testing::Clock;
using ::pipemode::testing::Encode;
using ::pipemode::testing::Encoded;
using ::pipemode::testing::Event;
using ::pipemode::testing::Exists;
using ::pipemode::testing::FifoServer;
using ::pipemode::testing::FormatCase;
using ::pipemode::testing::Gzip;
using ::pipemode::testing::kPatience;
using ::pipemode::testing::MakeFifo;
using ::pipemode::testing::Milliseconds;
using ::pipemode::testing::OpenForWriting;
using ::pipemode::testing::ProcessEvent;
using ::pipemode::testing::ReadFile;
using ::pipemode::testing::Records;
using ::pipemode::testing::StringSink;
using ::pipemode::testing::TempDir;
using ::pipemode::testing::ThreadCpuTime;
using ::pipemode::testing::WriteAll;
using ::pipemode::testing::WriteFile;
using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using ::testing::ThrowsMessage;

const FormatCase& TfRecord() {
  static const FormatCase format = AllFormats()[0];
  return format;
}

Records ReadAllRecords(ChannelReader& reader) {
  Records records;
  StringSink sink;
  while (reader.Read(sink)) records.push_back(sink.record());
  return records;
}

// Does something in the moment in which a reader is about to block for the first time.
class BlockObserver : public WaitObserver {
 public:
  explicit BlockObserver(std::function<void()> on_block) : on_block_(std::move(on_block)) {}
  void OnBlock() override {
    std::exchange(on_block_, [] {})();
  }

 private:
  std::function<void()> on_block_;
};

class ChannelReaderTest : public ::testing::Test {
 protected:
  ChannelOptions Options() const {
    ChannelOptions options;
    options.channel = "train";
    options.pipe_dir = folder_.path();
    options.state_dir = state_dir_;
    options.stream = TfRecord().options();
    options.open_timeout = kPatience;
    options.read_timeout = kPatience;
    return options;
  }
  ChannelReader Reader() const { return ChannelReader(Options(), context_); }

  std::string FifoPath(uint64_t epoch) const { return folder_ / "train_" + std::to_string(epoch); }
  std::string Position(uint64_t epoch) const {
    return "channel 'train' epoch " + std::to_string(epoch) + " (" + FifoPath(epoch) + "): ";
  }
  // The number in the state file, or "" while there is none.
  std::string State() const {
    const std::string path = state_dir_ + "/.train-pipe_mode-state";
    return Exists(path) ? ReadFile(path) : "";
  }
  UniqueFd OpenWriter(uint64_t epoch) const {
    static const std::atomic<bool> never{false};
    return OpenForWriting(FifoPath(epoch), never);
  }

  const TempDir folder_;
  const std::string state_dir_ = folder_ / "state";
  CancelToken cancel_;
  const WaitContext context_{&cancel_};
};

// Options.

TEST_F(ChannelReaderTest, MakingOneTouchesNothing) {
  ChannelOptions options = Options();
  options.pipe_dir = folder_ / "missing";
  ChannelReader reader(options, context_);
  EXPECT_FALSE(reader.epoch());
  EXPECT_FALSE(Exists(state_dir_));
  reader.Close();
  StringSink sink;
  EXPECT_FALSE(reader.Read(sink));
  EXPECT_FALSE(reader.Skip());
  EXPECT_FALSE(Exists(state_dir_));
}

TEST_F(ChannelReaderTest, OptionsThatMakeNoSenseAreRefused) {
  const auto refused = [this](const std::function<void(ChannelOptions&)>& change) {
    ChannelOptions options = Options();
    change(options);
    try {
      ChannelReader reader(options, context_);
    } catch (const InvalidArgumentError& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  EXPECT_THAT(refused([](auto& options) { options.channel = "a/b"; }), HasSubstr("'a/b'"));
  EXPECT_THAT(refused([](auto& options) { options.channel = ""; }), HasSubstr("channel name"));
  for (const double seconds : {0.0, -1.0, std::numeric_limits<double>::quiet_NaN(),
                               -std::numeric_limits<double>::infinity()}) {
    EXPECT_THAT(refused([=](auto& options) { options.open_timeout = TimeLimit(seconds); }),
                HasSubstr("open_timeout must be a positive number"));
    EXPECT_THAT(refused([=](auto& options) { options.read_timeout = TimeLimit(seconds); }),
                HasSubstr("read_timeout must be a positive number"));
  }
  EXPECT_THAT(refused([](auto& options) { options.stream.max_record_bytes = 0; }),
              HasSubstr("max_record_bytes"));
  EXPECT_EQ(refused([](auto& options) { options.open_timeout = kNoLimit; }), "accepted");
}

// Epoch after epoch.

TEST_F(ChannelReaderTest, ReadsOneEpochAfterTheOther) {
  for (uint64_t epoch = 0; epoch < 3; ++epoch) {
    const Records records = {"epoch", std::to_string(epoch), ""};
    MakeFifo(FifoPath(epoch));
    FifoServer server(FifoPath(epoch), Encode(TfRecord(), records).bytes, 7);
    ChannelReader reader = Reader();
    EXPECT_EQ(ReadAllRecords(reader), records);
    EXPECT_EQ(reader.epoch(), epoch);
    EXPECT_EQ(State(), std::to_string(epoch + 1));
    server.Join();
    StringSink sink;
    EXPECT_FALSE(reader.Read(sink));
    EXPECT_FALSE(reader.Skip());
  }
}

TEST_F(ChannelReaderTest, ReadsEveryFormatAndCompression) {
  uint64_t epoch = 0;
  for (const FormatCase& format : AllFormats()) {
    for (const bool compressed : {false, true}) {
      const Records records = {"one", "", "three", std::string(100'000, 'x')};
      const std::string bytes = Encode(format, records).bytes;
      MakeFifo(FifoPath(epoch));
      FifoServer server(FifoPath(epoch), compressed ? Gzip(bytes) + Gzip("") : bytes);
      ChannelOptions options = Options();
      options.stream = format.options();
      if (compressed) options.stream.compression = Compression::kGzip;
      ChannelReader reader(options, context_);
      EXPECT_TRUE(ReadAllRecords(reader) == records) << format.name;
      ++epoch;
    }
  }
}

TEST_F(ChannelReaderTest, GoesOnWhereTheStateSays) {
  std::filesystem::create_directories(state_dir_);
  WriteFile(state_dir_ + "/.train-pipe_mode-state", "41\n");
  MakeFifo(FifoPath(41));
  FifoServer server(FifoPath(41), Encode(TfRecord(), {"x"}).bytes);
  ChannelReader reader = Reader();
  EXPECT_EQ(ReadAllRecords(reader), Records{"x"});
  EXPECT_EQ(State(), "42");
}

TEST_F(ChannelReaderTest, AnEmptyEpochHasNoRecords) {
  MakeFifo(FifoPath(0));
  {
    FifoServer server(FifoPath(0), "");
    ChannelReader reader = Reader();
    EXPECT_EQ(ReadAllRecords(reader), Records{});
    EXPECT_EQ(reader.epoch(), 0U);
  }
  EXPECT_EQ(State(), "1");
  MakeFifo(FifoPath(1));
  FifoServer server(FifoPath(1), Encode(TfRecord(), {"next"}).bytes);
  ChannelReader reader = Reader();
  EXPECT_EQ(ReadAllRecords(reader), Records{"next"});
}

TEST_F(ChannelReaderTest, RegularFilesAreEpochsToo) {
  WriteFile(FifoPath(0), Encode(TfRecord(), {"from", "a", "file"}).bytes);
  WriteFile(FifoPath(1), "");
  ChannelReader first = Reader();
  EXPECT_EQ(ReadAllRecords(first), (Records{"from", "a", "file"}));
  ChannelReader second = Reader();
  EXPECT_EQ(ReadAllRecords(second), Records{});
  EXPECT_EQ(State(), "2");
}

TEST_F(ChannelReaderTest, ChannelsWithSimilarNamesKeepApart) {
  // `train_0` epoch 0 is `train_0_0`; `train` epoch 0 is `train_0`.
  MakeFifo(folder_ / "train_0");
  MakeFifo(folder_ / "train_0_0");
  FifoServer of_train(folder_ / "train_0", Encode(TfRecord(), {"train"}).bytes);
  FifoServer of_train_0(folder_ / "train_0_0", Encode(TfRecord(), {"train_0"}).bytes);
  ChannelOptions options = Options();
  options.channel = "train_0";
  ChannelReader train_0(options, context_);
  EXPECT_EQ(ReadAllRecords(train_0), Records{"train_0"});
  ChannelReader train = Reader();
  EXPECT_EQ(ReadAllRecords(train), Records{"train"});
}

// Closing early.

TEST_F(ChannelReaderTest, ClosingEarlyEndsTheWriterAndTheEpoch) {
  Records many(1'000, std::string(1'000, 'x'));
  MakeFifo(FifoPath(0));
  MakeFifo(FifoPath(1));
  for (const bool by_destructor : {false, true}) {
    const uint64_t epoch = by_destructor ? 1 : 0;
    // More than a pipe holds, twice.
    FifoServer server(FifoPath(epoch), Encode(TfRecord(), many).bytes +
                                           Encode(TfRecord(), many).bytes +
                                           Encode(TfRecord(), many).bytes);
    std::optional<ChannelReader> reader(std::in_place, Options(), context_);
    StringSink sink;
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(reader->Read(sink));
    if (by_destructor) {
      reader.reset();
    } else {
      reader->Close();
      EXPECT_FALSE(reader->Read(sink));
    }
    server.Join();
    EXPECT_TRUE(server.reader_left());
    EXPECT_EQ(State(), std::to_string(epoch + 1));
  }
  MakeFifo(FifoPath(2));
  FifoServer server(FifoPath(2), Encode(TfRecord(), {"next"}).bytes);
  ChannelReader reader = Reader();
  EXPECT_EQ(ReadAllRecords(reader), Records{"next"});
}

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

// Joined even if the test ends by an exception.
class JoiningThread {
 public:
  explicit JoiningThread(std::function<void()> body) : thread_(std::move(body)) {}
  JoiningThread(const JoiningThread&) = delete;
  JoiningThread& operator=(const JoiningThread&) = delete;
  ~JoiningThread() { thread_.join(); }

 private:
  std::thread thread_;
};

// A reader that is killed in the instant in which its writer comes: the state still names the
// epoch, but the service has done with it.

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

// Reading.

TEST_F(ChannelReaderTest, SilenceIsADeadlineAndEndsTheEpoch) {
  MakeFifo(FifoPath(0));
  ChannelOptions options = Options();
  options.read_timeout = milliseconds(100);
  ChannelReader reader(options, context_);
  Event over;
  FifoServer server(FifoPath(0), [&](int fd) {
    ASSERT_TRUE(over.Wait());
    EXPECT_FALSE(WriteAll(fd, "too late"));
  });
  StringSink sink;
  EXPECT_THAT([&] { reader.Read(sink); },
              ThrowsMessage<DeadlineExceededError>(
                  AllOf(StartsWith(Position(0) + "record 0 at byte 0: waited 0.1 s"),
                        HasSubstr("read_timeout"))));
  over.Set();
  EXPECT_FALSE(reader.Read(sink));
  EXPECT_EQ(State(), "1");
}

TEST_F(ChannelReaderTest, CancelledWhileItReadsLosesNothing) {
  MakeFifo(FifoPath(0));
  ChannelReader reader = Reader();
  const Encoded encoded = Encode(TfRecord(), {"first", "second", "third"});
  Event read_first;
  Event cancelled;
  FifoServer server(FifoPath(0), [&](int fd) {
    // The cancellation comes in the midst of the second record.
    WriteAll(fd, encoded.bytes.substr(0, encoded.ends[0] + 3));
    ASSERT_TRUE(read_first.Wait());
    std::this_thread::sleep_for(milliseconds(30));
    cancel_.Cancel();
    ASSERT_TRUE(cancelled.Wait());
    WriteAll(fd, encoded.bytes.substr(encoded.ends[0] + 3));
  });
  StringSink sink;
  ASSERT_TRUE(reader.Read(sink));
  read_first.Set();
  EXPECT_THAT([&] { reader.Read(sink); },
              ThrowsMessage<CancelledError>(StartsWith(Position(0) + "record 1 at byte 21: ")));
  cancel_.Reset();
  cancelled.Set();
  EXPECT_EQ(ReadAllRecords(reader), (Records{"second", "third"}));
}

TEST_F(ChannelReaderTest, ErrorsEndTheEpochAndSayWhere) {
  MakeFifo(FifoPath(0));
  const std::string bytes = Encode(TfRecord(), {"first", "second"}).bytes;
  FifoServer server(FifoPath(0), bytes.substr(0, bytes.size() - 1));
  ChannelReader reader = Reader();
  StringSink sink;
  ASSERT_TRUE(reader.Read(sink));
  EXPECT_THAT([&] { reader.Read(sink); },
              ThrowsMessage<DataLossError>(
                  StartsWith(Position(0) + "record 1 at byte 21: the stream ends inside")));
  EXPECT_FALSE(reader.Read(sink));
  EXPECT_EQ(State(), "1");
}

TEST_F(ChannelReaderTest, AWriterThatStopsIsDataLossInsideARecordElseTheEnd) {
  const Records records = {"first", "", "third"};
  const Encoded encoded = Encode(TfRecord(), records);
  FifoWriterOptions faulty;
  faulty.fault = WriterFault::kStop;
  for (uint64_t at = 0; at <= encoded.bytes.size(); ++at) {
    faulty.fault_at_byte = at;
    FifoChannelWriter writer(folder_.path(), "train", at, faulty, context_);
    std::thread server([&] {
      writer.BeginEpoch();
      writer.Write(encoded.bytes);
      writer.EndEpoch();
    });
    ChannelReader reader = Reader();
    StringSink sink;
    Records got;
    bool data_loss = false;
    try {
      while (reader.Read(sink)) got.push_back(sink.record());
    } catch (const DataLossError&) {
      data_loss = true;
    }
    server.join();
    size_t complete = 0;
    while (complete < records.size() && encoded.ends[complete] <= at) ++complete;
    const size_t boundary = complete == 0 ? 0 : encoded.ends[complete - 1];
    EXPECT_EQ(got.size(), complete) << at;
    EXPECT_EQ(data_loss, at != boundary) << at;
    EXPECT_EQ(State(), std::to_string(at + 1));
  }
}

TEST_F(ChannelReaderTest, SoIsOneThatIsKilled) {
  const Encoded encoded = Encode(TfRecord(), {"first", "second"});
  uint64_t epoch = 0;
  for (const uint64_t at : {encoded.ends[0], encoded.ends[0] + 1}) {
    Child child([&]() -> std::string {
      FifoWriterOptions faulty;
      faulty.fault = WriterFault::kDie;
      faulty.fault_at_byte = at;
      const CancelToken cancel;
      FifoChannelWriter writer(folder_.path(), "train", epoch, faulty, {&cancel, nullptr});
      writer.BeginEpoch();
      writer.Write(encoded.bytes);
      return "survived";
    });
    ChannelReader reader = Reader();
    StringSink sink;
    ASSERT_TRUE(reader.Read(sink));
    if (at == encoded.ends[0]) {
      EXPECT_FALSE(reader.Read(sink));
    } else {
      EXPECT_THROW(reader.Read(sink), DataLossError);
    }
    EXPECT_EQ(child.Result(), "killed by signal 9");
    ++epoch;
  }
}

TEST_F(ChannelReaderTest, AnErrorClosesTheFifo) {
  MakeFifo(FifoPath(0));
  FifoServer server(FifoPath(0), std::string(size_t{4} << 20, 'x'));
  ChannelReader reader = Reader();
  StringSink sink;
  EXPECT_THROW(reader.Read(sink), DataLossError);
  server.Join();  // while the reader still exists
  EXPECT_TRUE(server.reader_left());
}

TEST_F(ChannelReaderTest, ACorruptRecordIsNotTheEnd) {
  MakeFifo(FifoPath(0));
  Encoded encoded = Encode(TfRecord(), {"0", "1", "2", "3"});
  for (const size_t i : {1, 2}) {
    char& byte = encoded.bytes[encoded.ends[i] - 1];
    byte = static_cast<char>(byte ^ 1);
  }
  {
    FifoServer server(FifoPath(0), encoded.bytes);
    ChannelReader reader = Reader();
    StringSink sink;
    ASSERT_TRUE(reader.Read(sink));
    EXPECT_THAT([&] { reader.Read(sink); },
                ThrowsMessage<CorruptRecordError>(
                    StartsWith(Position(0) + "record 1 at byte 17: payload CRC mismatch")));
    EXPECT_EQ(reader.corrupted_records(), 1U);
    EXPECT_THROW(reader.Read(sink), CorruptRecordError);
    ASSERT_TRUE(reader.Read(sink));
    EXPECT_EQ(sink.record(), "3");
    EXPECT_FALSE(reader.Read(sink));
    EXPECT_EQ(reader.corrupted_records(), 2U);
  }
  MakeFifo(FifoPath(1));
  FifoServer server(FifoPath(1), encoded.bytes);
  ChannelOptions options = Options();
  options.stream.max_corrupted_records_to_skip = 2;
  ChannelReader reader(options, context_);
  EXPECT_EQ(ReadAllRecords(reader), (Records{"0", "3"}));
  EXPECT_EQ(reader.corrupted_records(), 2U);
}

TEST_F(ChannelReaderTest, ABadStateFileIsAnErrorThatNamesIt) {
  std::filesystem::create_directories(state_dir_);
  WriteFile(state_dir_ + "/.train-pipe_mode-state", "many");
  ChannelReader reader = Reader();
  StringSink sink;
  EXPECT_THAT([&] { reader.Read(sink); },
              ThrowsMessage<FailedPreconditionError>(
                  AllOf(StartsWith("channel 'train': "), HasSubstr(".train-pipe_mode-state"))));
  EXPECT_FALSE(reader.Read(sink));
  EXPECT_EQ(State(), "many");
}

TEST_F(ChannelReaderTest, SomethingElseInTheFifosPlaceIsAnError) {
  std::filesystem::create_directory(FifoPath(0));
  ChannelReader reader = Reader();
  StringSink sink;
  EXPECT_THAT([&] { reader.Read(sink); },
              ThrowsMessage<FailedPreconditionError>(HasSubstr(FifoPath(0))));
  EXPECT_EQ(State(), "");
}

TEST_F(ChannelReaderTest, AStateFolderThatCannotBeMadeIsAnError) {
  ChannelOptions options = Options();
  options.state_dir = "/proc/no_such_folder";
  ChannelReader reader(options, context_);
  StringSink sink;
  EXPECT_THAT([&] { reader.Read(sink); },
              ThrowsMessage<IoError>(HasSubstr("/proc/no_such_folder")));
}

// Several readers.

TEST_F(ChannelReaderTest, AnotherReaderOfTheChannelGetsTheNextEpoch) {
  MakeFifo(FifoPath(0));
  MakeFifo(FifoPath(1));
  FifoServer first_server(FifoPath(0), Encode(TfRecord(), {"zero", "more"}).bytes);
  FifoServer second_server(FifoPath(1), Encode(TfRecord(), {"one"}).bytes);
  ChannelReader first = Reader();
  StringSink sink;
  ASSERT_TRUE(first.Read(sink));
  ChannelReader second = Reader();
  EXPECT_EQ(ReadAllRecords(second), Records{"one"});
  ASSERT_TRUE(first.Read(sink));
  EXPECT_EQ(sink.record(), "more");
}

TEST_F(ChannelReaderTest, OneWaitsBehindTheOtherForTheSameFifo) {
  MakeFifo(FifoPath(0));
  const auto blocks = std::make_shared<std::atomic<int>>(0);
  CancelToken cancel_first;
  const auto wait_for = [&](const CancelToken& cancel) {
    BlockObserver observer([&] { ++*blocks; });
    ChannelReader reader(Options(), {&cancel, &observer});
    return ReadAllRecords(reader);
  };
  std::thread first([&] { EXPECT_THROW(wait_for(cancel_first), CancelledError); });
  while (*blocks < 1) std::this_thread::yield();
  Records got;
  std::thread second([&] { got = wait_for(cancel_); });
  while (*blocks < 2) std::this_thread::yield();
  // The one in front gives up; the other takes its place.
  cancel_first.Cancel();
  first.join();
  FifoServer server(FifoPath(0), Encode(TfRecord(), {"for the second"}).bytes);
  second.join();
  EXPECT_EQ(got, Records{"for the second"});
}

TEST_F(ChannelReaderTest, BehindAnotherWaiterTheDeadlineSaysSo) {
  MakeFifo(FifoPath(0));
  const PipeState state(folder_ / "another_state", folder_.path(), "train");
  const PipeState::Attempt waiter = state.TryClaim();
  ASSERT_TRUE(waiter.claim);
  ChannelOptions options = Options();
  options.open_timeout = milliseconds(50);
  ChannelReader reader(options, context_);
  StringSink sink;
  EXPECT_THAT([&] { reader.Read(sink); },
              ThrowsMessage<DeadlineExceededError>(
                  AllOf(StartsWith(Position(0)), HasSubstr("another reader waits"))));
}

TEST_F(ChannelReaderTest, AFifoThatAnotherFolderReadsIsRefused) {
  MakeFifo(FifoPath(0));
  const PipeState state(folder_ / "another_state", folder_.path(), "train");
  const PipeState::Attempt holder = state.TryClaim();
  ASSERT_TRUE(holder.claim);
  ASSERT_TRUE(state.TryMarkStarted(*holder.claim));
  ChannelReader reader = Reader();
  StringSink sink;
  EXPECT_THAT([&] { reader.Read(sink); },
              ThrowsMessage<FailedPreconditionError>(
                  AllOf(HasSubstr("channel 'train'"),
                        HasSubstr("read already, by process " + std::to_string(::getpid())))));
}

// Reads epochs until the one called "end". Returns the names of those read.
Records ReadEpochs(const ChannelOptions& options) {
  const CancelToken cancel;
  Records names;
  for (;;) {
    ChannelReader reader(options, {&cancel});
    const Records records = ReadAllRecords(reader);
    // Whole epochs, or somebody took a part of them.
    if (records.size() != 100) throw DataLossError("an epoch of " + std::to_string(records.size()));
    for (const std::string& record : records) {
      if (record != records[0]) throw DataLossError("a record of another epoch");
    }
    if (records[0] == "end") return names;
    names.push_back(records[0]);
  }
}

TEST_F(ChannelReaderTest, ManyReadersShareTheEpochs) {
  // Two processes with two threads each, and one writer for all.
  constexpr int kEpochs = 40;
  constexpr int kReaders = 4;
  std::vector<std::unique_ptr<Child>> children;
  for (int i = 0; i < kReaders / 2; ++i) {
    children.push_back(std::make_unique<Child>([this]() -> std::string {
      Records names[2];
      std::string error;
      std::thread other([&] {
        try {
          names[0] = ReadEpochs(Options());
        } catch (const PipeError& e) {
          error = e.what();
        }
      });
      names[1] = ReadEpochs(Options());
      other.join();
      std::string all = error;
      for (const Records& some : names) {
        for (const std::string& name : some) all += name + " ";
      }
      return all;
    }));
  }
  FifoChannelWriter writer(folder_.path(), "train", 0, {}, context_);
  for (int epoch = 0; epoch < kEpochs + kReaders; ++epoch) {
    const std::string name = epoch < kEpochs ? "epoch" + std::to_string(epoch) : "end";
    writer.BeginEpoch();
    EXPECT_TRUE(writer.Write(Encode(TfRecord(), Records(100, name)).bytes));
    writer.EndEpoch();
  }
  std::multiset<std::string> got;
  for (const auto& child : children) {
    std::istringstream names(child->Result());
    for (std::string name; names >> name;) got.insert(name);
  }
  std::multiset<std::string> expected;
  for (int epoch = 0; epoch < kEpochs; ++epoch) expected.insert("epoch" + std::to_string(epoch));
  EXPECT_EQ(got, expected);
}

}  // namespace
}  // namespace pipemode
