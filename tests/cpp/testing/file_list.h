// SPDX-License-Identifier: Apache-2.0
//
// Files as those of a channel in File mode.
#ifndef PIPEMODE_TESTS_TESTING_FILE_LIST_H_
#define PIPEMODE_TESTS_TESTING_FILE_LIST_H_

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "core/channel/files_reader.h"
#include "testing/temp_dir.h"

namespace pipemode::testing {

// Writes `contents` as "file-0", "file-1" and so on into `folder`, and lists them.
inline FileList MakeFileList(const std::string& folder, const std::vector<std::string>& contents) {
  FileList list;
  for (size_t i = 0; i < contents.size(); ++i) {
    const std::string path = folder + "/file-" + std::to_string(i);
    WriteFile(path, contents[i]);
    list.files.push_back({path, contents[i].size()});
  }
  return list;
}

inline std::shared_ptr<const FileList> MakeFiles(const std::string& folder,
                                                 const std::vector<std::string>& contents) {
  return std::make_shared<const FileList>(MakeFileList(folder, contents));
}

}  // namespace pipemode::testing

#endif  // PIPEMODE_TESTS_TESTING_FILE_LIST_H_
