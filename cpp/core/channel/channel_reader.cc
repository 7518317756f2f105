// SPDX-License-Identifier: Apache-2.0
#include "core/channel/channel_reader.h"

#include <fcntl.h>
#include <poll.h>

#include <cerrno>
#include <exception>
#include <thread>
#include <utility>

#include "core/io/directory_watch.h"

namespace pipemode {
namespace {

using std::chrono::milliseconds;

// How often to look for a FIFO. inotify wakes the wait at once where it works; where not, this is
// the delay.
constexpr milliseconds kLookForPipe{5};
// How often to look for its writer, which announces itself by nothing but data.
constexpr milliseconds kLookForWriter{5};
// How often to try a lock that somebody else holds.
constexpr milliseconds kLookBusy{5};
// How long not to be interrupted while somebody else has the state locked.
constexpr milliseconds kStateLockPatience{500};

constexpr char kStateLock[] = "the lock on the channel's state (limit: open_timeout)";

void CheckTimeout(TimeLimit limit, const char* name) {
  if (!(limit.count() > 0)) {
    throw InvalidArgumentError(std::string(name) + " must be a positive number of seconds, not " +
                               std::to_string(limit.count()));
  }
}

std::string DescribePosition(const std::string& channel, const PipeState::Attempt& attempt) {
  if (attempt.path.empty()) return "channel '" + channel + "'";
  return "channel '" + channel + "' epoch " + std::to_string(attempt.epoch) + " (" + attempt.path +
         ")";
}

std::string DescribeWait(const PipeState::Attempt& attempt) {
  if (attempt.path.empty()) return kStateLock;
  if (attempt.busy) {
    return "FIFO '" + attempt.path + "', on which another reader waits (limit: open_timeout)";
  }
  return "FIFO '" + attempt.path +
         "' to appear (limit: open_timeout); does the job send this channel in Pipe mode, and so "
         "many epochs of it?";
}

// Both descriptors share one open file, thus one lock.
UniqueFd Duplicate(const UniqueFd& fd) {
  UniqueFd copy(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
  if (!copy) throw IoError(errno, "cannot duplicate a file descriptor");
  return copy;
}

}  // namespace

void CheckOptions(const ChannelOptions& options) {
  CheckChannelName(options.channel);
  CheckTimeout(options.open_timeout, "open_timeout");
  CheckTimeout(options.read_timeout, "read_timeout");
  if (options.stream.max_record_bytes == 0) {
    throw InvalidArgumentError("max_record_bytes must be positive");
  }
}

ChannelReader::ChannelReader(ChannelOptions options, const WaitContext& context)
    : options_(std::move(options)), context_(context) {
  CheckOptions(options_);
}

bool ChannelReader::Read(RecordSink& sink) { return Next(&sink); }

bool ChannelReader::Skip() { return Next(nullptr); }

bool ChannelReader::Next(RecordSink* sink) {
  if (done_) return false;
  try {
    if (stream_ == nullptr) Open();
    const bool found = sink != nullptr ? stream_->Read(*sink) : stream_->Skip();
    corrupted_records_ = stream_->corrupted_records();
    if (found) return true;
  } catch (CorruptRecordError& error) {
    corrupted_records_ = stream_->corrupted_records();
    error.AddContext(position_);
    throw;
  } catch (CancelledError& error) {
    error.AddContext(position_);
    throw;
  } catch (PipeError& error) {
    error.AddContext(position_);
    Close();
    throw;
  }
  Close();
  return false;
}

void ChannelReader::Close() noexcept {
  done_ = true;
  stream_.reset();
  claim_.reset();
}

void ChannelReader::Open() {
  position_ = "channel '" + options_.channel + "'";
  const PipeState state(options_.state_dir, options_.pipe_dir, options_.channel);
  Wait wait(context_, options_.open_timeout, wait_what_);
  std::optional<EpochClaim> claim;
  std::unique_ptr<FifoSource> source;
  std::exception_ptr interruption;
  do {
    claim.reset();
    claim = WaitForClaim(state, wait);
    source = WaitForWriter(state, *claim, wait, &interruption);
  } while (source == nullptr);
  MarkStarted(state, *claim, wait);
  epoch_ = claim->epoch;
  claim_ = std::move(claim);
  stream_ = std::make_unique<RecordStream>(std::move(source), options_.stream);
  if (interruption) std::rethrow_exception(interruption);
}

std::unique_ptr<FifoSource> ChannelReader::WaitForWriter(const PipeState& state,
                                                         const EpochClaim& claim, Wait& wait,
                                                         std::exception_ptr* interruption) {
  auto source = std::make_unique<FifoSource>(Duplicate(claim.fd), claim.path, options_.read_timeout,
                                             context_);
  wait_what_ = "a writer to open FIFO '" + claim.path + "' (limit: open_timeout)";
  try {
    while (!source->HasWriter()) {
      if (!state.IsCurrent(claim)) return nullptr;
      wait.Poll(claim.fd.get(), POLLIN, kLookForWriter);
    }
  } catch (...) {
    if (!source->HasWriter()) throw;
    // A writer came since the last look. It will not come again: the epoch has begun.
    *interruption = std::current_exception();
  }
  return source;
}

void ChannelReader::MarkStarted(const PipeState& state, const EpochClaim& claim, Wait& wait) {
  wait_what_ = kStateLock;
  // The lock is held for a few system calls only. To be interrupted meanwhile would lose the epoch.
  const Wait::Clock::time_point patience = Wait::Clock::now() + kStateLockPatience;
  while (!state.TryMarkStarted(claim)) {
    if (Wait::Clock::now() < patience) {
      std::this_thread::sleep_for(milliseconds(1));
    } else {
      wait.Poll(-1, 0, kLookBusy);
    }
  }
}

EpochClaim ChannelReader::WaitForClaim(const PipeState& state, Wait& wait) {
  std::optional<DirectoryWatch> watch;  // most FIFOs are there at the first look
  for (;;) {
    if (watch) watch->Drain();
    PipeState::Attempt attempt = state.TryClaim();
    position_ = DescribePosition(options_.channel, attempt);
    if (attempt.claim) return std::move(*attempt.claim);
    wait_what_ = DescribeWait(attempt);
    if (attempt.busy) {
      wait.Poll(-1, 0, kLookBusy);
    } else if (!watch) {
      watch.emplace(options_.pipe_dir);  // and look again: the FIFO may have come meanwhile
    } else {
      wait.Poll(watch->fd(), POLLIN, kLookForPipe);
    }
  }
}

}  // namespace pipemode
