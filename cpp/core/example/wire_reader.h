// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_CORE_EXAMPLE_WIRE_READER_H_
#define PIPEMODE_CORE_EXAMPLE_WIRE_READER_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/base/error.h"

namespace pipemode {

// How a field's value is encoded: the last three bits of its tag.
enum class WireType : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

constexpr uint32_t WireTag(uint32_t field, WireType type) {
  return field << 3 | static_cast<uint32_t>(type);
}

// The fields of one serialized protobuf message, from front to back. Throws InvalidArgumentError
// for what is not one; then the reader is of no more use.
class WireReader {
 public:
  // `message` must outlive the reader. One that is strict refuses tags of more than one byte, and
  // to pass over a field.
  explicit WireReader(std::string_view message, bool is_strict = false)
      : at_(message.data()), end_(message.data() + message.size()), is_strict_(is_strict) {}

  bool at_end() const noexcept { return at_ == end_; }

  // Whether the next field has `tag`, which takes one byte; consumes the tag if so.
  bool TryTag(uint32_t tag) noexcept {
    if (at_ == end_ || static_cast<unsigned char>(*at_) != tag) return false;
    ++at_;
    return true;
  }

  bool is_strict() const noexcept { return is_strict_; }

  uint64_t ReadTag() {
    const char* const begin = at_;
    const uint64_t tag = ReadVarint();
    if (tag >> 3 == 0 || tag > UINT32_MAX) ThrowMalformed();
    if (is_strict_ && at_ - begin > 1) ThrowUnusual();
    return tag;
  }

  uint64_t ReadVarint() {
    if (at_ == end_) ThrowMalformed();
    const auto first = static_cast<unsigned char>(*at_++);
    return first < 0x80 ? first : ReadLongVarint(first);
  }

  std::string_view ReadBytes() {
    const uint64_t size = ReadVarint();
    if (size > static_cast<size_t>(end_ - at_)) ThrowMalformed();
    return Take(size);
  }

  // `size` bytes as they are.
  std::string_view ReadFixed(size_t size) {
    if (size > static_cast<size_t>(end_ - at_)) ThrowMalformed();
    return Take(size);
  }

  // Passes over the value of the field that `tag` began. Groups, long out of use, are refused.
  void SkipValue(uint64_t tag) {
    if (is_strict_) ThrowUnusual();
    switch (static_cast<WireType>(tag & 7)) {
      case WireType::kVarint:
        ReadVarint();
        return;
      case WireType::kFixed64:
        ReadFixed(8);
        return;
      case WireType::kBytes:
        ReadBytes();
        return;
      case WireType::kFixed32:
        ReadFixed(4);
        return;
    }
    ThrowMalformed();
  }

  [[noreturn]] static void ThrowMalformed() {
    throw InvalidArgumentError("not a serialized tf.train.Example");
  }

  [[noreturn]] static void ThrowUnusual() {
    throw InvalidArgumentError("a tf.train.Example that is not serialized as libraries do it");
  }

 private:
  // The rest of a varint that began with `value`.
  uint64_t ReadLongVarint(uint64_t value) {
    value &= 0x7f;
    unsigned shift = 7;
    // Most are of two or three bytes.
    if (end_ - at_ >= 2) {
      const auto second = static_cast<unsigned char>(at_[0]);
      const auto third = static_cast<unsigned char>(at_[1]);
      value |= static_cast<uint64_t>(second & 0x7f) << 7;
      if (second < 0x80) {
        at_ += 1;
        return value;
      }
      value |= static_cast<uint64_t>(third & 0x7f) << 14;
      at_ += 2;
      if (third < 0x80) return value;
      shift = 21;
    }
    for (; shift < 70; shift += 7) {
      if (at_ == end_) ThrowMalformed();
      const auto byte = static_cast<unsigned char>(*at_++);
      // Of the tenth byte one bit counts; the others fall off, as with protobuf.
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    ThrowMalformed();
  }

  std::string_view Take(size_t size) noexcept {
    const std::string_view bytes(at_, size);
    at_ += size;
    return bytes;
  }

  const char* at_;
  const char* end_;
  bool is_strict_;
};

}  // namespace pipemode

#endif  // PIPEMODE_CORE_EXAMPLE_WIRE_READER_H_
