// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_CORE_FORMAT_CRC32C_H_
#define PIPEMODE_CORE_FORMAT_CRC32C_H_

#include <array>
#include <cstddef>
#include <cstdint>

namespace pipemode {

// CRC-32C (Castagnoli, RFC 3720) of `size` bytes that follow bytes whose CRC is `crc`.
uint32_t ExtendCrc32c(uint32_t crc, const char* data, size_t size);

inline uint32_t Crc32c(const char* data, size_t size) { return ExtendCrc32c(0, data, size); }

namespace internal {

// The CRC, without inversions, of each byte that `following` zero bytes follow.
using Crc32cTables = std::array<std::array<uint32_t, 256>, 8>;

constexpr Crc32cTables MakeCrc32cTables() {
  constexpr uint32_t kPolynomial = 0x82f63b78U;  // reflected
  Crc32cTables tables{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    tables[0][byte] = crc;
  }
  for (size_t following = 1; following < tables.size(); ++following) {
    for (size_t byte = 0; byte < 256; ++byte) {
      const uint32_t crc = tables[following - 1][byte];
      tables[following][byte] = (crc >> 8) ^ tables[0][crc & 0xff];
    }
  }
  return tables;
}

inline constexpr Crc32cTables kCrc32cTables = MakeCrc32cTables();

}  // namespace internal

// The CRC-32C of the eight bytes of `value`, the lowest one first: of a TFRecord's length. What
// ISA-L does before it comes to so few bytes takes five times as long.
constexpr uint32_t Crc32cOfUint64(uint64_t value) {
  const internal::Crc32cTables& tables = internal::kCrc32cTables;
  value ^= 0xffffffffU;
  uint32_t crc = 0;
  for (size_t byte = 0; byte < 8; ++byte) crc ^= tables[7 - byte][(value >> (8 * byte)) & 0xff];
  return ~crc;
}

// TFRecord stores CRCs masked, since the CRC of bytes that contain their own CRC is degenerate.
inline uint32_t MaskCrc(uint32_t crc) { return ((crc >> 15) | (crc << 17)) + 0xa282ead8U; }

}  // namespace pipemode

#endif  // PIPEMODE_CORE_FORMAT_CRC32C_H_
