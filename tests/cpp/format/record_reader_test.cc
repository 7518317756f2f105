// SPDX-License-Identifier: Apache-2.0
//
// What holds for the reader of every format.
#include "core/format/record_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "testing/environment.h"
#include "testing/fake_source.h"
#include "testing/random.h"
#include "testing/record_formats.h"
#include "testing/string_sink.h"

namespace pipemode {
namespace {

using ::pipemode::testing::AllFormats;
using ::pipemode::testing::Encode;
using ::pipemode::testing::Encoded;
using ::pipemode::testing::FakeScript;
using ::pipemode::testing::FirstRecords;
using ::pipemode::testing::FormatCase;
using ::pipemode::testing::MakeSource;
using ::pipemode::testing::Random;
using ::pipemode::testing::RandomRecord;
using ::pipemode::testing::ReadOutcome;
using ::pipemode::testing::ReadRecords;
using ::pipemode::testing::RecordIoMagic;
using ::pipemode::testing::Records;
using ::pipemode::testing::StringSink;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr size_t kSmallestCapacity = RecordReader::kMinInputBytes;

// A record is read from the buffer up to a quarter of its capacity, else past it.
const std::vector<size_t> kSmallCapacities = {kSmallestCapacity, 41, 64, 100, 4096};

class RecordReaderTest : public ::testing::TestWithParam<FormatCase> {
 protected:
  static Records SomeRecords() {
    Random random(1);
    Records records;
    for (const size_t size : {0, 1, 2, 3, 4, 7, 8, 9, 0, 10, 11, 16, 17, 31, 32, 33, 70, 5, 0}) {
      records.push_back(RandomRecord(GetParam(), size, random));
    }
    return records;
  }

  // Few bytes, for loops within loops; one record is longer than the smallest buffer.
  static Records FewRecords() {
    Random random(2);
    Records records;
    for (const size_t size : {3, 0, 8, 9, 45, 1}) {
      records.push_back(RandomRecord(GetParam(), size, random));
    }
    return records;
  }

  // How many records the first `size` bytes of a stream hold.
  static size_t CompleteRecords(const Encoded& encoded, size_t size) {
    return static_cast<size_t>(std::upper_bound(encoded.ends.begin(), encoded.ends.end(), size) -
                               encoded.ends.begin());
  }
  static bool IsBoundary(const Encoded& encoded, size_t size) {
    return size == 0 || std::binary_search(encoded.ends.begin(), encoded.ends.end(), size);
  }
};

INSTANTIATE_TEST_SUITE_P(Formats, RecordReaderTest, ::testing::ValuesIn(AllFormats()),
                         [](const auto& suite) { return suite.param.name; });

// The formats that tell how long a record is.
using FramedRecordReaderTest = RecordReaderTest;

INSTANTIATE_TEST_SUITE_P(Formats, FramedRecordReaderTest,
                         ::testing::ValuesIn(testing::FramedFormats()),
                         [](const auto& suite) { return suite.param.name; });

TEST_P(RecordReaderTest, AnEmptyStreamHasNoRecords) {
  BufferedReader input(MakeSource(""), kSmallestCapacity);
  const auto reader = MakeRecordReader(GetParam().options(), &input);
  StringSink sink;
  EXPECT_FALSE(reader->Read(sink));
  EXPECT_FALSE(reader->Skip());
  EXPECT_FALSE(reader->Read(sink));
  EXPECT_EQ(sink.resizes(), 0U);
}

TEST_P(RecordReaderTest, RecordsComeBackAtEveryChunking) {
  const Records records = SomeRecords();
  const Encoded encoded = Encode(GetParam(), records);
  for (const size_t capacity : kSmallCapacities) {
    for (size_t chunk = 1; chunk <= encoded.bytes.size(); ++chunk) {
      const ReadOutcome outcome =
          ReadRecords(MakeSource(encoded.bytes, chunk), GetParam().options(), capacity);
      ASSERT_EQ(outcome.error, "") << "capacity " << capacity << " chunk " << chunk;
      ASSERT_EQ(outcome.records, records) << "capacity " << capacity << " chunk " << chunk;
    }
  }
}

TEST_P(RecordReaderTest, RecordsOfEverySizeComeBack) {
  Random random(3);
  for (const size_t capacity : {kSmallestCapacity, size_t{61}, size_t{128}}) {
    for (size_t size = 0; size < 3 * capacity; ++size) {
      const Records records = {RandomRecord(GetParam(), size, random),
                               RandomRecord(GetParam(), 3, random),
                               RandomRecord(GetParam(), size, random)};
      const ReadOutcome outcome = ReadRecords(MakeSource(Encode(GetParam(), records).bytes),
                                              GetParam().options(), capacity);
      ASSERT_EQ(outcome.error, "") << "capacity " << capacity << " size " << size;
      ASSERT_EQ(outcome.records, records) << "capacity " << capacity << " size " << size;
    }
  }
}

TEST_P(RecordReaderTest, RandomRecordsComeBackInRandomChunks) {
  Random random(4);
  const int rounds = testing::kSanitized ? 300 : 2'000;
  for (int round = 0; round < rounds; ++round) {
    Records records;
    for (size_t count = random.Below(20); count > 0; --count) {
      records.push_back(RandomRecord(GetParam(), random.Below(1 + random.Below(300)), random));
    }
    const std::string bytes = Encode(GetParam(), records).bytes;
    FakeScript script;
    script.chunks.clear();
    for (int i = 0; i < 5; ++i) script.chunks.push_back(1 + random.Below(1 + random.Below(500)));
    script.scatters = random.OneIn(2);
    const size_t skip_one_in = random.Below(4);
    const size_t capacity = kSmallestCapacity + random.Below(300);
    const ReadOutcome outcome =
        ReadRecords(MakeSource(bytes, script), GetParam().options(), capacity, skip_one_in);
    ASSERT_EQ(outcome.error, "") << "round " << round;
    ASSERT_EQ(outcome.records, FirstRecords(records, records.size(), skip_one_in)) << round;
  }
}

TEST_P(RecordReaderTest, LargeRecordsComeBack) {
  constexpr size_t kCapacity = BufferedReader::kDefaultCapacity;
  Random random(5);
  FormatCase format = GetParam();
  if (format.name == "RecordIOInParts") format.encoder.recordio_max_part_bytes = 1'000'003;
  Records records;
  for (const size_t size :
       {size_t{16} << 10, (size_t{16} << 10) + 1, kCapacity / 4, kCapacity - 1, kCapacity,
        kCapacity + 1, size_t{7}, size_t{0}, size_t{5} * kCapacity + 17, size_t{100'000}}) {
    records.push_back(RandomRecord(format, size, random));
  }
  const std::string bytes = Encode(format, records).bytes;
  for (const bool scatters : {false, true}) {
    FakeScript script;
    script.chunks = {scatters ? SIZE_MAX : size_t{65'536}};
    script.scatters = scatters;
    const ReadOutcome outcome = ReadRecords(MakeSource(bytes, script), format.options());
    ASSERT_EQ(outcome.error, "") << scatters;
    ASSERT_TRUE(outcome.records == records) << scatters;
  }
  const ReadOutcome skipped = ReadRecords(MakeSource(bytes), format.options(), kCapacity, 2);
  ASSERT_EQ(skipped.error, "");
  ASSERT_TRUE(skipped.records == FirstRecords(records, records.size(), 2));
}

TEST_P(RecordReaderTest, MostRecordsAreSizedOnce) {
  const Records records = {"abc", "", "defgh"};
  const std::string bytes = Encode(GetParam(), records).bytes;
  BufferedReader input(MakeSource(bytes));
  const auto reader = MakeRecordReader(GetParam().options(), &input);
  for (size_t i = 0; i < records.size(); ++i) {
    StringSink sink;
    ASSERT_TRUE(reader->Read(sink));
    EXPECT_EQ(sink.resizes(), 1U) << i;
  }
}

TEST_P(RecordReaderTest, OffsetsAreThoseOfTheStream) {
  const Records records = SomeRecords();
  const Encoded encoded = Encode(GetParam(), records);
  for (const size_t capacity : {kSmallestCapacity, BufferedReader::kDefaultCapacity}) {
    BufferedReader input(MakeSource(encoded.bytes, 11), capacity);
    const auto reader = MakeRecordReader(GetParam().options(), &input);
    StringSink sink;
    for (size_t i = 0; i < records.size(); ++i) {
      ASSERT_TRUE(i % 3 == 0 ? reader->Skip() : reader->Read(sink));
      EXPECT_EQ(reader->record_offset(), i == 0 ? 0 : encoded.ends[i - 1]);
    }
    EXPECT_FALSE(reader->Read(sink));
    EXPECT_EQ(reader->record_offset(), encoded.bytes.size());
  }
}

TEST_P(RecordReaderTest, TruncationAtEveryByteIsDataLoss) {
  const Records records = SomeRecords();
  const Encoded encoded = Encode(GetParam(), records);
  for (const size_t capacity : kSmallCapacities) {
    for (const size_t skip_one_in : {0, 1}) {
      for (size_t size = 0; size < encoded.bytes.size(); ++size) {
        const ReadOutcome outcome = ReadRecords(MakeSource(encoded.bytes.substr(0, size)),
                                                GetParam().options(), capacity, skip_one_in);
        const size_t complete = CompleteRecords(encoded, size);
        Records expected = records;
        bool clean_end = IsBoundary(encoded, size);
        if (GetParam().is_text() && !clean_end) {
          // A last line needs no newline, so a truncated line is a line.
          expected[complete].resize(size - (complete == 0 ? 0 : encoded.ends[complete - 1]));
          expected = FirstRecords(expected, complete + 1, skip_one_in);
          clean_end = true;
        } else {
          expected = FirstRecords(expected, complete, skip_one_in);
        }
        ASSERT_EQ(outcome.records, expected) << "truncated to " << size;
        if (clean_end) {
          ASSERT_EQ(outcome.error, "") << "truncated to " << size;
        } else {
          ASSERT_TRUE(outcome.data_loss) << "truncated to " << size << ": " << outcome.error;
          ASSERT_FALSE(outcome.corrupt_record) << "truncated to " << size;
          ASSERT_THAT(outcome.error, HasSubstr("the stream ends inside")) << size;
        }
      }
    }
  }
}

TEST_P(FramedRecordReaderTest, TruncationOfALargeRecordIsDataLoss) {
  Random random(6);
  const Records records = {"first", RandomRecord(GetParam(), size_t{3} << 20, random)};
  FormatCase format = GetParam();
  if (format.name == "RecordIOInParts") format.encoder.recordio_max_part_bytes = 1'500'000;
  const Encoded encoded = Encode(format, records);
  for (size_t size = encoded.ends[0] + 1; size < encoded.bytes.size(); size += 250'007) {
    const ReadOutcome outcome =
        ReadRecords(MakeSource(encoded.bytes.substr(0, size)), format.options());
    ASSERT_EQ(outcome.records, Records{"first"});
    ASSERT_TRUE(outcome.data_loss) << size;
    // Nothing is asked for on the word of a length: what has arrived, and as much again or 1 MiB.
    ASSERT_LE(outcome.largest_sink, size + std::max(size, size_t{1} << 20)) << size;
  }
  const ReadOutcome last =
      ReadRecords(MakeSource(encoded.bytes.substr(0, encoded.bytes.size() - 1)), format.options());
  EXPECT_TRUE(last.data_loss);
}

TEST_P(RecordReaderTest, CancelledAtEveryByteNeverGivesWrongData) {
  const Records records = FewRecords();
  const Encoded encoded = Encode(GetParam(), records);
  for (const size_t capacity : {kSmallestCapacity, size_t{100}, size_t{4096}}) {
    for (const size_t skip_one_in : {0, 2}) {
      for (const size_t chunk : {size_t{1}, size_t{5}, SIZE_MAX}) {
        for (size_t at = 0; at <= encoded.bytes.size(); ++at) {
          FakeScript script;
          script.chunks = {chunk};
          script.fail_at = at;
          const ReadOutcome outcome = ReadRecords(MakeSource(encoded.bytes, script),
                                                  GetParam().options(), capacity, skip_one_in);
          ASSERT_EQ(outcome.cancelled, 1);
          if (outcome.error.empty()) {
            ASSERT_EQ(outcome.records, FirstRecords(records, records.size(), skip_one_in));
          } else {
            // Only in the midst of a record that does not fit the buffer, or of one in parts.
            ASSERT_TRUE(outcome.data_loss) << outcome.error;
            ASSERT_THAT(outcome.error, HasSubstr("half read by a cancelled call"));
            ASSERT_LT(outcome.records.size(), records.size());
            ASSERT_EQ(outcome.records, FirstRecords(records, outcome.records.size(), skip_one_in));
            const std::string& lost = records[outcome.records.size()];
            ASSERT_TRUE(lost.size() > capacity / 4 || GetParam().name == "RecordIOInParts" ||
                        (GetParam().name == "RecordIODmlc" &&
                         lost.find(RecordIoMagic()) != std::string::npos))
                << "capacity " << capacity << " cancelled at " << at << " lost " << lost.size();
          }
        }
      }
    }
  }
}

TEST_P(RecordReaderTest, CancelledBeforeEachReadLosesNothingThatFitsTheBuffer) {
  FormatCase format = GetParam();
  format.encoder.recordio_max_part_bytes = 1000;  // parts are read one by one
  const Records records = {"abc", "", "defgh", std::string(200, 'x'), "ij"};
  const std::string bytes = Encode(format, records).bytes;
  FakeScript script;
  script.chunks = {1};
  script.cancel_each = true;
  const ReadOutcome outcome = ReadRecords(MakeSource(bytes, script), GetParam().options(), 1024);
  EXPECT_EQ(outcome.error, "");
  EXPECT_EQ(outcome.records, records);
  EXPECT_GE(outcome.cancelled, static_cast<int>(bytes.size()));
}

TEST_P(RecordReaderTest, ErrorsOfTheSourceComeThroughAtEveryByte) {
  const Records records = FewRecords();
  const Encoded encoded = Encode(GetParam(), records);
  for (const size_t capacity : {kSmallestCapacity, size_t{4096}}) {
    for (size_t at = 0; at <= encoded.bytes.size(); ++at) {
      FakeScript script;
      script.fail_at = at;
      script.fail = [] { throw DeadlineExceededError("too late"); };
      const ReadOutcome outcome =
          ReadRecords(MakeSource(encoded.bytes, script), GetParam().options(), capacity);
      ASSERT_EQ(outcome.error, "too late") << at;
      ASSERT_EQ(outcome.records, FirstRecords(records, CompleteRecords(encoded, at))) << at;
    }
  }
}

TEST_P(RecordReaderTest, MaxRecordBytesIsTheLongestRecord) {
  Random random(7);
  for (const size_t limit : {size_t{1}, size_t{8}, size_t{100}, size_t{1000}}) {
    for (const size_t capacity : {kSmallestCapacity, size_t{4096}}) {
      StreamOptions options = GetParam().options();
      options.max_record_bytes = limit;
      const std::string good = RandomRecord(GetParam(), limit, random);
      const std::string bad = RandomRecord(GetParam(), limit + 1, random);
      const Encoded encoded = Encode(GetParam(), {good, bad});
      for (const size_t skip_one_in : {0, 1}) {
        const ReadOutcome outcome =
            ReadRecords(MakeSource(encoded.bytes), options, capacity, skip_one_in);
        ASSERT_EQ(outcome.records, FirstRecords({good}, 1, skip_one_in)) << limit;
        ASSERT_TRUE(outcome.data_loss) << limit;
        ASSERT_THAT(outcome.error,
                    AllOf(HasSubstr("max_record_bytes (" + std::to_string(limit) + ")"),
                          HasSubstr("raise that")));
        ASSERT_LE(outcome.largest_sink, limit);
      }
    }
  }
}

TEST_P(RecordReaderTest, GzipIsRecognised) {
  for (const size_t size : {3, 10, 12, 100}) {
    std::string bytes(size, '\x15');
    bytes.replace(0, 3, "\x1f\x8b\x08");
    const ReadOutcome outcome = ReadRecords(MakeSource(bytes), GetParam().options());
    EXPECT_EQ(outcome.records, Records{});
    EXPECT_TRUE(outcome.data_loss);
    if (size == 3 && GetParam().encoder.format == RecordFormat::kRecordIo) continue;  // too little
    EXPECT_THAT(outcome.error, HasSubstr("pass compression_type='GZIP'")) << size;
  }
  if (GetParam().encoder.format == RecordFormat::kTextLine) {
    // Only at the start: a later line may hold anything.
    const Records records = {"text", "\x1f\x8b\x08 is no gzip here"};
    EXPECT_EQ(
        ReadRecords(MakeSource(Encode(GetParam(), records).bytes), GetParam().options()).records,
        records);
  }
}

// Like ReadRecords, but with records taken from the buffer now and then.
ReadOutcome ReadAndTakeRecords(std::unique_ptr<ByteSource> source, const StreamOptions& options,
                               size_t capacity, Random& random) {
  BufferedReader input(std::move(source), capacity);
  const std::unique_ptr<RecordReader> reader = MakeRecordReader(options, &input);
  ReadOutcome outcome;
  try {
    for (;;) {
      if (random.OneIn(2)) {
        const size_t max = random.Below(8);
        std::vector<std::string_view> taken = {"untouched"};
        reader->TakeBuffered(max, &taken);
        EXPECT_EQ(taken[0], "untouched");
        EXPECT_LE(taken.size(), 1 + max);
        outcome.records.insert(outcome.records.end(), taken.begin() + 1, taken.end());
      }
      StringSink sink;
      if (!reader->Read(sink)) return outcome;
      outcome.records.push_back(sink.record());
    }
  } catch (const PipeError& error) {
    outcome.error = error.what();
  }
  return outcome;
}

TEST_P(RecordReaderTest, TakingBufferedRecordsChangesNothing) {
  Random random(9);
  const int rounds = testing::kSanitized ? 500 : 5'000;
  for (int round = 0; round < rounds; ++round) {
    Records records;
    for (size_t count = random.Below(20); count > 0; --count) {
      records.push_back(RandomRecord(GetParam(), random.Below(1 + random.Below(60)), random));
    }
    std::string bytes = Encode(GetParam(), records).bytes;
    // Half of the streams are damaged: errors, too, have to be the same.
    if (!bytes.empty() && random.OneIn(2)) {
      if (random.OneIn(2)) bytes.resize(random.Below(bytes.size()));
      if (!bytes.empty()) bytes[random.Below(bytes.size())] = static_cast<char>(random.Below(256));
    }
    StreamOptions options = GetParam().options();
    if (random.OneIn(4)) options.max_record_bytes = 1 + random.Below(60);
    const size_t capacity = kSmallestCapacity + random.Below(1000);
    const size_t chunk = 1 + random.Below(1000);
    const ReadOutcome expected = ReadRecords(MakeSource(bytes, chunk), options, capacity);
    const ReadOutcome outcome =
        ReadAndTakeRecords(MakeSource(bytes, chunk), options, capacity, random);
    ASSERT_EQ(outcome.records, expected.records) << "round " << round;
    ASSERT_EQ(outcome.error, expected.error) << "round " << round;
  }
}

TEST_P(RecordReaderTest, TakesAllThatIsBufferedWithoutReading) {
  const Records records = {"one", "", "three", "four", "five"};
  const Encoded encoded = Encode(GetParam(), records);
  auto source = MakeSource(encoded.bytes + "x", encoded.bytes.size() - 1);
  const testing::FakeSource& fake = *source;
  BufferedReader input(std::move(source));
  const auto reader = MakeRecordReader(GetParam().options(), &input);
  std::vector<std::string_view> taken;
  reader->TakeBuffered(10, &taken);
  EXPECT_EQ(taken.size(), 0U);
  EXPECT_EQ(fake.reads(), 0U);
  StringSink sink;
  ASSERT_TRUE(reader->Read(sink));
  reader->TakeBuffered(1, &taken);
  EXPECT_EQ(taken.size(), 1U);
  reader->TakeBuffered(10, &taken);
  EXPECT_EQ(fake.reads(), 1U);
  // The last one is not complete.
  EXPECT_EQ(Records(taken.begin(), taken.end()), (Records{"", "three", "four"}));
  EXPECT_EQ(input.position(), encoded.ends[3]);
  ASSERT_TRUE(reader->Read(sink));
  EXPECT_EQ(sink.record(), "five");
  EXPECT_EQ(reader->record_offset(), encoded.ends[3]);
}

TEST_P(RecordReaderTest, NothingIsTakenFromTheMidstOfARecord) {
  // A long record, cancelled half-way; its bytes look like records.
  FormatCase format = GetParam();
  format.encoder.recordio_max_part_bytes = 10'000;
  std::string inner = Encode(format, Records(100, "inner")).bytes;
  if (format.is_text()) std::replace(inner.begin(), inner.end(), '\n', ' ');
  const std::string bytes = Encode(format, {inner, "next"}).bytes;
  for (size_t at = 1; at < bytes.size(); ++at) {
    FakeScript script;
    script.fail_at = at;
    BufferedReader input(MakeSource(bytes, script), 100);
    const auto reader = MakeRecordReader(format.options(), &input);
    StringSink sink;
    std::vector<std::string_view> taken;
    try {
      reader->Read(sink);
    } catch (const CancelledError&) {
      reader->TakeBuffered(10, &taken);
      ASSERT_EQ(taken.size(), 0U) << at;
    }
  }
}

TEST_P(RecordReaderTest, DamagedStreamsDoNoHarm) {
  // Whatever comes: an end or an error, no crash, no endless loop, no large allocation.
  Random random(8);
  const Records records = SomeRecords();
  const std::string good = Encode(GetParam(), records).bytes;
  const int rounds = testing::kSanitized ? 1'000 : 20'000;
  for (int round = 0; round < rounds; ++round) {
    std::string bytes = good;
    for (size_t hits = 1 + random.Below(4); hits > 0; --hits) {
      bytes[random.Below(bytes.size())] = static_cast<char>(random.Below(256));
    }
    if (random.OneIn(3)) bytes.erase(random.Below(bytes.size()), 1 + random.Below(20));
    StreamOptions options = GetParam().options();
    options.max_record_bytes = std::numeric_limits<uint64_t>::max();
    const ReadOutcome outcome = ReadRecords(MakeSource(bytes, 1 + random.Below(500)), options,
                                            kSmallestCapacity + random.Below(200));
    ASSERT_LE(outcome.records.size(), bytes.size() + 1);
    ASSERT_LE(outcome.largest_sink, size_t{2} << 20);
    ASSERT_TRUE(outcome.error.empty() || outcome.data_loss) << outcome.error;
  }
}

}  // namespace
}  // namespace pipemode
