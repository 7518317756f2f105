// SPDX-License-Identifier: Apache-2.0
//
// Numbers that readers and writers share. docs/formats.md describes the bytes.
#ifndef PIPEMODE_CORE_FORMAT_WIRE_FORMAT_H_
#define PIPEMODE_CORE_FORMAT_WIRE_FORMAT_H_

#include <cstddef>
#include <cstdint>

namespace pipemode {

// TFRecord: u64 length, u32 masked CRC of it, payload, u32 masked CRC of that.
inline constexpr size_t kTfRecordLengthBytes = 8;
inline constexpr size_t kTfRecordHeaderBytes = 12;
inline constexpr size_t kTfRecordFooterBytes = 4;

// RecordIO: u32 magic, u32 (flag << 29 | length), payload, zeros up to a multiple of 4.
inline constexpr uint32_t kRecordIoMagic = 0xced7230a;
inline constexpr size_t kRecordIoMagicBytes = 4;
inline constexpr size_t kRecordIoHeaderBytes = 8;
inline constexpr int kRecordIoFlagShift = 29;
inline constexpr uint32_t kRecordIoMaxPartBytes = (uint32_t{1} << kRecordIoFlagShift) - 1;

enum class RecordIoFlag : uint32_t { kWhole = 0, kFirst = 1, kMiddle = 2, kLast = 3 };

constexpr size_t PadToFour(size_t length) { return (length + 3) & ~size_t{3}; }

}  // namespace pipemode

#endif  // PIPEMODE_CORE_FORMAT_WIRE_FORMAT_H_
