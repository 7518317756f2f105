// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_CORE_IO_DIRECTORY_WATCH_H_
#define PIPEMODE_CORE_IO_DIRECTORY_WATCH_H_

#include <string>

#include "core/base/unique_fd.h"

namespace pipemode {

// Wakes a poll() when something appears in a folder (inotify). A hint only: some file systems never
// tell, the system may have no watch left, the folder may not exist yet. Callers look for
// themselves every now and then all the same. Not safe for use by two threads at once.
class DirectoryWatch {
 public:
  // Never fails; see fd().
  explicit DirectoryWatch(const std::string& path);

  // Readable after something was created in, or moved to, the folder; -1 if it cannot be watched.
  int fd() const noexcept { return inotify_.get(); }

  // Forgets the events so far. To be called before looking into the folder, so that none is missed.
  void Drain() noexcept;

 private:
  UniqueFd inotify_;
};

}  // namespace pipemode

#endif  // PIPEMODE_CORE_IO_DIRECTORY_WATCH_H_
