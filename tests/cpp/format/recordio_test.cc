// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/base/byte_order.h"
#include "core/base/error.h"
#include "core/format/recordio_reader.h"
#include "core/format/wire_format.h"
#include "testing/fake_source.h"
#include "testing/random.h"
#include "testing/record_formats.h"
#include "testing/string_sink.h"

namespace pipemode {
namespace {

using ::pipemode::testing::AllFormats;
using ::pipemode::testing::Encode;
using ::pipemode::testing::FormatCase;
using ::pipemode::testing::MakeSource;
using ::pipemode::testing::Random;
using ::pipemode::testing::RandomBytes;
using ::pipemode::testing::ReadOutcome;
using ::pipemode::testing::ReadRecords;
using ::pipemode::testing::RecordIoMagic;
using ::pipemode::testing::Records;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::string Header(uint32_t flag, uint32_t length) {
  std::string header(kRecordIoHeaderBytes, '\0');
  StoreLittleEndian32(kRecordIoMagic, header.data());
  StoreLittleEndian32(flag << kRecordIoFlagShift | length, header.data() + kRecordIoMagicBytes);
  return header;
}

std::string Part(uint32_t flag, const std::string& payload, char padding = '\0') {
  return Header(flag, static_cast<uint32_t>(payload.size())) + payload +
         std::string(PadToFour(payload.size()) - payload.size(), padding);
}

ReadOutcome ReadRecordIo(const std::string& bytes, RecordIoParts parts = RecordIoParts::kJoined,
                         size_t capacity = BufferedReader::kDefaultCapacity,
                         size_t skip_one_in = 0) {
  StreamOptions options;
  options.format = RecordFormat::kRecordIo;
  options.recordio_parts = parts;
  return ReadRecords(MakeSource(bytes), options, capacity, skip_one_in);
}

TEST(RecordIOTest, ReadsTheBytesOfTheFormat) {
  const std::string bytes(
      "\x0a\x23\xd7\xce\0\0\0\0"
      "\x0a\x23\xd7\xce\5\0\0\0hello\0\0\0"
      "\x0a\x23\xd7\xce\4\0\0\0four",
      8 + 16 + 12);
  for (const RecordIoParts parts : {RecordIoParts::kJoined, RecordIoParts::kDmlc}) {
    const ReadOutcome outcome = ReadRecordIo(bytes, parts);
    EXPECT_EQ(outcome.error, "");
    EXPECT_EQ(outcome.records, (Records{"", "hello", "four"}));
  }
}

TEST(RecordIOTest, PartsAreJoinedAsTheyAre) {
  const std::string bytes = Part(1, "ab") + Part(2, "") + Part(2, "cdefg") + Part(3, "h") +
                            Part(0, "whole") + Part(1, "") + Part(3, "");
  for (const size_t capacity : {RecordReader::kMinInputBytes, size_t{4096}}) {
    const ReadOutcome outcome = ReadRecordIo(bytes, RecordIoParts::kJoined, capacity);
    EXPECT_EQ(outcome.error, "");
    EXPECT_EQ(outcome.records, (Records{"abcdefgh", "whole", ""}));
  }
}

TEST(RecordIOTest, DmlcPartsAreJoinedByTheMagic) {
  const std::string magic = RecordIoMagic();
  const std::string bytes = Part(1, "abcd") + Part(2, "") + Part(3, "e") + Part(0, magic + "!") +
                            Part(1, "") + Part(3, "");
  for (const size_t capacity : {RecordReader::kMinInputBytes, size_t{4096}}) {
    ReadOutcome outcome = ReadRecordIo(bytes, RecordIoParts::kDmlc, capacity);
    EXPECT_EQ(outcome.error, "");
    EXPECT_EQ(outcome.records, (Records{"abcd" + magic + magic + "e", magic + "!", magic}));
    outcome = ReadRecordIo(bytes, RecordIoParts::kDmlc, capacity, 1);
    EXPECT_EQ(outcome.error, "");
    EXPECT_EQ(outcome.records.size(), 3U);
  }
}

TEST(RecordIOTest, DmlcRecordsWithTheMagicAnywhereComeBack) {
  const FormatCase dmlc = AllFormats()[3];
  const std::string magic = RecordIoMagic();
  for (const size_t size : {4, 5, 8, 12, 16, 17, 40}) {
    for (size_t first = 0; first + magic.size() <= size; ++first) {
      for (size_t second = first; second + magic.size() <= size; ++second) {
        std::string record = RandomBytes(size, size);
        record.replace(second, magic.size(), magic);
        record.replace(first, magic.size(), magic);
        const std::string bytes = Encode(dmlc, {record, "next"}).bytes;
        for (const size_t capacity : {RecordReader::kMinInputBytes, size_t{4096}}) {
          const ReadOutcome outcome = ReadRecordIo(bytes, RecordIoParts::kDmlc, capacity);
          ASSERT_EQ(outcome.error, "");
          ASSERT_EQ(outcome.records, (Records{record, "next"})) << first << ", " << second;
        }
      }
    }
  }
}

TEST(RecordIOTest, ANestedStreamComesBack) {
  // A record that is itself a RecordIO stream: headers at every alignment.
  const FormatCase dmlc = AllFormats()[3];
  for (size_t shift = 0; shift < 4; ++shift) {
    const std::string inner =
        std::string(shift, 'x') + Encode(dmlc, {"one", "", RandomBytes(30, 1), "four"}).bytes;
    const ReadOutcome outcome =
        ReadRecordIo(Encode(dmlc, {inner, inner}).bytes, RecordIoParts::kDmlc);
    EXPECT_EQ(outcome.error, "");
    EXPECT_EQ(outcome.records, (Records{inner, inner}));
  }
}

TEST(RecordIOTest, WhatFillsUpARecordDoesNotMatter) {
  const ReadOutcome outcome =
      ReadRecordIo(Part(0, "a", '\xff') + Part(0, "bc", '\x55') + Part(0, "d"));
  EXPECT_EQ(outcome.error, "");
  EXPECT_EQ(outcome.records, (Records{"a", "bc", "d"}));
}

TEST(RecordIOTest, FlagsOutOfTurnAreDataLoss) {
  for (uint32_t flag = 0; flag < 8; ++flag) {
    const std::string named = "part flag " + std::to_string(flag);
    if (flag > 1) {
      const ReadOutcome outcome =
          ReadRecordIo(Part(0, "good") + Part(flag, "bad") + Part(0, "never"));
      EXPECT_EQ(outcome.records, Records{"good"});
      EXPECT_TRUE(outcome.data_loss);
      EXPECT_FALSE(outcome.corrupt_record);
      EXPECT_THAT(outcome.error, AllOf(HasSubstr(named), HasSubstr("first part")));
    }
    if (flag != 2 && flag != 3) {
      for (const std::string& before : {Part(1, "first"), Part(1, "first") + Part(2, "more")}) {
        const ReadOutcome outcome = ReadRecordIo(before + Part(flag, "bad") + Part(3, "last"));
        EXPECT_EQ(outcome.records, Records{});
        EXPECT_TRUE(outcome.data_loss);
        EXPECT_THAT(outcome.error, AllOf(HasSubstr(named), HasSubstr("last part")));
      }
    }
  }
}

TEST(RecordIOTest, AWrongMagicIsDataLoss) {
  const std::string good = Part(0, "good");
  for (size_t at = 0; at < kRecordIoMagicBytes; ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string bytes = good + Part(0, "bad");
      bytes[good.size() + at] = static_cast<char>(bytes[good.size() + at] ^ (1 << bit));
      ReadOutcome outcome = ReadRecordIo(bytes);
      ASSERT_EQ(outcome.records, Records{"good"});
      ASSERT_TRUE(outcome.data_loss);
      ASSERT_THAT(outcome.error, AllOf(HasSubstr("magic number expected"),
                                       HasSubstr("corrupt from here on"), Not(HasSubstr("pass "))));
      // The same inside a record of several parts.
      bytes = Part(1, "good") + bytes.substr(good.size());
      outcome = ReadRecordIo(bytes);
      ASSERT_EQ(outcome.records, Records{});
      ASSERT_TRUE(outcome.data_loss);
    }
  }
}

TEST(RecordIOTest, HintsAtTheLikelyCauseOfABadStart) {
  const FormatCase tf_record = AllFormats()[0];
  EXPECT_THAT(ReadRecordIo(Encode(tf_record, {"some", "records"}).bytes).error,
              AllOf(HasSubstr("magic number expected"), HasSubstr("record_format='TFRecord'")));
  EXPECT_THAT(ReadRecordIo(Encode(tf_record, {""}).bytes).error,
              HasSubstr("record_format='TFRecord'"));
  EXPECT_THAT(ReadRecordIo("plain text").error,
              HasSubstr("begins like text: pass record_format='TextLine'"));
  EXPECT_THAT(ReadRecordIo("short").error, HasSubstr("begins like text"));
}

TEST(RecordIOTest, ALengthBeyondTheStreamAllocatesWhatArrives) {
  for (const uint32_t flag : {0U, 1U}) {
    const std::string header = Header(flag, kRecordIoMaxPartBytes);
    for (const size_t arrives : {size_t{0}, size_t{10}, size_t{1} << 20}) {
      const ReadOutcome outcome = ReadRecordIo(header + std::string(arrives, 'x'));
      EXPECT_TRUE(outcome.data_loss);
      EXPECT_THAT(outcome.error, HasSubstr("the stream ends inside a payload"));
      EXPECT_LE(outcome.largest_sink, size_t{2} << 20);
    }
  }
}

TEST(RecordIOTest, PartsTogetherAreBoundedToo) {
  // Each part is small; without an end they would fill the memory.
  std::string bytes = Part(1, std::string(100, 'x'));
  for (int i = 0; i < 100; ++i) bytes += Part(2, std::string(100, 'x'));
  StreamOptions options;
  options.max_record_bytes = 1000;
  for (const size_t skip_one_in : {0, 1}) {
    const ReadOutcome outcome = ReadRecords(MakeSource(bytes), options, 4096, skip_one_in);
    EXPECT_TRUE(outcome.data_loss);
    EXPECT_THAT(outcome.error, HasSubstr("max_record_bytes (1000)"));
    EXPECT_LE(outcome.largest_sink, 1000U);
  }
  // The magic between dmlc parts counts as well.
  options.recordio_parts = RecordIoParts::kDmlc;
  options.max_record_bytes = 7;
  EXPECT_TRUE(ReadRecords(MakeSource(Part(1, "ab") + Part(3, "cd")), options).data_loss);
  options.max_record_bytes = 8;
  EXPECT_EQ(ReadRecords(MakeSource(Part(1, "ab") + Part(3, "cd")), options).records,
            Records{"ab" + RecordIoMagic() + "cd"});
}

}  // namespace
}  // namespace pipemode
