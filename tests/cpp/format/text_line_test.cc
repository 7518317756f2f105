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
#include "core/format/content.h"
#include "core/format/text_line_reader.h"
#include "testing/deflate.h"
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

Records ReadLines(const std::string& bytes, size_t chunk = SIZE_MAX,
                  size_t capacity = BufferedReader::kDefaultCapacity) {
  StreamOptions options;
  options.format = RecordFormat::kTextLine;
  const ReadOutcome outcome = ReadRecords(MakeSource(bytes, chunk), options, capacity);
  EXPECT_EQ(outcome.error, "");
  return outcome.records;
}

TEST(TextLineTest, LinesEndWithANewline) {
  EXPECT_EQ(ReadLines("one\ntwo\n"), (Records{"one", "two"}));
  EXPECT_EQ(ReadLines("\n"), Records{""});
  EXPECT_EQ(ReadLines("\n\n\n"), (Records{"", "", ""}));
  EXPECT_EQ(ReadLines("a\n\nb\n"), (Records{"a", "", "b"}));
}

TEST(TextLineTest, TheLastLineNeedsNone) {
  EXPECT_EQ(ReadLines("one\ntwo"), (Records{"one", "two"}));
  EXPECT_EQ(ReadLines("one"), Records{"one"});
  EXPECT_EQ(ReadLines("\nx"), (Records{"", "x"}));
}

TEST(TextLineTest, EveryOtherByteIsKept) {
  std::string bytes;
  for (int byte = 0; byte < 256; ++byte) {
    if (byte != '\n') bytes += static_cast<char>(byte);
  }
  EXPECT_EQ(ReadLines(bytes + "\n" + bytes), (Records{bytes, bytes}));
  EXPECT_EQ(ReadLines("carriage return\r\n\r\n"), (Records{"carriage return\r", "\r"}));
}

TEST(TextLineTest, AgreesWithGetline) {
  Random random(1);
  const int rounds = testing::kSanitized ? 500 : 5'000;
  for (int round = 0; round < rounds; ++round) {
    std::string bytes = random.Bytes(random.Below(300));
    for (char& byte : bytes) {
      if (random.OneIn(1 + random.Below(60))) byte = '\n';
    }
    if (MayBeCompressed(bytes.substr(0, 3))) continue;
    Records expected;
    std::istringstream stream(bytes);
    for (std::string line; std::getline(stream, line);) expected.push_back(line);
    const size_t chunk = 1 + random.Below(100);
    const size_t capacity = RecordReader::kMinInputBytes + random.Below(100);
    ASSERT_EQ(ReadLines(bytes, chunk, capacity), expected) << "round " << round;
  }
}

TEST(TextLineTest, LinesThatEndWhereTheBufferEndsComeBack) {
  constexpr size_t kCapacity = 64;
  for (size_t before = 0; before < 3 * kCapacity; ++before) {
    const Records expected = {std::string(before, 'x'), std::string(kCapacity, 'y'), "", "z"};
    std::string bytes;
    for (const std::string& line : expected) bytes += line + "\n";
    for (const size_t chunk : {size_t{1}, size_t{63}, size_t{64}, size_t{65}, SIZE_MAX}) {
      ASSERT_EQ(ReadLines(bytes, chunk, kCapacity), expected) << before;
      // Without the last newline.
      ASSERT_EQ(ReadLines(bytes.substr(0, bytes.size() - 1), chunk, kCapacity), expected) << before;
    }
  }
}

constexpr std::string_view kMark = "\xef\xbb\xbf";

std::string WithoutMark(const std::string& line) {
  return line.substr(line.compare(0, kMark.size(), kMark) == 0 ? kMark.size() : 0);
}

// Whether `header`, which is kept without a mark, begins at `at`.
bool IsHeader(const Records& lines, size_t at, const Records& header) {
  if (header.size() > lines.size() - at || WithoutMark(lines[at]) != header[0]) return false;
  return std::equal(header.begin() + 1, header.end(),
                    lines.begin() + static_cast<std::ptrdiff_t>(at) + 1);
}

// What the options say, line by line; of several streams, one after the other.
Records Expected(const std::vector<std::string>& streams, const TextOptions& text) {
  Records all;
  Records header;
  for (const std::string& bytes : streams) {
    Records lines;
    std::istringstream stream(bytes);
    for (std::string line; std::getline(stream, line);) {
      if (text.strip_carriage_return && !line.empty() && line.back() == '\r') line.pop_back();
      lines.push_back(line);
    }
    size_t at = 0;
    if (text.repeated_header) {
      for (; at < lines.size() && header.size() < text.skip_header_lines; ++at) {
        header.push_back(header.empty() ? WithoutMark(lines[at]) : lines[at]);
      }
    } else {
      at = std::min<size_t>(text.skip_header_lines, lines.size());
    }
    while (at < lines.size()) {
      if (text.repeated_header && IsHeader(lines, at, header)) {
        at += header.size();
      } else {
        all.push_back(lines[at++]);
      }
    }
  }
  return all;
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

TEST(TextLineTest, AHeaderMayComeWithAByteOrderMark) {
  const auto read = [](const std::string& bytes, uint64_t header_lines, bool repeated = true) {
    StreamOptions options;
    options.format = RecordFormat::kTextLine;
    options.text = {header_lines, repeated, false};
    const ReadOutcome outcome = ReadRecords(MakeSource(bytes), options);
    EXPECT_EQ(outcome.error, "");
    return outcome.records;
  };
  const std::string mark(kMark);
  for (const std::string& first : {std::string(), mark}) {
    for (const std::string& other : {std::string(), mark}) {
      EXPECT_EQ(read(first + "h\n1\n" + other + "h\n2\n", 1), (Records{"1", "2"}));
      EXPECT_EQ(read(first + "a\nb\n1\n" + other + "a\nb\n2\n", 2), (Records{"1", "2"}));
      // What turns out to be no header keeps its mark.
      EXPECT_EQ(read(first + "a\nb\n1\n" + other + "a\n2", 2), (Records{"1", other + "a", "2"}));
      EXPECT_EQ(read(first + "a\nb\n" + other + "a", 2), Records{other + "a"});
      EXPECT_EQ(read(first + "a\na\n" + other + "a\n" + mark + "a\na\n", 2), Records{other + "a"});
      EXPECT_EQ(read(first + "h\n" + other + "h\n", 1, false), Records{other + "h"});
    }
  }
  // Of data it is a part, and one only is dropped.
  EXPECT_EQ(read("h\n" + mark + "1\n" + mark + mark + "h\n", 1),
            (Records{mark + "1", mark + mark + "h"}));
  EXPECT_EQ(read("a\nb\n1\na\n" + mark + "b\n", 2), (Records{"1", "a", mark + "b"}));
  // What begins with the second line of a header that has a mark there.
  EXPECT_EQ(read("h\n" + mark + "h\ni\n1\nh\n" + mark + "h\n" + mark + "h\ni\n2", 3),
            (Records{"1", "h", "2"}));
  EXPECT_EQ(read("h\n" + mark + "h\ni\nh\n" + mark + "h\n3\n", 3), (Records{"h", mark + "h", "3"}));
  EXPECT_EQ(read("h\n" + mark + "h\ni\nh\n" + mark + "h\n" + mark + "h\n4", 3),
            (Records{"h", mark + "h", mark + "h", "4"}));
  // A header that is nothing but a mark is an empty line.
  EXPECT_EQ(read(mark + "\n1\n\n2\n", 1), (Records{"1", "2"}));
}

TEST(TextLineTest, AHeaderIsCarriedFromStreamToStream) {
  Random random(4);
  const int rounds = testing::kSanitized ? 1'000 : 10'000;
  for (int round = 0; round < rounds; ++round) {
    StreamOptions options;
    options.format = RecordFormat::kTextLine;
    options.text.skip_header_lines = 1 + random.Below(3);
    options.text.repeated_header = true;
    options.text.strip_carriage_return = random.OneIn(2);
    std::vector<std::string> streams(1 + random.Below(4));
    for (std::string& bytes : streams) {
      for (size_t line = random.Below(12); line > 0; --line) {
        if (random.OneIn(4)) bytes += kMark;
        bytes += std::vector<std::string>{"", "h", "i", "h\r"}[random.Below(4)];
        if (line > 1 || random.OneIn(2)) bytes += '\n';
      }
    }
    Records header;
    Records records;
    for (const std::string& bytes : streams) {
      FakeScript script;
      script.chunks = {1 + random.Below(20)};
      script.cancel_each = random.OneIn(2);
      BufferedReader input(MakeSource(bytes, script));
      const auto reader = MakeRecordReader(options, &input, &header);
      StringSink sink;
      std::vector<std::string_view> views;
      for (bool ended = false; !ended;) {
        views.clear();
        reader->TakeBuffered(random.Below(4), &views);
        records.insert(records.end(), views.begin(), views.end());
        try {
          ended = !reader->Read(sink);
          if (!ended) records.push_back(sink.record());
        } catch (const CancelledError&) {
          continue;
        }
      }
    }
    ASSERT_EQ(records, Expected(streams, options.text))
        << "round " << round << ": " << ::testing::PrintToString(streams);
  }
}

TEST(TextLineTest, CompressedTextIsRefused) {
  for (const Compression compression : {Compression::kGzip, Compression::kZlib}) {
    testing::DeflateOptions deflate;
    deflate.compression = compression;
    const std::string bytes = testing::Deflate("some lines\nof text\n", deflate);
    for (const size_t chunk : {size_t{1}, size_t{5}, SIZE_MAX}) {
      StreamOptions options;
      options.format = RecordFormat::kTextLine;
      const ReadOutcome outcome = ReadRecords(MakeSource(bytes, chunk), options);
      EXPECT_EQ(outcome.records, Records{});
      EXPECT_TRUE(outcome.data_loss);
      EXPECT_NE(outcome.error.find(compression == Compression::kGzip ? "begins like gzip"
                                                                     : "begins like zlib"),
                std::string::npos)
          << outcome.error;
    }
  }
  EXPECT_EQ(ReadLines("x^2\nx y\n", 1), (Records{"x^2", "x y"}));
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
      if (random.OneIn(4)) bytes += kMark;
      for (; size > 0; --size) bytes += random.OneIn(3) ? '\r' : 'x';
      if (line > 1 || random.OneIn(2)) bytes += '\n';
    }
    FakeScript script;
    script.chunks = {1 + random.Below(100)};
    script.cancel_each = random.OneIn(2);
    const Records expected = Expected({bytes}, options.text);
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
