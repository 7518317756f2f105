// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/error.h"
#include "core/format/text_line_reader.h"
#include "testing/environment.h"
#include "testing/fake_source.h"
#include "testing/random.h"
#include "testing/record_formats.h"
#include "testing/string_sink.h"

namespace pipemode {
namespace {

using ::pipemode::testing::FakeScript;
using ::pipemode::testing::MakeSource;
using ::pipemode::testing::Random;
using ::pipemode::testing::ReadOutcome;
using ::pipemode::testing::ReadRecords;
using ::pipemode::testing::Records;
using ::pipemode::testing::StringSink;

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

// What the options say, line by line.
Records Expected(const std::string& bytes, const TextOptions& text) {
  Records lines;
  std::istringstream stream(bytes);
  for (std::string line; std::getline(stream, line);) {
    if (text.strip_carriage_return && !line.empty() && line.back() == '\r') line.pop_back();
    lines.push_back(line);
  }
  const auto header_end = lines.begin() + static_cast<std::ptrdiff_t>(std::min<uint64_t>(
                                              text.skip_header_lines, lines.size()));
  const Records header(lines.begin(), header_end);
  lines.erase(lines.begin(), header_end);
  if (!text.repeated_header || header.size() < text.skip_header_lines) return lines;
  for (auto at = lines.begin();;) {
    at = std::search(at, lines.end(), header.begin(), header.end());
    if (at == lines.end()) return lines;
    at = lines.erase(at, at + static_cast<std::ptrdiff_t>(header.size()));
  }
}

TEST(TextLineTest, DropsHeadersAndCarriageReturns) {
  const auto read = [](const std::string& bytes, const TextOptions& text) {
    StreamOptions options;
    options.format = RecordFormat::kTextLine;
    options.text = text;
    const ReadOutcome outcome = ReadRecords(MakeSource(bytes), options);
    EXPECT_EQ(outcome.error, "");
    return outcome.records;
  };
  EXPECT_EQ(read("h\n1\nh\n2\n", {1, false, false}), (Records{"1", "h", "2"}));
  EXPECT_EQ(read("h\n1\nh\n2\n", {1, true, false}), (Records{"1", "2"}));
  EXPECT_EQ(read("h\r\n1\r\nh\n2\r", {1, true, true}), (Records{"1", "2"}));
  EXPECT_EQ(read("a\r\n\r\r\nb\rc\n\r", {0, false, true}), (Records{"a", "\r", "b\rc", ""}));
  EXPECT_EQ(read("a\nb\n1\na\nb\n2\nb\n", {2, true, false}), (Records{"1", "2", "b"}));
  // Only the whole header goes, in its order.
  EXPECT_EQ(read("a\n\n1\n\n2\n\na\n3\na\n\n4\n", {2, true, false}),
            (Records{"1", "", "2", "", "a", "3", "4"}));
  EXPECT_EQ(read("a\nb\n1\nb\na\n2\na\na\nb\n3\n", {2, true, false}),
            (Records{"1", "b", "a", "2", "a", "3"}));
  EXPECT_EQ(read("a\na\nb\na\na\na\nb\nx", {3, true, false}), (Records{"a", "x"}));
  EXPECT_EQ(read("a\na\na\na\na", {2, true, false}), Records{"a"});
  EXPECT_EQ(read("a\nb\nc\n1\na\nb", {3, true, false}), (Records{"1", "a", "b"}));
  EXPECT_EQ(read("a\nb\n1\na\nb", {2, true, false}), Records{"1"});
  // The end of an object that lacks its newline is one line with the next header.
  EXPECT_EQ(read("h\n1h\n2\n", {1, true, false}), (Records{"1h", "2"}));
  EXPECT_EQ(read("only the header", {1, true, false}), Records{});
  EXPECT_EQ(read("too\nfew", {3, false, false}), Records{});
  EXPECT_EQ(read("", {1, true, true}), Records{});
}

TEST(TextLineTest, TheBeginningOfAHeaderComesBeforeAnError) {
  StreamOptions options;
  options.format = RecordFormat::kTextLine;
  options.text = {3, true, false};
  options.max_record_bytes = 3;
  const std::string bytes = "a\nb\nc\n1\na\nb\n";
  ReadOutcome outcome = ReadRecords(MakeSource(bytes + "long\n"), options);
  EXPECT_EQ(outcome.records, (Records{"1", "a", "b"}));
  EXPECT_TRUE(outcome.data_loss);
  FakeScript script;
  script.fail_at = bytes.size();
  script.fail = [] { throw DataLossError("broken"); };
  outcome = ReadRecords(MakeSource(bytes, script), options);
  EXPECT_EQ(outcome.records, (Records{"1", "a", "b"}));
  EXPECT_TRUE(outcome.data_loss);
}

TEST(TextLineTest, HeadersAndCarriageReturnsWhereverTheBufferEnds) {
  Random random(3);
  const int rounds = testing::kSanitized ? 1'000 : 10'000;
  for (int round = 0; round < rounds; ++round) {
    StreamOptions options;
    options.format = RecordFormat::kTextLine;
    options.text.skip_header_lines = random.Below(4);
    options.text.repeated_header = options.text.skip_header_lines > 0 && random.OneIn(2);
    options.text.strip_carriage_return = random.OneIn(2);
    const size_t capacity = RecordReader::kMinInputBytes + random.Below(60);
    std::string bytes;
    for (size_t line = random.Below(20), number = 0; line > 0; --line, ++number) {
      // Few letters, so that lines come again; some longer than the buffer.
      const bool is_header = number < options.text.skip_header_lines;
      size_t size = random.Below(is_header || random.OneIn(2) ? 3 : 200);
      for (; size > 0; --size) bytes += random.OneIn(3) ? '\r' : 'x';
      if (line > 1 || random.OneIn(2)) bytes += '\n';
    }
    FakeScript script;
    script.chunks = {1 + random.Below(100)};
    script.cancel_each = random.OneIn(2);
    const Records expected = Expected(bytes, options.text);
    BufferedReader input(MakeSource(bytes, script), capacity);
    const auto reader = MakeRecordReader(options, &input);
    Records records;
    StringSink sink;
    std::vector<std::string_view> views;
    for (bool ended = false; !ended;) {
      views.clear();
      reader->TakeBuffered(random.Below(4), &views);
      records.insert(records.end(), views.begin(), views.end());
      try {
        const bool skips = random.OneIn(4);
        ended = skips ? !reader->Skip() : !reader->Read(sink);
        if (!ended) records.push_back(skips ? "skipped" : sink.record());
      } catch (const CancelledError&) {
        continue;
      } catch (const DataLossError& error) {
        // A long line may be half read by then.
        ASSERT_TRUE(script.cancel_each) << error.what();
        break;
      }
    }
    if (script.cancel_each && records.size() < expected.size()) continue;
    ASSERT_EQ(records.size(), expected.size()) << "round " << round;
    for (size_t i = 0; i < records.size(); ++i) {
      ASSERT_TRUE(records[i] == "skipped" || records[i] == expected[i]) << "round " << round;
    }
  }
}

TEST(TextLineTest, AHeaderTooLongToBeRecognisedIsAnError) {
  StreamOptions options;
  options.format = RecordFormat::kTextLine;
  options.text.skip_header_lines = 1;
  const std::string bytes = std::string(100, 'h') + "\none\n";
  EXPECT_EQ(ReadRecords(MakeSource(bytes), options, 64).records, Records{"one"});
  options.text.repeated_header = true;
  EXPECT_EQ(ReadRecords(MakeSource(bytes), options, 101).records, Records{"one"});
  const ReadOutcome outcome = ReadRecords(MakeSource(bytes), options, 64);
  EXPECT_TRUE(outcome.data_loss);
  EXPECT_NE(outcome.error.find("too long to be recognised by repeated_header"), std::string::npos);
}

TEST(TextLineTest, TheLimitCountsWhatIsLeft) {
  StreamOptions options;
  options.format = RecordFormat::kTextLine;
  options.text.strip_carriage_return = true;
  options.max_record_bytes = 3;
  EXPECT_EQ(ReadRecords(MakeSource("abc\r\n"), options).records, Records{"abc"});
  EXPECT_TRUE(ReadRecords(MakeSource("abcd\r\n"), options).data_loss);
}

}  // namespace
}  // namespace pipemode
