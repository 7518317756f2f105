// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_TESTS_TESTING_RANDOM_H_
#define PIPEMODE_TESTS_TESTING_RANDOM_H_

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>

namespace pipemode::testing {

// The same numbers in every run.
class Random {
 public:
  explicit Random(uint32_t seed) : engine_(seed) {}

  // 0 to `limit` - 1.
  size_t Below(size_t limit) { return engine_() % limit; }

  bool OneIn(size_t count) { return Below(count) == 0; }

  std::string Bytes(size_t size) {
    std::string bytes(size, '\0');
    for (char& byte : bytes) byte = static_cast<char>(engine_());
    return bytes;
  }

 private:
  std::mt19937_64 engine_;
};

inline std::string RandomBytes(size_t size, size_t seed) {
  return Random(static_cast<uint32_t>(seed)).Bytes(size);
}

}  // namespace pipemode::testing

#endif  // PIPEMODE_TESTS_TESTING_RANDOM_H_
