// SPDX-License-Identifier: Apache-2.0
//
// Input: options (bit 1: lines of any size, bit 2: write and read back, bit 3: without '\r' at the
// end, bit 4: without the header wherever it comes again, bits 5 and 6: how many lines it has),
// chunking, stream.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/format/content.h"
#include "fuzz/check.h"
#include "fuzz/fuzz_input.h"
#include "fuzz/verdict.h"

namespace pipemode::fuzz {
namespace {

constexpr uint8_t kAnySize = 2;
constexpr uint8_t kWrite = 4;
constexpr uint8_t kStrip = 8;
constexpr uint8_t kRepeatedHeader = 16;
constexpr int kHeaderLinesShift = 5;

constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

std::string WithoutMark(const std::string& line) {
  return line.substr(
      line.compare(0, kByteOrderMark.size(), kByteOrderMark) == 0 ? kByteOrderMark.size() : 0);
}

// Whether all of `header` begins at `at`; its first line with or without a byte order mark.
bool IsHeader(const std::vector<std::optional<std::string>>& lines, size_t at,
              const std::vector<std::string>& header) {
  if (header.size() > lines.size() - at || WithoutMark(*lines[at]) != header[0]) return false;
  for (size_t n = 1; n < header.size(); ++n) {
    if (lines[at + n] != header[n]) return false;
  }
  return true;
}

// The lines of `text`, by the book.
Verdict Expected(std::string_view text, const TextOptions& options) {
  Verdict verdict;
  std::vector<std::string> header;
  uint64_t number = 0;
  while (!text.empty()) {
    const size_t newline = text.find('\n');
    std::string line(text.substr(0, newline));
    text.remove_prefix(newline == std::string_view::npos ? text.size() : newline + 1);
    if (options.strip_carriage_return && !line.empty() && line.back() == '\r') line.pop_back();
    if (number++ < options.skip_header_lines) {
      if (options.repeated_header) header.push_back(header.empty() ? WithoutMark(line) : line);
      continue;
    }
    verdict.records.emplace_back(line);
  }
  if (header.size() == options.skip_header_lines && !header.empty()) {
    for (size_t at = 0; at < verdict.records.size();) {
      if (IsHeader(verdict.records, at, header)) {
        const auto begin = verdict.records.begin() + static_cast<std::ptrdiff_t>(at);
        verdict.records.erase(begin, begin + static_cast<std::ptrdiff_t>(header.size()));
      } else {
        ++at;
      }
    }
  }
  return verdict;
}

}  // namespace
}  // namespace pipemode::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace pipemode;
  fuzz::FuzzInput input(data, size);
  const uint8_t flags = input.TakeByte();
  const uint8_t chunking_byte = input.TakeByte();
  const fuzz::Chunking chunking = fuzz::Chunking::FromByte(chunking_byte);
  StreamOptions options;
  options.format = RecordFormat::kTextLine;
  if ((flags & fuzz::kWrite) != 0) {
    fuzz::CheckRoundTrip(input.rest(), options, chunking_byte, chunking);
    return 0;
  }
  options.max_record_bytes = (flags & fuzz::kAnySize) != 0 ? UINT64_MAX : 40;
  options.text.strip_carriage_return = (flags & fuzz::kStrip) != 0;
  options.text.skip_header_lines = flags >> fuzz::kHeaderLinesShift & 3;
  options.text.repeated_header =
      options.text.skip_header_lines > 0 && (flags & fuzz::kRepeatedHeader) != 0;
  fuzz::CheckFormat(input.rest(), options, chunking);
  const Content content = ContentOf(input.rest());
  const bool is_compressed = content == Content::kGzip || content == Content::kZlib;
  if ((flags & fuzz::kAnySize) != 0 && !is_compressed) {
    constexpr size_t kCapacity = size_t{1} << 13;  // more than any input has
    fuzz::CheckSame(fuzz::ReadWithReader(input.rest(), options, kCapacity, chunking,
                                         fuzz::Method::kTakeBuffered),
                    fuzz::Expected(input.rest(), options.text), fuzz::Method::kRead, "by the book");
  }
  return 0;
}
