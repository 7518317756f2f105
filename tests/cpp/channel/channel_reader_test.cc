// SPDX-License-Identifier: Apache-2.0
#include "core/channel/channel_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <optional>
#include <string>

#include "channel/channel_reader_fixture.h"
#include "core/base/error.h"
#include "core/format/record_format.h"
#include "core/io/wait.h"
#include "testing/deflate.h"
#include "testing/fifo_server.h"
#include "testing/record_formats.h"
#include "testing/string_sink.h"
#include "testing/temp_dir.h"

namespace pipemode {
namespace {

using ::pipemode::testing::AllFormats;
using ::pipemode::testing::ChannelReaderTest;
using ::pipemode::testing::Encode;
using ::pipemode::testing::Exists;
using ::pipemode::testing::FifoServer;
using ::pipemode::testing::FormatCase;
using ::pipemode::testing::Gzip;
using ::pipemode::testing::MakeFifo;
using ::pipemode::testing::ReadAllRecords;
using ::pipemode::testing::Records;
using ::pipemode::testing::StringSink;
using ::pipemode::testing::TfRecord;
using ::pipemode::testing::WriteFile;
using ::testing::HasSubstr;

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

}  // namespace
}  // namespace pipemode
