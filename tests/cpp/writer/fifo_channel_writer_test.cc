// SPDX-License-Identifier: Apache-2.0
#include "core/writer/fifo_channel_writer.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <future>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "core/base/error.h"
#include "core/base/unique_fd.h"
#include "core/io/fifo_source.h"
#include "testing/child.h"
#include "testing/environment.h"
#include "testing/fake_source.h"
#include "testing/fifo_server.h"
#include "testing/random.h"
#include "testing/temp_dir.h"

namespace pipemode {
namespace {

using ::pipemode::testing::Child;
using ::pipemode::testing::Clock;
using ::pipemode::testing::Event;
using ::pipemode::testing::Exists;
using ::pipemode::testing::kPatience;
using ::pipemode::testing::MakeFifo;
using ::pipemode::testing::RandomBytes;
using ::pipemode::testing::ReadAll;
using ::pipemode::testing::TempDir;
using ::pipemode::testing::ThreadCpuTime;
using ::pipemode::testing::WriteFile;
using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

class FifoChannelWriterTest : public ::testing::Test {
 protected:
  FifoChannelWriter Writer(const FifoWriterOptions& options = {}, uint64_t first_epoch = 0) {
    return FifoChannelWriter(folder_.path(), "train", first_epoch, options, context_);
  }
  std::string FifoPath(uint64_t epoch) const { return folder_ / "train_" + std::to_string(epoch); }

  // Opens the FIFO of an epoch as soon as it is there.
  FifoSource Reader(uint64_t epoch) {
    const Clock::time_point limit = Clock::now() + kPatience;
    ForkGuardedFd fd;
    while (!(fd = FifoSource::Open(FifoPath(epoch))) && Clock::now() < limit) {
      std::this_thread::yield();
    }
    return FifoSource(std::move(fd), FifoPath(epoch), kPatience, {&reader_cancel_});
  }

  // All bytes of an epoch, read by another thread.
  std::future<std::string> ReadLater(uint64_t epoch) {
    return std::async(std::launch::async, [this, epoch] {
      FifoSource source = Reader(epoch);
      return ReadAll(source);
    });
  }

  const TempDir folder_;
  CancelToken cancel_;
  CancelToken reader_cancel_;
  const WaitContext context_{&cancel_};
};

TEST_F(FifoChannelWriterTest, WritesOneEpochAfterTheOther) {
  FifoChannelWriter writer = Writer();
  for (uint64_t epoch = 0; epoch < 3; ++epoch) {
    EXPECT_EQ(writer.epoch(), epoch);
    EXPECT_EQ(writer.path(), FifoPath(epoch));
    auto read = ReadLater(epoch);
    writer.BeginEpoch();
    EXPECT_TRUE(writer.Write("some "));
    EXPECT_TRUE(writer.Write(""));
    EXPECT_TRUE(writer.Write("bytes"));
    EXPECT_EQ(writer.bytes_written(), 10U);
    EXPECT_FALSE(writer.reader_closed());
    writer.EndEpoch();
    EXPECT_EQ(read.get(), "some bytes");
    struct stat status{};
    ASSERT_EQ(::stat(FifoPath(epoch).c_str(), &status), 0);
    EXPECT_TRUE(S_ISFIFO(status.st_mode));
    EXPECT_FALSE(Exists(FifoPath(epoch + 1)));
  }
}

TEST_F(FifoChannelWriterTest, BeginsWhereItIsTold) {
  FifoChannelWriter writer = Writer({}, 7);
  auto read = ReadLater(7);
  writer.BeginEpoch();
  writer.EndEpoch();
  EXPECT_EQ(read.get(), "");
  EXPECT_EQ(writer.epoch(), 8U);
}

TEST_F(FifoChannelWriterTest, WritesLargeEpochsInChunksOfAnySize) {
  const std::string bytes = RandomBytes(3'000'001, 1);
  uint64_t epoch = 0;
  for (const size_t chunk : {size_t{1'000}, size_t{65'537}, SIZE_MAX}) {
    FifoWriterOptions options;
    options.chunk_bytes = chunk;
    FifoChannelWriter writer = Writer(options, epoch);
    auto read = ReadLater(epoch++);
    writer.BeginEpoch();
    EXPECT_TRUE(writer.Write(bytes));
    EXPECT_EQ(writer.bytes_written(), bytes.size());
    writer.EndEpoch();
    EXPECT_TRUE(read.get() == bytes) << chunk;
  }
}

TEST_F(FifoChannelWriterTest, HandsFilesOn) {
  const std::string bytes = RandomBytes(3'000'001, 1);
  WriteFile(folder_ / "file", bytes);
  FifoChannelWriter writer = Writer();
  auto read = ReadLater(0);
  writer.BeginEpoch();
  const UniqueFd file(::open((folder_ / "file").c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_TRUE(writer.Write("before "));
  // From where it stands, and no further than it goes.
  EXPECT_EQ(writer.WriteFile(file.get(), 0), 0U);
  EXPECT_EQ(writer.WriteFile(file.get(), 1'000'000), 1'000'000U);
  EXPECT_EQ(writer.WriteFile(file.get(), 5'000'000), 2'000'001U);
  EXPECT_EQ(writer.WriteFile(file.get(), 1), 0U);
  EXPECT_TRUE(writer.Write(" after"));
  EXPECT_EQ(writer.bytes_written(), bytes.size() + 13);
  writer.EndEpoch();
  EXPECT_TRUE(read.get() == "before " + bytes + " after");
}

TEST_F(FifoChannelWriterTest, SaysWhichFilesItCannotHandOn) {
  const UniqueFd odd(::eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK));
  FifoChannelWriter writer = Writer();
  auto read = ReadLater(0);
  writer.BeginEpoch();
  EXPECT_EQ(writer.WriteFile(odd.get(), 8), std::nullopt);
  EXPECT_THAT([&] { writer.WriteFile(-1, 8); }, ThrowsMessage<IoError>(HasSubstr("descriptor")));
  EXPECT_TRUE(writer.Write("read"));
  writer.EndEpoch();
  EXPECT_EQ(read.get(), "read");
}

TEST_F(FifoChannelWriterTest, AFaultMayBeInAFile) {
  WriteFile(folder_ / "file", std::string(100, 'x'));
  const UniqueFd file(::open((folder_ / "file").c_str(), O_RDONLY | O_CLOEXEC));
  FifoWriterOptions options;
  options.fault = WriterFault::kStop;
  options.fault_at_byte = 60;
  FifoChannelWriter writer = Writer(options);
  auto read = ReadLater(0);
  writer.BeginEpoch();
  EXPECT_EQ(writer.WriteFile(file.get(), 100), 60U);
  EXPECT_FALSE(writer.reader_closed());
  EXPECT_FALSE(writer.Write("never"));
  writer.EndEpoch();
  EXPECT_EQ(read.get(), std::string(60, 'x'));
}

TEST_F(FifoChannelWriterTest, AReaderMayLeaveAFile) {
  WriteFile(folder_ / "file", std::string(size_t{4} << 20, 'x'));
  const UniqueFd file(::open((folder_ / "file").c_str(), O_RDONLY | O_CLOEXEC));
  FifoChannelWriter writer = Writer();
  MakeFifo(FifoPath(0));
  auto source = std::make_unique<FifoSource>(Reader(0));
  writer.BeginEpoch();
  std::thread leaver([&] {
    std::this_thread::sleep_for(milliseconds(50));
    source.reset();
  });
  EXPECT_LT(writer.WriteFile(file.get(), size_t{4} << 20), size_t{4} << 20);
  leaver.join();
  EXPECT_TRUE(writer.reader_closed());
}

TEST_F(FifoChannelWriterTest, EnlargesThePipeIfAsked) {
  for (const size_t size : {size_t{0}, size_t{1} << 17}) {
    FifoWriterOptions options;
    options.pipe_bytes = size;
    const uint64_t epoch = size == 0 ? 0 : 1;
    FifoChannelWriter writer = Writer(options, epoch);
    MakeFifo(FifoPath(epoch));
    const ForkGuardedFd reader = FifoSource::Open(FifoPath(epoch));
    const int before = ::fcntl(reader.get(), F_GETPIPE_SZ);
    writer.BeginEpoch();
    const int expected = size == 0 ? before : static_cast<int>(size);
    EXPECT_EQ(::fcntl(reader.get(), F_GETPIPE_SZ), expected);
  }
}

TEST_F(FifoChannelWriterTest, TakesAFifoThatIsThere) {
  MakeFifo(FifoPath(0));
  struct stat before{};
  ASSERT_EQ(::stat(FifoPath(0).c_str(), &before), 0);
  FifoChannelWriter writer = Writer();
  auto read = ReadLater(0);
  writer.BeginEpoch();
  EXPECT_TRUE(writer.Write("data"));
  writer.EndEpoch();
  EXPECT_EQ(read.get(), "data");
  struct stat after{};
  ASSERT_EQ(::stat(FifoPath(0).c_str(), &after), 0);
  EXPECT_EQ(before.st_ino, after.st_ino);
}

TEST_F(FifoChannelWriterTest, RefusesAnythingElse) {
  WriteFile(FifoPath(0), "precious");
  std::filesystem::create_directory(FifoPath(1));
  const UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  ASSERT_LT(FifoPath(2).size(), sizeof(address.sun_path));
  std::memcpy(address.sun_path, FifoPath(2).c_str(), FifoPath(2).size() + 1);
  ASSERT_EQ(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  for (uint64_t epoch = 0; epoch < 3; ++epoch) {
    FifoChannelWriter writer = Writer({}, epoch);
    EXPECT_THAT([&] { writer.BeginEpoch(); },
                ThrowsMessage<FailedPreconditionError>(HasSubstr(FifoPath(epoch))));
  }
  EXPECT_EQ(testing::ReadFile(FifoPath(0)), "precious");
}

TEST_F(FifoChannelWriterTest, AFolderThatIsMissingIsAnError) {
  FifoChannelWriter writer(folder_ / "missing", "train", 0, {}, context_);
  EXPECT_THAT([&] { writer.BeginEpoch(); }, ThrowsMessage<IoError>(HasSubstr("missing/train_0")));
}

TEST_F(FifoChannelWriterTest, OptionsThatMakeNoSenseAreRefused) {
  FifoWriterOptions options;
  options.chunk_bytes = 0;
  EXPECT_THROW(Writer(options), InvalidArgumentError);
  for (const double rate : {0.0, -1.0, std::numeric_limits<double>::quiet_NaN()}) {
    options = {};
    options.bytes_per_second = rate;
    EXPECT_THROW(Writer(options), InvalidArgumentError);
  }
}

TEST_F(FifoChannelWriterTest, WaitsForAReaderWithoutBurningTheProcessor) {
  FifoChannelWriter writer = Writer();
  std::thread canceller([this] {
    std::this_thread::sleep_for(milliseconds(500));
    cancel_.Cancel();
  });
  const auto before = ThreadCpuTime();
  EXPECT_THROW(writer.BeginEpoch(), CancelledError);
  EXPECT_LT(ThreadCpuTime() - before, milliseconds(testing::kSanitized ? 400 : 150));
  canceller.join();
  // And may wait again.
  cancel_.Reset();
  auto read = ReadLater(0);
  writer.BeginEpoch();
  EXPECT_TRUE(writer.Write("data"));
  writer.EndEpoch();
  EXPECT_EQ(read.get(), "data");
}

TEST_F(FifoChannelWriterTest, CancelledWhileThereIsNoRoom) {
  FifoChannelWriter writer = Writer();
  MakeFifo(FifoPath(0));
  const FifoSource idle = Reader(0);
  writer.BeginEpoch();
  std::thread canceller([this] {
    std::this_thread::sleep_for(milliseconds(50));
    cancel_.Cancel();
  });
  EXPECT_THAT([&] { writer.Write(std::string(size_t{4} << 20, 'x')); },
              ThrowsMessage<CancelledError>(HasSubstr("room in FIFO")));
  canceller.join();
}

TEST_F(FifoChannelWriterTest, AReaderThatLeavesEndsTheEpoch) {
  FifoChannelWriter writer = Writer();
  for (const bool while_blocked : {false, true}) {
    const uint64_t epoch = while_blocked ? 1 : 0;
    MakeFifo(FifoPath(epoch));
    auto source = std::make_unique<FifoSource>(Reader(epoch));
    writer.BeginEpoch();
    EXPECT_TRUE(writer.Write("x"));
    std::thread leaver;
    if (while_blocked) {
      leaver = std::thread([&] {
        std::this_thread::sleep_for(milliseconds(50));
        source.reset();
      });
    } else {
      source.reset();
    }
    EXPECT_FALSE(writer.Write(std::string(size_t{4} << 20, 'x')));
    if (leaver.joinable()) leaver.join();
    EXPECT_TRUE(writer.reader_closed());
    EXPECT_FALSE(writer.Write("never"));
    writer.EndEpoch();
  }
  // The next epoch begins anew.
  auto read = ReadLater(2);
  writer.BeginEpoch();
  EXPECT_FALSE(writer.reader_closed());
  EXPECT_EQ(writer.bytes_written(), 0U);
  EXPECT_TRUE(writer.Write("again"));
  writer.EndEpoch();
  EXPECT_EQ(read.get(), "again");
}

TEST_F(FifoChannelWriterTest, TheThrottleKeepsToItsRate) {
  FifoWriterOptions options;
  options.bytes_per_second = 100'000;
  options.chunk_bytes = 1'000;
  FifoChannelWriter writer = Writer(options);
  auto read = ReadLater(0);
  writer.BeginEpoch();
  const auto start = Clock::now();
  EXPECT_TRUE(writer.Write(std::string(30'000, 'x')));
  const auto duration = Clock::now() - start;
  writer.EndEpoch();
  EXPECT_EQ(read.get().size(), 30'000U);
  EXPECT_GE(duration, milliseconds(299));
  EXPECT_LT(duration, milliseconds(testing::kSanitized ? 3000 : 1000));
}

TEST_F(FifoChannelWriterTest, ATrickleIsOneByteAtATime) {
  FifoWriterOptions options;
  options.bytes_per_second = 200;
  options.chunk_bytes = 1;
  FifoChannelWriter writer = Writer(options);
  std::thread server([&] {
    writer.BeginEpoch();
    EXPECT_TRUE(writer.Write("trickle"));
    writer.EndEpoch();
  });
  FifoSource source = Reader(0);
  char bytes[100];
  size_t reads = 0;
  size_t total = 0;
  while (const size_t count = source.Read(bytes, sizeof(bytes))) {
    ++reads;
    total += count;
  }
  server.join();
  EXPECT_EQ(total, 7U);
  EXPECT_GE(reads, 2U);
}

TEST_F(FifoChannelWriterTest, CancelledInTheThrottle) {
  FifoWriterOptions options;
  options.bytes_per_second = 1;
  FifoChannelWriter writer = Writer(options);
  MakeFifo(FifoPath(0));
  const FifoSource source = Reader(0);
  writer.BeginEpoch();
  std::thread canceller([this] {
    std::this_thread::sleep_for(milliseconds(30));
    cancel_.Cancel();
  });
  const auto start = Clock::now();
  EXPECT_THROW(writer.Write("a thousand seconds' worth of bytes"), CancelledError);
  EXPECT_LT(Clock::now() - start, std::chrono::seconds(5));
  canceller.join();
}

// Faults.

TEST_F(FifoChannelWriterTest, StopsAtAnyByte) {
  const std::string bytes = "0123456789";
  for (uint64_t at = 0; at <= bytes.size(); ++at) {
    FifoWriterOptions options;
    options.fault = WriterFault::kStop;
    options.fault_at_byte = at;
    options.chunk_bytes = 4;
    FifoChannelWriter writer = Writer(options, at);
    auto read = ReadLater(at);
    writer.BeginEpoch();
    // At the very end there is nothing left to stop.
    EXPECT_EQ(writer.Write(bytes), at == bytes.size());
    EXPECT_EQ(writer.bytes_written(), at);
    EXPECT_FALSE(writer.reader_closed());
    EXPECT_EQ(read.valid(), true);
    writer.EndEpoch();
    EXPECT_EQ(read.get(), bytes.substr(0, at));
  }
}

TEST_F(FifoChannelWriterTest, EachEpochHasItsFault) {
  FifoWriterOptions options;
  options.fault = WriterFault::kStop;
  options.fault_at_byte = 3;
  FifoChannelWriter writer = Writer(options);
  for (uint64_t epoch = 0; epoch < 2; ++epoch) {
    auto read = ReadLater(epoch);
    writer.BeginEpoch();
    EXPECT_FALSE(writer.Write("0123456789"));
    writer.EndEpoch();
    EXPECT_EQ(read.get(), "012");
  }
}

TEST_F(FifoChannelWriterTest, StallsUntilTheReaderLeaves) {
  for (const uint64_t at : {uint64_t{3}, uint64_t{10}}) {  // in the midst, and at the end
    FifoWriterOptions options;
    options.fault = WriterFault::kStall;
    options.fault_at_byte = at;
    FifoChannelWriter writer = Writer(options, at);
    Event done;
    std::thread server([&] {
      writer.BeginEpoch();
      writer.Write("0123456789");
      writer.EndEpoch();
      done.Set();
    });
    {
      ForkGuardedFd fd;
      while (!(fd = FifoSource::Open(FifoPath(at)))) std::this_thread::yield();
      FifoSource source(std::move(fd), FifoPath(at), milliseconds(100), {&reader_cancel_});
      std::string read;
      char bytes[100];
      // All bytes before the fault, then silence without an end.
      EXPECT_THROW(
          {
            while (const size_t count = source.Read(bytes, sizeof(bytes)))
              read.append(bytes, count);
          },
          DeadlineExceededError);
      EXPECT_EQ(read, std::string("0123456789").substr(0, at));
      EXPECT_FALSE(done.IsSet());
    }
    server.join();
    EXPECT_TRUE(writer.reader_closed());
  }
}

TEST_F(FifoChannelWriterTest, AStallCanBeCancelled) {
  FifoWriterOptions options;
  options.fault = WriterFault::kStall;
  FifoChannelWriter writer = Writer(options);
  MakeFifo(FifoPath(0));
  const FifoSource source = Reader(0);
  writer.BeginEpoch();
  std::thread canceller([this] {
    std::this_thread::sleep_for(milliseconds(30));
    cancel_.Cancel();
  });
  EXPECT_THROW(writer.Write("x"), CancelledError);
  canceller.join();
}

TEST_F(FifoChannelWriterTest, HasReaderTellsWhoReads) {
  EXPECT_FALSE(HasReader(FifoPath(0)));
  MakeFifo(FifoPath(0));
  EXPECT_FALSE(HasReader(FifoPath(0)));
  {
    const FifoSource source = Reader(0);
    EXPECT_TRUE(HasReader(FifoPath(0)));
  }
  EXPECT_FALSE(HasReader(FifoPath(0)));
  EXPECT_THROW(HasReader(folder_.path()), IoError);
}

TEST_F(FifoChannelWriterTest, DiesAtItsByte) {
  for (const uint64_t at : {uint64_t{0}, uint64_t{3}, uint64_t{10}}) {
    MakeFifo(FifoPath(at));
    Child child([&]() -> std::string {
      FifoWriterOptions options;
      options.fault = WriterFault::kDie;
      options.fault_at_byte = at;
      const CancelToken cancel;  // the test's own is not for a child
      FifoChannelWriter writer(folder_.path(), "train", at, options, {&cancel});
      writer.BeginEpoch();
      writer.Write("0123456789");
      writer.EndEpoch();
      return "survived";
    });
    FifoSource source = Reader(at);
    EXPECT_EQ(ReadAll(source), std::string("0123456789").substr(0, at));
    EXPECT_EQ(child.Result(), "killed by signal " + std::to_string(SIGKILL));
  }
}

}  // namespace
}  // namespace pipemode
