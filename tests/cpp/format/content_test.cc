// SPDX-License-Identifier: Apache-2.0
#include "core/format/content.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/format/wire_format.h"
#include "testing/deflate.h"
#include "testing/random.h"
#include "testing/record_formats.h"

namespace pipemode {
namespace {

using ::pipemode::testing::AllFormats;
using ::pipemode::testing::Deflate;
using ::pipemode::testing::DeflateOptions;
using ::pipemode::testing::Encode;
using ::pipemode::testing::Gzip;
using ::pipemode::testing::Random;
using ::pipemode::testing::Records;
using ::pipemode::testing::Zlib;

bool IsCompressed(Content content) {
  return content == Content::kGzip || content == Content::kZlib;
}

// Heads that are nearly something: the beginning of a real stream with some bytes changed.
std::string RandomHead(Random& random) {
  static const std::vector<std::string> kHeads = {
      "\x1f\x8b\x08",
      std::string("\x1f\x8b\x08\0\0\0\0\0\0\x03", 10),
      "\x78\x9c",
      "x^2 + y^2 = z^2",
      "x ",
      testing::RecordIoMagic(),
      Encode(AllFormats()[0], {"some record"}).bytes,
      "plain text\n",
      "",
  };
  std::string head = kHeads[random.Below(kHeads.size())];
  head += random.OneIn(2) ? std::string(random.Below(60), 't') : random.Bytes(random.Below(60));
  for (size_t changes = random.Below(3); changes > 0 && !head.empty(); --changes) {
    head[random.Below(head.size())] = static_cast<char>(random.Below(256));
  }
  return head.substr(0, random.Below(head.size() + 1));
}

TEST(ContentTest, GzipIsKnownByItsMagicAndMethod) {
  DeflateOptions options;
  for (int fields = 0; fields < 16; ++fields) {
    options.name = (fields & 1) != 0 ? "name" : "";
    options.comment = (fields & 2) != 0 ? "comment" : "";
    options.extra = (fields & 4) != 0 ? "extra" : "";
    options.header_crc = (fields & 8) != 0;
    const std::string bytes = Deflate("a,b\n1,2\n", options);
    for (size_t size = 0; size <= bytes.size(); ++size) {
      EXPECT_EQ(ContentOf(bytes.substr(0, size)) == Content::kGzip, size >= 3) << size;
      EXPECT_TRUE(MayBeCompressed(bytes.substr(0, size))) << size;
    }
  }
  EXPECT_NE(ContentOf("\x1f\x8b\x07 text"), Content::kGzip);
  // Flags that RFC 1952 keeps for later.
  for (const char flag : {'\x20', '\x40', '\x80'}) {
    EXPECT_NE(ContentOf(std::string("\x1f\x8b\x08") + flag), Content::kGzip);
  }
}

TEST(ContentTest, ZlibIsKnownByItsHeaderIfTheRestIsNoText) {
  for (int level = 0; level <= 9; ++level) {
    const std::string bytes = Zlib(Encode(AllFormats()[1], Records(20, "record")).bytes, level);
    EXPECT_EQ(ContentOf(bytes), Content::kZlib) << level;
    EXPECT_TRUE(MayBeCompressed(bytes)) << level;
  }
  EXPECT_EQ(ContentOf("x^2 is the square of x"), Content::kText);
  EXPECT_EQ(ContentOf("x y"), Content::kUnknown);
  EXPECT_NE(ContentOf("x?\x01\x02\x03"), Content::kText);
}

TEST(ContentTest, EveryRecordIoStreamIsKnown) {
  for (const auto& format : testing::FramedFormats()) {
    if (format.encoder.format != RecordFormat::kRecordIo) continue;
    const std::string bytes = Encode(format, {"some", "records"}).bytes;
    for (size_t size = 4; size <= bytes.size(); ++size) {
      EXPECT_EQ(ContentOf(bytes.substr(0, size)), Content::kRecordIo) << size;
    }
    EXPECT_NE(ContentOf(bytes.substr(0, 3)), Content::kRecordIo);
    EXPECT_FALSE(MayBeCompressed(bytes));
  }
}

TEST(ContentTest, EveryTfRecordStreamIsKnownByItsChecksum) {
  Random random(1);
  for (int round = 0; round < 1000; ++round) {
    const std::string bytes =
        Encode(AllFormats()[0], {random.Bytes(random.Below(round < 900 ? 60 : 60'000))}).bytes;
    EXPECT_EQ(ContentOf(bytes), Content::kTfRecord);
    EXPECT_EQ(ContentOf(bytes.substr(0, kTfRecordHeaderBytes)), Content::kTfRecord);
    EXPECT_NE(ContentOf(bytes.substr(0, kTfRecordHeaderBytes - 1)), Content::kTfRecord);
    std::string other = bytes;
    const size_t at = random.Below(kTfRecordHeaderBytes);
    other[at] = static_cast<char>(other[at] ^ (1 << random.Below(8)));
    EXPECT_NE(ContentOf(other), Content::kTfRecord);
  }
}

TEST(ContentTest, ARecordWhoseLengthLooksLikeGzipIsNone) {
  // A length of 0x...088b1f: its header is right, so it is a record.
  std::string bytes = Encode(AllFormats()[0], {std::string(0x088b1f, 'x')}).bytes;
  ASSERT_EQ(bytes.substr(0, 3), "\x1f\x8b\x08");
  EXPECT_EQ(ContentOf(bytes), Content::kTfRecord);
}

TEST(ContentTest, ZlibWithoutAControlCharacterIsToldByWhatIsNotUtf8) {
  EXPECT_EQ(ContentOf("x\x9c"
                      "ce\x80\x80W\x9bX\xec\xd2"
                      "2\x8b\x8aKB\xff+?e\x87"),
            Content::kZlib);
  EXPECT_EQ(ContentOf("x^2 + y^2"), Content::kText);
  EXPECT_EQ(ContentOf("x^2 \xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80"), Content::kText);
  EXPECT_EQ(ContentOf("x^2 \xe2\x82"), Content::kText);  // goes on behind the head
  EXPECT_EQ(ContentOf("x^2 \xe2\x82 "), Content::kZlib);
  EXPECT_EQ(ContentOf("x^2 \xc0\xaf"), Content::kZlib);
}

TEST(ContentTest, TextHasNoControlCharacters) {
  for (const char* text : {"a,b\n1,2\n", "\ttab\r\n", "{\"json\": 1}",
                           "\xef\xbb\xbf"
                           "BOM",
                           "gr\xc3\xbc\xc3\x9f", "\x1b[31mcolour", "\xff\xfe\xfd\xfc"}) {
    EXPECT_EQ(ContentOf(text), Content::kText) << text;
    EXPECT_FALSE(MayBeCompressed(text)) << text;
  }
  for (int byte = 0; byte < 0x20; ++byte) {
    const bool is_text = (byte >= '\t' && byte <= '\r') || byte == 0x1b;
    const std::string head = std::string("text") + static_cast<char>(byte);
    EXPECT_EQ(ContentOf(head), is_text ? Content::kText : Content::kUnknown) << byte;
  }
  EXPECT_EQ(ContentOf("text\x7f"), Content::kUnknown);
  EXPECT_EQ(ContentOf("abc"), Content::kUnknown);
  EXPECT_EQ(ContentOf(""), Content::kUnknown);
}

TEST(ContentTest, NoMoreThanTheHeadIsLookedAt) {
  Random random(2);
  for (int round = 0; round < 10'000; ++round) {
    std::string head = RandomHead(random);
    head.resize(kContentHeadBytes, 'x');
    EXPECT_EQ(ContentOf(head), ContentOf(head + random.Bytes(20)));
  }
}

// What lets a stream begin after a byte or two, and what is compressed not be missed.
TEST(ContentTest, WhatIsExcludedStaysExcluded) {
  Random random(3);
  for (int round = 0; round < 100'000; ++round) {
    const std::string head = RandomHead(random);
    bool may_be = true;
    for (size_t size = 0; size <= head.size(); ++size) {
      const std::string part = head.substr(0, size);
      const bool still = MayBeCompressed(part);
      ASSERT_TRUE(may_be || !still);
      may_be = still;
      ASSERT_TRUE(may_be || !IsCompressed(ContentOf(part)));
    }
  }
}

TEST(ContentTest, Names) {
  EXPECT_STREQ(ContentName(Content::kGzip), "gzip");
  EXPECT_STREQ(ContentName(Content::kZlib), "zlib");
  EXPECT_STREQ(ContentName(Content::kRecordIo), "RecordIO");
  EXPECT_STREQ(ContentName(Content::kTfRecord), "TFRecord");
  EXPECT_STREQ(ContentName(Content::kText), "text");
  EXPECT_STREQ(ContentName(Content::kUnknown), "something else");
}

}  // namespace
}  // namespace pipemode
