// SPDX-License-Identifier: Apache-2.0
#include "core/writer/record_encoder.h"

#include <algorithm>
#include <cstdint>

#include "core/base/byte_order.h"
#include "core/base/error.h"
#include "core/format/crc32c.h"

namespace pipemode {
namespace {

void AppendU32(uint32_t value, std::string* out) {
  char bytes[sizeof(value)];
  StoreLittleEndian32(value, bytes);
  out->append(bytes, sizeof(bytes));
}

void AppendTfRecord(std::string_view record, std::string* out) {
  char length[kTfRecordLengthBytes];
  StoreLittleEndian64(record.size(), length);
  out->append(length, sizeof(length));
  AppendU32(MaskCrc(Crc32cOfUint64(record.size())), out);
  out->append(record);
  AppendU32(MaskCrc(Crc32c(record.data(), record.size())), out);
}

void AppendPart(RecordIoFlag flag, std::string_view part, std::string* out) {
  AppendU32(kRecordIoMagic, out);
  AppendU32(static_cast<uint32_t>(flag) << kRecordIoFlagShift | static_cast<uint32_t>(part.size()),
            out);
  out->append(part);
  out->append(PadToFour(part.size()) - part.size(), '\0');
}

// Parts of equal size, nothing dropped.
void AppendJoined(std::string_view record, size_t max_part_bytes, std::string* out) {
  RecordIoFlag flag = RecordIoFlag::kFirst;
  if (record.size() <= max_part_bytes) {
    AppendPart(RecordIoFlag::kWhole, record, out);
    return;
  }
  while (record.size() > max_part_bytes) {
    AppendPart(flag, record.substr(0, max_part_bytes), out);
    record.remove_prefix(max_part_bytes);
    flag = RecordIoFlag::kMiddle;
  }
  AppendPart(RecordIoFlag::kLast, record, out);
}

// As dmlc-core does: split where the payload holds the magic at a multiple of four bytes, and drop
// it there.
void AppendDmlc(std::string_view record, std::string* out) {
  if (record.size() > kRecordIoMaxPartBytes) {
    throw InvalidArgumentError("a dmlc RecordIO record holds less than 2^29 bytes, not " +
                               std::to_string(record.size()));
  }
  size_t begin = 0;
  for (size_t at = 0; at + kRecordIoMagicBytes <= record.size(); at += kRecordIoMagicBytes) {
    if (LoadLittleEndian32(record.data() + at) != kRecordIoMagic) continue;
    AppendPart(begin == 0 ? RecordIoFlag::kFirst : RecordIoFlag::kMiddle,
               record.substr(begin, at - begin), out);
    begin = at + kRecordIoMagicBytes;
  }
  AppendPart(begin == 0 ? RecordIoFlag::kWhole : RecordIoFlag::kLast, record.substr(begin), out);
}

}  // namespace

RecordEncoder::RecordEncoder(const EncoderOptions& options) : options_(options) {
  if (options.recordio_max_part_bytes == 0 ||
      options.recordio_max_part_bytes > kRecordIoMaxPartBytes) {
    throw InvalidArgumentError("recordio_max_part_bytes must be 1 to " +
                               std::to_string(kRecordIoMaxPartBytes) + ", not " +
                               std::to_string(options.recordio_max_part_bytes));
  }
}

void RecordEncoder::Append(std::string_view record, std::string* out) const {
  switch (options_.format) {
    case RecordFormat::kTfRecord:
      AppendTfRecord(record, out);
      return;
    case RecordFormat::kTextLine:
      if (record.find('\n') != std::string_view::npos) {
        throw InvalidArgumentError("a text line cannot hold a newline");
      }
      out->append(record);
      out->push_back('\n');
      return;
    case RecordFormat::kRecordIo:
      if (options_.recordio_parts == RecordIoParts::kDmlc) {
        AppendDmlc(record, out);
      } else {
        AppendJoined(record, options_.recordio_max_part_bytes, out);
      }
      return;
  }
}

}  // namespace pipemode
