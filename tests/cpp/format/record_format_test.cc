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

}  // namespace
}  // namespace pipemode
