// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_CORE_FORMAT_TEXT_LINE_READER_H_
#define PIPEMODE_CORE_FORMAT_TEXT_LINE_READER_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/format/record_reader.h"

namespace pipemode {

// Lines that end with '\n', which is not part of the record; '\r' is, unless the options say
// otherwise. A last line without '\n' is a record too.
class TextLineReader final : public RecordReader {
 public:
  TextLineReader(BufferedReader* input, uint64_t max_record_bytes, const TextOptions& options = {})
      : RecordReader(input, max_record_bytes),
        options_(options),
        header_lines_left_(options.skip_header_lines) {}

  void TakeBuffered(size_t max, std::vector<std::string_view>* records) override;

 private:
  bool Next(RecordSink* sink) override;
  bool SkipHeader();
  // Reads a line that is no header. Returns false at the end of the stream. If the line is one of
  // the header and those are to be dropped, drops it and sets `is_header`.
  bool NextLine(RecordSink* sink, bool* is_header);
  bool IsHeader(std::string_view line) const;
  [[noreturn]] static void ThrowGzip();
  // Without the '\r' at its end, if that is to be dropped.
  std::string_view Stripped(std::string_view line) const;

  const TextOptions options_;
  uint64_t header_lines_left_;       // to be dropped at the beginning
  std::vector<std::string> header_;  // lines to be dropped later on
};

}  // namespace pipemode

#endif  // PIPEMODE_CORE_FORMAT_TEXT_LINE_READER_H_
