// SPDX-License-Identifier: Apache-2.0
#include "core/io/fifo_source.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <thread>

#include "core/base/error.h"
#include "core/io/inflate_source.h"
#include "testing/deflate.h"
#include "testing/environment.h"
#include "testing/fake_source.h"
#include "testing/fifo_server.h"
#include "testing/random.h"
#include "testing/temp_dir.h"

namespace pipemode {
namespace {

using ::pipemode::testing::Clock;
using ::pipemode::testing::Event;
using ::pipemode::testing::FifoServer;
using ::pipemode::testing::Gzip;
using ::pipemode::testing::kPatience;
using ::pipemode::testing::MakeFifo;
using ::pipemode::testing::Milliseconds;
using ::pipemode::testing::OpenForWriting;
using ::pipemode::testing::RandomBytes;
using ::pipemode::testing::ReadAll;
using ::pipemode::testing::TempDir;
using ::pipemode::testing::ThreadCpuTime;
using ::pipemode::testing::WriteAll;
using ::pipemode::testing::WriteFile;
using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

class FifoSourceTest : public ::testing::Test {
 protected:
  FifoSourceTest() : path_(folder_ / "train_0") { MakeFifo(path_); }

  FifoSource Open(TimeLimit read_timeout = kPatience) {
    return FifoSource(FifoSource::Open(path_), path_, read_timeout, {&cancel_});
  }

  UniqueFd OpenWriter() const {
    static const std::atomic<bool> never{false};
    return OpenForWriting(path_, never);
  }

  // One Read of at most 100 bytes.
  static std::string ReadSome(FifoSource& source) {
    char bytes[100];
    return std::string(bytes, source.Read(bytes, sizeof(bytes)));
  }

  const TempDir folder_;
  const std::string path_;
  CancelToken cancel_;
};

// Opening.

TEST_F(FifoSourceTest, WhatIsMissingIsNoError) {
  EXPECT_FALSE(FifoSource::Open(folder_ / "train_1"));
  EXPECT_FALSE(FifoSource::Open(folder_ / "missing/train_1"));
  ASSERT_EQ(::symlink("nothing", (folder_ / "dangling").c_str()), 0);
  EXPECT_FALSE(FifoSource::Open(folder_ / "dangling"));
}

TEST_F(FifoSourceTest, OpensWithoutAWriterAndWithoutWaiting) {
  const ForkGuardedFd fd = FifoSource::Open(path_);
  ASSERT_TRUE(fd);
  EXPECT_NE(::fcntl(fd.get(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST_F(FifoSourceTest, FollowsLinks) {
  ASSERT_EQ(::symlink("train_0", (folder_ / "link").c_str()), 0);
  EXPECT_TRUE(FifoSource::Open(folder_ / "link"));
}

TEST_F(FifoSourceTest, RefusesWhatIsNeitherFifoNorFile) {
  const std::string socket_path = folder_ / "socket";
  const UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  ASSERT_LT(socket_path.size(), sizeof(address.sun_path));
  std::memcpy(address.sun_path, socket_path.c_str(), socket_path.size() + 1);
  ASSERT_EQ(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  for (const std::string& path : {folder_.path(), socket_path, std::string("/dev/null")}) {
    EXPECT_THAT([&] { FifoSource::Open(path); },
                ThrowsMessage<FailedPreconditionError>(
                    AllOf(HasSubstr(path), HasSubstr("neither a FIFO nor a regular file"))));
  }
}

TEST_F(FifoSourceTest, SaysWhyAFileCannotBeOpened) {
  WriteFile(folder_ / "file", "");
  try {
    FifoSource::Open(folder_ / "file/train_0");
    FAIL();
  } catch (const IoError& error) {
    EXPECT_EQ(error.code(), ErrorCode::kNotFound);
    EXPECT_THAT(error.what(), HasSubstr(folder_ / "file/train_0"));
  }
  EXPECT_THROW(FifoSource::Open(folder_ / std::string(300, 'x')), IoError);
}

TEST_F(FifoSourceTest, EnlargesThePipe) {
  const UniqueFd probe(::open(path_.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  const int before = ::fcntl(probe.get(), F_GETPIPE_SZ);
  const bool allowed = ::fcntl(probe.get(), F_SETPIPE_SZ, 1 << 20) >= 1 << 20;
  ASSERT_GE(::fcntl(probe.get(), F_SETPIPE_SZ, before), before);
  const FifoSource source = Open();
  const int after = ::fcntl(probe.get(), F_GETPIPE_SZ);
  if (allowed) {
    EXPECT_EQ(after, 1 << 20);
  } else {
    EXPECT_GE(after, before);
  }
}

// Reading.

TEST_F(FifoSourceTest, ReadsAllBytesInOrder) {
  const std::string bytes = RandomBytes(5 << 20, 1);
  for (const size_t chunk : {size_t{1'000}, size_t{65'536}, size_t{300'001}, SIZE_MAX}) {
    FifoServer server(path_, bytes, chunk);
    FifoSource source = Open();
    ASSERT_TRUE(ReadAll(source, 100'003) == bytes) << chunk;
  }
}

TEST_F(FifoSourceTest, ReadsSingleBytes) {
  FifoServer server(path_, std::string("abc"), 1);
  FifoSource source = Open();
  EXPECT_EQ(ReadAll(source, 1), "abc");
}

TEST_F(FifoSourceTest, ScatteredReadsFillTheFirstPartFirst) {
  FifoSource source = Open();
  const UniqueFd writer = OpenWriter();
  WriteAll(writer.get(), "0123456789");
  char first[4];
  char second[4];
  EXPECT_EQ(source.ReadScattered(first, 4, second, 4), 8U);
  EXPECT_EQ(std::string(first, 4) + std::string(second, 4), "01234567");
  EXPECT_EQ(source.ReadScattered(first, 4, second, 4), 2U);
  EXPECT_EQ(std::string(first, 2), "89");
}

// However much is there at a time: much is read by another way than little.
TEST_F(FifoSourceTest, ChangesOfPaceLoseNothing) {
  const std::string bytes = RandomBytes(4 << 20, 7);
  std::mt19937 random(8);
  FifoSource source = Open();
  const UniqueFd writer = OpenWriter();
  const size_t room = static_cast<size_t>(::fcntl(writer.get(), F_GETPIPE_SZ)) / 2;
  std::string got;
  std::string buffer(1 << 20, '?');
  size_t written = 0;
  while (got.size() < bytes.size()) {
    if (written - got.size() < room / 2) {
      const size_t most = random() % 2 == 0 ? 100 : room;
      const std::string_view piece = std::string_view(bytes).substr(written, 1 + random() % most);
      ASSERT_TRUE(WriteAll(writer.get(), piece));
      written += piece.size();
    }
    if (written == got.size()) continue;
    const size_t head = 1 + random() % (random() % 2 == 0 ? 100 : 200'000);
    const size_t count =
        source.ReadScattered(buffer.data(), head, buffer.data() + head, random() % 200'000);
    ASSERT_GT(count, 0U);
    got.append(buffer, 0, count);
  }
  EXPECT_TRUE(got == bytes);
}

TEST_F(FifoSourceTest, WhatWasReadFastComesBeforeTheEnd) {
  const std::string bytes = RandomBytes(400'000, 9);
  FifoSource source = Open();
  UniqueFd writer = OpenWriter();
  if (::fcntl(writer.get(), F_GETPIPE_SZ) < 1 << 20) GTEST_SKIP() << "the FIFO is not large";
  ASSERT_TRUE(WriteAll(writer.get(), bytes));
  writer.Reset();
  std::string got(100'000, '?');
  got.resize(source.Read(got.data(), got.size()));  // from here on it moves all that is there
  cancel_.Cancel();
  char byte;
  EXPECT_THROW(source.Read(&byte, 1), CancelledError);
  cancel_.Reset();
  got += ReadAll(source, 30'000);
  EXPECT_TRUE(got == bytes);
}

TEST_F(FifoSourceTest, NoWriterYetIsNotTheEnd) {
  FifoSource source = Open(milliseconds(100));
  EXPECT_THROW(ReadSome(source), DeadlineExceededError);
}

TEST_F(FifoSourceTest, WaitsForAWriterThatComesLate) {
  FifoSource source = Open();
  EXPECT_FALSE(source.HasWriter());
  std::thread late([this] {
    std::this_thread::sleep_for(milliseconds(50));
    WriteAll(OpenWriter().get(), "late");
  });
  EXPECT_EQ(ReadAll(source), "late");
  late.join();
}

TEST_F(FifoSourceTest, AWriterThatOnlyOpensAndClosesMakesAnEmptyEpoch) {
  FifoSource source = Open();
  Event reads;
  std::thread writer([&] {
    ASSERT_TRUE(reads.Wait());
    std::this_thread::sleep_for(milliseconds(20));
    OpenWriter();
  });
  reads.Set();
  EXPECT_EQ(ReadSome(source), "");
  EXPECT_TRUE(source.HasWriter());
  EXPECT_EQ(ReadSome(source), "");
  writer.join();
  // Also when that was all over before the first look.
  FifoSource later = Open();
  OpenWriter();
  EXPECT_EQ(ReadSome(later), "");
}

TEST_F(FifoSourceTest, AnIdleWriterIsNotTheEnd) {
  FifoSource source = Open(milliseconds(100));
  const UniqueFd writer = OpenWriter();
  EXPECT_THROW(ReadSome(source), DeadlineExceededError);
}

TEST_F(FifoSourceTest, AWriterMayPause) {
  FifoSource source = Open();
  UniqueFd writer = OpenWriter();
  WriteAll(writer.get(), "one");
  EXPECT_EQ(ReadSome(source), "one");
  std::thread later([&] {
    std::this_thread::sleep_for(milliseconds(50));
    WriteAll(writer.get(), "two");
    writer.Reset();
  });
  EXPECT_EQ(ReadSome(source), "two");
  EXPECT_EQ(ReadSome(source), "");
  later.join();
}

TEST_F(FifoSourceTest, TheEndComesWithTheLastWriter) {
  FifoSource source = Open();
  UniqueFd first = OpenWriter();
  UniqueFd second = OpenWriter();
  WriteAll(first.get(), "first");
  first.Reset();
  EXPECT_EQ(ReadSome(source), "first");
  WriteAll(second.get(), "second");
  second.Reset();
  EXPECT_EQ(ReadSome(source), "second");
  EXPECT_EQ(ReadSome(source), "");
}

TEST_F(FifoSourceTest, TheEndIsTheEnd) {
  FifoSource source = Open();
  WriteAll(OpenWriter().get(), "data");
  EXPECT_EQ(ReadAll(source), "data");
  const UniqueFd another = OpenWriter();
  WriteAll(another.get(), "more");
  EXPECT_EQ(ReadSome(source), "");
}

TEST_F(FifoSourceTest, WhatAClosedWriterLeftIsReadFirst) {
  FifoSource source = Open();
  WriteAll(OpenWriter().get(), "left behind");
  EXPECT_EQ(ReadSome(source), "left behind");
  EXPECT_EQ(ReadSome(source), "");
}

TEST_F(FifoSourceTest, RegularFilesWorkTheSameWay) {
  const std::string bytes = RandomBytes(100'000, 2);
  for (const std::string& content : {bytes, std::string()}) {
    WriteFile(folder_ / "file_0", content);
    FifoSource source(FifoSource::Open(folder_ / "file_0"), folder_ / "file_0", kPatience,
                      {&cancel_});
    EXPECT_TRUE(source.HasWriter());
    EXPECT_TRUE(ReadAll(source, 999) == content);
    EXPECT_EQ(ReadSome(source), "");
  }
}

// Time limits, cancellation, signals.

TEST_F(FifoSourceTest, SilenceEndsAtTheLimit) {
  for (const bool with_writer : {false, true}) {
    FifoSource source = Open(milliseconds(80));
    UniqueFd writer;
    if (with_writer) writer = OpenWriter();
    const auto start = Clock::now();
    EXPECT_THAT([&] { ReadSome(source); },
                ThrowsMessage<DeadlineExceededError>(AllOf(
                    HasSubstr("waited 0.08 s"), HasSubstr(path_), HasSubstr("read_timeout"))));
    EXPECT_GE(Clock::now() - start, milliseconds(80));
    EXPECT_LT(Clock::now() - start, milliseconds(testing::kSanitized ? 2000 : 500));
    // Then it is at its end, whatever comes.
    if (writer) WriteAll(writer.get(), "too late");
    EXPECT_EQ(ReadSome(source), "");
  }
}

TEST_F(FifoSourceTest, TheLimitIsForEachSilence) {
  FifoServer server(path_, [](int fd) {
    for (int i = 0; i < 12; ++i) {
      std::this_thread::sleep_for(milliseconds(60));
      WriteAll(fd, "x");
    }
  });
  FifoSource source = Open(milliseconds(600));
  EXPECT_EQ(ReadAll(source), "xxxxxxxxxxxx");
}

// A stream may go on for ever without giving a single byte.
TEST_F(FifoSourceTest, CancelledWhileItFindsDataAtEachRead) {
  std::string members;
  for (int i = 0; i < 1000; ++i) members += Gzip("");
  FifoServer server(path_, [&](int fd) {
    for (uint64_t sent = 0; WriteAll(fd, members); sent += members.size()) {
      if (sent > 1'000'000) cancel_.Cancel();
    }
  });
  auto source = std::make_unique<FifoSource>(Open());
  InflateSource inflate(std::move(source), Compression::kGzip);
  char byte;
  EXPECT_THROW(inflate.Read(&byte, 1), CancelledError);
}

TEST_F(FifoSourceTest, CancelledWhileItWaits) {
  for (const bool with_writer : {false, true}) {
    FifoSource source = Open();
    UniqueFd writer;
    if (with_writer) writer = OpenWriter();
    Event reads;
    Clock::time_point cancelled_at;
    std::thread canceller([&] {
      ASSERT_TRUE(reads.Wait());
      std::this_thread::sleep_for(milliseconds(30));
      cancelled_at = Clock::now();
      cancel_.Cancel();
    });
    reads.Set();
    EXPECT_THROW(ReadSome(source), CancelledError);
    const auto latency = Clock::now() - cancelled_at;
    canceller.join();
    EXPECT_LT(latency, milliseconds(testing::kSanitized ? 2000 : 100));
    RecordProperty("latency_ms", std::to_string(Milliseconds(latency)));
    cancel_.Reset();
    // Nothing is lost: the same call may be made again.
    if (!writer) writer = OpenWriter();
    WriteAll(writer.get(), "after");
    EXPECT_EQ(ReadSome(source), "after");
  }
}

TEST_F(FifoSourceTest, SignalsDoNotDisturb) {
  struct sigaction action{};
  struct sigaction saved{};
  action.sa_handler = [](int) {};  // without SA_RESTART
  ASSERT_EQ(::sigaction(SIGUSR1, &action, &saved), 0);
  const std::string bytes = RandomBytes(3 << 20, 3);
  Event stop;
  const pthread_t reader = ::pthread_self();
  std::thread sender([&] {
    while (!stop.IsSet()) {
      ::pthread_kill(reader, SIGUSR1);
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
  });
  {
    FifoServer server(path_, [&](int fd) {
      for (size_t at = 0; at < bytes.size(); at += 100'000) {
        if (!WriteAll(fd, std::string_view(bytes).substr(at, 100'000))) return;
        std::this_thread::sleep_for(milliseconds(2));  // so that the reader blocks, too
      }
    });
    FifoSource source = Open();
    EXPECT_TRUE(ReadAll(source) == bytes);
    FifoSource silent = Open(milliseconds(100));
    const auto start = Clock::now();
    EXPECT_THROW(ReadSome(silent), DeadlineExceededError);
    EXPECT_GE(Clock::now() - start, milliseconds(100));
  }
  stop.Set();
  sender.join();
  ::sigaction(SIGUSR1, &saved, nullptr);
}

TEST_F(FifoSourceTest, WaitingCostsNothing) {
  const auto cpu_before = ThreadCpuTime();
  FifoSource source = Open(milliseconds(300));
  EXPECT_THROW(ReadSome(source), DeadlineExceededError);
  EXPECT_LT(ThreadCpuTime() - cpu_before, milliseconds(30));
}

TEST_F(FifoSourceTest, ACallThatNeverHasToWaitIsLookedAfterToo) {
  // As of a stream of bytes that never become a record.
  class Observer : public WaitObserver {
   public:
    void OnBlock() override { ++blocks; }
    void OnTick() override {
      if (++ticks == 3) throw CancelledError("enough");
    }
    int blocks = 0;
    int ticks = 0;
  };
  Observer observer;
  const std::string path = folder_ / "file";
  WriteFile(path, "");
  ASSERT_EQ(::truncate(path.c_str(), int64_t{1} << 33), 0);  // takes no room, and hours to read
  FifoSource source(FifoSource::Open(path), path, kPatience, {&cancel_, &observer});
  const auto start = Clock::now();
  EXPECT_THROW(while (!ReadSome(source).empty()){}, CancelledError);
  EXPECT_EQ(observer.blocks, 3);
  EXPECT_GE(Clock::now() - start, milliseconds(40));
}

// HasWriter.

TEST_F(FifoSourceTest, HasWriterSeesAnIdleWriter) {
  FifoSource source = Open();
  EXPECT_FALSE(source.HasWriter());
  EXPECT_FALSE(source.HasWriter());
  const UniqueFd writer = OpenWriter();
  EXPECT_TRUE(source.HasWriter());
}

TEST_F(FifoSourceTest, HasWriterSeesAWriterThatBlocksInOpen) {
  // As most writers do: they open without O_NONBLOCK and wait for a reader.
  std::optional<UniqueFd> writer;
  std::thread opener([&] { writer.emplace(::open(path_.c_str(), O_WRONLY | O_CLOEXEC)); });
  FifoSource source = Open();
  const auto limit = Clock::now() + kPatience;
  while (!source.HasWriter() && Clock::now() < limit) std::this_thread::yield();
  EXPECT_TRUE(source.HasWriter());
  opener.join();
  WriteAll(writer->get(), "data");
  EXPECT_EQ(ReadSome(source), "data");
}

TEST_F(FifoSourceTest, HasWriterSeesDataAndLeavesItThere) {
  FifoSource source = Open();
  const UniqueFd writer = OpenWriter();
  WriteAll(writer.get(), "data");
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(source.HasWriter());
  EXPECT_EQ(ReadSome(source), "data");
  EXPECT_TRUE(source.HasWriter());
}

TEST_F(FifoSourceTest, HasWriterSeesOneThatIsGoneAgain) {
  FifoSource empty = Open();
  OpenWriter();
  EXPECT_TRUE(empty.HasWriter());
  EXPECT_EQ(ReadSome(empty), "");

  FifoSource with_data = Open();
  WriteAll(OpenWriter().get(), "data");
  EXPECT_TRUE(with_data.HasWriter());
  EXPECT_EQ(ReadSome(with_data), "data");
  EXPECT_EQ(ReadSome(with_data), "");
}

TEST_F(FifoSourceTest, HasWriterForgetsWhatWasBeforeTheOpen) {
  {
    FifoSource earlier = Open();
    WriteAll(OpenWriter().get(), "unread");
  }
  FifoSource source = Open(milliseconds(50));
  EXPECT_FALSE(source.HasWriter());
  EXPECT_THROW(ReadSome(source), DeadlineExceededError);
}

}  // namespace
}  // namespace pipemode
