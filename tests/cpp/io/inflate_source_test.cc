// SPDX-License-Identifier: Apache-2.0
#include "core/io/inflate_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "testing/deflate.h"
#include "testing/environment.h"
#include "testing/fake_source.h"
#include "testing/random.h"

namespace pipemode {
namespace {

using ::pipemode::testing::Deflate;
using ::pipemode::testing::DeflateOptions;
using ::pipemode::testing::Deflater;
using ::pipemode::testing::FakeScript;
using ::pipemode::testing::Gzip;
using ::pipemode::testing::GzipRepeated;
using ::pipemode::testing::MakeSource;
using ::pipemode::testing::Random;
using ::pipemode::testing::RandomBytes;
using ::pipemode::testing::ReferenceInflate;
using ::pipemode::testing::Zlib;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// What a stream gives until it ends, or fails.
struct Outcome {
  std::string output;
  std::string error;  // empty: a clean end
  bool data_loss = false;
};

Outcome Inflate(std::unique_ptr<ByteSource> source, Compression compression,
                size_t input_bytes = InflateSource::kDefaultInputBytes,
                size_t output_bytes = size_t{1} << 16) {
  InflateSource inflate(std::move(source), compression, input_bytes);
  Outcome outcome;
  std::string piece(output_bytes, '\0');
  for (;;) {
    try {
      const size_t count = inflate.Read(piece.data(), piece.size());
      if (count == 0) break;
      outcome.output.append(piece, 0, count);
    } catch (const CancelledError&) {
      continue;
    } catch (const PipeError& error) {
      outcome.error = error.what();
      outcome.data_loss = dynamic_cast<const DataLossError*>(&error) != nullptr;
      break;
    }
  }
  // Whatever the end was, it is the end.
  EXPECT_EQ(inflate.Read(piece.data(), piece.size()), 0U);
  return outcome;
}

class InflateSourceTest : public ::testing::TestWithParam<Compression> {
 protected:
  static std::string Compressed(std::string_view bytes, int level = Z_DEFAULT_COMPRESSION) {
    return GetParam() == Compression::kGzip ? Gzip(bytes, level) : Zlib(bytes, level);
  }
  static Outcome Inflated(const std::string& bytes, size_t chunk = SIZE_MAX,
                          size_t input_bytes = InflateSource::kDefaultInputBytes,
                          size_t output_bytes = size_t{1} << 16) {
    return Inflate(MakeSource(bytes, chunk), GetParam(), input_bytes, output_bytes);
  }

  // Members of every kind of block, an empty one among them; `ends` gets the offset behind each.
  static std::string SmallStream(std::string* expected, std::vector<size_t>* ends = nullptr) {
    const std::vector<std::pair<std::string, int>> members = {
        {"abc", 9},
        {"", 6},
        {RandomBytes(20, 1), 0},
        {"the same, the same, the same", 9},
        {RandomBytes(30, 2) + RandomBytes(30, 2), 6}};
    std::string stream;
    for (const auto& [bytes, level] : members) {
      stream += Compressed(bytes, level);
      *expected += bytes;
      if (ends != nullptr) ends->push_back(stream.size());
    }
    return stream;
  }
};

INSTANTIATE_TEST_SUITE_P(, InflateSourceTest,
                         ::testing::Values(Compression::kGzip, Compression::kZlib),
                         [](const auto& suite) {
                           return suite.param == Compression::kGzip ? "Gzip" : "Zlib";
                         });

TEST_P(InflateSourceTest, NoBytesAreAnEmptyStream) {
  const Outcome outcome = Inflated("");
  EXPECT_EQ(outcome.output, "");
  EXPECT_EQ(outcome.error, "");
}

TEST_P(InflateSourceTest, ReadsWhatZlibWrites) {
  std::string text;
  for (int i = 0; text.size() < 60'000; ++i) text += "line " + std::to_string(i * i) + "\n";
  const std::vector<std::string> payloads = {
      "",
      "a",
      text,
      RandomBytes(20'000, 3),
      std::string(100'000, '\0'),
      RandomBytes(32'500, 4) + RandomBytes(32'500, 4) + RandomBytes(100, 4)};
  for (const std::string& payload : payloads) {
    for (const int level : {0, 1, 9}) {
      for (const int strategy : {Z_DEFAULT_STRATEGY, Z_HUFFMAN_ONLY, Z_FIXED}) {
        for (const int window_bits : {9, 15}) {
          DeflateOptions options;
          options.compression = GetParam();
          options.level = level;
          options.strategy = strategy;
          options.window_bits = window_bits;
          const std::string stream = Deflate(payload, options);
          for (const size_t chunk : {size_t{13}, size_t{4000}, SIZE_MAX}) {
            if (chunk == 13 && strategy != Z_DEFAULT_STRATEGY) continue;
            const Outcome outcome = Inflated(stream, chunk);
            ASSERT_EQ(outcome.error, "") << "level " << level << " strategy " << strategy;
            ASSERT_TRUE(outcome.output == payload) << "level " << level << " strategy " << strategy;
          }
        }
      }
    }
  }
}

TEST_P(InflateSourceTest, AnyOutputSizeGivesTheSame) {
  const std::string payload = RandomBytes(5'000, 5) + std::string(70'000, 'z') + RandomBytes(99, 6);
  const std::string stream = Compressed(payload) + Compressed(payload, 0);
  for (const size_t output_bytes : {1, 2, 3, 7, 255, 4096, 32768, 65537, 1 << 20}) {
    const Outcome outcome = Inflated(stream, SIZE_MAX, 1000, output_bytes);
    ASSERT_EQ(outcome.error, "") << output_bytes;
    ASSERT_TRUE(outcome.output == payload + payload) << output_bytes;
  }
}

TEST_P(InflateSourceTest, TrailersAndHeadersMaySplitAnywhere) {
  std::string expected;
  const std::string stream = SmallStream(&expected);
  for (size_t split = 1; split < stream.size(); ++split) {
    for (const size_t output_bytes : {size_t{1}, size_t{1} << 16}) {
      FakeScript script;
      script.chunks = {split, SIZE_MAX};
      const Outcome outcome = Inflate(MakeSource(stream, script), GetParam(),
                                      InflateSource::kDefaultInputBytes, output_bytes);
      ASSERT_EQ(outcome.error, "") << "split at " << split;
      ASSERT_EQ(outcome.output, expected) << "split at " << split;
    }
  }
}

TEST_P(InflateSourceTest, TwoSplitsAnywhere) {
  const std::string stream = Compressed("abcabcabc") + Compressed("xyz");
  for (size_t first = 1; first < stream.size(); ++first) {
    for (size_t second = 1; first + second < stream.size(); ++second) {
      FakeScript script;
      script.chunks = {first, second, SIZE_MAX};
      const Outcome outcome = Inflate(MakeSource(stream, script), GetParam());
      ASSERT_EQ(outcome.error, "") << first << "+" << second;
      ASSERT_EQ(outcome.output, "abcabcabcxyz") << first << "+" << second;
    }
  }
}

TEST_P(InflateSourceTest, AnyInputSizeGivesTheSame) {
  std::string expected;
  const std::string stream = SmallStream(&expected);
  for (size_t input_bytes = 1; input_bytes <= stream.size(); ++input_bytes) {
    for (const size_t output_bytes : {size_t{1}, size_t{5}, size_t{1} << 16}) {
      const Outcome outcome = Inflated(stream, SIZE_MAX, input_bytes, output_bytes);
      ASSERT_EQ(outcome.error, "") << input_bytes;
      ASSERT_EQ(outcome.output, expected) << input_bytes;
    }
  }
}

TEST_P(InflateSourceTest, MembersOfAllSizesMeetAllBufferEnds) {
  // The distance between a member's end and a buffer's end takes on every value.
  std::string stream;
  std::string expected;
  for (size_t size = 0; size < 200; ++size) {
    const std::string bytes = RandomBytes(size, size);
    stream += Compressed(bytes, size % 2 == 0 ? 0 : 9);
    expected += bytes;
  }
  for (const size_t input_bytes : {1, 2, 3, 5, 7, 8, 9, 16, 17, 31, 64, 100, 1000, 4096}) {
    const Outcome outcome = Inflated(stream, SIZE_MAX, input_bytes);
    ASSERT_EQ(outcome.error, "") << input_bytes;
    ASSERT_TRUE(outcome.output == expected) << input_bytes;
  }
}

TEST_P(InflateSourceTest, EmptyMembersGiveNothing) {
  for (const int level : {0, 9}) {
    const std::string empty = Compressed("", level);
    std::string stream = empty + empty;
    EXPECT_EQ(Inflated(stream).output, "");
    EXPECT_EQ(Inflated(stream).error, "");
    for (int i = 0; i < 500; ++i) stream += empty;
    stream += Compressed("end") + empty;
    EXPECT_EQ(Inflated(stream, 7).error, "");
    EXPECT_EQ(Inflated(stream, 7).output, "end");
  }
}

TEST_P(InflateSourceTest, TruncationAtEveryByteIsDataLoss) {
  std::string expected;
  std::vector<size_t> ends;
  const std::string stream = SmallStream(&expected, &ends);
  for (const size_t chunk : {size_t{1}, size_t{3}, SIZE_MAX}) {
    for (size_t size = 1; size < stream.size(); ++size) {
      const Outcome outcome = Inflated(stream.substr(0, size), chunk);
      // Never other bytes than the right ones.
      ASSERT_THAT(expected, StartsWith(outcome.output)) << "truncated to " << size;
      if (std::find(ends.begin(), ends.end(), size) != ends.end()) {
        ASSERT_EQ(outcome.error, "") << "truncated to " << size;
      } else {
        ASSERT_TRUE(outcome.data_loss) << "truncated to " << size << ": " << outcome.error;
        ASSERT_THAT(outcome.error, HasSubstr("ends inside a member")) << size;
      }
    }
  }
}

TEST_P(InflateSourceTest, TruncationOfALongMemberIsDataLoss) {
  const std::string payload = RandomBytes(3'000, 7) + std::string(100'000, 'x');
  for (const int level : {0, 9}) {
    const std::string stream = Compressed(payload, level);
    for (size_t size = 1; size < stream.size(); size += 97) {
      const Outcome outcome = Inflated(stream.substr(0, size));
      ASSERT_TRUE(outcome.data_loss) << "truncated to " << size;
    }
  }
}

// Whether nothing tells a member with this bit flipped from the right one: header fields without a
// checksum.
bool IsFree(Compression compression, size_t offset_in_member, int bit) {
  if (compression == Compression::kZlib) return false;    // FCHECK covers the whole header
  if (offset_in_member == 3) return bit == 0;             // FTEXT, a hint
  return offset_in_member >= 4 && offset_in_member < 10;  // MTIME, XFL, OS
}

TEST_P(InflateSourceTest, EverySingleBitFlipIsNoticed) {
  std::string expected;
  std::vector<size_t> ends;
  const std::string stream = SmallStream(&expected, &ends);
  size_t unnoticed_padding = 0;
  for (const size_t chunk : {size_t{1}, SIZE_MAX}) {
    size_t begin = 0;
    auto end = ends.begin();
    for (size_t at = 0; at < stream.size(); ++at) {
      if (at == *end) begin = *end++;
      for (int bit = 0; bit < 8; ++bit) {
        std::string flipped = stream;
        flipped[at] = static_cast<char>(flipped[at] ^ (1 << bit));
        const Outcome outcome = Inflated(flipped, chunk);
        // Behind a last code, and before a stored block, stand bits that nobody reads; zlib tells
        // which.
        const bool is_padding = !IsFree(GetParam(), at - begin, bit) &&
                                ReferenceInflate(flipped, GetParam()) == expected;
        if (is_padding) ++unnoticed_padding;
        if (is_padding || IsFree(GetParam(), at - begin, bit)) {
          ASSERT_EQ(outcome.error, "") << "byte " << at << " bit " << bit;
          ASSERT_EQ(outcome.output, expected) << "byte " << at << " bit " << bit;
        } else {
          ASSERT_TRUE(outcome.data_loss)
              << "byte " << at << " bit " << bit << " of the member at " << begin << ": '"
              << outcome.error << "', same output: " << (outcome.output == expected);
        }
      }
    }
  }
  EXPECT_LT(unnoticed_padding, 2 * 8 * ends.size());
}

TEST_P(InflateSourceTest, AgreesWithZlibOnDamagedStreams) {
  std::string expected;
  const std::string stream = SmallStream(&expected);
  Random random(10);
  const int rounds = testing::kSanitized ? 2'000 : 20'000;
  for (int i = 0; i < rounds; ++i) {
    std::string damaged = stream;
    for (size_t hits = 1 + random.Below(3); hits > 0; --hits) {
      const size_t at = random.Below(damaged.size());
      switch (random.Below(3)) {
        case 0:
          damaged[at] = static_cast<char>(random.Below(256));
          break;
        case 1:
          damaged.erase(at, 1 + random.Below(10));
          break;
        default:
          damaged.insert(at, random.Bytes(1 + random.Below(10)));
      }
    }
    const auto reference = ReferenceInflate(damaged, GetParam());
    const Outcome outcome = Inflated(damaged, 1 + random.Below(damaged.size()));
    ASSERT_EQ(reference.has_value(), outcome.error.empty()) << i << ": " << outcome.error;
    if (reference) {
      ASSERT_EQ(outcome.output, *reference) << i;
    }
  }
}

TEST_P(InflateSourceTest, GarbageAfterAMemberIsDataLoss) {
  const std::string member = Compressed("payload");
  std::vector<std::string> patterns = {std::string(20, '\0'), std::string(20, 'x'),
                                       std::string(20, '\xff'), RandomBytes(20, 8),
                                       "\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n"};
  // What looks like the start of a member and is not one.
  patterns.push_back(member.substr(0, 2) + std::string(18, '\x7f'));
  for (const std::string& garbage : patterns) {
    for (size_t size = 1; size <= garbage.size(); ++size) {
      for (const size_t chunk :
           {size_t{1}, size_t{2}, member.size(), member.size() + 1, SIZE_MAX}) {
        const Outcome outcome = Inflated(member + garbage.substr(0, size), chunk);
        ASSERT_TRUE(outcome.data_loss) << size << " bytes of garbage, chunk " << chunk;
        ASSERT_EQ(outcome.output, "payload");
      }
    }
  }
}

TEST_P(InflateSourceTest, CancelledAtEveryByteLosesNothing) {
  std::string expected;
  const std::string stream = SmallStream(&expected);
  for (size_t at = 0; at <= stream.size(); ++at) {
    FakeScript script;
    script.fail_at = at;
    const Outcome outcome = Inflate(MakeSource(stream, script), GetParam());
    ASSERT_EQ(outcome.error, "") << "cancelled at " << at;
    ASSERT_EQ(outcome.output, expected) << "cancelled at " << at;
  }
  FakeScript script;
  script.cancel_each = true;
  script.chunks = {1, 2, 3};
  EXPECT_EQ(Inflate(MakeSource(stream, script), GetParam()).output, expected);
}

TEST_P(InflateSourceTest, ErrorsOfTheSourceComeThrough) {
  std::string expected;
  const std::string stream = SmallStream(&expected);
  for (size_t at = 0; at <= stream.size(); ++at) {
    FakeScript script;
    script.fail_at = at;
    script.fail = [] { throw DeadlineExceededError("too late"); };
    const Outcome outcome = Inflate(MakeSource(stream, script), GetParam());
    ASSERT_EQ(outcome.error, "too late") << "failed at " << at;
    ASSERT_THAT(expected, StartsWith(outcome.output));
  }
}

TEST_P(InflateSourceTest, BombInConstantMemory) {
  // 1 GiB of zeros in about 1 MiB; a quarter of it where each byte costs more.
  const size_t count = testing::kSanitized ? 256 : 1024;
  const std::string piece(size_t{1} << 20, '\0');
  std::string stream;
  if (GetParam() == Compression::kGzip) {
    stream = GzipRepeated(piece, count);
  } else {
    Deflater deflater(15, 9, Z_DEFAULT_STRATEGY);
    for (size_t i = 0; i < 64; ++i) stream += deflater.Run(piece, Z_NO_FLUSH);
    stream += deflater.Run("", Z_FINISH);
    const std::string part = stream;
    for (size_t i = 64; i < count; i += 64) stream += part;
  }
  ASSERT_LT(stream.size(), size_t{1200} << 10);
  InflateSource inflate(MakeSource(std::move(stream)), GetParam());
  std::string buffer(size_t{1} << 18, '\0');
  const size_t before = testing::PeakMemoryBytes();
  uint64_t total = 0;
  while (const size_t got = inflate.Read(buffer.data(), buffer.size())) total += got;
  EXPECT_EQ(total, uint64_t{count} << 20);
  EXPECT_LT(testing::PeakMemoryBytes() - before, size_t{8} << 20);
}

TEST(InflateSourceLengthTest, MembersMayBeLongerThanFourGibibytes) {
  // ISA-L counts what it has put out in 32 bits. Matches reach back as far as they can everywhere.
  const std::string part = RandomBytes(32'500, 11);
  std::string piece;
  while (piece.size() < (size_t{4} << 20)) piece += part;
  const size_t count = (uint64_t{1} << 32) / piece.size() + 2;
  InflateSource inflate(MakeSource(GzipRepeated(piece, count)), Compression::kGzip);
  std::string buffer(size_t{1} << 20, '\0');
  uint64_t total = 0;
  while (const size_t got = inflate.Read(buffer.data(), buffer.size())) total += got;
  EXPECT_EQ(total, uint64_t{count} * piece.size());
}

TEST_P(InflateSourceTest, OtherDataIsRefusedWithAHint) {
  for (const std::string& other :
       {std::string("plain text, not compressed"), std::string(100, '\0')}) {
    const Outcome outcome = Inflated(other);
    EXPECT_TRUE(outcome.data_loss);
    EXPECT_THAT(outcome.error,
                AllOf(HasSubstr("is this stream really"), HasSubstr("pass no compression_type")));
  }
}

TEST_P(InflateSourceTest, TheOtherCompressionIsNamed) {
  const bool is_gzip = GetParam() == Compression::kGzip;
  const Outcome outcome = Inflated(is_gzip ? Zlib("payload") : Gzip("payload"));
  EXPECT_TRUE(outcome.data_loss);
  EXPECT_THAT(outcome.error, HasSubstr(is_gzip ? "begins like zlib: pass compression_type='ZLIB'"
                                               : "begins like gzip: pass compression_type='GZIP'"));
}

TEST_P(InflateSourceTest, MessagesSayWhichMemberAndWhere) {
  const std::string good = Compressed("one");
  std::string bad = Compressed("two");
  const size_t at = bad.size() - (GetParam() == Compression::kGzip ? 8 : 4);
  bad[at] = static_cast<char>(bad[at] ^ 1);
  const auto says_where =
      AllOf(HasSubstr(GetParam() == Compression::kGzip ? "gzip member 1" : "zlib member 1"),
            HasSubstr("near compressed byte " + std::to_string(good.size() + at + 1)),
            HasSubstr("checksum mismatch"));
  // A checksum that is at hand is looked at first: the member's bytes are not handed out.
  Outcome outcome = Inflated(good + bad);
  EXPECT_EQ(outcome.output, "one");
  EXPECT_THAT(outcome.error, says_where);
  // One that is still to come does not hold them up.
  outcome = Inflated(good + bad, 1);
  EXPECT_EQ(outcome.output, "onetwo");
  EXPECT_THAT(outcome.error, says_where);
}

TEST(InflateSourceHeaderTest, OptionalHeaderFieldsAreSkipped) {
  const std::string payload = "payload payload payload";
  for (int fields = 0; fields < 16; ++fields) {
    DeflateOptions options;
    if ((fields & 1) != 0) options.name = "some-file-name.tfrecord";
    if ((fields & 2) != 0) options.comment = "no comment";
    if ((fields & 4) != 0) options.extra = std::string("BC\2\0\x1b\0", 6);
    options.header_crc = (fields & 8) != 0;
    const std::string member = Deflate(payload, options);
    const std::string stream = member + member;
    for (size_t split = 1; split < stream.size(); ++split) {
      FakeScript script;
      script.chunks = {split, SIZE_MAX};
      const Outcome outcome = Inflate(MakeSource(stream, script), Compression::kGzip);
      ASSERT_EQ(outcome.error, "") << "fields " << fields << " split at " << split;
      ASSERT_EQ(outcome.output, payload + payload) << "fields " << fields << " split " << split;
    }
    for (const size_t input_bytes : {1, 2, 3, 7, 10, 11, 16}) {
      const Outcome outcome = Inflate(MakeSource(stream), Compression::kGzip, input_bytes);
      ASSERT_EQ(outcome.error, "") << "fields " << fields << " input " << input_bytes;
      ASSERT_EQ(outcome.output, payload + payload) << "fields " << fields;
    }
    for (size_t size = 1; size < member.size(); ++size) {
      for (const size_t chunk : {size_t{1}, SIZE_MAX}) {
        const Outcome outcome =
            Inflate(MakeSource(member.substr(0, size), chunk), Compression::kGzip);
        ASSERT_TRUE(outcome.data_loss) << "fields " << fields << " truncated to " << size;
      }
    }
  }
}

TEST(InflateSourceHeaderTest, LongHeaderFieldsAreSkipped) {
  DeflateOptions options;
  options.name = std::string(5'000, 'n');
  options.comment = std::string(70'000, 'c');
  options.extra = RandomBytes(65'535, 9);
  options.header_crc = true;
  const std::string stream = Deflate("payload", options) + Deflate("", options);
  for (const size_t input_bytes : {1, 2, 3, 10, 1000, 4096, 65'536, 1 << 18}) {
    const Outcome outcome = Inflate(MakeSource(stream), Compression::kGzip, input_bytes);
    ASSERT_EQ(outcome.error, "") << input_bytes;
    ASSERT_EQ(outcome.output, "payload") << input_bytes;
  }
}

TEST(InflateSourceHeaderTest, HeaderChecksumIsVerified) {
  DeflateOptions options;
  options.name = "name";
  options.header_crc = true;
  const std::string stream = Deflate("payload", options);
  const size_t header_bytes = 10 + 5 + 2;
  for (size_t at = 0; at < header_bytes; ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string flipped = stream;
      flipped[at] = static_cast<char>(flipped[at] ^ (1 << bit));
      for (const size_t chunk : {size_t{1}, SIZE_MAX}) {
        const Outcome outcome = Inflate(MakeSource(flipped, chunk), Compression::kGzip);
        ASSERT_TRUE(outcome.data_loss) << "byte " << at << " bit " << bit;
      }
    }
  }
}

TEST(InflateSourceHeaderTest, ReservedFlagsAreRefused) {
  // RFC 1952, 2.3.1.2: a reader must give an error if a reserved bit is set.
  for (const int bit : {5, 6, 7}) {
    std::string stream = Gzip("payload");
    stream[3] = static_cast<char>(1 << bit);
    EXPECT_TRUE(Inflate(MakeSource(stream), Compression::kGzip).data_loss) << bit;
  }
}

TEST(InflateSourceHeaderTest, WindowsThatTheFormatDoesNotKnowAreRefused) {
  std::string stream = Zlib("payload");
  stream[0] = '\x88';  // 64 KiB
  stream[1] = '\x1c';  // with the check bits that this needs
  ASSERT_FALSE(ReferenceInflate(stream, Compression::kZlib));
  EXPECT_TRUE(Inflate(MakeSource(stream), Compression::kZlib).data_loss);
}

TEST(InflateSourceHeaderTest, PresetDictionariesAreRefused) {
  std::string stream = Zlib("payload");
  stream[1] = static_cast<char>(stream[1] | 0x20);
  stream[1] = static_cast<char>(stream[1] & 0xe0);
  const unsigned check =
      (static_cast<unsigned char>(stream[0]) * 256U + static_cast<unsigned char>(stream[1])) % 31;
  stream[1] = static_cast<char>(stream[1] + static_cast<char>((31 - check) % 31));
  stream.insert(2, "\0\0\0\1", 4);
  const Outcome outcome = Inflate(MakeSource(stream), Compression::kZlib);
  EXPECT_TRUE(outcome.data_loss);
  EXPECT_THAT(outcome.error, HasSubstr("dictionary"));
}

}  // namespace
}  // namespace pipemode
