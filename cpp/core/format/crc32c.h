// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_CORE_FORMAT_CRC32C_H_
#define PIPEMODE_CORE_FORMAT_CRC32C_H_

#include <cstddef>
#include <cstdint>

namespace pipemode {

// CRC-32C (Castagnoli, RFC 3720) of `size` bytes that follow bytes whose CRC is `crc`.
uint32_t ExtendCrc32c(uint32_t crc, const char* data, size_t size);

inline uint32_t Crc32c(const char* data, size_t size) { return ExtendCrc32c(0, data, size); }

// TFRecord stores CRCs masked, since the CRC of bytes that contain their own CRC is degenerate.
inline uint32_t MaskCrc(uint32_t crc) { return ((crc >> 15) | (crc << 17)) + 0xa282ead8U; }

}  // namespace pipemode

#endif  // PIPEMODE_CORE_FORMAT_CRC32C_H_
