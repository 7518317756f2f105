// SPDX-License-Identifier: Apache-2.0
#include "core/writer/record_encoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <string>
#include <string_view>

#include "core/base/error.h"
#include "testing/random.h"
#include "testing/record_formats.h"

namespace pipemode {
namespace {

using ::pipemode::testing::AllFormats;
using ::pipemode::testing::Encode;
using ::pipemode::testing::FormatCase;
using ::pipemode::testing::RandomBytes;
using ::pipemode::testing::RecordIoMagic;
using ::pipemode::testing::Records;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

std::string Encoded(const EncoderOptions& options, std::string_view record) {
  std::string bytes;
  RecordEncoder(options).Append(record, &bytes);
  return bytes;
}

EncoderOptions RecordIo(RecordIoParts parts, size_t max_part_bytes = kRecordIoMaxPartBytes) {
  return {RecordFormat::kRecordIo, parts, max_part_bytes};
}

// A RecordIO header and payload, spelled out.
std::string Part(const std::string& flag_and_length, const std::string& payload) {
  return RecordIoMagic() + flag_and_length + payload;
}

TEST(RecordEncoderTest, TfRecordIsWhatTensorFlowWrites) {
  EncoderOptions options;
  options.format = RecordFormat::kTfRecord;
  EXPECT_EQ(Encoded(options, ""),
            std::string("\0\0\0\0\0\0\0\0\x29\x03\x98\x07\xd8\xea\x82\xa2", 16));
  EXPECT_EQ(Encoded(options, "abc"), std::string("\3\0\0\0\0\0\0\0\xb0\x99\x49\x0e"
                                                 "abc\x6e\x57\xf1\x21",
                                                 19));
}

TEST(RecordEncoderTest, RecordIoIsPaddedToFourBytes) {
  for (const RecordIoParts parts : {RecordIoParts::kJoined, RecordIoParts::kDmlc}) {
    EXPECT_EQ(Encoded(RecordIo(parts), ""), Part(std::string("\0\0\0\0", 4), ""));
    EXPECT_EQ(Encoded(RecordIo(parts), "a"),
              Part(std::string("\1\0\0\0", 4), std::string("a\0\0\0", 4)));
    EXPECT_EQ(Encoded(RecordIo(parts), "abc"),
              Part(std::string("\3\0\0\0", 4), std::string("abc\0", 4)));
    EXPECT_EQ(Encoded(RecordIo(parts), "abcd"), Part(std::string("\4\0\0\0", 4), "abcd"));
    EXPECT_EQ(Encoded(RecordIo(parts), std::string(0x12345, 'x')).substr(4, 4),
              std::string("\x45\x23\1\0", 4));
  }
}

TEST(RecordEncoderTest, LongRecordsAreWrittenInPartsOfEqualSize) {
  const EncoderOptions options = RecordIo(RecordIoParts::kJoined, 3);
  EXPECT_EQ(Encoded(options, "abc"), Part(std::string("\3\0\0\0", 4), std::string("abc\0", 4)));
  EXPECT_EQ(Encoded(options, "abcdefgh"),
            Part(std::string("\3\0\0\x20", 4), std::string("abc\0", 4)) +
                Part(std::string("\3\0\0\x40", 4), std::string("def\0", 4)) +
                Part(std::string("\2\0\0\x60", 4), std::string("gh\0\0", 4)));
  EXPECT_EQ(Encoded(options, "abcdef"),
            Part(std::string("\3\0\0\x20", 4), std::string("abc\0", 4)) +
                Part(std::string("\3\0\0\x60", 4), std::string("def\0", 4)));
}

TEST(RecordEncoderTest, DmlcSplitsAtAnAlignedMagicAndDropsIt) {
  const EncoderOptions options = RecordIo(RecordIoParts::kDmlc);
  const std::string magic = RecordIoMagic();
  EXPECT_EQ(Encoded(options, "abcd" + magic + "ef"),
            Part(std::string("\4\0\0\x20", 4), "abcd") +
                Part(std::string("\2\0\0\x60", 4), std::string("ef\0\0", 4)));
  EXPECT_EQ(Encoded(options, magic),
            Part(std::string("\0\0\0\x20", 4), "") + Part(std::string("\0\0\0\x60", 4), ""));
  EXPECT_EQ(Encoded(options, magic + magic), Part(std::string("\0\0\0\x20", 4), "") +
                                                 Part(std::string("\0\0\0\x40", 4), "") +
                                                 Part(std::string("\0\0\0\x60", 4), ""));
  // One that stands elsewhere does not look like a header.
  EXPECT_EQ(Encoded(options, "x" + magic),
            Part(std::string("\5\0\0\0", 4), "x" + magic + std::string(3, '\0')));
  // Nor does one that is cut short.
  EXPECT_EQ(Encoded(options, magic.substr(0, 3)),
            Part(std::string("\3\0\0\0", 4), magic.substr(0, 3) + std::string(1, '\0')));
}

TEST(RecordEncoderTest, JoinedPartsDropNothing) {
  const std::string magic = RecordIoMagic();
  EXPECT_EQ(Encoded(RecordIo(RecordIoParts::kJoined), "abcd" + magic),
            Part(std::string("\x8\0\0\0", 4), "abcd" + magic));
}

TEST(RecordEncoderTest, TextLinesEndWithANewline) {
  EncoderOptions options;
  options.format = RecordFormat::kTextLine;
  EXPECT_EQ(Encoded(options, ""), "\n");
  EXPECT_EQ(Encoded(options, "a line\r"), "a line\r\n");
  EXPECT_THAT([&] { Encoded(options, "two\nlines"); },
              ThrowsMessage<InvalidArgumentError>(HasSubstr("newline")));
}

TEST(RecordEncoderTest, AppendsToWhatIsThere) {
  for (const FormatCase& format : AllFormats()) {
    const RecordEncoder encoder(format.encoder);
    std::string bytes = "before";
    encoder.Append("one", &bytes);
    encoder.Append("two", &bytes);
    EXPECT_EQ(bytes, "before" + Encode(format, {"one"}).bytes + Encode(format, {"two"}).bytes);
  }
}

TEST(RecordEncoderTest, PartsOfNoSizeAreRefused) {
  for (const size_t size : {size_t{0}, size_t{kRecordIoMaxPartBytes} + 1, SIZE_MAX}) {
    EXPECT_THAT([&] { RecordEncoder(RecordIo(RecordIoParts::kJoined, size)); },
                ThrowsMessage<InvalidArgumentError>(HasSubstr("recordio_max_part_bytes")));
  }
  EXPECT_NO_THROW(RecordEncoder(RecordIo(RecordIoParts::kJoined, 1)));
}

}  // namespace
}  // namespace pipemode
