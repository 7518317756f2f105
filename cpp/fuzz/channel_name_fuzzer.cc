// SPDX-License-Identifier: Apache-2.0
//
// Input: a channel name. Whatever it is, no path leaves its folder.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "core/base/error.h"
#include "core/channel/pipe_state.h"
#include "fuzz/check.h"

namespace {

constexpr char kAllowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_";

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace pipemode;
  static const std::string folder = std::filesystem::temp_directory_path();
  const std::string name(reinterpret_cast<const char*>(data), data == nullptr ? 0 : size);
  const bool good =
      !name.empty() && name.size() <= 64 && name.find_first_not_of(kAllowed) == std::string::npos;
  try {
    const std::filesystem::path path = PipeState(folder, "/pipes", name).PipePath(7);
    fuzz::Check(good, "a bad name is accepted");
    fuzz::Check(path == "/pipes/" + name + "_7", "another path");
    fuzz::Check(path.lexically_normal().parent_path() == "/pipes", "a path out of the folder");
  } catch (const InvalidArgumentError& error) {
    fuzz::Check(!good, "a good name is refused");
    for (const char c : std::string_view(error.what())) {
      fuzz::Check(c >= ' ' && c <= '~', "an unprintable message");
    }
  }
  return 0;
}
