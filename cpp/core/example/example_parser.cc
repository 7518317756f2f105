// SPDX-License-Identifier: Apache-2.0
//
// The messages are described in writer/example_encoder.cc.
#include "core/example/example_parser.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/base/byte_order.h"
#include "core/base/error.h"
#include "core/example/wire_reader.h"

namespace pipemode {
namespace {

// More places than that are not remembered.
constexpr size_t kMaxPlaces = 4096;

constexpr uint32_t kFeatures = WireTag(1, WireType::kBytes);
constexpr uint32_t kEntry = WireTag(1, WireType::kBytes);
constexpr uint32_t kKey = WireTag(1, WireType::kBytes);
constexpr uint32_t kValue = WireTag(2, WireType::kBytes);
constexpr uint32_t kString = WireTag(1, WireType::kBytes);
// The values of a list of numbers, and those that older writers put one by one.
constexpr uint32_t kPacked = WireTag(1, WireType::kBytes);
constexpr uint32_t kSingleFloat = WireTag(1, WireType::kFixed32);
constexpr uint32_t kSingleInt64 = WireTag(1, WireType::kVarint);

// The field of a Feature that has the list.
constexpr uint32_t ListTag(FeatureType type) {
  switch (type) {
    case FeatureType::kBytes:
      return WireTag(1, WireType::kBytes);
    case FeatureType::kFloat:
      return WireTag(2, WireType::kBytes);
    case FeatureType::kInt64:
      break;
  }
  return WireTag(3, WireType::kBytes);
}

const char* TypeName(uint64_t list_tag) {
  switch (list_tag) {
    case ListTag(FeatureType::kBytes):
      return "bytes";
    case ListTag(FeatureType::kFloat):
      return "float";
    default:
      return "int64";
  }
}

bool IsList(uint64_t tag) {
  return tag >= ListTag(FeatureType::kBytes) && tag <= ListTag(FeatureType::kInt64) &&
         (tag & 7) == static_cast<uint64_t>(WireType::kBytes);
}

float LoadFloat(const char* src) {
  const uint32_t bits = LoadLittleEndian32(src);
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

// Refuses packed values that are not all of the list, where the reader is strict: TensorFlow takes
// the first ones, or refuses them.
void CheckPacked(const WireReader& fields, bool is_first) {
  if (fields.is_strict() && !(is_first && fields.at_end())) WireReader::ThrowUnusual();
}

// Each of these appends the values of `list` to the `count` that are there, of which `out` has the
// first `size`. Returns how many there are then.

size_t AppendFloats(WireReader fields, float* out, size_t size, size_t count) {
  for (bool is_first = true; !fields.at_end(); is_first = false) {
    const uint64_t tag = fields.ReadTag();
    std::string_view values;
    if (tag == kPacked) {
      values = fields.ReadBytes();
      CheckPacked(fields, is_first);
      if (values.size() % sizeof(float) != 0) WireReader::ThrowMalformed();
    } else if (tag == kSingleFloat) {
      values = fields.ReadFixed(sizeof(float));
    } else {
      fields.SkipValue(tag);
    }
    const size_t more = values.size() / sizeof(float);
    const size_t wanted = std::min(more, size - std::min(size, count));
    for (size_t i = 0; i < wanted; ++i) {
      out[count + i] = LoadFloat(values.data() + i * sizeof(float));
    }
    count += more;
  }
  return count;
}

size_t AppendInt64s(WireReader fields, int64_t* out, size_t size, size_t count) {
  for (bool is_first = true; !fields.at_end(); is_first = false) {
    const uint64_t tag = fields.ReadTag();
    if (tag == kPacked) {
      WireReader values(fields.ReadBytes());
      CheckPacked(fields, is_first);
      for (; !values.at_end(); ++count) {
        const uint64_t value = values.ReadVarint();
        if (count < size) out[count] = static_cast<int64_t>(value);
      }
    } else if (tag == kSingleInt64) {
      const uint64_t value = fields.ReadVarint();
      if (count < size) out[count] = static_cast<int64_t>(value);
      ++count;
    } else {
      fields.SkipValue(tag);
    }
  }
  return count;
}

template <typename Function>
void ForEachString(WireReader values, Function function) {
  while (!values.at_end()) {
    const uint64_t tag = values.ReadTag();
    if (tag == kString) {
      function(values.ReadBytes());
    } else {
      values.SkipValue(tag);
    }
  }
}

[[noreturn]] void ThrowFeature(const std::string& name, const std::string& problem) {
  throw InvalidArgumentError("feature '" + name + "' " + problem);
}

}  // namespace

void FeatureList::DropRow() {
  // Two of the three are empty.
  const size_t end = ends.empty() ? 0 : ends.back();
  floats.Truncate(std::min(end, floats.size()));
  int64s.Truncate(std::min(end, int64s.size()));
  bytes.resize(std::min(end, bytes.size()));
}

ExampleFeatures::ExampleFeatures(std::vector<FeatureSpec> specs) : specs_(std::move(specs)) {
  for (size_t number = 0; number < specs_.size(); ++number) {
    const FeatureSpec& spec = specs_[number];
    if (spec.size == 0) ThrowFeature(spec.name, "has no values by its shape");
    if (!numbers_.emplace(spec.name, number).second) ThrowFeature(spec.name, "is there twice");
  }
}

size_t ExampleFeatures::Find(std::string_view name) const {
  const auto found = numbers_.find(name);
  return found == numbers_.end() ? kNone : found->second;
}

ExampleParser::ExampleParser(const ExampleFeatures* features, ExampleSink* sink, bool is_strict)
    : features_(*features), sink_(*sink), is_strict_(is_strict) {
  const std::vector<FeatureSpec>& specs = features_.specs();
  for (size_t feature = 0; feature < specs.size(); ++feature) {
    const FeatureType type = specs[feature].type;
    const bool is_list = specs[feature].is_list;
    floats_.push_back(!is_list && type == FeatureType::kFloat ? sink_.Floats(feature) : nullptr);
    int64s_.push_back(!is_list && type == FeatureType::kInt64 ? sink_.Int64s(feature) : nullptr);
    if (is_list) list_numbers_.push_back(feature);
  }
  lists_.resize(specs.size());
  seen_in_.resize(specs.size());
}

void ExampleParser::Parse(std::string_view example) {
  try {
    ParseRow(example);
  } catch (...) {
    ForgetRow();
    throw;
  }
  for (const size_t feature : list_numbers_) {
    FeatureList& list = lists_[feature];
    // Two of the three are empty.
    list.ends.push_back(list.floats.size() + list.int64s.size() + list.bytes.size());
  }
  ++row_;
}

void ExampleParser::ForgetRow() {
  for (const size_t feature : list_numbers_) lists_[feature].DropRow();
  for (size_t& row : seen_in_) {
    if (row == row_ + 1) row = 0;
  }
}

void ExampleParser::ParseRow(std::string_view example) {
  place_ = 0;
  found_ = 0;
  for (WireReader fields(example, is_strict_); !fields.at_end();) {
    const uint64_t tag = fields.ReadTag();
    if (tag == kFeatures) {
      ParseFeatures(fields.ReadBytes());
    } else {
      fields.SkipValue(tag);
    }
  }
  if (found_ + list_numbers_.size() < seen_in_.size()) PutDefaults();
}

void ExampleParser::ParseFeatures(std::string_view features) {
  for (WireReader fields(features, is_strict_); !fields.at_end();) {
    const uint64_t tag = fields.ReadTag();
    if (tag == kEntry) {
      ParseEntry(fields.ReadBytes());
    } else {
      fields.SkipValue(tag);
    }
  }
}

void ExampleParser::ParseEntry(std::string_view entry) {
  WireReader fields(entry);
  std::string_view name;
  std::string_view value;
  const bool has_name = fields.TryTag(kKey);
  if (has_name) name = fields.ReadBytes();
  const bool has_value = fields.TryTag(kValue);
  if (has_value) value = fields.ReadBytes();
  if (is_strict_ && !(has_name && has_value && fields.at_end())) WireReader::ThrowUnusual();
  // No known writer orders it in another way, so that way need not be fast.
  if (!fields.at_end()) {
    std::string& merged = merged_.emplace_back();
    for (fields = WireReader(entry); !fields.at_end();) {
      const uint64_t tag = fields.ReadTag();
      if (tag == kKey) {
        name = fields.ReadBytes();
      } else if (tag == kValue) {
        // By protobuf's rules a message that comes in pieces is their concatenation.
        merged.append(fields.ReadBytes());
      } else {
        fields.SkipValue(tag);
      }
    }
    value = merged;
  }
  const size_t feature = Recognize(name);
  if (feature != ExampleFeatures::kNone) ParseFeature(feature, value);
}

size_t ExampleParser::Recognize(std::string_view name) {
  if (place_ == places_.size()) {
    if (place_ == kMaxPlaces) return features_.Find(name);
    places_.emplace_back();
  }
  Place& place = places_[place_++];
  if (!place.is_known || place.name != name) {
    place.name.assign(name);
    place.feature = features_.Find(name);
    place.is_known = true;
  }
  return place.feature;
}

void ExampleParser::ParseFeature(size_t feature, std::string_view bytes) {
  const FeatureSpec& spec = features_.specs()[feature];
  const uint32_t expected = ListTag(spec.type);
  if (spec.may_end_empty) lists_[feature].DropRow();
  size_t count = 0;
  bool has_list = false;
  for (WireReader fields(bytes, is_strict_); !fields.at_end();) {
    const uint64_t tag = fields.ReadTag();
    if (tag != expected) {
      if (IsList(tag)) {
        ThrowFeature(spec.name,
                     std::string("holds ") + TypeName(tag) + " values, not " + TypeName(expected));
      }
      fields.SkipValue(tag);
      continue;
    }
    if (is_strict_ && has_list) WireReader::ThrowUnusual();
    if (spec.is_list && !has_list) lists_[feature].DropRow();
    has_list = true;
    const std::string_view list = fields.ReadBytes();
    count = spec.is_list ? count + ParseList(feature, list) : ParseValues(feature, list, count);
  }
  if (!has_list) return;
  if (spec.is_list) {
    if (count % spec.size != 0) {
      ThrowFeature(spec.name, "holds " + std::to_string(count) + " values, not a multiple of " +
                                  std::to_string(spec.size));
    }
    return;
  }
  if (count != spec.size) {
    ThrowFeature(spec.name,
                 "holds " + std::to_string(count) + " values, not " + std::to_string(spec.size));
  }
  if (seen_in_[feature] != row_ + 1) {
    seen_in_[feature] = row_ + 1;
    ++found_;
  }
}

// Appends the values of a list to the `count` that are there. Returns how many there are then.
size_t ExampleParser::ParseValues(size_t feature, std::string_view bytes, size_t count) {
  const WireReader list(bytes, is_strict_);
  const FeatureSpec& spec = features_.specs()[feature];
  const size_t begin = row_ * spec.size;
  switch (spec.type) {
    case FeatureType::kFloat:
      return AppendFloats(list, floats_[feature] + begin, spec.size, count);
    case FeatureType::kInt64:
      return AppendInt64s(list, int64s_[feature] + begin, spec.size, count);
    case FeatureType::kBytes:
      break;
  }
  ForEachString(list, [&](std::string_view value) {
    if (count < spec.size) sink_.PutBytes(feature, begin + count, value);
    ++count;
  });
  return count;
}

// Appends all values of a list to those of the feature. Returns how many these are.
size_t ExampleParser::ParseList(size_t feature, std::string_view bytes) {
  const WireReader list(bytes, is_strict_);
  FeatureList& out = lists_[feature];
  size_t room = bytes.size();  // a value takes a byte or more
  size_t count = 0;
  switch (features_.specs()[feature].type) {
    case FeatureType::kFloat:
      room /= sizeof(float);
      count = AppendFloats(list, out.floats.Reserve(room), room, 0);
      out.floats.Add(count);
      break;
    case FeatureType::kInt64:
      count = AppendInt64s(list, out.int64s.Reserve(room), room, 0);
      out.int64s.Add(count);
      break;
    case FeatureType::kBytes:
      ForEachString(list, [&](std::string_view value) {
        out.bytes.push_back(value);
        ++count;
      });
      break;
  }
  return count;
}

void ExampleParser::PutDefaults() {
  for (size_t feature = 0; feature < seen_in_.size(); ++feature) {
    const FeatureSpec& spec = features_.specs()[feature];
    if (spec.is_list || seen_in_[feature] == row_ + 1) continue;
    if (!sink_.PutDefault(feature, row_)) {
      ThrowFeature(spec.name, "is missing and has no default value");
    }
  }
}

}  // namespace pipemode
