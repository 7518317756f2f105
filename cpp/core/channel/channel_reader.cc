// SPDX-License-Identifier: Apache-2.0
#include "core/channel/channel_reader.h"

#include <fcntl.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <thread>
#include <utility>

#include "core/channel/writer_watch.h"
#include "core/io/directory_watch.h"

namespace pipemode {
namespace {

using std::chrono::milliseconds;

// How often to look for a FIFO.
constexpr milliseconds kLookForPipe{5};
// The same where inotify is to tell of it at once; some file systems never do.
constexpr milliseconds kLookForWatchedPipe{20};
// How often to look for its writer, which announces itself by nothing but data.
constexpr milliseconds kLookForWriter{5};
// The same where there is one that may be about to leave.
constexpr milliseconds kLookAgain{1};
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

std::string DescribePosition(const std::string& channel, uint64_t epoch, const std::string& path) {
  if (path.empty()) return "channel '" + channel + "'";
  return "channel '" + channel + "' epoch " + std::to_string(epoch) + " (" + path + ")";
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
ForkGuardedFd Duplicate(const ForkGuardedFd& fd) {
  ForkGuardedFd copy([&fd] { return ::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0); });
  if (!copy) throw IoError(errno, "cannot duplicate a file descriptor");
  return copy;
}

}  // namespace

void CheckOptions(const ChannelOptions& options) {
  CheckChannelName(options.channel);
  CheckTimeout(options.open_timeout, "open_timeout");
  CheckTimeout(options.read_timeout, "read_timeout");
  CheckStreamOptions(options.stream);
}

ChannelReader::ChannelReader(ChannelOptions options, const WaitContext& context,
                             std::optional<DirectoryWatch>* watch)
    : options_(std::move(options)),
      context_(context),
      watch_(watch != nullptr ? *watch : own_watch_) {
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
  std::exception_ptr interruption;
  while (!claim) claim = WaitForWriter(state, WaitForClaim(state, wait), wait, &interruption);
  MarkStarted(state, *claim, wait);
  position_ = DescribePosition(options_.channel, claim->epoch, claim->path);
  epoch_ = claim->epoch;
  lost_epochs_ += claim->epoch - claim->due;
  stream_ =
      std::make_unique<RecordStream>(std::make_unique<FifoSource>(Duplicate(claim->fd), claim->path,
                                                                  options_.read_timeout, context_),
                                     options_.stream);
  claim_ = std::move(claim);
  if (interruption) std::rethrow_exception(interruption);
}

std::optional<EpochClaim> ChannelReader::WaitForWriter(const PipeState& state, EpochClaim claim,
                                                       Wait& wait,
                                                       std::exception_ptr* interruption) {
  using Writer = WriterWatch::Writer;
  wait_what_ = "a writer to open FIFO '" + claim.path + "' (limit: open_timeout)";
  std::optional<WriterWatch> watch;
  std::vector<EpochClaim> later;
  const auto find_later = [&claim, &later, &watch] {
    for (EpochClaim& other : later) {
      if (!FifoSource::HasWriter(other.fd.get())) continue;
      claim = EpochClaim(std::move(other));
      watch.reset();
      return true;
    }
    return false;
  };
  try {
    for (;;) {
      // Looked at before the writer is: it may come, write all of a short epoch, and go with its
      // FIFO at any moment.
      const bool is_overtaken =
          !state.IsCurrent(claim) || (claim.epoch != claim.due && state.DueExists(claim));
      const bool is_later_overtaken =
          !std::all_of(later.begin(), later.end(),
                       [&state](const EpochClaim& other) { return state.IsCurrent(other); });
      if (!watch) watch.emplace(claim.fd.get(), claim.left);
      const Writer writer = watch->Look();
      if (writer == Writer::kPresent) return claim;
      if (writer == Writer::kGone) break;
      if (writer == Writer::kUnsure) {
        wait.Poll(-1, 0, kLookAgain);
        continue;
      }
      if (find_later()) continue;
      if (is_overtaken) return std::nullopt;
      if (is_later_overtaken) later.clear();
      state.TryClaimLater(claim, &later);
      wait.Poll(claim.fd.get(), POLLIN, kLookForWriter);
    }
  } catch (...) {
    // If a writer came since the last look, it will not come again: the epoch has begun.
    if (!FifoSource::HasWriter(claim.fd.get()) && !find_later()) throw;
    *interruption = std::current_exception();
    return claim;
  }
  MarkStarted(state, claim, wait);
  lost_epochs_ += claim.epoch + 1 - claim.due;
  return std::nullopt;
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
  // The folder may be there by now.
  if (watch_ && watch_->fd() < 0) watch_.reset();
  for (;;) {
    if (watch_) watch_->Drain();
    PipeState::Attempt attempt = state.TryClaim();
    position_ = DescribePosition(options_.channel, attempt.epoch, attempt.path);
    if (attempt.claim) return std::move(*attempt.claim);
    wait_what_ = DescribeWait(attempt);
    if (attempt.busy) {
      wait.Poll(-1, 0, kLookBusy);
    } else if (!watch_) {
      watch_.emplace(options_.pipe_dir);  // and look again: the FIFO may have come meanwhile
    } else {
      wait.Poll(watch_->fd(), POLLIN, watch_->fd() < 0 ? kLookForPipe : kLookForWatchedPipe);
    }
  }
}

}  // namespace pipemode
