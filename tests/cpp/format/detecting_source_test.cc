// SPDX-License-Identifier: Apache-2.0
#include "core/format/detecting_source.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/format/content.h"
#include "core/io/inflate_source.h"
#include "testing/deflate.h"
#include "testing/environment.h"
#include "testing/fake_source.h"
#include "testing/random.h"
#include "testing/record_formats.h"

namespace pipemode {
namespace {

using ::pipemode::testing::AllFormats;
using ::pipemode::testing::Encode;
using ::pipemode::testing::FakeScript;
using ::pipemode::testing::FakeSource;
using ::pipemode::testing::Gzip;
using ::pipemode::testing::MakeSource;
using ::pipemode::testing::Random;
using ::pipemode::testing::Zlib;

struct Outcome {
  std::string bytes;
  std::string error;
  int cancelled = 0;

  bool operator==(const Outcome& other) const {
    return bytes == other.bytes && error == other.error;
  }
};

void PrintTo(const Outcome& outcome, std::ostream* out) {
  *out << outcome.bytes.size() << " bytes, then "
       << (outcome.error.empty() ? "end" : outcome.error);
}

// All that `source` gives, by calls for any number of bytes in one place or two.
Outcome Drain(ByteSource& source, Random& random) {
  Outcome outcome;
  char dst[200];
  char tail[200];
  for (;;) {
    const size_t size = 1 + random.Below(random.OneIn(2) ? 3 : sizeof(dst));
    const size_t tail_size = random.Below(sizeof(tail));
    try {
      const bool scattered = random.OneIn(2);
      const size_t count =
          scattered ? source.ReadScattered(dst, size, tail, tail_size) : source.Read(dst, size);
      if (count == 0) break;
      outcome.bytes.append(dst, std::min(count, size));
      if (count > size) outcome.bytes.append(tail, count - size);
    } catch (const CancelledError&) {
      ++outcome.cancelled;
    } catch (const PipeError& error) {
      outcome.error = error.what();
      break;
    }
  }
  for (bool again = true; again;) {
    again = false;
    try {
      EXPECT_EQ(source.Read(dst, sizeof(dst)), 0U) << "something after the end";
    } catch (const CancelledError&) {
      again = true;
    }
  }
  return outcome;
}

// What `bytes` give by the rule.
Outcome Expected(const std::string& bytes, const FakeScript& script, Random& random) {
  if (ContentOf(bytes) != Content::kGzip) return Drain(*MakeSource(bytes, script), random);
  InflateSource source(MakeSource(bytes, script), Compression::kGzip);
  return Drain(source, random);
}

std::vector<std::string> Streams() {
  Random random(1);
  const std::string text = "id,text\n1,some text\n2,more of it, longer than a head is\n";
  const std::string records = Encode(AllFormats()[0], {"one", std::string(300, 'x'), ""}).bytes;
  return {
      text,
      records,
      Gzip(text),
      Gzip(text) + Gzip("") + Gzip(records),
      Gzip(random.Bytes(300)),
      Gzip(text) + "garbage",
      Zlib(text),
      "",
      "x",
      "x^2 + y^2 = z^2; such a line begins like zlib",
      "x ",
      "\x1f",
      "\x1f\x8b",
      "\x1f\x8b\x07 and then some text that is longer than a head",
      "\x1f\x8b\x08\xff and then some text that is longer than a head",
      Encode(AllFormats()[0], {std::string(0x088b1f, 'x')}).bytes,  // begins with gzip's magic
  };
}

TEST(DetectingSourceTest, InflatesWhatBeginsLikeGzipAndNothingElse) {
  Random random(2);
  for (const std::string& bytes : Streams()) {
    SCOPED_TRACE(::testing::PrintToString(bytes.substr(0, 20)));
    const Outcome expected = Expected(bytes, {}, random);
    for (const size_t chunk : {1, 2, 3, 4, 7, 31, 32, 33, 100, 1'000'000}) {
      if (bytes.size() > 100'000 && chunk < 100) continue;
      for (const bool scatters : {false, true}) {
        for (const bool cancel_each : {false, true}) {
          FakeScript script;
          script.chunks = {chunk};
          script.scatters = scatters;
          script.cancel_each = cancel_each;
          DetectingSource source(MakeSource(bytes, script));
          const Outcome outcome = Drain(source, random);
          EXPECT_EQ(outcome, expected) << chunk;
          EXPECT_EQ(outcome.cancelled > 0, cancel_each);
        }
      }
    }
  }
}

TEST(DetectingSourceTest, EveryPrefix) {
  Random random(3);
  for (const std::string& stream : Streams()) {
    for (size_t size = 0; size <= std::min<size_t>(stream.size(), 500); ++size) {
      const std::string bytes = stream.substr(0, size);
      DetectingSource source(MakeSource(bytes, 1 + random.Below(40)));
      ASSERT_EQ(Drain(source, random), Expected(bytes, {}, random)) << size;
    }
  }
}

TEST(DetectingSourceTest, AnErrorComesBehindTheBytesBeforeIt) {
  Random random(4);
  for (const std::string& bytes : Streams()) {
    for (size_t at = 0; at <= std::min<size_t>(bytes.size(), 200); ++at) {
      FakeScript script;
      script.fail_at = at;
      script.fail = [] { throw DataLossError("broken"); };
      script.chunks = {1 + random.Below(40)};
      script.cancel_each = random.OneIn(3);
      // The rule knows no more than what came before the error.
      const Outcome expected = Expected(bytes.substr(0, at), {}, random);
      DetectingSource source(MakeSource(bytes, script));
      const Outcome outcome = Drain(source, random);
      ASSERT_EQ(outcome.bytes, expected.bytes) << at;
      // Garbage behind a gzip member is found before the error behind it.
      ASSERT_TRUE(outcome.error == "broken" || outcome.error == expected.error) << outcome.error;
      ASSERT_FALSE(outcome.error.empty());
    }
  }
}

TEST(DetectingSourceTest, CancelledAtEveryByteNothingIsLost) {
  Random random(5);
  for (const std::string& bytes : Streams()) {
    const Outcome expected = Expected(bytes, {}, random);
    for (size_t at = 0; at <= std::min<size_t>(bytes.size(), 200); ++at) {
      FakeScript script;
      script.fail_at = at;
      DetectingSource source(MakeSource(bytes, script));
      const Outcome outcome = Drain(source, random);
      ASSERT_EQ(outcome, expected) << at;
      // An error may come first.
      ASSERT_TRUE(outcome.cancelled == 1 || !outcome.error.empty()) << at;
    }
  }
}

// How many bytes of a slow stream are read before the first of them are handed on.
size_t BytesBeforeTheFirst(const std::string& bytes) {
  auto slow = MakeSource(bytes, 1);
  const FakeSource* const watched = slow.get();
  DetectingSource source(std::move(slow));
  char byte;
  EXPECT_LE(source.Read(&byte, 1), 1U);
  return watched->position();
}

TEST(DetectingSourceTest, ASlowStreamIsNotHeldUp) {
  EXPECT_EQ(BytesBeforeTheFirst("plain text"), 1U);
  EXPECT_EQ(BytesBeforeTheFirst("xylophone"), 2U);
  EXPECT_EQ(BytesBeforeTheFirst("\x1f and something else"), 2U);
  EXPECT_EQ(BytesBeforeTheFirst("\x1f\x8b and something else"), 3U);
  EXPECT_EQ(BytesBeforeTheFirst(Encode(AllFormats()[1], {"record"}).bytes), 1U);
  // Text that begins like zlib is: nothing but more of it tells.
  EXPECT_EQ(BytesBeforeTheFirst("x^2 is the square of x, and x^3 its cube"), kContentHeadBytes);
}

}  // namespace
}  // namespace pipemode
