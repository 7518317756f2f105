// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_FUZZ_COMPRESS_H_
#define PIPEMODE_FUZZ_COMPRESS_H_

#include <zlib.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/io/inflate_source.h"
#include "testing/deflate.h"

namespace pipemode::fuzz {

// `bytes` as one to four members, some of them maybe empty, in a way that `choice` picks.
inline std::string CompressInMembers(std::string_view bytes, Compression compression,
                                     uint8_t choice) {
  constexpr int kStrategies[] = {Z_DEFAULT_STRATEGY, Z_HUFFMAN_ONLY, Z_RLE, Z_FIXED};
  testing::DeflateOptions options;
  options.compression = compression;
  options.level = choice % 10;
  options.strategy = kStrategies[choice / 10 % 4];
  options.header_crc = choice % 3 == 0;
  if (choice % 5 == 0) options.name = "part-0";
  if (choice % 7 == 0) options.extra = std::string("ab\x02\0xy", 6);
  if (choice % 11 == 0) options.comment = "comment";
  const size_t members = 1 + choice / 40 % 4;
  std::string compressed;
  for (size_t i = 0; i < members; ++i) {
    const size_t size = i + 1 == members ? bytes.size() : bytes.size() / (members - i + choice % 2);
    compressed += testing::Deflate(bytes.substr(0, size), options);
    bytes.remove_prefix(size);
  }
  return compressed;
}

}  // namespace pipemode::fuzz

#endif  // PIPEMODE_FUZZ_COMPRESS_H_
