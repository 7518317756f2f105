// SPDX-License-Identifier: Apache-2.0
//
//   message Example   { Features features = 1; }
//   message Features  { map<string, Feature> feature = 1; }
//   message Feature   { oneof { BytesList bytes_list = 1; FloatList float_list = 2;
//                               Int64List int64_list = 3; } }
//   message BytesList { repeated bytes value = 1; }
//   message FloatList { repeated float value = 1 [packed = true]; }
//   message Int64List { repeated int64 value = 1 [packed = true]; }
//
// An entry of a map is a message with the key as field 1 and the value as field 2. A message within
// another one has its size in front, so sizes are summed up from the inside before bytes are
// written.
#include "core/writer/example_encoder.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/base/byte_order.h"

namespace pipemode {
namespace {

constexpr size_t kMaxVarintBytes = 10;

// The tag of a field whose value has its size in front.
constexpr char Tag(int field) { return static_cast<char>(field << 3 | 2); }

size_t VarintSize(uint64_t value) {
  // Seven bits a byte, and zero takes one.
  return (static_cast<size_t>(63 - __builtin_clzll(value | 1)) * 9 + 73) / 64;
}

char* PutVarint(uint64_t value, char* at) {
  for (; value >= 0x80; value >>= 7) *at++ = static_cast<char>(value | 0x80);
  *at++ = static_cast<char>(value);
  return at;
}

// A field of `size` bytes with its tag, which is one byte, and its size.
uint64_t FieldSize(uint64_t size) { return 1 + VarintSize(size) + size; }

char* PutField(int field, uint64_t size, char* at) {
  *at++ = Tag(field);
  return PutVarint(size, at);
}

// The three kinds of values: their field in a Feature, the size of their list's content, and the
// content itself.

struct Int64s {
  static constexpr int kField = 3;
  const int64_t* values;

  uint64_t PayloadSize(size_t begin, size_t end) const {
    uint64_t size = 0;
    for (size_t i = begin; i < end; ++i) size += VarintSize(static_cast<uint64_t>(values[i]));
    return size;
  }
  uint64_t ContentSize(size_t begin, size_t end) const {
    return FieldSize(PayloadSize(begin, end));
  }
  char* Put(size_t begin, size_t end, char* at) const {
    at = PutField(1, PayloadSize(begin, end), at);
    for (size_t i = begin; i < end; ++i) at = PutVarint(static_cast<uint64_t>(values[i]), at);
    return at;
  }
};

struct Floats {
  static constexpr int kField = 2;
  const float* values;

  uint64_t ContentSize(size_t begin, size_t end) const {
    return FieldSize((end - begin) * sizeof(float));
  }
  char* Put(size_t begin, size_t end, char* at) const {
    at = PutField(1, (end - begin) * sizeof(float), at);
    for (size_t i = begin; i < end; ++i, at += sizeof(float)) {
      uint32_t bits;
      std::memcpy(&bits, &values[i], sizeof(bits));
      StoreLittleEndian32(bits, at);
    }
    return at;
  }
};

struct Strings {
  static constexpr int kField = 1;
  BytesValues values;

  size_t Size(size_t i) const {
    return static_cast<size_t>(values.offsets[i + 1] - values.offsets[i]);
  }
  uint64_t ContentSize(size_t begin, size_t end) const {
    uint64_t size = 0;
    for (size_t i = begin; i < end; ++i) size += FieldSize(Size(i));
    return size;
  }
  char* Put(size_t begin, size_t end, char* at) const {
    for (size_t i = begin; i < end; ++i) {
      at = PutField(1, Size(i), at);
      if (Size(i) == 0) continue;  // there may be no data at all
      std::memcpy(at, values.data + values.offsets[i], Size(i));
      at += Size(i);
    }
    return at;
  }
};

Int64s Kind(const int64_t* values) { return {values}; }
Floats Kind(const float* values) { return {values}; }
Strings Kind(const BytesValues& values) { return {values}; }

}  // namespace

ExampleEncoder::ExampleEncoder(std::vector<FeatureColumn> columns) {
  columns_.reserve(columns.size());
  for (FeatureColumn& column : columns) {
    char head[1 + kMaxVarintBytes];
    std::string key(head, PutField(1, column.name.size(), head));
    key += column.name;
    columns_.push_back({std::move(column), std::move(key)});
  }
}

void ExampleEncoder::Append(size_t row, std::string* out) {
  uint64_t features_size = 0;
  for (Column& column : columns_) {
    const auto begin = static_cast<size_t>(column.source.row_splits[row]);
    const auto end = static_cast<size_t>(column.source.row_splits[row + 1]);
    if (begin == end) continue;
    column.list_size =
        std::visit([&](const auto& values) { return Kind(values).ContentSize(begin, end); },
                   column.source.values);
    features_size += FieldSize(column.key.size() + FieldSize(FieldSize(column.list_size)));
  }
  const size_t offset = out->size();
  out->resize(offset + FieldSize(features_size));
  char* at = PutField(1, features_size, out->data() + offset);
  for (const Column& column : columns_) {
    const auto begin = static_cast<size_t>(column.source.row_splits[row]);
    const auto end = static_cast<size_t>(column.source.row_splits[row + 1]);
    if (begin == end) continue;
    const uint64_t feature_size = FieldSize(column.list_size);
    at = PutField(1, column.key.size() + FieldSize(feature_size), at);
    at = std::copy(column.key.begin(), column.key.end(), at);
    at = PutField(2, feature_size, at);
    at = std::visit(
        [&](const auto& values) {
          const auto kind = Kind(values);
          return kind.Put(begin, end, PutField(kind.kField, column.list_size, at));
        },
        column.source.values);
  }
}

}  // namespace pipemode
