// SPDX-License-Identifier: Apache-2.0
#include "core/channel/channel_reader.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <new>
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
// How often to try a lock that another holds.
constexpr milliseconds kLookBusy{5};
// How often to go on waiting though a system call fails, kLookAgain apart: what cannot be had just
// now may be had in a moment, and to close a FIFO as its writer comes would lose the epoch.
constexpr int kMaxFailures = 500;
// How long not to be interrupted while the state cannot be moved on.
constexpr milliseconds kMarkPatience{500};

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

enum class Ending { kInterruption, kFailure, kOther };

// What an exception is that has ended a wait: something from outside; something that the system did
// not do; or else the wait itself, by its time limit or for good.
Ending EndingOf(const std::exception_ptr& exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const CancelledError&) {
    return Ending::kInterruption;
  } catch (const IoError&) {
    return Ending::kFailure;
  } catch (const std::bad_alloc&) {
    return Ending::kFailure;
  } catch (const PipeError&) {
    return Ending::kOther;
  } catch (...) {
    return Ending::kInterruption;
  }
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
  if (!has_begun_) Begin();
  // Not sooner: an epoch whose beginning has failed is not one that a caller has come to.
  if (claim_) epoch_ = claim_->epoch;
  try {
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
  source_ = nullptr;
  stream_.reset();
  claim_.reset();
}

void ChannelReader::Begin() {
  try {
    Open();
  } catch (CancelledError& error) {
    error.AddContext(position_);
    throw;
  } catch (PipeError& error) {
    error.AddContext(position_);
    // A writer that is there would not come again: the next call goes on with it.
    if (!claim_) Close();
    throw;
  }
}

// In this order, so that no epoch is lost by what fails: what needs memory is made before a FIFO is
// opened, at which a writer may wait; from the time that there is one, `claim_` stays; and from the
// time that the state has moved on nothing fails.
void ChannelReader::Open() {
  if (stream_ == nullptr) {
    auto source = std::make_unique<FifoSource>(options_.read_timeout, context_);
    FifoSource* const of_stream = source.get();
    stream_ = std::make_unique<RecordStream>(std::move(source), options_.stream);
    source_ = of_stream;
  }
  if (!claim_) position_ = "channel '" + options_.channel + "'";
  const PipeState state(options_.state_dir, options_.pipe_dir, options_.channel);
  const EpochRecovery recovery(state);
  Wait wait(context_, options_.open_timeout, wait_what_);
  std::exception_ptr interruption;
  std::vector<EpochClaim> later;
  while (!claim_) {
    claim_ =
        WaitForWriter(state, recovery, WaitForClaim(recovery, wait), wait, &later, &interruption);
  }
  EpochClaim& claim = *claim_;
  position_ = DescribePosition(options_.channel, claim.epoch, claim.path);
  source_->Prepare(claim.fd.get(), claim.path);
  MarkStarted(state, claim, wait);
  source_->Begin(std::move(claim.fd));
  lost_epochs_ += claim.epoch - claim.due;
  has_begun_ = true;
  if (!later.empty()) recovery.TryGiveUp(&later);
  if (interruption) std::rethrow_exception(interruption);
}

std::optional<EpochClaim> ChannelReader::WaitForWriter(const PipeState& state,
                                                       const EpochRecovery& recovery,
                                                       EpochClaim claim, Wait& wait,
                                                       std::vector<EpochClaim>* later,
                                                       std::exception_ptr* interruption) {
  using Writer = WriterWatch::Writer;
  wait_what_ = "a writer to open FIFO '" + claim.path + "' (limit: open_timeout)";
  std::optional<WriterWatch> watch;
  later->clear();
  std::exception_ptr over;  // what has ended the wait; one more look has to be taken
  int failures = 0;
  for (bool is_gone = false; !is_gone;) {
    try {
      // Looked at before the writer is: it may come, write all of a short epoch, and go with its
      // FIFO at any moment.
      const bool is_overtaken =
          !state.IsCurrent(claim) || (claim.epoch != claim.due && state.Exists(claim.due));
      const bool is_later_overtaken =
          !std::all_of(later->begin(), later->end(),
                       [&state](const EpochClaim& other) { return state.IsCurrent(other); });
      if (!watch) watch.emplace(claim.fd.get(), claim.left);
      const Writer writer = watch->Look();
      is_gone = writer == Writer::kGone;
      if (writer == Writer::kPresent) {
        if (over && EndingOf(over) == Ending::kInterruption) *interruption = over;
        return claim;
      }
      if (writer == Writer::kUnsure) {
        // For a moment only, which is not interrupted.
        if (over) {
          std::this_thread::sleep_for(kLookAgain);
        } else {
          wait.Poll(-1, 0, kLookAgain);
        }
      }
      if (writer != Writer::kAbsent) continue;
      const auto other = std::find_if(
          later->begin(), later->end(),
          [](const EpochClaim& candidate) { return FifoSource::HasWriter(candidate.fd.get()); });
      if (other != later->end()) {
        claim = EpochClaim(std::move(*other));
        later->erase(other);
        watch.reset();
        continue;
      }
      if (over) {
        later->push_back(std::move(claim));
        if (recovery.TryGiveUp(later)) std::rethrow_exception(over);
        claim = EpochClaim(std::move(later->back()));
        later->pop_back();
        continue;
      }
      if (is_overtaken) return std::nullopt;
      if (is_later_overtaken) later->clear();
      recovery.TryClaimLater(claim, later);
      wait.Poll(claim.fd.get(), POLLIN, kLookForWriter);
    } catch (...) {
      if (over) throw;
      over = std::current_exception();
      if (EndingOf(over) == Ending::kFailure && ++failures < kMaxFailures) {
        over = nullptr;
        std::this_thread::sleep_for(kLookAgain);
      }
    }
  }
  MarkStarted(state, claim, wait);
  lost_epochs_ += claim.epoch + 1 - claim.due;
  if (over) std::rethrow_exception(over);
  return std::nullopt;
}

void ChannelReader::MarkStarted(const PipeState& state, const EpochClaim& claim, Wait& wait) {
  wait_what_ = kStateLock;
  // The lock is held for a few system calls only, and what cannot be had just now may be had in a
  // moment. To be interrupted meanwhile would lose the epoch.
  const Wait::Clock::time_point patience = Wait::Clock::now() + kMarkPatience;
  for (;;) {
    const bool is_patient = Wait::Clock::now() < patience;
    try {
      if (state.TryMarkStarted(claim)) return;
    } catch (const IoError&) {
      if (!is_patient) throw;
    }
    if (is_patient) {
      std::this_thread::sleep_for(milliseconds(1));
    } else {
      wait.Poll(-1, 0, kLookBusy);
    }
  }
}

EpochClaim ChannelReader::WaitForClaim(const EpochRecovery& recovery, Wait& wait) {
  // The folder may be there by now.
  if (watch_ && watch_->fd() < 0) watch_.reset();
  for (;;) {
    if (watch_) watch_->Drain();
    PipeState::Attempt attempt = recovery.TryClaim();
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
