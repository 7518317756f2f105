// SPDX-License-Identifier: Apache-2.0
#include "core/format/text_line_reader.h"

#include <cstring>

#include "core/base/error.h"

namespace pipemode {

bool TextLineReader::Next(RecordSink* sink) {
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
    if (size == 0 && LooksLikeGzip()) {
      throw DataLossError("the stream begins like gzip: pass compression_type='GZIP'");
    }
    CheckSize(uint64_t{size} + length);
    if (sink != nullptr) {
      std::memcpy(sink->Resize(size + length) + size, input_.buffered().data(), length);
    }
    input_.Consume(length + (newline != nullptr ? 1 : 0));
    size += length;
    scanned = 0;
    if (complete) {
      EndParts();
      return true;
    }
    BeginParts();
  }
}

void TextLineReader::TakeBuffered(size_t max, std::vector<std::string_view>* records) {
  const std::string_view buffered = input_.buffered();
  if (LooksLikeGzip()) return;
  size_t at = 0;
  for (; max > 0 && at < buffered.size(); --max) {
    const char* const line = buffered.data() + at;
    const void* const newline = std::memchr(line, '\n', buffered.size() - at);
    if (newline == nullptr) break;
    const auto length = static_cast<size_t>(static_cast<const char*>(newline) - line);
    if (!MayTake(length)) break;
    records->emplace_back(line, length);
    at += length + 1;
  }
  input_.Consume(at);
}

}  // namespace pipemode
