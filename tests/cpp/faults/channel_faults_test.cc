// SPDX-License-Identifier: Apache-2.0
//
// Each system call that reading a channel makes fails once, or from then on: the first one, the
// second one, and so on, until there is no other.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <memory>
#include <new>
#include <optional>
#include <ostream>
#include <string>
#include <system_error>
#include <vector>

#include "core/base/byte_budget_queue.h"
#include "core/base/error.h"
#include "core/base/unique_fd.h"
#include "core/channel/channel_reader.h"
#include "core/channel/epoch_recovery.h"
#include "core/channel/epoch_sequence.h"
#include "core/channel/pipe_state.h"
#include "core/io/cancel_token.h"
#include "faults/process_usage.h"
#include "faults/syscall_faults.h"
#include "testing/deflate.h"
#include "testing/environment.h"
#include "testing/epoch_service.h"
#include "testing/fifo_server.h"
#include "testing/record_formats.h"
#include "testing/string_sink.h"
#include "testing/temp_dir.h"

namespace pipemode {
namespace {

using ::pipemode::testing::EpochService;
using ::pipemode::testing::Exists;
using ::pipemode::testing::Gzip;
using ::pipemode::testing::MakeFifo;
using ::pipemode::testing::ProcessUsage;
using ::pipemode::testing::ReadFile;
using ::pipemode::testing::Records;
using ::pipemode::testing::ScopedAllocationFault;
using ::pipemode::testing::ScopedSyscallFault;
using ::pipemode::testing::ScopedSyscallHook;
using ::pipemode::testing::StringSink;
using ::pipemode::testing::SyscallFault;
using ::pipemode::testing::TempDir;
using ::pipemode::testing::WriteAll;
using ::pipemode::testing::WriteFile;
using ::testing::HasSubstr;

// What a fault may come to.
enum class Expectation {
  kTolerated,  // every record arrives
  kFails,      // the error that fits the errno
  kEither,     // one of the two: it depends on what the call was for
};

struct FaultCase {
  SyscallFault fault;
  Expectation expectation;
  std::optional<ErrorCode> code;  // of the error; none: it need not happen
};

void PrintTo(const FaultCase& fault_case, std::ostream* out) { PrintTo(fault_case.fault, out); }

constexpr auto kTolerated = Expectation::kTolerated;
constexpr auto kFails = Expectation::kFails;
constexpr auto kEither = Expectation::kEither;

std::vector<FaultCase> AllFaults() {
  constexpr auto kExhausted = ErrorCode::kResourceExhausted;
  constexpr auto kUnavailable = ErrorCode::kUnavailable;
  std::vector<FaultCase> cases = {
      // A signal, and calls that do less than they were asked for, are nothing to speak of.
      {{"open", EINTR}, kTolerated, {}},
      {{"flock", EINTR}, kTolerated, {}},
      {{"read", EINTR}, kTolerated, {}},
      {{"pread", EINTR}, kTolerated, {}},
      {{"pwrite", EINTR}, kTolerated, {}},
      {{"readv", EINTR}, kTolerated, {}},
      {{"readv", EAGAIN}, kTolerated, {}},
      {{"readv", 0, true}, kTolerated, {}},
      {{"read", 0, true}, kTolerated, {}},
      {{"pread", 0, true}, kTolerated, {}},
      {{"splice", EINTR}, kTolerated, {}},
      {{"splice", EAGAIN}, kTolerated, {}},
      {{"splice", 0, true}, kTolerated, {}},
      {{"write", EINTR}, kTolerated, {}},
      {{"fdatasync", EINTR}, kTolerated, {}},
      {{"poll", EINTR}, kTolerated, {}},
      {{"ppoll", EINTR}, kTolerated, {}},
      {{"tee", EINTR}, kTolerated, {}},
      // What only makes things faster, or has another way.
      {{"fcntl", EPERM, true, F_SETPIPE_SZ}, kTolerated, {}},
      {{"fcntl", EBUSY, true, F_SETPIPE_SZ}, kTolerated, {}},
      {{"fcntl", EBADF, true, F_GETPIPE_SZ}, kTolerated, {}},
      {{"ioctl", ENOMEM}, kEither, ErrorCode::kResourceExhausted},
      {{"inotify_init1", EMFILE, true}, kTolerated, {}},
      {{"inotify_add_watch", ENOSPC, true}, kTolerated, {}},
      {{"pipe2", EMFILE}, kTolerated, {}},
      {{"pipe2", EMFILE, true}, kTolerated, {}},
      {{"tee", EINVAL, true}, kTolerated, {}},
      {{"splice", EINVAL, true}, kTolerated, {}},
      {{"splice", EIO}, kTolerated, {}},
      {{"poll", ENOMEM}, kTolerated, {}},
      {{"unlink", EACCES, true}, kTolerated, {}},
      {{"stat", EACCES}, kTolerated, {}},
      // File systems without locks, and somebody else's lock.
      {{"flock", ENOLCK, true}, kTolerated, {}},
      {{"flock", EOPNOTSUPP, true}, kTolerated, {}},
      {{"flock", EWOULDBLOCK}, kTolerated, {}},
      {{"fcntl", EINVAL, true, F_OFD_SETLK}, kTolerated, {}},
      // What is an error.
      {{"open", EMFILE}, kFails, kExhausted},
      {{"open", ENFILE, true}, kFails, kExhausted},
      {{"open", ENOMEM}, kFails, kExhausted},
      {{"fstat", ENOMEM}, kEither, kExhausted},
      {{"open", EACCES}, kFails, ErrorCode::kPermissionDenied},
      {{"open", EIO}, kFails, kUnavailable},
      {{"fstat", EIO}, kEither, kUnavailable},
      {{"flock", EIO}, kFails, kUnavailable},
      {{"ppoll", ENOMEM}, kFails, kExhausted},
      {{"read", EIO}, kFails, kUnavailable},
      {{"readv", EIO}, kFails, kUnavailable},
      {{"readv", EISDIR, true}, kFails, ErrorCode::kFailedPrecondition},
      {{"pread", EIO}, kFails, kUnavailable},
      {{"pwrite", EIO}, kFails, kUnavailable},
      {{"pwrite", ENOSPC, true}, kFails, kExhausted},
      {{"pwrite", 0}, kFails, kExhausted},
      {{"write", ENOSPC}, kFails, kExhausted},
      {{"write", EDQUOT, true}, kFails, kExhausted},
      {{"write", EIO}, kFails, kUnavailable},
      {{"fdatasync", EIO}, kFails, kUnavailable},
      {{"fdatasync", ENOSPC}, kFails, kExhausted},
      {{"rename", EIO}, kFails, kUnavailable},
      {{"rename", ENOSPC}, kFails, kExhausted},
      {{"rename", EROFS, true}, kFails, ErrorCode::kPermissionDenied},
      {{"eventfd", EMFILE}, kFails, kExhausted},
  };
  return cases;
}

// Short records, some that are read past the buffer, and so much of them that the writer has to
// wait; the last one says that it is the last one.
Records RecordsOf(uint64_t epoch) {
  const std::string name = "epoch " + std::to_string(epoch);
  const std::string large(400'000, static_cast<char>('a' + epoch % 26));
  return {name, std::string(100, 's'), "", large, large, large, name + " ends"};
}

const Records& RecordsOf0() {
  static const Records records = RecordsOf(0);
  return records;
}

std::string BytesOf(uint64_t epoch, bool compressed) {
  const std::string bytes = testing::Encode(testing::AllFormats().front(), RecordsOf(epoch)).bytes;
  return compressed ? Gzip(bytes) : bytes;
}

struct Outcome {
  Records records;
  std::optional<ErrorCode> error;
  std::string message;
};

class ChannelFaultsTest : public ::testing::TestWithParam<FaultCase> {
 protected:
  // Reads one epoch with faults, then another one without: by the same object, or by a new one, as
  // after a restart. Returns whether the fault struck.
  bool Run(uint64_t at, bool compressed, bool late, bool restart) {
    SCOPED_TRACE(::testing::Message() << "call " << at << (compressed ? ", gzip" : "")
                                      << (late ? ", late" : "") << (restart ? ", restarted" : ""));
    const TempDir folder;
    ChannelOptions options;
    options.channel = "train";
    options.pipe_dir = folder.path();
    options.state_dir = folder / "state";
    options.stream.format = RecordFormat::kTfRecord;
    options.stream.compression = compressed ? Compression::kGzip : Compression::kNone;
    options.open_timeout = options.read_timeout = testing::kPatience;

    // Late: it begins when a reader looks for its FIFO already.
    const EpochService service(
        folder.path(), "train", [compressed](uint64_t epoch) { return BytesOf(epoch, compressed); },
        std::chrono::milliseconds(late ? 10 : 0));
    Outcome outcome;
    bool struck = false;
    std::optional<CancelToken> cancel;
    std::optional<EpochSequence> sequence;
    {
      const ScopedSyscallFault fault(GetParam().fault, at);
      try {
        cancel.emplace();
        sequence.emplace(options, EpochSequence::kEndless, WaitContext{&*cancel, nullptr});
        ReadEpoch(*sequence, &outcome);
      } catch (const PipeError& error) {
        outcome.error = error.code();
        outcome.message = error.what();
      }
      struck = fault.struck();
    }
    Check(outcome);

    if (restart || !sequence) {
      sequence.reset();
      cancel.emplace();
      sequence.emplace(options, EpochSequence::kEndless, WaitContext{&*cancel, nullptr});
    }
    Outcome next;
    try {
      ReadEpoch(*sequence, &next);
    } catch (const PipeError& error) {
      ADD_FAILURE() << "the retry failed: " << error.what();
    }
    CheckNext(outcome, next, folder.path());
    if (outcome.records.empty() && IsToBeReadAgain(outcome, restart)) {
      EXPECT_TRUE(next.records == RecordsOf(0)) << "lost after: " << outcome.message;
    }
    return struck;
  }

  static void ReadEpoch(EpochSequence& sequence, Outcome* outcome) {
    StringSink sink;
    do {
      ASSERT_TRUE(sequence.Read(sink));
      outcome->records.push_back(sink.record());
    } while (sink.record().find("ends") == std::string::npos);
  }

  static void Check(const Outcome& outcome) {
    const FaultCase& param = GetParam();
    const Records whole = RecordsOf(0);
    if (!outcome.error) {
      EXPECT_TRUE(outcome.records == whole) << outcome.records.front();
      return;
    }
    EXPECT_NE(param.expectation, kTolerated) << outcome.message;
    EXPECT_EQ(outcome.error, param.code) << outcome.message;
    if (param.fault.error_number != 0 && param.code != ErrorCode::kFailedPrecondition) {
      EXPECT_THAT(outcome.message,
                  HasSubstr(std::generic_category().message(param.fault.error_number)));
    }
    ASSERT_LE(outcome.records.size(), whole.size());
    EXPECT_TRUE(std::equal(outcome.records.begin(), outcome.records.end(), whole.begin()));
  }

  // Whether the error came before the epoch was begun, and the same reader goes on; or a new one,
  // where the first had let go of what it could not have for a moment only.
  static bool IsToBeReadAgain(const Outcome& outcome, bool restart) {
    const auto says = [&outcome](const char* text) {
      return outcome.message.find(text) != std::string::npos;
    };
    const bool has_begun = says(": record 0 at byte ");
    // Right after a FIFO was opened, and of a kind that no system fails with.
    const bool is_of_open_fifo = says("flock: ") || says("ioctl(FIONREAD)");
    const bool is_passing =
        outcome.error == ErrorCode::kResourceExhausted && !GetParam().fault.lasting;
    return outcome.error && !has_begun && !is_of_open_fifo && (!restart || is_passing);
  }

  // A whole epoch: not one that was delivered already, and none is skipped without need.
  static void CheckNext(const Outcome& before, const Outcome& next, const std::string& folder) {
    const uint64_t first = before.records.empty() ? 0 : 1;
    const bool second = next.records == RecordsOf(1);
    EXPECT_TRUE(second || (first == 0 && next.records == RecordsOf(0)))
        << (next.records.empty() ? "nothing" : next.records.front())
        << "; error before: " << before.message;
    EXPECT_EQ(ReadFile(folder + "/state/.train-pipe_mode-state"), second ? "2" : "1");
    EXPECT_FALSE(Exists(folder + "/state/.train-pipe_mode-state.tmp"));
  }
};

INSTANTIATE_TEST_SUITE_P(AllCalls, ChannelFaultsTest, ::testing::ValuesIn(AllFaults()));

TEST_P(ChannelFaultsTest, AtEveryCall) {
  // Whatever is made once and kept is made now.
  Run(UINT64_MAX, true, false, false);
  Run(UINT64_MAX, false, true, true);
  const ProcessUsage before = ProcessUsage::Now();
  bool ever_struck = false;
  // A late service makes the reader watch the folder.
  for (const bool late : {false, true}) {
    // Waiting takes any number of calls.
    bool struck = true;
    for (uint64_t at = 1; struck && !HasFailure() && at < 50; ++at) {
      struck = Run(at, !late, late, at % 2 == 0);
      ever_struck = ever_struck || struck;
      EXPECT_EQ(ProcessUsage::Now(), before) << "call " << at;
    }
  }
  EXPECT_TRUE(ever_struck) << "there was no such call";
}

// Memory that cannot be had.

TEST(ChannelMemoryTest, AQueueWithoutMemoryStillTakesTheLastItem) {
  if (testing::kSanitized) GTEST_SKIP() << "sanitizers have their own operator new";
  using Item = std::array<char, 1024>;
  ByteBudgetQueue<Item> queue(SIZE_MAX);
  int pushed = 0;
  {
    const ScopedAllocationFault fault(1);
    EXPECT_THROW(for (;; ++pushed) queue.Push(Item{}, 1), std::bad_alloc);
    queue.PushLast(Item{});
  }
  for (int taken = 0; taken <= pushed; ++taken) {
    EXPECT_TRUE(queue.Pop(std::chrono::milliseconds(0)));
  }
  EXPECT_FALSE(queue.Pop(std::chrono::milliseconds(0)));
}

// Neither of the channel that a writer waits at, nor of one that is there as a file.
TEST(ChannelMemoryTest, NoEpochIsLostBeforeItHasBegun) {
  if (testing::kSanitized) GTEST_SKIP() << "sanitizers have their own operator new";
  for (const Compression compression : {Compression::kNone, Compression::kGzip}) {
    const bool compressed = compression == Compression::kGzip;
    bool struck = true;
    for (uint64_t at = 1; struck && !::testing::Test::HasFailure(); ++at) {
      SCOPED_TRACE(::testing::Message() << "allocation " << at);
      const TempDir folder;
      ChannelOptions options;
      options.channel = "train";
      options.pipe_dir = folder.path();
      options.state_dir = folder / "state";
      options.stream.format = RecordFormat::kTfRecord;
      options.stream.compression = compression;
      options.open_timeout = options.read_timeout = testing::kPatience;
      MakeFifo(folder / "train_0");
      const EpochService service(folder.path(), "train", [compressed](uint64_t epoch) {
        return BytesOf(epoch, compressed);
      });
      const CancelToken cancel;
      StringSink sink;
      ChannelReader reader(options, WaitContext{&cancel, nullptr});
      {
        const ScopedAllocationFault fault(at);
        try {
          reader.Read(sink);
        } catch (const std::bad_alloc&) {
        }
        struck = fault.struck();
      }
      if (reader.epoch()) break;  // what fails from here on is to read it
      ASSERT_TRUE(reader.Read(sink));
      EXPECT_EQ(reader.epoch(), 0U);
      EXPECT_EQ(sink.record(), RecordsOf0().front());
    }
  }
}

TEST(ChannelMemoryTest, EachAllocationMayFail) {
  if (testing::kSanitized) GTEST_SKIP() << "sanitizers have their own operator new";
  // The first runs are for whatever is made once and kept.
  std::optional<ProcessUsage> before;
  bool struck = true;
  uint64_t at = 1;
  for (; struck && !HasFailure(); ++at) {
    SCOPED_TRACE(::testing::Message() << "allocation " << at);
    {
      const TempDir folder;
      ChannelOptions options;
      options.channel = "train";
      options.pipe_dir = folder.path();
      options.state_dir = folder / "state";
      options.stream.format = RecordFormat::kTfRecord;
      options.stream.compression = Compression::kGzip;
      options.open_timeout = options.read_timeout = testing::kPatience;
      // Files, so that each run makes the same allocations.
      for (const uint64_t epoch : {0, 1}) {
        const std::string bytes =
            testing::Encode(testing::AllFormats().front(), RecordsOf(epoch)).bytes;
        WriteFile(folder / "train_" + std::to_string(epoch), Gzip(bytes));
      }
      const CancelToken cancel;
      StringSink sink;
      EpochSequence sequence(options, EpochSequence::kEndless, WaitContext{&cancel, nullptr});
      uint64_t read = 0;
      {
        const ScopedAllocationFault fault(at);
        try {
          while (read < RecordsOf0().size() && sequence.Read(sink)) {
            if (sink.record() != RecordsOf0()[read]) break;
            ++read;
          }
        } catch (const std::bad_alloc&) {
        }
        struck = fault.struck();
      }
      // What comes next is not the record after one that was lost.
      if (struck && read < RecordsOf0().size()) {
        ASSERT_TRUE(sequence.Read(sink));
        const bool begins_anew = sink.record() == RecordsOf(1).front() ||
                                 (read == 0 && sink.record() == RecordsOf(0).front());
        EXPECT_TRUE(begins_anew) << "after " << read << " records: " << sink.record().substr(0, 40);
      } else {
        EXPECT_EQ(read, RecordsOf0().size());
      }
    }
    const ProcessUsage usage = ProcessUsage::Now();
    if (at == 2) before = usage;
    EXPECT_EQ(usage, before.value_or(usage));
  }
  EXPECT_GT(at, 30U);
}

// Another process between any two calls.

class ChannelScheduleTest : public ::testing::TestWithParam<size_t> {
 protected:
  ChannelScheduleTest() {
    options_.channel = "train";
    options_.pipe_dir = folder_.path();
    options_.state_dir = folder_ / "state";
    options_.stream.format = RecordFormat::kTfRecord;
    options_.open_timeout = options_.read_timeout = testing::kPatience;
  }

  // A reader whose time is over without a writer.
  void GiveUp() {
    const CancelToken cancel;
    ChannelOptions options = options_;
    options.open_timeout = std::chrono::milliseconds(1);
    ChannelReader reader(options, WaitContext{&cancel, nullptr});
    StringSink sink;
    EXPECT_THROW(reader.Read(sink), DeadlineExceededError);
  }

  // A writer of an epoch that the pipe holds as a whole comes before the `at`-th call, or as soon
  // as there is a reader after that; it writes all, removes the FIFO, and is gone.
  void ReadEpochThatComes(uint64_t at) {
    SCOPED_TRACE(::testing::Message() << "call " << at);
    const Records epoch = {"one", std::string(GetParam(), 'x'), "three"};
    const std::string bytes = testing::Encode(testing::AllFormats().front(), epoch).bytes;
    const ScopedSyscallHook writer(
        [&] {
          const UniqueFd fd(::open(path_.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
          if (!fd) return false;
          // As writers do that send much at once; it tells nothing of who was there before.
          ::fcntl(fd.get(), F_SETPIPE_SZ, 1 << 20);
          EXPECT_TRUE(WriteAll(fd.get(), bytes));
          return std::filesystem::remove(path_);
        },
        at);
    const CancelToken cancel;
    EpochSequence sequence(options_, 1, WaitContext{&cancel, nullptr});
    Records records;
    StringSink sink;
    while (sequence.Read(sink)) records.push_back(sink.record());
    EXPECT_TRUE(writer.done());
    EXPECT_EQ(records, epoch);
    EXPECT_EQ(sequence.lost_epochs(), 0U);
  }

  // Some of these are in the midst of waiting already.
  static constexpr uint64_t kCalls = 60;

  const TempDir folder_;
  const std::string path_ = folder_ / "train_0";
  ChannelOptions options_;
};

INSTANTIATE_TEST_SUITE_P(SmallAndLarge, ChannelScheduleTest, ::testing::Values(10, 40'000));

TEST_P(ChannelScheduleTest, AWriterMayComeAndGoAtAnyMoment) {
  for (uint64_t at = 1; at <= kCalls && !HasFailure(); ++at) {
    MakeFifo(path_);
    ReadEpochThatComes(at);
    std::filesystem::remove_all(options_.state_dir);
  }
}

// It never met the reader before, so what it wrote was not for that one.
TEST_P(ChannelScheduleTest, AlsoAfterAReaderThatGaveUp) {
  for (uint64_t at = 1; at <= kCalls && !HasFailure(); ++at) {
    MakeFifo(path_);
    GiveUp();
    ReadEpochThatComes(at);
    std::filesystem::remove_all(options_.state_dir);
  }
}

class ChannelRecoveryTest : public ::testing::Test {
 protected:
  ChannelRecoveryTest() { MakeFifo(path_); }

  UniqueFd OpenForWriting() const {
    return UniqueFd(::open(path_.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
  }

  void GiveUp() const {
    std::vector<EpochClaim> claims(1);
    claims.front() = std::move(*recovery_.TryClaim().claim);
    ASSERT_TRUE(recovery_.TryGiveUp(&claims));
  }

  EpochClaim ClaimUnmarked() const {
    const ScopedSyscallFault fault({"fcntl", EPERM, true}, 1);
    PipeState::Attempt attempt = recovery_.TryClaim();
    EXPECT_TRUE(fault.struck());
    return std::move(*attempt.claim);
  }

  // Claims an epoch whose writer waits for a reader, and writes before that has made another call.
  std::optional<size_t> LeftInPipe() const {
    const ScopedSyscallHook writer(
        [this] {
          const UniqueFd fd = OpenForWriting();
          return fd && WriteAll(fd.get(), "bytes");
        },
        1);
    return recovery_.TryClaim().claim->left;
  }

  const TempDir folder_;
  const std::string path_ = folder_ / "train_0";
  const PipeState state_{folder_ / "state", folder_.path(), "train"};
  const EpochRecovery recovery_{state_};
};

TEST_F(ChannelRecoveryTest, WhatComesWithTheReaderIsNotLeft) {
  GiveUp();
  EXPECT_EQ(LeftInPipe(), std::nullopt);
}

TEST_F(ChannelRecoveryTest, AlsoAfterAKill) {
  ASSERT_TRUE(recovery_.TryClaim().claim);
  EXPECT_EQ(LeftInPipe(), 0U);
}

// Where the pipe of the one that was killed may bear no mark, it cannot be told from a new one.
TEST_F(ChannelRecoveryTest, UnlessThePipeCouldNotBeMarked) {
  ClaimUnmarked();
  EXPECT_EQ(LeftInPipe(), 5U);
}

// A reader that cannot know, or cannot say, that it leaves nothing is as one that was killed.
TEST_F(ChannelRecoveryTest, OrAfterAFaultOfTheReader) {
  for (const SyscallFault& failure :
       {SyscallFault{"pipe2", EMFILE}, SyscallFault{"tee", EINVAL}, SyscallFault{"open", EMFILE},
        SyscallFault{"pwrite", ENOSPC}, SyscallFault{"pread", EIO}}) {
    std::vector<EpochClaim> claims(1);
    claims.front() = ClaimUnmarked();
    {
      const ScopedSyscallFault fault(failure, 1);
      EXPECT_TRUE(recovery_.TryGiveUp(&claims)) << failure.call;
      EXPECT_TRUE(fault.struck()) << failure.call;
    }
    EXPECT_EQ(LeftInPipe(), 5U) << failure.call;
  }
}

TEST_F(ChannelRecoveryTest, WhatIsInThePipeHasToBeKnown) {
  PipeState::Attempt first = recovery_.TryClaim();
  const UniqueFd writer = OpenForWriting();
  ASSERT_TRUE(WriteAll(writer.get(), "bytes"));
  first.claim.reset();
  const SyscallFault failure{"ioctl", EIO};
  {
    const ScopedSyscallFault fault(failure, 1);
    EXPECT_THROW(recovery_.TryClaim(), PipeError);
    EXPECT_TRUE(fault.struck());
  }
  EXPECT_EQ(recovery_.TryClaim().claim->left, 5U);
}

}  // namespace
}  // namespace pipemode
