// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/error.h"
#include "core/format/record_stream.h"
#include "core/format/whole_stream_reader.h"
#include "testing/deflate.h"
#include "testing/fake_source.h"
#include "testing/random.h"
#include "testing/record_formats.h"
#include "testing/string_sink.h"

namespace pipemode {
namespace {

using ::pipemode::testing::Encode;
using ::pipemode::testing::FakeScript;
using ::pipemode::testing::Gzip;
using ::pipemode::testing::MakeSource;
using ::pipemode::testing::RandomBytes;
using ::pipemode::testing::ReadOutcome;
using ::pipemode::testing::ReadRecords;
using ::pipemode::testing::Records;
using ::pipemode::testing::StringSink;
using ::testing::HasSubstr;

StreamOptions OneRecord(uint64_t max_record_bytes = kDefaultMaxRecordBytes) {
  StreamOptions options;
  options.is_one_record = true;
  options.max_record_bytes = max_record_bytes;
  return options;
}

// Around the sizes of the reader's buffer and of its first allocations.
std::vector<size_t> Sizes() {
  std::vector<size_t> sizes = {0, 1, 31, 32, 33, 1000};
  for (const size_t size : {size_t{1} << 16, size_t{1} << 17, size_t{1} << 20}) {
    for (const size_t other : {size - 1, size, size + 1}) sizes.push_back(other);
  }
  return sizes;
}

TEST(WholeStreamTest, AStreamIsOneRecord) {
  for (const size_t size : Sizes()) {
    const std::string bytes = RandomBytes(size, size);
    for (const size_t chunk : {size_t{1000}, size_t{65'536}, SIZE_MAX}) {
      for (const size_t capacity : {size_t{32}, BufferedReader::kDefaultCapacity}) {
        for (const bool scatters : {false, true}) {
          FakeScript script;
          script.chunks = {chunk};
          script.scatters = scatters;
          const ReadOutcome outcome = ReadRecords(MakeSource(bytes, script), OneRecord(), capacity);
          EXPECT_EQ(outcome.error, "");
          EXPECT_TRUE(outcome.records == Records{bytes}) << size;
          // Memory follows the data.
          EXPECT_LE(outcome.largest_sink, std::max(2 * size, size_t{1} << 16)) << size;
        }
      }
    }
  }
}

TEST(WholeStreamTest, ByOneByteAtATime) {
  const std::string bytes = RandomBytes(300, 1);
  EXPECT_TRUE(ReadRecords(MakeSource(bytes, 1), OneRecord(), 32).records == Records{bytes});
}

TEST(WholeStreamTest, WhateverIsInIt) {
  const std::string records = Encode(testing::AllFormats()[1], {"one", "two"}).bytes;
  EXPECT_EQ(ReadRecords(MakeSource(records), OneRecord()).records, Records{records});
  const std::string compressed = Gzip("text");
  EXPECT_EQ(ReadRecords(MakeSource(compressed), OneRecord()).records, Records{compressed});
}

TEST(WholeStreamTest, ItMayBeDropped) {
  for (const size_t size : Sizes()) {
    const ReadOutcome outcome =
        ReadRecords(MakeSource(std::string(size, 'x'), 5000), OneRecord(), 1000, /*skip=*/1);
    EXPECT_EQ(outcome.records, Records{"skipped"});
    EXPECT_EQ(outcome.error, "");
  }
}

TEST(WholeStreamTest, NothingIsTakenOutOfTheBuffer) {
  RecordStream stream(MakeSource("bytes"), OneRecord());
  std::vector<std::string_view> views;
  stream.TakeBuffered(9, &views);
  EXPECT_TRUE(views.empty());
  StringSink sink;
  ASSERT_TRUE(stream.Read(sink));
  stream.TakeBuffered(9, &views);
  EXPECT_TRUE(views.empty());
  EXPECT_FALSE(stream.Read(sink));
  EXPECT_EQ(sink.record(), "bytes");
  EXPECT_EQ(stream.records(), 1U);
}

TEST(WholeStreamTest, TheLimitCounts) {
  for (const uint64_t limit : {1, 1000, 65'536, 100'000}) {
    const std::string bytes(limit, 'x');
    EXPECT_TRUE(ReadRecords(MakeSource(bytes), OneRecord(limit)).records == Records{bytes});
    for (const size_t skip_one_in : {0, 1}) {
      const ReadOutcome outcome =
          ReadRecords(MakeSource(bytes + "x"), OneRecord(limit), 1000, skip_one_in);
      EXPECT_EQ(outcome.records, Records{});
      EXPECT_TRUE(outcome.data_loss);
      EXPECT_THAT(outcome.error, HasSubstr("longer than max_record_bytes"));
    }
  }
  // An endless stream is not read to its end to find that.
  const ReadOutcome outcome =
      ReadRecords(MakeSource(std::string(size_t{64} << 20, 'x'), 100'000), OneRecord(100'000));
  EXPECT_TRUE(outcome.data_loss);
  EXPECT_LE(outcome.largest_sink, size_t{1} << 19);
}

TEST(WholeStreamTest, AnErrorIsNotTheEnd) {
  const std::string bytes(200, 'x');
  for (size_t at = 0; at <= bytes.size(); at += 10) {
    FakeScript script;
    script.fail_at = at;
    script.fail = [] { throw DataLossError("broken"); };
    RecordStream stream(MakeSource(bytes, script), OneRecord());
    StringSink sink;
    EXPECT_THAT([&] { stream.Read(sink); },
                ::testing::ThrowsMessage<DataLossError>("record 0 at byte 0: broken"));
    EXPECT_FALSE(stream.Read(sink));
  }
}

TEST(WholeStreamTest, ACancelledCallLosesNothingSilently) {
  const std::string bytes(200, 'x');
  for (size_t at = 0; at <= bytes.size(); at += 10) {
    FakeScript script;
    script.fail_at = at;
    RecordStream stream(MakeSource(bytes, script), OneRecord());
    StringSink sink;
    EXPECT_THROW(stream.Read(sink), CancelledError);
    try {
      EXPECT_TRUE(stream.Read(sink));
      EXPECT_EQ(sink.record(), bytes);
    } catch (const DataLossError& error) {
      EXPECT_THAT(error.what(), HasSubstr("half read by a cancelled call"));
    }
    EXPECT_FALSE(stream.Read(sink));
  }
}

TEST(WholeStreamTest, CompressedOnesAreInflatedFirst) {
  const std::string bytes = RandomBytes(100'000, 2);
  for (const Compression compression : {Compression::kGzip, Compression::kAuto}) {
    StreamOptions options = OneRecord();
    options.compression = compression;
    const std::string compressed = Gzip(bytes);
    RecordStream stream(MakeSource(compressed, 1000), options);
    StringSink sink;
    ASSERT_TRUE(stream.Read(sink));
    EXPECT_TRUE(sink.record() == bytes);
    EXPECT_FALSE(stream.Read(sink));
    RecordStream cut(MakeSource(compressed.substr(0, compressed.size() - 1), 1000), options);
    EXPECT_THROW(cut.Read(sink), DataLossError);
  }
}

}  // namespace
}  // namespace pipemode
