// SPDX-License-Identifier: Apache-2.0
//
// What is in a stream, as a user names it. docs/formats.md describes the bytes.
#ifndef PIPEMODE_CORE_FORMAT_RECORD_FORMAT_H_
#define PIPEMODE_CORE_FORMAT_RECORD_FORMAT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/io/inflate_source.h"

namespace pipemode {

enum class RecordFormat { kRecordIo, kTfRecord, kTextLine };

// How the parts of one multi-part RecordIO record are joined. The bytes do not tell.
enum class RecordIoParts {
  kJoined,  // as they are
  kDmlc,    // with the magic number between them, which the dmlc writer dropped there
};

inline constexpr uint64_t kDefaultMaxRecordBytes = uint64_t{1} << 30;

// What TextLine takes for a record.
struct TextOptions {
  // How many lines at the beginning of the stream are dropped.
  uint64_t skip_header_lines = 0;
  // Whether these lines are dropped wherever all of them come again, one after the other.
  bool repeated_header = false;
  // Whether '\r' at the end of a line is dropped, too.
  bool strip_carriage_return = false;
};

// The service sends no more.
inline constexpr size_t kMaxAttributes = 16;

struct StreamOptions {
  RecordFormat format = RecordFormat::kRecordIo;
  Compression compression = Compression::kNone;
  RecordIoParts recordio_parts = RecordIoParts::kJoined;
  // The attributes of each line of an augmented manifest, in the order in which they come: so many
  // records in a row belong together. Empty: each record stands for itself.
  std::vector<std::string> attributes;
  TextOptions text;
  // Whether a stream is one record, whatever is in it, as the service makes one of each object with
  // RecordWrapperType; RecordIO only.
  bool is_one_record = false;
  // A longer record is an error.
  uint64_t max_record_bytes = kDefaultMaxRecordBytes;
  // How many records in a row may fail their payload CRC and be dropped before that is an error.
  uint64_t max_corrupted_records_to_skip = 0;
};

// How many records belong together: 1, or the number of attributes.
inline size_t RecordsInLine(const StreamOptions& options) noexcept {
  return options.attributes.empty() ? 1 : options.attributes.size();
}

// Throws InvalidArgumentError if an option is not valid, or not valid for the format.
void CheckStreamOptions(const StreamOptions& options);

// Names compare without case. Each throws InvalidArgumentError that lists the names there are.
RecordFormat ParseRecordFormat(std::string_view name);    // "RecordIO", "TFRecord", "TextLine"
Compression ParseCompression(std::string_view name);      // "" or "NONE", "GZIP", "ZLIB", "AUTO"
RecordIoParts ParseRecordIoParts(std::string_view name);  // "joined", "dmlc"

// The name of `format`, spelled as above.
const char* FormatName(RecordFormat format);

}  // namespace pipemode

#endif  // PIPEMODE_CORE_FORMAT_RECORD_FORMAT_H_
