// SPDX-License-Identifier: Apache-2.0
#include "core/format/crc32c.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/base/byte_order.h"
#include "testing/random.h"

namespace pipemode {
namespace {

using ::pipemode::testing::RandomBytes;

uint32_t Crc(std::string_view bytes) { return Crc32c(bytes.data(), bytes.size()); }

// The definition, one bit at a time.
uint32_t ReferenceCrc(std::string_view bytes) {
  uint32_t crc = 0xffffffffU;
  for (const char byte : bytes) {
    crc ^= static_cast<unsigned char>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78U : 0);
  }
  return ~crc;
}

TEST(Crc32cTest, VectorsOfRfc3720) {
  EXPECT_EQ(Crc(std::string(32, '\0')), 0x8a9136aaU);
  EXPECT_EQ(Crc(std::string(32, '\xff')), 0x62a8ab43U);
  std::string bytes(32, '\0');
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i);
  EXPECT_EQ(Crc(bytes), 0x46dd794eU);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(31 - i);
  EXPECT_EQ(Crc(bytes), 0x113fdb5cU);
  EXPECT_EQ(Crc("123456789"), 0xe3069283U);
}

TEST(Crc32cTest, NoBytes) {
  EXPECT_EQ(Crc(""), 0U);
  EXPECT_EQ(Crc32c(nullptr, 0), 0U);
  EXPECT_EQ(ExtendCrc32c(0x12345678U, "x", 0), 0x12345678U);
}

TEST(Crc32cTest, AgreesWithTheDefinitionAtAnyLengthAndAlignment) {
  const std::string bytes = RandomBytes(600, 1);
  for (size_t begin = 0; begin < 16; ++begin) {
    for (size_t size = 0; size + begin < bytes.size(); ++size) {
      const std::string_view piece = std::string_view(bytes).substr(begin, size);
      ASSERT_EQ(Crc(piece), ReferenceCrc(piece)) << begin << "+" << size;
    }
  }
  const std::string large = RandomBytes(3'000'001, 2);
  EXPECT_EQ(Crc(large), ReferenceCrc(large));
}

TEST(Crc32cTest, ANumberHasTheCrcOfItsBytes) {
  static_assert(Crc32cOfUint64(0) == 0x8c28b28aU);
  const std::string bytes = RandomBytes(2000, 4);
  for (size_t begin = 0; begin + 8 <= bytes.size(); ++begin) {
    const std::string_view number = std::string_view(bytes).substr(begin, 8);
    ASSERT_EQ(Crc32cOfUint64(LoadLittleEndian64(number.data())), ReferenceCrc(number)) << begin;
  }
}

TEST(Crc32cTest, ExtendsAtAnySplit) {
  const std::string bytes = RandomBytes(300, 3);
  const uint32_t whole = Crc(bytes);
  for (size_t split = 0; split <= bytes.size(); ++split) {
    const uint32_t head = Crc32c(bytes.data(), split);
    ASSERT_EQ(ExtendCrc32c(head, bytes.data() + split, bytes.size() - split), whole) << split;
  }
}

TEST(Crc32cTest, MaskRotatesAndAdds) {
  EXPECT_EQ(MaskCrc(0), 0xa282ead8U);
  EXPECT_EQ(MaskCrc(0x00008000U), 0xa282ead9U);
  EXPECT_EQ(MaskCrc(0xffffffffU), 0xa282ead7U);
  // The frame around an empty TFRecord: eight zero bytes, and none.
  EXPECT_EQ(MaskCrc(Crc(std::string(8, '\0'))), 0x07980329U);
  EXPECT_EQ(MaskCrc(Crc("")), 0xa282ead8U);
}

}  // namespace
}  // namespace pipemode
