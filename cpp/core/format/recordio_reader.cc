// SPDX-License-Identifier: Apache-2.0
#include "core/format/recordio_reader.h"

#include <cstring>

#include "core/base/byte_order.h"
#include "core/base/error.h"
#include "core/format/wire_format.h"

namespace pipemode {
namespace {

RecordIoFlag FlagOf(uint32_t flag_and_length) {
  // Values above kLast exist on the wire; the switch statements refuse them.
  return static_cast<RecordIoFlag>(flag_and_length >> kRecordIoFlagShift);
}

[[noreturn]] void ThrowBadFlag(const char* expected, RecordIoFlag flag) {
  throw DataLossError("RecordIO part flag " + std::to_string(static_cast<uint32_t>(flag)) +
                      " where " + expected + " is due; the stream is corrupt");
}

}  // namespace

bool RecordIOReader::Next(RecordSink* sink) {
  BeginRecord();
  if (!input_.Fill(kRecordIoHeaderBytes)) {
    const std::string_view rest = input_.buffered();
    if (rest.empty()) return false;
    if (rest.size() >= kRecordIoMagicBytes) CheckMagic(rest.data());
    ThrowTruncated("a RecordIO header");
  }
  const char* header = input_.buffered().data();
  CheckMagic(header);
  const uint32_t flag_and_length = LoadLittleEndian32(header + kRecordIoMagicBytes);
  const size_t length = flag_and_length & kRecordIoMaxPartBytes;
  CheckSize(length);
  switch (FlagOf(flag_and_length)) {
    case RecordIoFlag::kWhole:
      NextPart(sink, 0, length);
      break;
    case RecordIoFlag::kFirst:
      NextPart(sink, 0, length);
      BeginParts();
      NextParts(sink, length);
      break;
    default:
      ThrowBadFlag("a whole record or a first part (0, 1)", FlagOf(flag_and_length));
  }
  EndParts();
  return true;
}

void RecordIOReader::TakeBuffered(size_t max, std::vector<std::string_view>* records) {
  const std::string_view buffered = input_.buffered();
  size_t at = 0;
  for (; max > 0 && buffered.size() - at >= kRecordIoHeaderBytes; --max) {
    const char* const header = buffered.data() + at;
    const uint32_t flag_and_length = LoadLittleEndian32(header + kRecordIoMagicBytes);
    const size_t length = flag_and_length & kRecordIoMaxPartBytes;
    if (LoadLittleEndian32(header) != kRecordIoMagic ||
        FlagOf(flag_and_length) != RecordIoFlag::kWhole ||
        PadToFour(length) > buffered.size() - at - kRecordIoHeaderBytes || !MayTake(length)) {
      break;
    }
    records->emplace_back(header + kRecordIoHeaderBytes, length);
    at += kRecordIoHeaderBytes + PadToFour(length);
  }
  input_.Consume(at);
}

void RecordIOReader::NextParts(RecordSink* sink, size_t size) {
  for (;;) {
    if (!input_.Fill(kRecordIoHeaderBytes)) ThrowTruncated("a multi-part record");
    const char* header = input_.buffered().data();
    CheckMagic(header);
    const uint32_t flag_and_length = LoadLittleEndian32(header + kRecordIoMagicBytes);
    const RecordIoFlag flag = FlagOf(flag_and_length);
    if (flag != RecordIoFlag::kMiddle && flag != RecordIoFlag::kLast) {
      ThrowBadFlag("a middle or last part (2, 3)", flag);
    }
    const size_t length = flag_and_length & kRecordIoMaxPartBytes;
    const size_t joint = parts_ == RecordIoParts::kDmlc ? kRecordIoMagicBytes : 0;
    CheckSize(uint64_t{size} + joint + length);
    if (joint > 0 && sink != nullptr) {
      StoreLittleEndian32(kRecordIoMagic, sink->Resize(size + joint) + size);
    }
    size += joint;
    NextPart(sink, size, length);
    size += length;
    if (flag == RecordIoFlag::kLast) return;
  }
}

void RecordIOReader::NextPart(RecordSink* sink, size_t offset, size_t length) {
  const size_t padding = PadToFour(length) - length;
  if (IsLong(length)) {
    BeginParts();
    input_.Consume(kRecordIoHeaderBytes);
    MovePayload(sink, offset, length, nullptr);
    if (!input_.Fill(padding)) ThrowTruncated("the padding of a RecordIO record");
    input_.Consume(padding);
    return;
  }
  const size_t total = kRecordIoHeaderBytes + length + padding;
  if (!input_.Fill(total)) {
    ThrowTruncated("a RecordIO part of " + std::to_string(length) + " bytes");
  }
  const char* payload = input_.buffered().data() + kRecordIoHeaderBytes;
  if (sink != nullptr) std::memcpy(sink->Resize(offset + length) + offset, payload, length);
  input_.Consume(total);
}

void RecordIOReader::CheckMagic(const char* header) const {
  const uint32_t magic = LoadLittleEndian32(header);
  if (magic == kRecordIoMagic) return;
  throw DataLossError("RecordIO magic number expected; " + HintFor(Content::kRecordIo));
}

}  // namespace pipemode
