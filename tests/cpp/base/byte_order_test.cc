// SPDX-License-Identifier: Apache-2.0
#include "core/base/byte_order.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <string>

namespace pipemode {
namespace {

TEST(ByteOrderTest, LoadsTheLowestByteFirst) {
  const char bytes[] = "\x01\x02\x03\x84\x05\x06\x07\x88";
  EXPECT_EQ(LoadLittleEndian32(bytes), 0x84030201U);
  EXPECT_EQ(LoadLittleEndian64(bytes), 0x8807060584030201U);
}

TEST(ByteOrderTest, StoresTheLowestByteFirst) {
  char bytes[8] = {};
  StoreLittleEndian32(0x84030201U, bytes);
  EXPECT_EQ(std::string(bytes, 4), "\x01\x02\x03\x84");
  StoreLittleEndian64(0x8807060584030201U, bytes);
  EXPECT_EQ(std::string(bytes, 8), "\x01\x02\x03\x84\x05\x06\x07\x88");
}

TEST(ByteOrderTest, AnyAlignmentIsGood) {
  alignas(8) char bytes[24] = {};
  for (size_t at = 0; at < 16; ++at) {
    StoreLittleEndian64(0x0123456789abcdefU, bytes + at);
    EXPECT_EQ(LoadLittleEndian64(bytes + at), 0x0123456789abcdefU);
    EXPECT_EQ(LoadLittleEndian32(bytes + at), 0x89abcdefU);
    StoreLittleEndian32(0xfedcba98U, bytes + at);
    EXPECT_EQ(LoadLittleEndian64(bytes + at), 0x01234567fedcba98U);
  }
}

}  // namespace
}  // namespace pipemode
