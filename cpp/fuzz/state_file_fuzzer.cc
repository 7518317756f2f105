// SPDX-License-Identifier: Apache-2.0
//
// Input: the content of a state file, which anybody may have edited.
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/error.h"
#include "core/channel/pipe_state.h"
#include "fuzz/check.h"

namespace pipemode::fuzz {
namespace {

class StateFolder {
 public:
  StateFolder() : path_(std::filesystem::temp_directory_path() / "pipemode-fuzz-XXXXXX") {
    Check(::mkdtemp(path_.data()) != nullptr, "mkdtemp");
  }
  ~StateFolder() { std::filesystem::remove_all(path_); }

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// By the book: digits, up to INT32_MAX, and blanks.
std::optional<uint64_t> Expected(std::string_view content) {
  const size_t digits = content.find_last_not_of(" \n\r") + 1;
  if (digits == 0 || digits > 10 || content.size() > 64) return std::nullopt;
  const std::string number(content.substr(0, digits));
  if (number.find_first_not_of("0123456789") != std::string::npos) return std::nullopt;
  const unsigned long long value = std::strtoull(number.c_str(), nullptr, 10);
  if (value > INT32_MAX) return std::nullopt;
  return value;
}

}  // namespace
}  // namespace pipemode::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace pipemode;
  static const fuzz::StateFolder folder;
  static const PipeState state(folder.path(), folder.path(), "fuzz");
  const std::string_view content(reinterpret_cast<const char*>(data), data == nullptr ? 0 : size);
  std::ofstream(folder.path() + "/.fuzz-pipe_mode-state", std::ios::binary | std::ios::trunc)
      << content;
  std::optional<uint64_t> found;
  try {
    found = state.NextEpoch();
  } catch (const FailedPreconditionError& error) {
    const std::string_view message = error.what();
    for (const char c : message) fuzz::Check(c >= ' ' && c <= '~', "an unprintable message");
    fuzz::Check(message.size() < 1000, "a long message");
  }
  fuzz::Check(found == fuzz::Expected(content), "another epoch");
  return 0;
}
