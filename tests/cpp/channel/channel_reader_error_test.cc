// SPDX-License-Identifier: Apache-2.0
//
// What ends an epoch early, and what does not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <thread>

#include "channel/channel_reader_fixture.h"
#include "core/base/error.h"
#include "core/channel/channel_reader.h"
#include "core/io/cancel_token.h"
#include "core/writer/fifo_channel_writer.h"
#include "testing/child.h"
#include "testing/fifo_server.h"
#include "testing/record_formats.h"
#include "testing/string_sink.h"
#include "testing/temp_dir.h"

namespace pipemode {
namespace {

using ::pipemode::testing::ChannelReaderTest;
using ::pipemode::testing::Child;
using ::pipemode::testing::Encode;
using ::pipemode::testing::Encoded;
using ::pipemode::testing::Event;
using ::pipemode::testing::FifoServer;
using ::pipemode::testing::MakeFifo;
using ::pipemode::testing::ReadAllRecords;
using ::pipemode::testing::Records;
using ::pipemode::testing::StringSink;
using ::pipemode::testing::TfRecord;
using ::pipemode::testing::WriteAll;
using ::pipemode::testing::WriteFile;
using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using ::testing::ThrowsMessage;

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

}  // namespace
}  // namespace pipemode
