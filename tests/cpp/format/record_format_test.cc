// SPDX-License-Identifier: Apache-2.0
#include "core/format/record_format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "core/base/error.h"

namespace pipemode {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TEST(RecordFormatTest, NamesCompareWithoutCase) {
  for (const std::string_view name : {"RecordIO", "recordio", "RECORDIO"}) {
    EXPECT_EQ(ParseRecordFormat(name), RecordFormat::kRecordIo);
  }
  EXPECT_EQ(ParseRecordFormat("TFRecord"), RecordFormat::kTfRecord);
  EXPECT_EQ(ParseRecordFormat("tfrecord"), RecordFormat::kTfRecord);
  EXPECT_EQ(ParseRecordFormat("TextLine"), RecordFormat::kTextLine);
  EXPECT_EQ(ParseRecordFormat("textline"), RecordFormat::kTextLine);

  for (const std::string_view name : {"", "none", "NONE"}) {
    EXPECT_EQ(ParseCompression(name), Compression::kNone);
  }
  for (const std::string_view name : {"GZIP", "Gzip", "gzip"}) {
    EXPECT_EQ(ParseCompression(name), Compression::kGzip);
  }
  EXPECT_EQ(ParseCompression("Zlib"), Compression::kZlib);
  EXPECT_EQ(ParseCompression("Auto"), Compression::kAuto);

  EXPECT_EQ(ParseRecordIoParts("Joined"), RecordIoParts::kJoined);
  EXPECT_EQ(ParseRecordIoParts("DMLC"), RecordIoParts::kDmlc);
}

TEST(RecordFormatTest, OtherNamesAreRefusedWithTheGoodOnes) {
  EXPECT_THROW(ParseRecordFormat(std::string_view("TFRecord\0", 9)), InvalidArgumentError);
  for (const std::string name : {"", "Record", "RecordIO ", "RecordIO2", "Protobuf"}) {
    EXPECT_THAT([&] { ParseRecordFormat(name); },
                ThrowsMessage<InvalidArgumentError>(
                    AllOf(HasSubstr("'RecordIO', 'TFRecord', 'TextLine'"), HasSubstr(name))));
  }
  EXPECT_THAT([] { ParseCompression("bzip2"); },
              ThrowsMessage<InvalidArgumentError>(
                  AllOf(HasSubstr("'bzip2'"), HasSubstr("'GZIP', 'ZLIB'"))));
  EXPECT_THAT([] { ParseRecordIoParts(""); },
              ThrowsMessage<InvalidArgumentError>(HasSubstr("'joined', 'dmlc'")));
}

TEST(RecordFormatTest, NamesOfFormatsParse) {
  for (const auto format :
       {RecordFormat::kRecordIo, RecordFormat::kTfRecord, RecordFormat::kTextLine}) {
    EXPECT_EQ(ParseRecordFormat(FormatName(format)), format);
  }
}

TEST(RecordFormatTest, TextOptionsAreForTextOnly) {
  for (const auto format :
       {RecordFormat::kRecordIo, RecordFormat::kTfRecord, RecordFormat::kTextLine}) {
    for (const TextOptions& text :
         {TextOptions{1, false, false}, TextOptions{1, true, false}, TextOptions{0, false, true}}) {
      StreamOptions options;
      options.format = format;
      CheckStreamOptions(options);
      options.text = text;
      if (format == RecordFormat::kTextLine) {
        CheckStreamOptions(options);
      } else {
        EXPECT_THROW(CheckStreamOptions(options), InvalidArgumentError);
      }
    }
  }
  StreamOptions options;
  options.format = RecordFormat::kTextLine;
  options.text.repeated_header = true;
  EXPECT_THROW(CheckStreamOptions(options), InvalidArgumentError);
}

TEST(RecordFormatTest, AStreamIsOneRecordInRecordIoOnly) {
  StreamOptions options;
  options.is_one_record = true;
  CheckStreamOptions(options);
  for (const auto format : {RecordFormat::kTfRecord, RecordFormat::kTextLine}) {
    options.format = format;
    EXPECT_THROW(CheckStreamOptions(options), InvalidArgumentError);
  }
}

TEST(RecordFormatTest, AttributesAreNamesOfRecordIoRecords) {
  StreamOptions options;
  EXPECT_EQ(RecordsInLine(options), 1U);
  for (size_t count = 1; count <= kMaxAttributes; ++count) {
    options.attributes.push_back("attribute " + std::to_string(count));
    CheckStreamOptions(options);
    EXPECT_EQ(RecordsInLine(options), count);
  }
  const auto message_with = [&](const std::string& message) {
    return ThrowsMessage<InvalidArgumentError>(HasSubstr(message));
  };
  const auto check = [&] { CheckStreamOptions(options); };
  options.attributes.emplace_back("one too many");
  EXPECT_THAT(check, message_with("17 names, and the service sends 16 at most"));
  options.attributes = {"a", "b", "a"};
  EXPECT_THAT(check, message_with("must not name 'a' twice"));
  options.attributes = {"a", ""};
  EXPECT_THAT(check, message_with("an empty name"));
  options.attributes = {"a"};
  options.format = RecordFormat::kTfRecord;
  EXPECT_THAT(check, message_with("'RecordIO', and this one is 'TFRecord'"));
}

}  // namespace
}  // namespace pipemode
