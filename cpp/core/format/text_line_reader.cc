// SPDX-License-Identifier: Apache-2.0
#include "core/format/text_line_reader.h"

#include <cstring>
#include <utility>

#include "core/base/error.h"

namespace pipemode {
namespace {

// U+FEFF in UTF-8, as some programs begin a text with it.
constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

bool HasMark(std::string_view line) {
  return line.substr(0, kByteOrderMark.size()) == kByteOrderMark;
}

std::string_view WithoutMark(std::string_view line) {
  if (HasMark(line)) line.remove_prefix(kByteOrderMark.size());
  return line;
}

}  // namespace

TextLineReader::TextLineReader(BufferedReader* input, uint64_t max_record_bytes,
                               const TextOptions& options, std::vector<std::string>* header)
    : RecordReader(input, max_record_bytes),
      options_(options),
      header_lines_left_(options.skip_header_lines),
      header_(header != nullptr ? *header : own_header_),
      header_lines_before_(header_.size()) {
  if (!options.repeated_header) return;
  header_lines_left_ -= header_.size();
  FindBorders();
}

bool TextLineReader::Next(RecordSink* sink) {
  if (!start_checked_) CheckStart();
  if (header_lines_left_ > 0) {
    try {
      if (!SkipHeader()) return false;
    } catch (const CancelledError&) {
      throw;
    } catch (...) {
      // The next stream begins with a header, not with the rest of this one.
      header_.resize(header_lines_before_);
      throw;
    }
  }
  for (;;) {
    if (owed_ > 0) {
      BeginRecord();
      const std::string_view line = NextOwed();
      if (sink != nullptr) std::memcpy(sink->Resize(line.size()), line.data(), line.size());
      return true;
    }
    if (failure_) std::rethrow_exception(failure_);
    bool found = false;
    bool is_held = false;
    try {
      found = NextLine(sink, &is_held);
    } catch (const CancelledError&) {
      throw;
    } catch (...) {
      if (held_ == 0) throw;
      failure_ = std::current_exception();
    }
    if (found && !is_held) return true;
    if (found) continue;
    if (held_ == 0) return false;
    LetGo(0);  // a header that does not come to its end is none
  }
}

// Returns false if the stream ends there. After CancelledError it may be called again.
bool TextLineReader::SkipHeader() {
  for (; header_lines_left_ > 0; --header_lines_left_) {
    if (!options_.repeated_header) {
      bool is_held = false;
      if (!NextLine(nullptr, &is_held)) return false;
      continue;
    }
    BeginRecord();
    size_t length = 0;
    bool complete = false;
    while (!complete) {
      const std::string_view buffered = input_.buffered();
      const size_t newline = buffered.find('\n', length);
      complete = newline != std::string_view::npos;
      length = complete ? newline : buffered.size();
      if (complete) break;
      if (length == input_.capacity()) {
        throw DataLossError("a header line is longer than " + std::to_string(length) +
                            " bytes, too long to be recognised by repeated_header");
      }
      if (!input_.Fill(length + 1)) break;
    }
    if (!complete && length == 0) return false;
    CheckSize(length);
    const std::string_view line = Stripped(input_.buffered().substr(0, length));
    header_.emplace_back(header_.empty() ? WithoutMark(line) : line);
    input_.Consume(length + (complete ? 1 : 0));
  }
  FindBorders();
  return true;
}

// That of Knuth, Morris and Pratt: how many of the first lines stand at the end of the first n + 1,
// too.
void TextLineReader::FindBorders() {
  // Only as the first line may one come with a mark.
  const auto fits = [this](size_t n, size_t at) {
    return header_[at] == (at == 0 ? WithoutMark(header_[n]) : header_[n]);
  };
  borders_.assign(header_.size(), 0);
  for (size_t n = 1; n < header_.size(); ++n) {
    size_t border = borders_[n - 1];
    while (border > 0 && !fits(n, border)) border = borders_[border - 1];
    borders_[n] = border + (fits(n, border) ? 1 : 0);
  }
}

bool TextLineReader::Hold(std::string_view line) {
  if (held_ == 0) {
    if (header_[0] != WithoutMark(line)) return false;
    held_has_mark_ = HasMark(line);
  } else if (header_[held_] != line) {
    return false;
  }
  if (++held_ == header_.size()) held_ = 0;
  return true;
}

void TextLineReader::LetGo(size_t border) {
  owed_ = std::exchange(held_, border) - border;
  owed_has_mark_ = std::exchange(held_has_mark_, border > 0 && HasMark(header_[owed_]));
}

std::string_view TextLineReader::NextOwed() {
  std::string_view line = header_[next_owed_++];
  if (std::exchange(owed_has_mark_, false)) {
    marked_line_.assign(kByteOrderMark).append(line);
    line = marked_line_;
  }
  if (--owed_ == 0) next_owed_ = 0;
  return line;
}

bool TextLineReader::NextLine(RecordSink* sink, bool* is_held) {
  BeginRecord();
  size_t size = 0;     // bytes of the line that are in the sink already
  size_t scanned = 0;  // buffered bytes known to hold no newline
  for (;;) {
    const std::string_view buffered = input_.buffered();
    const void* newline = std::memchr(buffered.data() + scanned, '\n', buffered.size() - scanned);
    bool complete = newline != nullptr;
    size_t length = buffered.size();
    if (complete) {
      length = static_cast<size_t>(static_cast<const char*>(newline) - buffered.data());
    } else if (buffered.size() < input_.capacity()) {
      if (input_.Fill(buffered.size() + 1)) {
        scanned = length;
        continue;
      }
      if (size == 0 && length == 0) return false;
      complete = true;  // the last line, without a newline
    }
    // Of a line in pieces, '\r' at the end of a piece waits in the buffer for what comes next.
    const std::string_view piece = Stripped(input_.buffered().substr(0, length));
    *is_held = size == 0 && complete && !header_.empty() && Hold(piece);
    if (!*is_held) {
      if (held_ > 0) {
        LetGo(borders_[held_ - 1]);
        *is_held = true;
        return true;
      }
      CheckSize(uint64_t{size} + piece.size());
      if (sink != nullptr) {
        std::memcpy(sink->Resize(size + piece.size()) + size, piece.data(), piece.size());
      }
    }
    size += piece.size();
    if (complete) {
      input_.Consume(length + (newline != nullptr ? 1 : 0));
      EndParts();
      return true;
    }
    input_.Consume(piece.size());
    scanned = length - piece.size();
    BeginParts();
  }
}

void TextLineReader::TakeBuffered(size_t max, std::vector<std::string_view>* records) {
  const std::string_view buffered = input_.buffered();
  if (header_lines_left_ > 0 || !start_checked_) return;
  size_t at = 0;
  while (max > 0) {
    if (owed_ > 0) {
      records->push_back(NextOwed());
      --max;
      continue;
    }
    if (at == buffered.size() || failure_) break;
    const char* const begin = buffered.data() + at;
    const void* const newline = std::memchr(begin, '\n', buffered.size() - at);
    if (newline == nullptr) break;
    const auto length = static_cast<size_t>(static_cast<const char*>(newline) - begin);
    const std::string_view line = Stripped({begin, length});
    if (header_.empty() || !Hold(line)) {
      if (held_ > 0) {
        LetGo(borders_[held_ - 1]);
        continue;
      }
      if (!MayTake(line.size())) break;
      records->push_back(line);
      --max;
    }
    at += length + 1;
  }
  input_.Consume(at);
}

std::string_view TextLineReader::Stripped(std::string_view line) const {
  if (options_.strip_carriage_return && !line.empty() && line.back() == '\r') {
    line.remove_suffix(1);
  }
  return line;
}

// Any bytes make lines, so compressed text would pass for records.
void TextLineReader::CheckStart() {
  BeginRecord();
  while (MayBeCompressed(input_.buffered()) && input_.buffered().size() < kContentHeadBytes &&
         input_.Fill(input_.buffered().size() + 1)) {
  }
  const Content content = StartContent();
  if (content == Content::kGzip || content == Content::kZlib) {
    throw DataLossError(HintFor(Content::kText));
  }
  start_checked_ = true;
}

}  // namespace pipemode
