// SPDX-License-Identifier: Apache-2.0
#include "core/format/record_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <ostream>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/format/wire_format.h"
#include "testing/deflate.h"
#include "testing/environment.h"
#include "testing/fake_source.h"
#include "testing/random.h"
#include "testing/record_formats.h"
#include "testing/string_sink.h"

namespace pipemode {
namespace {

using ::pipemode::testing::AllFormats;
using ::pipemode::testing::Deflate;
using ::pipemode::testing::DeflateOptions;
using ::pipemode::testing::Encode;
using ::pipemode::testing::Encoded;
using ::pipemode::testing::FakeScript;
using ::pipemode::testing::FormatCase;
using ::pipemode::testing::Gzip;
using ::pipemode::testing::GzipRepeated;
using ::pipemode::testing::MakeSource;
using ::pipemode::testing::Random;
using ::pipemode::testing::RandomBytes;
using ::pipemode::testing::RandomRecord;
using ::pipemode::testing::Records;
using ::pipemode::testing::StringSink;
using ::pipemode::testing::TfRecord;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using ::testing::ThrowsMessage;

// Every format in every compression, announced or found.

struct CompressionCase {
  const char* name;
  Compression announced;
  Compression used;
};

void PrintTo(const CompressionCase& compression, std::ostream* out) { *out << compression.name; }

class RecordStreamTest : public ::testing::TestWithParam<std::tuple<FormatCase, CompressionCase>> {
 protected:
  static const FormatCase& Format() { return std::get<0>(GetParam()); }
  static StreamOptions Options() {
    StreamOptions options = Format().options();
    options.compression = std::get<1>(GetParam()).announced;
    return options;
  }
  static bool IsPlain() { return std::get<1>(GetParam()).used == Compression::kNone; }
  static std::string Compressed(std::string_view bytes) {
    if (IsPlain()) return std::string(bytes);
    DeflateOptions options;
    options.compression = std::get<1>(GetParam()).used;
    return Deflate(bytes, options);
  }
  static Records SomeRecords() {
    Random random(1);
    Records records;
    for (const size_t size : {5, 0, 1, 40, 3, 7}) {
      records.push_back(RandomRecord(Format(), size, random));
    }
    return records;
  }
};

INSTANTIATE_TEST_SUITE_P(
    Formats, RecordStreamTest,
    ::testing::Combine(
        ::testing::ValuesIn(AllFormats()),
        ::testing::Values(CompressionCase{"", Compression::kNone, Compression::kNone},
                          CompressionCase{"Gzip", Compression::kGzip, Compression::kGzip},
                          CompressionCase{"Zlib", Compression::kZlib, Compression::kZlib},
                          CompressionCase{"AutoPlain", Compression::kAuto, Compression::kNone},
                          CompressionCase{"AutoGzip", Compression::kAuto, Compression::kGzip})),
    [](const auto& suite) {
      return std::get<0>(suite.param).name + std::get<1>(suite.param).name;
    });

TEST_P(RecordStreamTest, RecordsComeBackAtEveryChunking) {
  const Records records = SomeRecords();
  const Encoded encoded = Encode(Format(), records);
  // Members may end anywhere, in the midst of a record too.
  const size_t middle = encoded.bytes.size() / 2;
  const std::string bytes = Compressed(encoded.bytes.substr(0, middle)) + Compressed("") +
                            Compressed(encoded.bytes.substr(middle));
  for (size_t chunk = 1; chunk <= bytes.size(); ++chunk) {
    RecordStream stream(MakeSource(bytes, chunk), Options());
    for (const std::string& record : records) {
      StringSink sink;
      ASSERT_TRUE(stream.Read(sink)) << chunk;
      ASSERT_EQ(sink.record(), record) << chunk;
    }
    StringSink sink;
    ASSERT_FALSE(stream.Read(sink)) << chunk;
    ASSERT_FALSE(stream.Skip()) << chunk;
    EXPECT_EQ(stream.records(), records.size());
    EXPECT_EQ(stream.corrupted_records(), 0U);
  }
}

TEST_P(RecordStreamTest, TruncationAtEveryByteIsDataLossOrARecordBoundary) {
  const Records records = SomeRecords();
  const Encoded encoded = Encode(Format(), records);
  const std::string bytes = Compressed(encoded.bytes);
  // Of gzip's magic number, a part may be a line as well.
  const bool may_be_line = Format().is_text() && Options().compression == Compression::kAuto;
  for (size_t size = may_be_line && !IsPlain() ? 3 : 1; size < bytes.size(); ++size) {
    RecordStream stream(MakeSource(bytes.substr(0, size), 7), Options());
    StringSink sink;
    size_t count = 0;
    bool data_loss = false;
    try {
      while (stream.Read(sink)) {
        ASSERT_LT(count, records.size());
        if (sink.record() != records[count]) {
          // Only an uncompressed line may be cut: its end cannot be told from a last line.
          ASSERT_TRUE(Format().is_text() && IsPlain());
          ASSERT_THAT(records[count], StartsWith(sink.record()));
        }
        ++count;
      }
    } catch (const CorruptRecordError& error) {
      FAIL() << error.what();
    } catch (const DataLossError&) {
      data_loss = true;
    }
    ASSERT_FALSE(stream.Read(sink)) << "the error was final";
    const bool may_end =
        IsPlain() && (Format().is_text() || size == encoded.ends[count == 0 ? 0 : count - 1]);
    ASSERT_NE(data_loss, may_end) << "truncated to " << size;
  }
}

TEST_P(RecordStreamTest, CancelledAtEveryByteTheCallMayBeRepeated) {
  // No record is longer than the buffer here, so none may be lost, but for those in several parts.
  const Records records = SomeRecords();
  const std::string bytes = Compressed(Encode(Format(), records).bytes);
  const bool one_part = Format().encoder.recordio_max_part_bytes > 100;
  for (size_t at = 0; at <= bytes.size(); ++at) {
    FakeScript script;
    script.fail_at = at;
    RecordStream stream(MakeSource(bytes, script), Options());
    StringSink sink;
    size_t count = 0;
    int cancelled = 0;
    for (;;) {
      try {
        if (!stream.Read(sink)) {
          ASSERT_EQ(count, records.size());
          break;
        }
        ASSERT_EQ(sink.record(), records[count++]) << at;
      } catch (const CancelledError&) {
        ASSERT_EQ(++cancelled, 1);
      } catch (const DataLossError& error) {
        ASSERT_FALSE(one_part && Format().name != "RecordIODmlc") << at << ": " << error.what();
        ASSERT_THAT(error.what(), HasSubstr("half read by a cancelled call"));
        break;
      }
    }
    ASSERT_EQ(cancelled, 1);
  }
}

// Messages.

StreamOptions TfRecordOptions(uint64_t max_corrupted = 0) {
  StreamOptions options = TfRecord().options();
  options.max_corrupted_records_to_skip = max_corrupted;
  return options;
}

// `count` records "0", "1", ...; those that are listed have a wrong payload CRC.
std::string WithCorruptRecords(size_t count, const std::vector<size_t>& corrupt) {
  Records records;
  for (size_t i = 0; i < count; ++i) records.push_back(std::to_string(i));
  Encoded encoded = Encode(TfRecord(), records);
  for (const size_t i : corrupt) {
    char& crc_byte = encoded.bytes[encoded.ends[i] - 1];
    crc_byte = static_cast<char>(crc_byte ^ 0x40);
  }
  return encoded.bytes;
}

Records ReadAllRecords(RecordStream& stream) {
  Records records;
  StringSink sink;
  while (stream.Read(sink)) records.push_back(sink.record());
  return records;
}

TEST(RecordStreamMessageTest, ErrorsSayWhichRecordAndWhere) {
  const Encoded encoded = Encode(TfRecord(), {"first", "second", "third"});
  RecordStream stream(MakeSource(encoded.bytes.substr(0, encoded.bytes.size() - 1)),
                      TfRecordOptions());
  StringSink sink;
  ASSERT_TRUE(stream.Read(sink));
  ASSERT_TRUE(stream.Skip());
  EXPECT_THAT([&] { stream.Read(sink); },
              ThrowsMessage<DataLossError>(
                  AllOf(StartsWith("record 2 at byte " + std::to_string(encoded.ends[1]) + ": "),
                        HasSubstr("the stream ends inside a record of 5 bytes"))));
  EXPECT_FALSE(stream.Read(sink));
  EXPECT_EQ(stream.records(), 2U);
}

TEST(RecordStreamMessageTest, RecordsTakenFromTheBufferCount) {
  const Encoded encoded = Encode(TfRecord(), {"0", "1", "2", "3", "4"});
  std::string bytes = encoded.bytes;
  bytes[encoded.ends[4] - 1] = static_cast<char>(bytes[encoded.ends[4] - 1] ^ 1);
  RecordStream stream(MakeSource(bytes), TfRecordOptions());
  ASSERT_TRUE(stream.Skip());
  std::vector<std::string_view> taken;
  stream.TakeBuffered(2, &taken);
  EXPECT_EQ(stream.records(), 3U);
  stream.TakeBuffered(10, &taken);
  EXPECT_EQ(Records(taken.begin(), taken.end()), (Records{"1", "2", "3"}));
  EXPECT_EQ(stream.records(), 4U);
  EXPECT_THAT([&] { stream.Skip(); },
              ThrowsMessage<CorruptRecordError>(
                  StartsWith("record 4 at byte " + std::to_string(encoded.ends[3]) + ": ")));
  EXPECT_FALSE(stream.Skip());
  stream.TakeBuffered(10, &taken);
  EXPECT_EQ(taken.size(), 3U);
}

TEST(RecordStreamMessageTest, OffsetsAreOfTheDecompressedStream) {
  const Encoded encoded = Encode(TfRecord(), {std::string(1000, 'x'), "second"});
  StreamOptions options = TfRecordOptions();
  options.compression = Compression::kGzip;
  RecordStream stream(MakeSource(Gzip(encoded.bytes.substr(0, encoded.bytes.size() - 1))), options);
  ASSERT_TRUE(stream.Skip());
  EXPECT_THAT([&] { stream.Skip(); },
              ThrowsMessage<DataLossError>(
                  StartsWith("record 1 at byte " + std::to_string(encoded.ends[0]) + ": ")));
}

TEST(RecordStreamMessageTest, EveryKindOfErrorHasThem) {
  const std::string bytes = Encode(TfRecord(), {"first", "second"}).bytes;
  FakeScript script;
  script.fail_at = 25;
  StringSink sink;
  {
    RecordStream stream(MakeSource(bytes, script), TfRecordOptions());
    ASSERT_TRUE(stream.Read(sink));
    EXPECT_THAT([&] { stream.Read(sink); },
                ThrowsMessage<CancelledError>(StartsWith("record 1 at byte 21: cancelled")));
    ASSERT_TRUE(stream.Read(sink));
    EXPECT_EQ(sink.record(), "second");
  }
  script.fail = [] { throw DeadlineExceededError("too late"); };
  RecordStream stream(MakeSource(bytes, script), TfRecordOptions());
  ASSERT_TRUE(stream.Read(sink));
  EXPECT_THAT([&] { stream.Read(sink); },
              ThrowsMessage<DeadlineExceededError>("record 1 at byte 21: too late"));
  EXPECT_FALSE(stream.Read(sink));
}

// Corrupt records.

TEST(CorruptRecordsTest, NoneIsSkippedByDefault) {
  RecordStream stream(MakeSource(WithCorruptRecords(4, {1, 2})), TfRecordOptions());
  StringSink sink;
  ASSERT_TRUE(stream.Read(sink));
  EXPECT_THAT([&] { stream.Read(sink); },
              ThrowsMessage<CorruptRecordError>(
                  AllOf(StartsWith("record 1 at byte 17: "), HasSubstr("payload CRC mismatch"))));
  EXPECT_THAT([&] { stream.Skip(); },
              ThrowsMessage<CorruptRecordError>(StartsWith("record 2 at byte 34: ")));
  // The call after that goes on with the next record.
  ASSERT_TRUE(stream.Read(sink));
  EXPECT_EQ(sink.record(), "3");
  EXPECT_FALSE(stream.Read(sink));
  EXPECT_EQ(stream.records(), 2U);
  EXPECT_EQ(stream.corrupted_records(), 2U);
}

TEST(CorruptRecordsTest, SoManyInARowAreSkipped) {
  const std::string bytes = WithCorruptRecords(10, {0, 1, 3, 4, 6, 9});
  RecordStream stream(MakeSource(bytes), TfRecordOptions(2));
  EXPECT_EQ(ReadAllRecords(stream), (Records{"2", "5", "7", "8"}));
  EXPECT_EQ(stream.records(), 4U);
  EXPECT_EQ(stream.corrupted_records(), 6U);
}

TEST(CorruptRecordsTest, OneMoreIsAnError) {
  RecordStream stream(MakeSource(WithCorruptRecords(8, {1, 2, 4, 5, 6})), TfRecordOptions(2));
  StringSink sink;
  ASSERT_TRUE(stream.Read(sink));
  ASSERT_TRUE(stream.Read(sink));
  EXPECT_EQ(sink.record(), "3");
  EXPECT_THAT([&] { stream.Read(sink); },
              ThrowsMessage<CorruptRecordError>(StartsWith("record 6 at byte 102: ")));
  ASSERT_TRUE(stream.Read(sink));
  EXPECT_EQ(sink.record(), "7");
  EXPECT_EQ(stream.corrupted_records(), 5U);
}

TEST(CorruptRecordsTest, AnEndlessRowEndsWithTheStream) {
  const std::string bytes = WithCorruptRecords(5, {0, 1, 2, 3, 4});
  {
    RecordStream stream(MakeSource(bytes), TfRecordOptions(UINT64_MAX));
    EXPECT_EQ(ReadAllRecords(stream), Records{});
    EXPECT_EQ(stream.corrupted_records(), 5U);
  }
  // Whoever ignores errors comes to the end as well.
  RecordStream stream(MakeSource(bytes), TfRecordOptions(1));
  StringSink sink;
  int errors = 0;
  for (bool more = true; more;) {
    try {
      more = stream.Read(sink);
    } catch (const CorruptRecordError&) {
      ASSERT_LT(++errors, 10);
    }
  }
  EXPECT_EQ(errors, 4);
}

TEST(CorruptRecordsTest, OneTakenFromTheBufferEndsARow) {
  RecordStream stream(MakeSource(WithCorruptRecords(7, {0, 3, 5})), TfRecordOptions(1));
  StringSink sink;
  std::vector<std::string_view> taken;
  Records got;
  while (stream.Read(sink)) {
    got.push_back(sink.record());
    stream.TakeBuffered(10, &taken);
    got.insert(got.end(), taken.begin(), taken.end());
    taken.clear();
  }
  EXPECT_EQ(got, (Records{"1", "2", "4", "6"}));
  EXPECT_EQ(stream.corrupted_records(), 3U);
}

TEST(CorruptRecordsTest, ARowGoesOnFromStreamToStream) {
  StreamCarry carry;
  const auto read = [&carry](const std::vector<size_t>& corrupt, size_t count) {
    RecordStream stream(MakeSource(WithCorruptRecords(count, corrupt)), TfRecordOptions(2), &carry);
    const size_t records = ReadAllRecords(stream).size();
    EXPECT_EQ(stream.corrupted_records(), corrupt.size());
    return records;
  };
  EXPECT_EQ(read({1, 2}, 3), 1U);
  EXPECT_EQ(carry.corrupted_in_a_row, 2U);
  EXPECT_EQ(read({}, 0), 0U);
  EXPECT_THAT([&] { read({0}, 2); },
              ThrowsMessage<CorruptRecordError>(StartsWith("record 0 at byte 0: ")));
  // A record that is good ends the row, by whatever it is taken.
  RecordStream stream(MakeSource(WithCorruptRecords(2, {})), TfRecordOptions(2), &carry);
  ASSERT_TRUE(stream.Skip());
  EXPECT_EQ(carry.corrupted_in_a_row, 0U);
  carry.corrupted_in_a_row = 2;
  std::vector<std::string_view> taken;
  stream.TakeBuffered(1, &taken);
  EXPECT_EQ(taken.size(), 1U);
  EXPECT_EQ(carry.corrupted_in_a_row, 0U);
}

TEST(CorruptRecordsTest, OnlyPayloadsAreSkipped) {
  std::string bytes = WithCorruptRecords(3, {});
  bytes[17] = static_cast<char>(bytes[17] ^ 1);  // the length of record 1
  RecordStream stream(MakeSource(bytes), TfRecordOptions(UINT64_MAX));
  StringSink sink;
  ASSERT_TRUE(stream.Read(sink));
  EXPECT_THROW(stream.Read(sink), DataLossError);
  EXPECT_FALSE(stream.Read(sink));
}

TEST(CorruptRecordsTest, ALongCorruptRecordLeavesNothingInTheNextOne) {
  Encoded encoded = Encode(TfRecord(), {std::string(size_t{2} << 20, 'x'), "short"});
  encoded.bytes[1000] = 'y';
  RecordStream stream(MakeSource(encoded.bytes), TfRecordOptions(1));
  EXPECT_EQ(ReadAllRecords(stream), Records{"short"});
}

// Memory.

TEST(BombTest, RecordsStreamThroughInConstantMemory) {
  const size_t count = testing::kSanitized ? 128 : 1024;
  const std::string frame = Encode(TfRecord(), {std::string(size_t{1} << 20, '\0')}).bytes;
  const std::string bytes = GzipRepeated(frame, count);
  ASSERT_LT(bytes.size(), count * 1200);
  StreamOptions options = TfRecordOptions();
  options.compression = Compression::kGzip;
  RecordStream stream(MakeSource(bytes), options);
  StringSink sink;
  ASSERT_TRUE(stream.Read(sink));
  const size_t before = testing::PeakMemoryBytes();
  size_t records = 1;
  while (stream.Read(sink)) ++records;
  EXPECT_EQ(records, count);
  EXPECT_EQ(sink.largest(), size_t{1} << 20);
  EXPECT_LT(testing::PeakMemoryBytes() - before, size_t{8} << 20);
}

TEST(BombTest, OneEndlessLineIsBounded) {
  StreamOptions options;
  options.format = RecordFormat::kTextLine;
  options.compression = Compression::kGzip;
  options.max_record_bytes = size_t{8} << 20;
  RecordStream stream(MakeSource(GzipRepeated(std::string(size_t{1} << 20, '\0'), 256)), options);
  StringSink sink;
  EXPECT_THAT([&] { stream.Read(sink); },
              ThrowsMessage<DataLossError>(HasSubstr("max_record_bytes")));
  EXPECT_LE(sink.largest(), options.max_record_bytes);
}

TEST(AttributesTest, AStreamMustNotEndBetweenThem) {
  const FormatCase format = AllFormats()[1];  // RecordIO
  const Records records = {"image 0", "label 0", "x 0", "image 1", "label 1", "x 1"};
  for (size_t count = 0; count <= records.size(); ++count) {
    StreamOptions options = format.options();
    options.attributes = {"image-ref", "label", "x"};
    const Records sent(records.begin(), records.begin() + static_cast<std::ptrdiff_t>(count));
    const std::string bytes = Encode(format, sent).bytes;
    RecordStream stream(MakeSource(bytes), options);
    StringSink sink;
    std::vector<std::string_view> views;
    // By each of the three ways.
    for (size_t read = 0; read < count;) {
      stream.TakeBuffered(1, &views);
      read += views.size();
      views.clear();
      if (read++ < count) {
        ASSERT_TRUE(read % 2 == 0 ? stream.Skip() : stream.Read(sink));
      }
    }
    if (count % 3 == 0) {
      EXPECT_FALSE(stream.Read(sink));
      continue;
    }
    const std::string where =
        "record " + std::to_string(count) + " at byte " + std::to_string(bytes.size()) +
        ": the stream ends between the attributes of line " + std::to_string(count / 3) +
        ", after '" + (count % 3 == 1 ? "image-ref' and before 'label'" : "label' and before 'x'");
    EXPECT_THAT([&] { stream.Read(sink); }, ThrowsMessage<DataLossError>(StartsWith(where)));
    EXPECT_FALSE(stream.Read(sink));
  }
}

}  // namespace
}  // namespace pipemode
