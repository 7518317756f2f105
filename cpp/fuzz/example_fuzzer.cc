// SPDX-License-Identifier: Apache-2.0
//
// Input: the size of the first of two serialized Examples, then both. They are parsed one after the
// other, since the parser learns from each, and by the book.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/error.h"
#include "core/example/example_parser.h"
#include "fuzz/check.h"
#include "fuzz/fuzz_input.h"

namespace pipemode::fuzz {
namespace {

const std::vector<FeatureSpec>& Specs() {
  static const auto& specs = *new std::vector<FeatureSpec>{
      {"f", FeatureType::kFloat, 2},       {"i", FeatureType::kInt64, 1},
      {"b", FeatureType::kBytes, 2},       {"", FeatureType::kInt64, 2},
      {"F", FeatureType::kFloat, 2, true}, {"I", FeatureType::kInt64, 1, true, true},
      {"B", FeatureType::kBytes, 1, true}};
  return specs;
}

// The only one without a default.
constexpr size_t kRequired = 1;

// The values of one row as strings of their bytes; nothing for a feature that it lacks.
using Row = std::vector<std::optional<std::vector<std::string>>>;

// A field of a message.
struct Field {
  uint64_t number = 0;
  uint64_t wire_type = 0;
  std::string value;  // of a varint, its eight bytes
};

std::string BytesOf(uint64_t value) {
  std::string bytes(sizeof(value), '\0');
  std::memcpy(bytes.data(), &value, sizeof(value));
  return bytes;
}

std::optional<uint64_t> TakeVarint(std::string_view& bytes) {
  unsigned __int128 value = 0;
  for (size_t i = 0; i < 10 && i < bytes.size(); ++i) {
    const auto byte = static_cast<unsigned char>(bytes[i]);
    value |= static_cast<unsigned __int128>(byte & 0x7f) << 7 * i;
    if (byte >= 0x80) continue;
    bytes.remove_prefix(i + 1);
    return static_cast<uint64_t>(value);
  }
  return std::nullopt;
}

// The fields of a message; nothing if it is none.
std::optional<std::vector<Field>> Decode(std::string_view bytes) {
  std::vector<Field> fields;
  while (!bytes.empty()) {
    const std::optional<uint64_t> tag = TakeVarint(bytes);
    if (!tag || *tag > UINT32_MAX || *tag < 8) return std::nullopt;
    Field field{*tag / 8, *tag % 8, ""};
    uint64_t size = field.wire_type == 1 ? 8 : 4;
    if (field.wire_type == 0 || field.wire_type == 2) {
      const std::optional<uint64_t> number = TakeVarint(bytes);
      if (!number) return std::nullopt;
      size = field.wire_type == 2 ? *number : 0;
      if (field.wire_type == 0) field.value = BytesOf(*number);
    } else if (field.wire_type != 1 && field.wire_type != 5) {
      return std::nullopt;
    }
    if (size > bytes.size()) return std::nullopt;
    if (field.wire_type != 0) field.value = bytes.substr(0, size);
    bytes.remove_prefix(size);
    fields.push_back(field);
  }
  return fields;
}

// Appends the values of a list; returns false if it is malformed.
bool AppendList(FeatureType type, std::string_view list, std::vector<std::string>* values) {
  const auto fields = Decode(list);
  if (!fields) return false;
  for (const Field& field : *fields) {
    if (field.number != 1) continue;
    std::string_view packed = field.value;
    switch (type) {
      case FeatureType::kBytes:
        if (field.wire_type == 2) values->push_back(field.value);
        break;
      case FeatureType::kFloat:
        if (field.wire_type != 2 && field.wire_type != 5) break;
        if (packed.size() % 4 != 0) return false;
        for (; !packed.empty(); packed.remove_prefix(4)) values->emplace_back(packed.substr(0, 4));
        break;
      case FeatureType::kInt64:
        if (field.wire_type == 0) values->push_back(field.value);
        while (field.wire_type == 2 && !packed.empty()) {
          const auto value = TakeVarint(packed);
          if (!value) return false;
          values->push_back(BytesOf(*value));
        }
        break;
    }
  }
  return true;
}

// The row of an Example, by the book; nothing if it has none.
std::optional<Row> Expected(std::string_view example) {
  Row row(Specs().size());
  for (size_t i = 0; i < row.size(); ++i) {
    if (Specs()[i].is_list) row[i].emplace();
  }
  const auto messages = Decode(example);
  if (!messages) return std::nullopt;
  for (const Field& message : *messages) {
    if (message.number != 1 || message.wire_type != 2) continue;
    const auto entries = Decode(message.value);
    if (!entries) return std::nullopt;
    for (const Field& entry : *entries) {
      if (entry.number != 1 || entry.wire_type != 2) continue;
      const auto parts = Decode(entry.value);
      if (!parts) return std::nullopt;
      std::string name;
      std::string value;
      for (const Field& part : *parts) {
        if (part.wire_type == 2 && part.number == 1) name = part.value;
        if (part.wire_type == 2 && part.number == 2) value += part.value;
      }
      const auto spec = std::find_if(Specs().begin(), Specs().end(),
                                     [&name](const FeatureSpec& s) { return s.name == name; });
      if (spec == Specs().end()) continue;
      const auto lists = Decode(value);
      if (!lists) return std::nullopt;
      std::optional<std::vector<std::string>> values;
      for (const Field& list : *lists) {
        if (list.wire_type != 2 || list.number > 3) continue;
        constexpr FeatureType kTypes[] = {FeatureType::kBytes, FeatureType::kFloat,
                                          FeatureType::kInt64};
        if (kTypes[list.number - 1] != spec->type) return std::nullopt;
        if (!values) values.emplace();
        if (!AppendList(spec->type, list.value, &*values)) return std::nullopt;
      }
      if (!values && spec->may_end_empty) values.emplace();
      if (!values) continue;
      if (spec->is_list ? values->size() % spec->size != 0 : values->size() != spec->size) {
        return std::nullopt;
      }
      row[static_cast<size_t>(spec - Specs().begin())] = values;
    }
  }
  if (!row[kRequired]) return std::nullopt;
  return row;
}

class Values final : public ExampleSink {
 public:
  explicit Values(size_t rows) {
    for (size_t i = 0; i < Specs().size(); ++i) {
      const size_t count = Specs()[i].size * rows;
      floats_.emplace_back(count);
      int64s_.emplace_back(count);
      bytes_.emplace_back(count);
      is_default_.emplace_back(rows);
    }
  }

  float* Floats(size_t feature) override { return floats_[feature].data(); }
  int64_t* Int64s(size_t feature) override { return int64s_[feature].data(); }
  void PutBytes(size_t feature, size_t at, std::string_view value) override {
    bytes_[feature].at(at) = value;
  }
  bool PutDefault(size_t feature, size_t row) override {
    if (feature == kRequired) return false;
    is_default_[feature].at(row) = true;
    return true;
  }

  // The row of an Example that was refused is that of the next one.
  void Forget(size_t row) {
    for (auto& rows : is_default_) rows.at(row) = false;
  }

  // A row of the arrays, and of the parser's lists.
  Row At(size_t row, const ExampleParser& parser) const {
    Row values(Specs().size());
    for (size_t i = 0; i < values.size(); ++i) {
      if (is_default_[i][row]) continue;
      values[i].emplace();
      const FeatureSpec& spec = Specs()[i];
      const FeatureList& list = parser.list(i);
      const float* const floats = spec.is_list ? list.floats.data() : floats_[i].data();
      const int64_t* const int64s = spec.is_list ? list.int64s.data() : int64s_[i].data();
      size_t begin = row * spec.size;
      size_t end = begin + spec.size;
      if (spec.is_list) {
        begin = row == 0 ? 0 : list.ends[row - 1];
        end = list.ends[row];
      }
      for (size_t at = begin; at < end; ++at) {
        switch (spec.type) {
          case FeatureType::kBytes:
            values[i]->push_back(spec.is_list ? std::string(list.bytes[at]) : bytes_[i][at]);
            break;
          case FeatureType::kInt64:
            values[i]->push_back(BytesOf(static_cast<uint64_t>(int64s[at])));
            break;
          case FeatureType::kFloat: {
            std::string bits(sizeof(float), '\0');
            std::memcpy(bits.data(), floats + at, sizeof(float));
            values[i]->push_back(bits);
          }
        }
      }
    }
    return values;
  }

 private:
  std::vector<std::vector<float>> floats_;
  std::vector<std::vector<int64_t>> int64s_;
  std::vector<std::vector<std::string>> bytes_;
  std::vector<std::vector<bool>> is_default_;
};

}  // namespace
}  // namespace pipemode::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace pipemode;
  fuzz::FuzzInput input(data, size);
  const size_t first = std::min<size_t>(input.TakeByte(), input.rest().size());
  static const auto& features = *new ExampleFeatures(fuzz::Specs());
  fuzz::Values values(2);
  ExampleParser parser(&features, &values);
  // Each of its own, so that AddressSanitizer sees a look beyond its end.
  std::vector<std::vector<char>> exact;
  size_t row = 0;
  for (const std::string_view example :
       {input.rest().substr(0, first), input.rest().substr(first)}) {
    exact.emplace_back(example.begin(), example.end());
    const auto expected = fuzz::Expected(example);
    try {
      parser.Parse({exact.back().data(), exact.back().size()});
      fuzz::Check(expected.has_value(), "what is no Example is accepted");
      fuzz::Check(values.At(row, parser) == *expected, "other values");
      ++row;
    } catch (const InvalidArgumentError& error) {
      fuzz::Check(!expected, std::string("a good Example is refused: ") + error.what());
      values.Forget(row);
    }
  }
  return 0;
}
