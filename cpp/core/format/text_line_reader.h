// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_CORE_FORMAT_TEXT_LINE_READER_H_
#define PIPEMODE_CORE_FORMAT_TEXT_LINE_READER_H_

#include "core/format/record_reader.h"

namespace pipemode {

// Lines that end with '\n', which is not part of the record; '\r' is. A last line without '\n' is a
// record too.
class TextLineReader final : public RecordReader {
 public:
  TextLineReader(BufferedReader* input, uint64_t max_record_bytes)
      : RecordReader(input, max_record_bytes) {}

  void TakeBuffered(size_t max, std::vector<std::string_view>* records) override;

 private:
  bool Next(RecordSink* sink) override;
};

}  // namespace pipemode

#endif  // PIPEMODE_CORE_FORMAT_TEXT_LINE_READER_H_
