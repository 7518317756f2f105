// SPDX-License-Identifier: Apache-2.0
#include "core/format/record_format.h"

#include <strings.h>

#include <algorithm>
#include <string>

#include "core/base/error.h"

namespace pipemode {
namespace {

bool EqualsIgnoringCase(std::string_view a, std::string_view b) {
  return a.size() == b.size() && ::strncasecmp(a.data(), b.data(), a.size()) == 0;
}

void CheckAttributes(const StreamOptions& options) {
  const std::vector<std::string>& names = options.attributes;
  if (names.empty()) return;
  if (options.format != RecordFormat::kRecordIo) {
    throw InvalidArgumentError(
        "attributes are of an augmented manifest, which comes as record_format 'RecordIO', and "
        "this one is '" +
        std::string(FormatName(options.format)) + "'");
  }
  if (names.size() > kMaxAttributes) {
    throw InvalidArgumentError("attributes are " + std::to_string(names.size()) +
                               " names, and the service sends " + std::to_string(kMaxAttributes) +
                               " at most");
  }
  for (auto name = names.begin(); name != names.end(); ++name) {
    if (name->empty()) throw InvalidArgumentError("attributes must not have an empty name");
    if (std::find(names.begin(), name, *name) != name) {
      throw InvalidArgumentError("attributes must not name '" + *name + "' twice");
    }
  }
}

}  // namespace

void CheckStreamOptions(const StreamOptions& options) {
  CheckAttributes(options);
  if (options.is_one_record && options.format != RecordFormat::kRecordIo) {
    throw InvalidArgumentError("a whole file is one record only with record_format 'RecordIO'");
  }
  const TextOptions& text = options.text;
  if (options.max_record_bytes == 0) {
    throw InvalidArgumentError("max_record_bytes must be positive");
  }
  if (text.repeated_header && text.skip_header_lines == 0) {
    throw InvalidArgumentError(
        "repeated_header needs skip_header_lines: how many lines the header has");
  }
  if (options.format == RecordFormat::kTextLine) return;
  if (text.skip_header_lines > 0 || text.repeated_header || text.strip_carriage_return) {
    throw InvalidArgumentError(
        "skip_header_lines, repeated_header and strip_carriage_return are for record_format "
        "'TextLine', and this one is '" +
        std::string(FormatName(options.format)) + "'");
  }
}

RecordFormat ParseRecordFormat(std::string_view name) {
  if (EqualsIgnoringCase(name, "RecordIO")) return RecordFormat::kRecordIo;
  if (EqualsIgnoringCase(name, "TFRecord")) return RecordFormat::kTfRecord;
  if (EqualsIgnoringCase(name, "TextLine")) return RecordFormat::kTextLine;
  throw InvalidArgumentError("record_format '" + std::string(name) +
                             "' is not one of 'RecordIO', 'TFRecord', 'TextLine'");
}

const char* FormatName(RecordFormat format) {
  switch (format) {
    case RecordFormat::kTfRecord:
      return "TFRecord";
    case RecordFormat::kTextLine:
      return "TextLine";
    case RecordFormat::kRecordIo:
      break;
  }
  return "RecordIO";
}

Compression ParseCompression(std::string_view name) {
  if (name.empty() || EqualsIgnoringCase(name, "NONE")) return Compression::kNone;
  if (EqualsIgnoringCase(name, "GZIP")) return Compression::kGzip;
  if (EqualsIgnoringCase(name, "ZLIB")) return Compression::kZlib;
  if (EqualsIgnoringCase(name, "AUTO")) return Compression::kAuto;
  throw InvalidArgumentError("compression_type '" + std::string(name) +
                             "' is not one of '' (none), 'GZIP', 'ZLIB', 'AUTO'");
}

RecordIoParts ParseRecordIoParts(std::string_view name) {
  if (EqualsIgnoringCase(name, "joined")) return RecordIoParts::kJoined;
  if (EqualsIgnoringCase(name, "dmlc")) return RecordIoParts::kDmlc;
  throw InvalidArgumentError("recordio_parts '" + std::string(name) +
                             "' is not one of 'joined', 'dmlc'");
}

}  // namespace pipemode
