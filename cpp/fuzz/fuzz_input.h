// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_FUZZ_FUZZ_INPUT_H_
#define PIPEMODE_FUZZ_FUZZ_INPUT_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace pipemode::fuzz {

// One input: some bytes that choose how the rest is read, each 0 if there are not so many. They
// stand at the front, so that seeds are easy to make: see make_corpus.py.
class FuzzInput {
 public:
  FuzzInput(const uint8_t* data, size_t size)
      : rest_(reinterpret_cast<const char*>(data), data == nullptr ? 0 : size) {}

  uint8_t TakeByte() {
    if (rest_.empty()) return 0;
    const auto byte = static_cast<uint8_t>(rest_.front());
    rest_.remove_prefix(1);
    return byte;
  }

  std::string_view rest() const { return rest_; }

 private:
  std::string_view rest_;
};

}  // namespace pipemode::fuzz

#endif  // PIPEMODE_FUZZ_FUZZ_INPUT_H_
