// SPDX-License-Identifier: Apache-2.0
//
// Golden bytes; tests/python/functional/test_batch_encoders.py holds more against TensorFlow's
// parser.
#include "core/writer/example_encoder.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace pipemode {
namespace {

using std::string_literals::operator""s;

// One row, one column.
std::string Encoded(FeatureColumn column) {
  std::string out;
  ExampleEncoder({std::move(column)}).Append(0, &out);
  return out;
}

TEST(ExampleEncoderTest, Int64IsWhatTensorFlowWrites) {
  const int64_t values[] = {1, 300, -1};
  const int64_t row_splits[] = {0, 3};
  EXPECT_EQ(Encoded({"a", values, row_splits}),
            "\x0a\x18\x0a\x16"
            "\x0a\x01"
            "a"
            "\x12\x11\x1a\x0f\x0a\x0d"
            "\x01\xac\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"s);
}

TEST(ExampleEncoderTest, FloatIsWhatTensorFlowWrites) {
  const float values[] = {1.0F, -2.0F};
  const int64_t row_splits[] = {0, 2};
  EXPECT_EQ(Encoded({"ab", values, row_splits}),
            "\x0a\x14\x0a\x12\x0a\x02"
            "ab"
            "\x12\x0c\x12\x0a\x0a\x08\0\0\x80\x3f\0\0\0\xc0"s);
}

TEST(ExampleEncoderTest, BytesAreWhatTensorFlowWrites) {
  const int64_t offsets[] = {0, 2, 2, 3};
  const int64_t row_splits[] = {0, 3};
  EXPECT_EQ(Encoded({"a", BytesValues{"xyz", offsets}, row_splits}),
            "\x0a\x12\x0a\x10\x0a\x01"
            "a"
            "\x12\x0b\x0a\x09\x0a\x02xy\x0a\x00\x0a\x01z"s);
}

TEST(ExampleEncoderTest, RowsAndColumns) {
  const int64_t ints[] = {7, 8, 9};
  const int64_t int_splits[] = {0, 1, 1, 3};
  const float floats[] = {0.5F};
  const int64_t float_splits[] = {0, 0, 0, 1};
  ExampleEncoder encoder({{"i", ints, int_splits}, {"f", floats, float_splits}});
  std::string out = "before ";
  encoder.Append(0, &out);
  EXPECT_EQ(out,
            "before \x0a\x0c\x0a\x0a\x0a\x01"
            "i"
            "\x12\x05\x1a\x03\x0a\x01\x07"s);
  out.clear();
  encoder.Append(1, &out);
  EXPECT_EQ(out, "\x0a\0"s);  // no feature at all
  encoder.Append(2, &out);
  EXPECT_EQ(out,
            "\x0a\0\x0a\x1c\x0a\x0b\x0a\x01"
            "i"
            "\x12\x06\x1a\x04\x0a\x02\x08\x09"
            "\x0a\x0d\x0a\x01"
            "f"
            "\x12\x08\x12\x06\x0a\x04\0\0\0\x3f"s);
}

TEST(ExampleEncoderTest, VarintsOfEveryLength) {
  for (int bits = 0; bits < 64; ++bits) {
    for (const uint64_t value : {uint64_t{1} << bits, (uint64_t{1} << bits) - 1}) {
      const auto number = static_cast<int64_t>(value);
      const int64_t row_splits[] = {0, 1};
      const std::string out = Encoded({"a", &number, row_splits});
      // Behind the varint's own size there is nothing but the varint.
      const std::string varint = out.substr(out.find('\x1a') + 4);
      ASSERT_EQ(varint.size(), static_cast<size_t>(out[out.find('\x1a') + 3])) << value;
      uint64_t decoded = 0;
      for (size_t i = 0; i < varint.size(); ++i) {
        decoded |= static_cast<uint64_t>(varint[i] & 0x7f) << (7 * i);
        EXPECT_EQ((varint[i] & 0x80) != 0, i + 1 < varint.size());
      }
      EXPECT_EQ(decoded, value);
    }
  }
}

TEST(ExampleEncoderTest, LongValues) {
  const std::string data(100'000, 'x');
  const int64_t offsets[] = {0, 100'000};
  const int64_t row_splits[] = {0, 1};
  const std::string out = Encoded({"a", BytesValues{data.data(), offsets}, row_splits});
  EXPECT_EQ(out.substr(out.size() - data.size() - 4), "\x0a\xa0\x8d\x06"s + data);
}

}  // namespace
}  // namespace pipemode
