// SPDX-License-Identifier: Apache-2.0
#include "core/io/file_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

#include "core/base/error.h"
#include "core/base/retry.h"

namespace pipemode {
namespace {

// How much the system is asked to fetch at once. It goes on by itself from there.
constexpr off_t kFirstFetchBytes = off_t{4} << 20;

}  // namespace

FileSource::FileSource(const std::string& path, uint64_t size, const WaitContext& context)
    : context_(context), size_(size), end_check_(context), fd_(RetryOnSignal([&path] {
        // O_NONBLOCK: a FIFO in its place must not hold us up.
        return ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
      })) {
  if (!fd_) throw IoError(errno, "cannot open the file");
  CheckSize();
  // Advice: a system that does not take it reads all the same.
  (void)::posix_fadvise(fd_.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
  (void)::posix_fadvise(fd_.get(), 0, std::min(static_cast<off_t>(size_), kFirstFetchBytes),
                        POSIX_FADV_WILLNEED);
}

size_t FileSource::ReadScattered(char* dst, size_t size, char* tail, size_t tail_size) {
  if (!fd_) return 0;
  end_check_.Look("a file");
  try {
    if (position_ < size_) return ReadSome(dst, size, tail, tail_size);
    CheckSize();
  } catch (const PipeError&) {
    fd_.Reset();
    throw;
  }
  fd_.Reset();
  return 0;
}

size_t FileSource::ReadSome(char* dst, size_t size, char* tail, size_t tail_size) {
  const uint64_t rest = size_ - position_;
  const size_t first = std::min<uint64_t>(size, rest);
  const iovec parts[2] = {{dst, first}, {tail, std::min<uint64_t>(tail_size, rest - first)}};
  const auto begun = std::chrono::steady_clock::now();
  const ssize_t count =
      RetryOnSignal([&] { return ::preadv(fd_.get(), parts, 2, static_cast<off_t>(position_)); });
  if (context_.observer != nullptr) {
    context_.observer->OnWaited(std::chrono::steady_clock::now() - begun);
  }
  if (count < 0) throw IoError(errno, "cannot read the file at byte " + std::to_string(position_));
  if (count == 0) {
    CheckSize();
    throw FileChangedError("the file ends at byte " + std::to_string(position_) + " of " +
                           std::to_string(size_));
  }
  position_ += static_cast<uint64_t>(count);
  return static_cast<size_t>(count);
}

void FileSource::CheckSize() {
  struct stat status;
  if (::fstat(fd_.get(), &status) != 0) throw IoError(errno, "cannot stat the file");
  if (!S_ISREG(status.st_mode)) throw FailedPreconditionError("this is not a regular file");
  if (static_cast<uint64_t>(status.st_size) == size_) return;
  throw FileChangedError("the file has " + std::to_string(status.st_size) + " bytes now, and had " +
                         std::to_string(size_) +
                         " when it was listed; is something writing to it?");
}

}  // namespace pipemode
