// SPDX-License-Identifier: Apache-2.0
#include "core/writer/fifo_channel_writer.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <utility>

#include "core/base/error.h"

namespace pipemode {
namespace {

// A reader's open() can only be found out by trying. It must not wait long for us, so we try often
// at first, where readers that go from epoch to epoch come; later it must not cost a core.
constexpr std::chrono::microseconds kFirstLookForReader{200};
constexpr std::chrono::microseconds kLastLookForReader{5000};

// For a moment, or for an epoch: a child that is forked meanwhile would keep it open, and the
// reader waiting for the end.
ForkGuardedFd OpenForWriting(const std::string& path) {
  return ForkGuardedFd(
      [&path] { return ::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY); });
}

}  // namespace

bool HasReader(const std::string& path) {
  const ForkGuardedFd fd = OpenForWriting(path);
  if (fd) return true;
  if (errno == ENXIO || errno == ENOENT) return false;
  throw IoError(errno, "cannot open '" + path + "'");
}

FifoChannelWriter::FifoChannelWriter(const std::string& pipe_dir, const std::string& channel,
                                     uint64_t first_epoch, const FifoWriterOptions& options,
                                     const WaitContext& context)
    : prefix_(pipe_dir + "/" + channel + "_"),
      options_(options),
      context_(context),
      epoch_(first_epoch),
      path_(PathOf(first_epoch)) {
  if (options.chunk_bytes == 0) throw InvalidArgumentError("chunk_bytes must be positive");
  if (!(options.bytes_per_second > 0)) {
    throw InvalidArgumentError("bytes_per_second must be positive");
  }
}

void FifoChannelWriter::BeginEpoch() {
  if (::mkfifo(path_.c_str(), 0600) != 0) {
    if (errno != EEXIST) throw IoError(errno, "cannot make FIFO '" + path_ + "'");
    // A socket, for one, would always look like a FIFO without a reader.
    struct stat status;
    if (::stat(path_.c_str(), &status) != 0) throw IoError(errno, "cannot stat '" + path_ + "'");
    if (!S_ISFIFO(status.st_mode)) throw FailedPreconditionError("'" + path_ + "' is not a FIFO");
  }
  const std::string what = "a reader to open FIFO '" + path_ + "'";
  Wait wait(context_, kNoLimit, what);
  std::chrono::microseconds delay = kFirstLookForReader;
  for (;;) {
    ForkGuardedFd fd = OpenForWriting(path_);
    if (fd) {
      fd_ = std::move(fd);
      break;
    }
    if (errno != ENXIO && errno != EINTR) throw IoError(errno, "cannot open '" + path_ + "'");
    wait.Poll(-1, 0, delay);
    delay = std::min(2 * delay, kLastLookForReader);
  }
  written_ = 0;
  reader_closed_ = false;
  over_ = false;
  begun_ = Wait::Clock::now();
}

bool FifoChannelWriter::Write(std::string_view bytes) {
  while (!bytes.empty() && !over_) {
    size_t size = std::min(bytes.size(), options_.chunk_bytes);
    if (options_.fault != WriterFault::kNone) {
      if (written_ == options_.fault_at_byte) {
        Strike();
        break;
      }
      size = std::min<uint64_t>(size, options_.fault_at_byte - written_);
    }
    if (!WriteChunk(bytes.substr(0, size))) {
      reader_closed_ = true;
      over_ = true;
    }
    bytes.remove_prefix(size);
  }
  return !over_;
}

void FifoChannelWriter::EndEpoch() {
  // The fault may stand exactly at the end of the bytes.
  const bool faulty = options_.fault != WriterFault::kNone;
  if (!over_ && faulty && written_ == options_.fault_at_byte) Strike();
  fd_.Reset();
  path_ = PathOf(++epoch_);
}

bool FifoChannelWriter::WriteChunk(std::string_view chunk) {
  while (!chunk.empty()) {
    const ssize_t count = ::write(fd_.get(), chunk.data(), chunk.size());
    if (count >= 0) {
      written_ += static_cast<uint64_t>(count);
      chunk.remove_prefix(static_cast<size_t>(count));
    } else if (errno == EAGAIN) {
      if (!WaitWritable()) return false;
    } else if (errno == EPIPE) {
      return false;
    } else if (errno != EINTR) {
      throw IoError(errno, "writing to '" + path_ + "'");
    }
  }
  Throttle();
  return true;
}

bool FifoChannelWriter::WaitWritable() {
  const std::string what = "room in FIFO '" + path_ + "'";
  Wait wait(context_, kNoLimit, what);
  return (wait.Poll(fd_.get(), POLLOUT) & POLLERR) == 0;
}

void FifoChannelWriter::Throttle() {
  if (std::isinf(options_.bytes_per_second)) return;
  const std::chrono::duration<double> due(static_cast<double>(written_) /
                                          options_.bytes_per_second);
  const auto until = begun_ + std::chrono::duration_cast<Wait::Clock::duration>(due);
  const std::string what = "the throttle";
  Wait wait(context_, kNoLimit, what);
  for (auto now = Wait::Clock::now(); now < until; now = Wait::Clock::now()) {
    wait.Poll(-1, 0, until - now);
  }
}

void FifoChannelWriter::Strike() {
  over_ = true;
  switch (options_.fault) {
    case WriterFault::kNone:
      break;
    case WriterFault::kStop:
      fd_.Reset();
      break;
    case WriterFault::kStall: {
      const std::string what = "the reader to close FIFO '" + path_ + "'";
      Wait wait(context_, kNoLimit, what);
      while ((wait.Poll(fd_.get(), 0) & POLLERR) == 0) {
      }
      reader_closed_ = true;
      break;
    }
    case WriterFault::kDie:
      ::raise(SIGKILL);
      break;
  }
}

std::string FifoChannelWriter::PathOf(uint64_t epoch) const {
  return prefix_ + std::to_string(epoch);
}

}  // namespace pipemode
