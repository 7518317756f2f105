// SPDX-License-Identifier: Apache-2.0
#include "core/format/tfrecord_reader.h"

#include <cstring>

#include "core/base/byte_order.h"
#include "core/base/error.h"
#include "core/format/crc32c.h"
#include "core/format/wire_format.h"

namespace pipemode {
namespace {

[[noreturn]] void ThrowCorruptPayload(size_t length) {
  throw CorruptRecordError("payload CRC mismatch in a record of " + std::to_string(length) +
                           " bytes");
}

}  // namespace

bool TFRecordReader::Next(RecordSink* sink) {
  BeginRecord();
  if (!input_.Fill(kTfRecordHeaderBytes)) {
    if (input_.buffered().empty()) return false;
    if (StartContent() != Content::kUnknown) ThrowBadLength();
    ThrowTruncated("a TFRecord header");
  }
  const char* header = input_.buffered().data();
  const uint64_t length64 = LoadLittleEndian64(header);
  if (LoadLittleEndian32(header + kTfRecordLengthBytes) != MaskCrc(Crc32cOfUint64(length64))) {
    ThrowBadLength();
  }
  CheckSize(length64);
  const size_t length = length64;
  if (IsLong(length)) {
    NextLong(sink, length);
    return true;
  }
  const size_t total = kTfRecordHeaderBytes + length + kTfRecordFooterBytes;
  if (!input_.Fill(total)) {
    ThrowTruncated("a record of " + std::to_string(length) + " bytes");
  }
  const char* payload = input_.buffered().data() + kTfRecordHeaderBytes;
  input_.Consume(total);  // what `payload` points to stays until the next Fill
  if (LoadLittleEndian32(payload + length) != MaskCrc(Crc32c(payload, length))) {
    ThrowCorruptPayload(length);
  }
  if (sink != nullptr) std::memcpy(sink->Resize(length), payload, length);
  return true;
}

void TFRecordReader::TakeBuffered(size_t max, std::vector<std::string_view>* records) {
  const std::string_view buffered = input_.buffered();
  constexpr size_t kFrameBytes = kTfRecordHeaderBytes + kTfRecordFooterBytes;
  size_t at = 0;
  for (; max > 0 && buffered.size() - at >= kFrameBytes; --max) {
    const char* const header = buffered.data() + at;
    const uint64_t length = LoadLittleEndian64(header);
    if (length > buffered.size() - at - kFrameBytes || !MayTake(length)) break;
    const char* const payload = header + kTfRecordHeaderBytes;
    if (LoadLittleEndian32(header + kTfRecordLengthBytes) != MaskCrc(Crc32cOfUint64(length)) ||
        LoadLittleEndian32(payload + length) != MaskCrc(Crc32c(payload, length))) {
      break;
    }
    records->emplace_back(payload, length);
    at += kFrameBytes + length;
  }
  input_.Consume(at);
}

void TFRecordReader::NextLong(RecordSink* sink, size_t length) {
  BeginParts();
  input_.Consume(kTfRecordHeaderBytes);
  uint32_t crc = 0;
  MovePayload(sink, 0, length, &crc);
  if (!input_.Fill(kTfRecordFooterBytes)) ThrowTruncated("a payload CRC");
  const uint32_t expected = LoadLittleEndian32(input_.buffered().data());
  input_.Consume(kTfRecordFooterBytes);
  EndParts();
  if (expected != MaskCrc(crc)) ThrowCorruptPayload(length);
}

void TFRecordReader::ThrowBadLength() const {
  throw DataLossError("length CRC mismatch; " + HintFor(Content::kTfRecord));
}

}  // namespace pipemode
