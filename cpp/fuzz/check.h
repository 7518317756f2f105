// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_FUZZ_CHECK_H_
#define PIPEMODE_FUZZ_CHECK_H_

#include <cstdio>
#include <cstdlib>
#include <string>

namespace pipemode::fuzz {

// Ends the program, so that libFuzzer keeps the input, unless `condition` holds.
inline void Check(bool condition, const std::string& what) {
  if (condition) return;
  std::fprintf(stderr, "fuzz check failed: %s\n", what.c_str());
  std::abort();
}

}  // namespace pipemode::fuzz

#endif  // PIPEMODE_FUZZ_CHECK_H_
