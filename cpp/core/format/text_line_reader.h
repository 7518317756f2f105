// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_CORE_FORMAT_TEXT_LINE_READER_H_
#define PIPEMODE_CORE_FORMAT_TEXT_LINE_READER_H_

#include <cstddef>
#include <cstdint>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include "core/format/record_reader.h"

namespace pipemode {

// Lines that end with '\n', which is not part of the record; '\r' is, unless the options say
// otherwise. A last line without '\n' is a record too.
class TextLineReader final : public RecordReader {
 public:
  // `header`: see MakeRecordReader. Unless it is complete, the first lines of the stream are taken
  // for the rest of it.
  TextLineReader(BufferedReader* input, uint64_t max_record_bytes, const TextOptions& options = {},
                 std::vector<std::string>* header = nullptr);

  void TakeBuffered(size_t max, std::vector<std::string_view>* records) override;

 private:
  bool Next(RecordSink* sink) override;
  bool SkipHeader();
  void FindBorders();
  // Reads a line. Returns false at the end of the stream. Sets `is_held`, and leaves the sink
  // alone, if the line may belong to a header and is held for that, or if it does not and such
  // lines before it are let go first.
  bool NextLine(RecordSink* sink, bool* is_held);
  // If `line` is the one of the header that is due, holds it, or drops all with the last one.
  bool Hold(std::string_view line);
  // What is held is not a header, or only its end, `border` lines, may be the beginning of one:
  // owes the rest.
  void LetGo(size_t border);
  std::string_view NextOwed();
  // Throws DataLossError if the stream is compressed.
  void CheckStart();
  // Without the '\r' at its end, if that is to be dropped.
  std::string_view Stripped(std::string_view line) const;

  const TextOptions options_;
  bool start_checked_ = false;
  uint64_t header_lines_left_;  // to be dropped at the beginning
  std::vector<std::string> own_header_;
  // Lines to be dropped where all of them come again; without the byte order mark that the first
  // one may have in any of its places.
  std::vector<std::string>& header_;
  const size_t header_lines_before_;  // that earlier streams have told
  std::vector<size_t> borders_;
  // Lines that came as the first ones of `header_`. Their bytes are gone, but they are the same.
  size_t held_ = 0;  // may be followed by the others
  size_t owed_ = 0;  // are not, and are records that come next
  size_t next_owed_ = 0;
  bool held_has_mark_ = false;  // the first line that is held came with a byte order mark
  bool owed_has_mark_ = false;
  std::string marked_line_;     // such a line, while it is owed
  std::exception_ptr failure_;  // comes behind those that are owed
};

}  // namespace pipemode

#endif  // PIPEMODE_CORE_FORMAT_TEXT_LINE_READER_H_
