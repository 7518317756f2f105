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
  EnlargePipe();
  written_ = 0;
  reader_closed_ = false;
  over_ = false;
  begun_ = Wait::Clock::now();
}

bool FifoChannelWriter::Write(std::string_view bytes) {
  MoveAll(bytes.size(), [this, &bytes](size_t size) {
    const ssize_t count = ::write(fd_.get(), bytes.data(), size);
    if (count > 0) bytes.remove_prefix(static_cast<size_t>(count));
    return count;
  });
  return !over_;
}

std::optional<uint64_t> FifoChannelWriter::WriteFile(int fd, uint64_t size) {
  bool can_splice = true;
  const uint64_t moved = MoveAll(size, [this, fd, &can_splice](size_t at_most) {
    constexpr unsigned kFlags = SPLICE_F_NONBLOCK | SPLICE_F_MOVE;
    const ssize_t count = ::splice(fd, nullptr, fd_.get(), nullptr, at_most, kFlags);
    if (count >= 0 || errno != EINVAL) return count;
    can_splice = false;
    return ssize_t{0};
  });
  if (moved == 0 && !can_splice) return std::nullopt;
  return moved;
}

uint64_t FifoChannelWriter::MoveAll(uint64_t size, const Move& move) {
  uint64_t left = size;
  while (left > 0 && !over_) {
    uint64_t chunk = std::min<uint64_t>(left, options_.chunk_bytes);
    if (options_.fault != WriterFault::kNone) {
      if (written_ == options_.fault_at_byte) {
        Strike();
        break;
      }
      chunk = std::min(chunk, options_.fault_at_byte - written_);
    }
    const size_t moved = MoveChunk(static_cast<size_t>(chunk), move);
    left -= moved;
    if (moved < chunk) break;
    Throttle();
  }
  return size - left;
}

void FifoChannelWriter::EndEpoch() {
  // The fault may stand exactly at the end of the bytes.
  const bool faulty = options_.fault != WriterFault::kNone;
  if (!over_ && faulty && written_ == options_.fault_at_byte) Strike();
  fd_.Reset();
  path_ = PathOf(++epoch_);
}

size_t FifoChannelWriter::MoveChunk(size_t size, const Move& move) {
  size_t left = size;
  while (left > 0) {
    const ssize_t count = move(left);
    const int error = count < 0 ? errno : 0;
    if (count > 0) {
      written_ += static_cast<uint64_t>(count);
      left -= static_cast<size_t>(count);
    } else if (count == 0) {
      break;
    } else if (error == EPIPE || (error == EAGAIN && !WaitWritable())) {
      reader_closed_ = true;
      over_ = true;
      break;
    } else if (error != EAGAIN && error != EINTR) {
      throw IoError(error, "writing to '" + path_ + "'");
    }
  }
  return size - left;
}

bool FifoChannelWriter::WaitWritable() {
  const std::string what = "room in FIFO '" + path_ + "'";
  Wait wait(context_, kNoLimit, what);
  return (wait.Poll(fd_.get(), POLLOUT) & POLLERR) == 0;
}

// A refusal (limit of the user, of the system) is not an error.
void FifoChannelWriter::EnlargePipe() {
  if (options_.pipe_bytes == 0) return;
  const int size = static_cast<int>(std::min<size_t>(options_.pipe_bytes, INT32_MAX));
  if (::fcntl(fd_.get(), F_GETPIPE_SZ) < size) (void)::fcntl(fd_.get(), F_SETPIPE_SZ, size);
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
