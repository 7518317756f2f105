// SPDX-License-Identifier: Apache-2.0
#include "core/format/crc32c.h"

#include <isa-l/crc.h>

#include <algorithm>

namespace pipemode {

uint32_t ExtendCrc32c(uint32_t crc, const char* data, size_t size) {
  // ISA-L counts in int, takes no const, and leaves the inversions to its caller.
  constexpr size_t kMaxPiece = size_t{1} << 30;
  auto* bytes = reinterpret_cast<unsigned char*>(const_cast<char*>(data));
  crc = ~crc;
  do {
    const size_t piece = std::min(size, kMaxPiece);
    crc = crc32_iscsi(bytes, static_cast<int>(piece), crc);
    bytes += piece;
    size -= piece;
  } while (size > 0);
  return ~crc;
}

}  // namespace pipemode
