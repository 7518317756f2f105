// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "core/base/byte_order.h"
#include "core/base/error.h"
#include "core/format/crc32c.h"
#include "core/format/tfrecord_reader.h"
#include "core/format/wire_format.h"
#include "testing/deflate.h"
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
using ::pipemode::testing::Gzip;
using ::pipemode::testing::MakeSource;
using ::pipemode::testing::RandomBytes;
using ::pipemode::testing::ReadOutcome;
using ::pipemode::testing::ReadRecords;
using ::pipemode::testing::Records;
using ::pipemode::testing::StringSink;
using ::pipemode::testing::TfRecord;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr size_t kFrameBytes = kTfRecordHeaderBytes + kTfRecordFooterBytes;

// A header with a good CRC, whatever the length.
std::string Header(uint64_t length) {
  std::string header(kTfRecordHeaderBytes, '\0');
  StoreLittleEndian64(length, header.data());
  StoreLittleEndian32(MaskCrc(Crc32c(header.data(), kTfRecordLengthBytes)), header.data() + 8);
  return header;
}

ReadOutcome ReadTfRecords(const std::string& bytes,
                          size_t capacity = BufferedReader::kDefaultCapacity,
                          uint64_t max_record_bytes = kDefaultMaxRecordBytes) {
  StreamOptions options = TfRecord().options();
  options.max_record_bytes = max_record_bytes;
  return ReadRecords(MakeSource(bytes), options, capacity);
}

TEST(TFRecordTest, ReadsWhatTensorFlowWrites) {
  // tf.io.TFRecordWriter: an empty record, then "abc".
  const std::string bytes(
      "\0\0\0\0\0\0\0\0\x29\x03\x98\x07\xd8\xea\x82\xa2"
      "\3\0\0\0\0\0\0\0\xb0\x99\x49\x0e"
      "abc\x6e\x57\xf1\x21",
      16 + 19);
  const ReadOutcome outcome = ReadTfRecords(bytes);
  EXPECT_EQ(outcome.error, "");
  EXPECT_EQ(outcome.records, (Records{"", "abc"}));
}

TEST(TFRecordTest, EverySingleBitFlipIsNoticed) {
  const Records records = {"abc", "", RandomBytes(40, 1), "the end"};
  const Encoded encoded = Encode(TfRecord(), records);
  for (const size_t capacity : {RecordReader::kMinInputBytes, BufferedReader::kDefaultCapacity}) {
    size_t record = 0;
    for (size_t at = 0; at < encoded.bytes.size(); ++at) {
      if (at == encoded.ends[record]) ++record;
      const size_t begin = record == 0 ? 0 : encoded.ends[record - 1];
      for (int bit = 0; bit < 8; ++bit) {
        std::string flipped = encoded.bytes;
        flipped[at] = static_cast<char>(flipped[at] ^ (1 << bit));
        const ReadOutcome outcome = ReadTfRecords(flipped, capacity);
        ASSERT_TRUE(outcome.data_loss) << "byte " << at << " bit " << bit;
        // A payload, or its CRC, spoils one record; a length, or its CRC, the rest of the stream.
        ASSERT_EQ(outcome.corrupt_record, at >= begin + kTfRecordHeaderBytes) << at;
        ASSERT_EQ(outcome.records,
                  Records(records.begin(), records.begin() + static_cast<std::ptrdiff_t>(record)));
      }
    }
  }
}

TEST(TFRecordTest, ACorruptPayloadDoesNotSpoilTheNextRecord) {
  for (const size_t size : {size_t{1}, size_t{8}, size_t{9}, size_t{50}, size_t{3} << 20}) {
    for (const size_t capacity : {RecordReader::kMinInputBytes, BufferedReader::kDefaultCapacity}) {
      for (const bool skip : {false, true}) {
        const Encoded encoded = Encode(TfRecord(), {"first", RandomBytes(size, 2), "third"});
        std::string bytes = encoded.bytes;
        char& payload_byte = bytes[encoded.ends[0] + kTfRecordHeaderBytes + size / 2];
        payload_byte = static_cast<char>(payload_byte ^ 0x10);
        BufferedReader input(MakeSource(bytes, 100'000), capacity);
        TFRecordReader reader(&input, kDefaultMaxRecordBytes);
        StringSink sink;
        ASSERT_TRUE(reader.Read(sink));
        EXPECT_THROW(skip ? reader.Skip() : reader.Read(sink), CorruptRecordError);
        EXPECT_EQ(reader.record_offset(), encoded.ends[0]);
        ASSERT_TRUE(reader.Read(sink));
        EXPECT_EQ(sink.record(), "third");
        EXPECT_FALSE(reader.Read(sink));
      }
    }
  }
}

TEST(TFRecordTest, AHugeLengthAllocatesNothing) {
  for (const uint64_t length : {uint64_t{1} << 60, uint64_t{1} << 63, ~uint64_t{0},
                                uint64_t{1} << 32, kDefaultMaxRecordBytes + 1}) {
    const ReadOutcome outcome = ReadTfRecords(Header(length) + "only a few bytes");
    EXPECT_TRUE(outcome.data_loss);
    EXPECT_THAT(outcome.error,
                AllOf(HasSubstr(std::to_string(length)), HasSubstr("max_record_bytes")));
    EXPECT_EQ(outcome.largest_sink, 0U);
  }
}

TEST(TFRecordTest, AHugeLengthThatIsAllowedAllocatesWhatArrives) {
  for (const uint64_t length : {uint64_t{1} << 60, uint64_t{1} << 40, kDefaultMaxRecordBytes}) {
    for (const size_t arrives : {size_t{0}, size_t{10}, size_t{1} << 20}) {
      const ReadOutcome outcome =
          ReadTfRecords(Header(length) + std::string(arrives, 'x'),
                        BufferedReader::kDefaultCapacity, uint64_t{1} << 62);
      EXPECT_TRUE(outcome.data_loss);
      EXPECT_THAT(outcome.error,
                  AllOf(HasSubstr("the stream ends inside a payload of " + std::to_string(length) +
                                  " bytes, after " + std::to_string(arrives))));
      EXPECT_LE(outcome.largest_sink, size_t{2} << 20);
    }
  }
}

TEST(TFRecordTest, HintsAtTheLikelyCauseOfABadStart) {
  const Records records = {"some", "records"};
  const FormatCase record_io = AllFormats()[1];
  EXPECT_THAT(ReadTfRecords(Encode(record_io, records).bytes).error,
              AllOf(HasSubstr("length CRC mismatch"), HasSubstr("record_format='RecordIO'")));
  for (const char* text : {"plain text that is long enough", "short"}) {
    EXPECT_THAT(ReadTfRecords(text).error,
                AllOf(HasSubstr("length CRC mismatch"), HasSubstr("record_format='TextLine'")));
  }
  EXPECT_THAT(ReadTfRecords(std::string(30, '\x01')).error,
              AllOf(HasSubstr("length CRC mismatch"), HasSubstr("is this really TFRecord"),
                    HasSubstr("compression")));
}

TEST(TFRecordTest, HintsOnlyAtTheStart) {
  const std::string good = Encode(TfRecord(), {"good"}).bytes;
  const FormatCase record_io = AllFormats()[1];
  for (const std::string& garbage :
       {std::string("text behind a record"), Encode(record_io, {"RecordIO inside"}).bytes}) {
    EXPECT_THAT(ReadTfRecords(good + garbage).error,
                AllOf(HasSubstr("length CRC mismatch"), HasSubstr("corrupt from here on"),
                      Not(HasSubstr("pass "))));
  }
}

TEST(TFRecordTest, SaysWhereGzipBeginsBehindPlainRecords) {
  const std::string good = Encode(TfRecord(), {"good"}).bytes;
  EXPECT_THAT(ReadTfRecords(good + Gzip(good)).error,
              AllOf(HasSubstr("length CRC mismatch"), HasSubstr("gzip data begins here")));
}

TEST(TFRecordTest, ALengthThatIsWrongIsFinal) {
  std::string bytes = Encode(TfRecord(), {"first", "second", "third"}).bytes;
  bytes[kFrameBytes + 5] = static_cast<char>(bytes[kFrameBytes + 5] ^ 1);
  BufferedReader input(MakeSource(bytes));
  TFRecordReader reader(&input, kDefaultMaxRecordBytes);
  StringSink sink;
  ASSERT_TRUE(reader.Read(sink));
  for (int i = 0; i < 3; ++i) {
    try {
      reader.Read(sink);
      FAIL();
    } catch (const CorruptRecordError&) {
      FAIL();
    } catch (const DataLossError&) {
      EXPECT_EQ(reader.record_offset(), kFrameBytes + 5);
    }
  }
}

}  // namespace
}  // namespace pipemode
