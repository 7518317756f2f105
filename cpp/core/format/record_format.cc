// SPDX-License-Identifier: Apache-2.0
#include "core/format/record_format.h"

#include <strings.h>

#include <string>

#include "core/base/error.h"

namespace pipemode {
namespace {

bool EqualsIgnoringCase(std::string_view a, std::string_view b) {
  return a.size() == b.size() && ::strncasecmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace

RecordFormat ParseRecordFormat(std::string_view name) {
  if (EqualsIgnoringCase(name, "RecordIO")) return RecordFormat::kRecordIo;
  if (EqualsIgnoringCase(name, "TFRecord")) return RecordFormat::kTfRecord;
  if (EqualsIgnoringCase(name, "TextLine")) return RecordFormat::kTextLine;
  throw InvalidArgumentError("record_format '" + std::string(name) +
                             "' is not one of 'RecordIO', 'TFRecord', 'TextLine'");
}

Compression ParseCompression(std::string_view name) {
  if (name.empty() || EqualsIgnoringCase(name, "NONE")) return Compression::kNone;
  if (EqualsIgnoringCase(name, "GZIP")) return Compression::kGzip;
  if (EqualsIgnoringCase(name, "ZLIB")) return Compression::kZlib;
  throw InvalidArgumentError("compression_type '" + std::string(name) +
                             "' is not one of '' (none), 'GZIP', 'ZLIB'");
}

RecordIoParts ParseRecordIoParts(std::string_view name) {
  if (EqualsIgnoringCase(name, "joined")) return RecordIoParts::kJoined;
  if (EqualsIgnoringCase(name, "dmlc")) return RecordIoParts::kDmlc;
  throw InvalidArgumentError("recordio_parts '" + std::string(name) +
                             "' is not one of 'joined', 'dmlc'");
}

}  // namespace pipemode
