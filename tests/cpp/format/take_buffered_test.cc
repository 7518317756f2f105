// SPDX-License-Identifier: Apache-2.0
//
// TakeBuffered against Read: the same records in the same order however the two alternate, and
// nothing taken that Read would refuse.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/error.h"
#include "core/format/record_reader.h"
#include "core/format/record_stream.h"
#include "core/io/buffered_reader.h"
#include "testing/fake_source.h"
#include "testing/random.h"
#include "testing/record_formats.h"
#include "testing/string_sink.h"

namespace pipemode {
namespace {

using ::pipemode::testing::AllFormats;
using ::pipemode::testing::Encode;
using ::pipemode::testing::Encoded;
using ::pipemode::testing::FormatCase;
using ::pipemode::testing::MakeSource;
using ::pipemode::testing::Random;
using ::pipemode::testing::RandomRecord;
using ::pipemode::testing::ReadOutcome;
using ::pipemode::testing::ReadRecords;
using ::pipemode::testing::Records;
using ::pipemode::testing::StringSink;

// As ReadRecords, but takes up to `max` records out of the buffer between any two Reads.
ReadOutcome TakeRecords(const std::string& bytes, const StreamOptions& options, size_t chunk,
                        size_t capacity, size_t max) {
  BufferedReader input(MakeSource(bytes, chunk), capacity);
  const std::unique_ptr<RecordReader> reader = MakeRecordReader(options, &input);
  StringSink sink;
  ReadOutcome outcome;
  std::vector<std::string_view> views;
  for (;;) {
    views.clear();
    reader->TakeBuffered(max, &views);
    EXPECT_LE(views.size(), max);
    outcome.records.insert(outcome.records.end(), views.begin(), views.end());
    try {
      if (!reader->Read(sink)) break;
      outcome.records.push_back(sink.record());
    } catch (const PipeError& error) {
      outcome.error = error.what();
      break;
    }
  }
  return outcome;
}

class TakeBufferedTest : public ::testing::TestWithParam<FormatCase> {};

TEST_P(TakeBufferedTest, GivesWhatReadGives) {
  Random random(1);
  for (int round = 0; round < 200; ++round) {
    Records records;
    for (size_t count = random.Below(12); count > 0; --count) {
      records.push_back(RandomRecord(GetParam(), random.Below(60), random));
    }
    const Encoded encoded = Encode(GetParam(), records);
    const size_t chunk = 1 + random.Below(encoded.bytes.size() + 1);
    const size_t capacity = RecordReader::kMinInputBytes + random.Below(300);
    const ReadOutcome outcome =
        TakeRecords(encoded.bytes, GetParam().options(), chunk, capacity, 1 + random.Below(5));
    EXPECT_EQ(outcome.error, "");
    ASSERT_EQ(outcome.records, records);
  }
}

TEST_P(TakeBufferedTest, StopsWhereReadFails) {
  Random random(2);
  for (int round = 0; round < 500; ++round) {
    Records records;
    for (size_t count = 1 + random.Below(6); count > 0; --count) {
      records.push_back(RandomRecord(GetParam(), random.Below(40), random));
    }
    std::string bytes = Encode(GetParam(), records).bytes;
    if (bytes.empty()) continue;
    if (random.Below(2) == 0) {
      bytes.resize(random.Below(bytes.size()));
    } else {
      bytes[random.Below(bytes.size())] ^= static_cast<char>(1 << random.Below(8));
    }
    StreamOptions options = GetParam().options();
    options.max_record_bytes = 1 + random.Below(50);
    const ReadOutcome expected = ReadRecords(MakeSource(bytes), options);
    const ReadOutcome outcome = TakeRecords(bytes, options, bytes.size() + 1, 4096, 100);
    EXPECT_EQ(outcome.error, expected.error);
    ASSERT_EQ(outcome.records, expected.records);
  }
}

TEST_P(TakeBufferedTest, RefusesGzipThatWasNotAnnounced) {
  std::string bytes = "\x1f\x8b\x08\x01 and what follows\n";
  BufferedReader input(MakeSource(bytes));
  const std::unique_ptr<RecordReader> reader = MakeRecordReader(GetParam().options(), &input);
  ASSERT_TRUE(input.Fill(bytes.size()));
  std::vector<std::string_view> views;
  reader->TakeBuffered(10, &views);
  EXPECT_TRUE(views.empty());
  StringSink sink;
  EXPECT_THROW(reader->Read(sink), DataLossError);
}

INSTANTIATE_TEST_SUITE_P(AllFormats, TakeBufferedTest, ::testing::ValuesIn(AllFormats()),
                         [](const auto& test) { return test.param.name; });

TEST(RecordStreamTakeBufferedTest, CountsAndForgetsCorruptRecordsInARow) {
  const FormatCase format = AllFormats()[0];  // TFRecord: the only one with checksums
  const Encoded encoded = Encode(format, {"zero", "one", "two", "three", "four"});
  std::string bytes = encoded.bytes;
  bytes[encoded.ends[1] - 1] ^= 1;  // the payload CRC of "one"
  bytes[encoded.ends[3] - 1] ^= 1;  // and of "three"
  StreamOptions options = format.options();
  options.max_corrupted_records_to_skip = 1;
  RecordStream stream(MakeSource(bytes), options);
  StringSink sink;
  std::vector<std::string_view> views;
  ASSERT_TRUE(stream.Read(sink));  // fills the buffer
  stream.TakeBuffered(10, &views);
  EXPECT_TRUE(views.empty());
  ASSERT_TRUE(stream.Read(sink));
  EXPECT_EQ(sink.record(), "two");
  stream.TakeBuffered(10, &views);
  EXPECT_TRUE(views.empty());
  ASSERT_TRUE(stream.Read(sink));
  EXPECT_EQ(sink.record(), "four");
  EXPECT_EQ(stream.records(), 3U);
  EXPECT_EQ(stream.corrupted_records(), 2U);
}

}  // namespace
}  // namespace pipemode
