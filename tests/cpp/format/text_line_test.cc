// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstddef>
#include <sstream>
#include <string>

#include "core/format/text_line_reader.h"
#include "testing/environment.h"
#include "testing/fake_source.h"
#include "testing/random.h"
#include "testing/record_formats.h"

namespace pipemode {
namespace {

using ::pipemode::testing::MakeSource;
using ::pipemode::testing::Random;
using ::pipemode::testing::ReadOutcome;
using ::pipemode::testing::ReadRecords;
using ::pipemode::testing::Records;

Records Read(const std::string& bytes, size_t chunk = SIZE_MAX,
             size_t capacity = BufferedReader::kDefaultCapacity) {
  StreamOptions options;
  options.format = RecordFormat::kTextLine;
  const ReadOutcome outcome = ReadRecords(MakeSource(bytes, chunk), options, capacity);
  EXPECT_EQ(outcome.error, "");
  return outcome.records;
}

TEST(TextLineTest, LinesEndWithANewline) {
  EXPECT_EQ(Read("one\ntwo\n"), (Records{"one", "two"}));
  EXPECT_EQ(Read("\n"), Records{""});
  EXPECT_EQ(Read("\n\n\n"), (Records{"", "", ""}));
  EXPECT_EQ(Read("a\n\nb\n"), (Records{"a", "", "b"}));
}

TEST(TextLineTest, TheLastLineNeedsNone) {
  EXPECT_EQ(Read("one\ntwo"), (Records{"one", "two"}));
  EXPECT_EQ(Read("one"), Records{"one"});
  EXPECT_EQ(Read("\nx"), (Records{"", "x"}));
}

TEST(TextLineTest, EveryOtherByteIsKept) {
  std::string bytes;
  for (int byte = 0; byte < 256; ++byte) {
    if (byte != '\n') bytes += static_cast<char>(byte);
  }
  EXPECT_EQ(Read(bytes + "\n" + bytes), (Records{bytes, bytes}));
  EXPECT_EQ(Read("carriage return\r\n\r\n"), (Records{"carriage return\r", "\r"}));
}

TEST(TextLineTest, AgreesWithGetline) {
  Random random(1);
  const int rounds = testing::kSanitized ? 500 : 5'000;
  for (int round = 0; round < rounds; ++round) {
    std::string bytes = random.Bytes(random.Below(300));
    for (char& byte : bytes) {
      if (random.OneIn(1 + random.Below(60))) byte = '\n';
    }
    if (bytes.rfind("\x1f\x8b", 0) == 0) continue;
    Records expected;
    std::istringstream stream(bytes);
    for (std::string line; std::getline(stream, line);) expected.push_back(line);
    const size_t chunk = 1 + random.Below(100);
    const size_t capacity = RecordReader::kMinInputBytes + random.Below(100);
    ASSERT_EQ(Read(bytes, chunk, capacity), expected) << "round " << round;
  }
}

TEST(TextLineTest, LinesThatEndWhereTheBufferEndsComeBack) {
  constexpr size_t kCapacity = 64;
  for (size_t before = 0; before < 3 * kCapacity; ++before) {
    const Records expected = {std::string(before, 'x'), std::string(kCapacity, 'y'), "", "z"};
    std::string bytes;
    for (const std::string& line : expected) bytes += line + "\n";
    for (const size_t chunk : {size_t{1}, size_t{63}, size_t{64}, size_t{65}, SIZE_MAX}) {
      ASSERT_EQ(Read(bytes, chunk, kCapacity), expected) << before;
      // Without the last newline.
      ASSERT_EQ(Read(bytes.substr(0, bytes.size() - 1), chunk, kCapacity), expected) << before;
    }
  }
}

}  // namespace
}  // namespace pipemode
