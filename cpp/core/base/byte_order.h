// SPDX-License-Identifier: Apache-2.0
//
// Little-endian loads and stores at any alignment. Compilers turn each into one move where the
// machine allows.
#ifndef PIPEMODE_CORE_BASE_BYTE_ORDER_H_
#define PIPEMODE_CORE_BASE_BYTE_ORDER_H_

#include <cstdint>
#include <cstring>

namespace pipemode {

inline uint32_t LoadLittleEndian32(const char* src) {
  uint32_t value;
  std::memcpy(&value, src, sizeof(value));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  value = __builtin_bswap32(value);
#endif
  return value;
}

inline uint64_t LoadLittleEndian64(const char* src) {
  uint64_t value;
  std::memcpy(&value, src, sizeof(value));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  value = __builtin_bswap64(value);
#endif
  return value;
}

inline void StoreLittleEndian32(uint32_t value, char* dst) {
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  value = __builtin_bswap32(value);
#endif
  std::memcpy(dst, &value, sizeof(value));
}

inline void StoreLittleEndian64(uint64_t value, char* dst) {
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  value = __builtin_bswap64(value);
#endif
  std::memcpy(dst, &value, sizeof(value));
}

}  // namespace pipemode

#endif  // PIPEMODE_CORE_BASE_BYTE_ORDER_H_
