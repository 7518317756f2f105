// SPDX-License-Identifier: Apache-2.0
#include "core/io/directory_watch.h"

#include <sys/inotify.h>
#include <unistd.h>

namespace pipemode {

DirectoryWatch::DirectoryWatch(const std::string& path)
    : inotify_(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)) {
  if (!inotify_) return;
  if (::inotify_add_watch(inotify_.get(), path.c_str(), IN_CREATE | IN_MOVED_TO | IN_ONLYDIR) < 0) {
    inotify_.Reset();
  }
}

void DirectoryWatch::Drain() noexcept {
  if (!inotify_) return;
  alignas(inotify_event) char events[4096];
  while (::read(inotify_.get(), events, sizeof(events)) > 0) {
  }
}

}  // namespace pipemode
