// SPDX-License-Identifier: Apache-2.0
#include "core/channel/epoch_recovery.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <exception>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>

#include "core/base/error.h"
#include "core/base/retry.h"
#include "core/io/fifo_source.h"

namespace pipemode {
namespace {

constexpr size_t kMaxWordBytes = 64;
// So many epochs in a row are not lost to readers that are killed; the lock file is broken.
constexpr uint64_t kMaxOpened = 1000;
constexpr std::string_view kMarked = " marked";
constexpr std::string_view kClosed = " closed";
// How often to try for the lock, 1 ms apart, which others hold for a few system calls.
constexpr int kLockTries = 100;

std::string_view EndingOf(OpenedPipes pipes) {
  switch (pipes) {
    case OpenedPipes::kAny:
      return "";
    case OpenedPipes::kMarked:
      return kMarked;
    case OpenedPipes::kNone:
      return kClosed;
  }
  return "";
}

OpenedPipes TakeEnding(std::string_view* line) {
  for (const OpenedPipes pipes : {OpenedPipes::kMarked, OpenedPipes::kNone}) {
    const std::string_view ending = EndingOf(pipes);
    if (line->size() <= ending.size()) continue;
    if (line->substr(line->size() - ending.size()) != ending) continue;
    line->remove_suffix(ending.size());
    return pipes;
  }
  return OpenedPipes::kAny;
}

}  // namespace

PipeState::Attempt EpochRecovery::TryClaim() const {
  const ForkGuardedFd lock = state_.TryLock();
  if (!lock) {
    PipeState::Attempt attempt;
    attempt.busy = true;
    return attempt;
  }
  const uint64_t due = state_.NextEpoch();
  const Word before = Read(lock, due);
  uint64_t epoch = due;
  while (epoch < before.end && !state_.Exists(epoch)) ++epoch;
  if (!state_.Exists(epoch)) epoch = due;
  return Open(lock, due, epoch, before);
}

void EpochRecovery::TryClaimLater(const EpochClaim& claim, std::vector<EpochClaim>* later) const {
  for (uint64_t epoch = claim.epoch + 1; epoch <= claim.opened_end; ++epoch) {
    const auto has_epoch = [epoch](const EpochClaim& other) { return other.epoch == epoch; };
    if (std::any_of(later->begin(), later->end(), has_epoch) || !state_.Exists(epoch)) continue;
    const ForkGuardedFd lock = state_.TryLock();
    if (!lock || state_.NextEpoch() != claim.due) return;
    later->reserve(later->size() + 1);  // before a writer may go on
    // As of before `claim`, whose reader has left word that it may be killed.
    const Word before{claim.opened_end, claim.opened};
    PipeState::Attempt attempt = Open(lock, claim.due, epoch, before);
    if (!attempt.claim) continue;
    later->push_back(std::move(*attempt.claim));
  }
}

// Claims an epoch, having left word of it: from the moment that its FIFO is opened a writer may
// come, and a reader that is killed cannot tell of it any more.
PipeState::Attempt EpochRecovery::Open(const ForkGuardedFd& lock, uint64_t due, uint64_t epoch,
                                       const Word& before) const {
  PipeState::Attempt attempt;
  attempt.epoch = epoch;
  attempt.path = state_.PipePath(epoch);
  if (!state_.Exists(epoch)) return attempt;
  const Word now = Read(lock, due);
  const uint64_t end = std::max(now.end, epoch + 1);
  Write(lock, due, {end, OpenedPipes::kAny});
  attempt = state_.TryClaimLocked(due, epoch);
  if (attempt.claim) {
    EpochClaim& claim = *attempt.claim;
    claim.opened_end = before.end;
    claim.opened = before.pipes;
    // If it fails, the word that is there says less, but nothing wrong.
    if (claim.is_marked && now.pipes != OpenedPipes::kAny) {
      TryWrite(lock, due, {end, OpenedPipes::kMarked});
    }
    // Where a reader may have been killed, what was there at once may be what its writer left. In a
    // new pipe nothing is, but its writer may have done with the epoch, and just look in once more.
    const bool is_new = before.pipes == OpenedPipes::kMarked && claim.was_new;
    if (epoch < before.end && before.pipes != OpenedPipes::kNone) {
      claim.left = is_new ? 0 : claim.fill;
    }
  } else if (!attempt.busy || now.pipes == OpenedPipes::kMarked) {
    Write(lock, due, now);  // the FIFO has gone in this moment, or is with one who has marked it
  }
  return attempt;
}

bool EpochRecovery::TryGiveUp(std::vector<EpochClaim>* claims) const noexcept {
  ForkGuardedFd lock;
  uint64_t due = 0;
  std::optional<Word> word;
  try {
    lock = LockSoon();
    if (lock) word = WordAfter(lock, &due, *claims);
  } catch (const std::exception&) {
    word.reset();
  }
  // Last of all: of a writer that comes between these looks and the closing there is no sign.
  for (const EpochClaim& claim : *claims) {
    if (FifoSource::HasNoWriter(claim.fd.get())) continue;
    if (FifoSource::HasWriter(claim.fd.get())) return false;
    word.reset();  // the system does not tell
  }
  claims->clear();
  if (word) TryWrite(lock, due, *word);
  return true;
}

std::optional<EpochRecovery::Word> EpochRecovery::WordAfter(
    const ForkGuardedFd& lock, uint64_t* due, const std::vector<EpochClaim>& claims) const {
  *due = state_.NextEpoch();
  const uint64_t end = Read(lock, *due).end;
  if (!IsCertain(*due, end, claims)) return std::nullopt;
  return Word{end, OpenedPipes::kNone};
}

ForkGuardedFd EpochRecovery::LockSoon() const {
  for (int i = 0; i < kLockTries; ++i) {
    ForkGuardedFd lock = state_.TryLock();
    if (lock) return lock;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return ForkGuardedFd();
}

// Whether each FIFO that readers have opened is one of `claims`, or is gone.
bool EpochRecovery::IsCertain(uint64_t due, uint64_t end,
                              const std::vector<EpochClaim>& claims) const {
  for (uint64_t epoch = due; epoch < end; ++epoch) {
    const bool is_ours = std::any_of(claims.begin(), claims.end(), [&](const EpochClaim& claim) {
      return claim.epoch == epoch && state_.IsCurrent(claim);
    });
    if (!is_ours && state_.Exists(epoch)) return false;
  }
  return true;
}

EpochRecovery::Word EpochRecovery::Read(const ForkGuardedFd& lock, uint64_t due) const {
  const Word none{due, OpenedPipes::kNone};
  char text[kMaxWordBytes];
  const ssize_t count = RetryOnSignal([&] { return ::pread(lock.get(), text, sizeof(text), 0); });
  if (count < 0) throw IoError(errno, "cannot read the lock file '" + state_.lock_path() + "'");
  const std::string_view content(text, static_cast<size_t>(count));
  std::string_view line = content.substr(0, content.find('\n'));
  const OpenedPipes pipes = TakeEnding(&line);
  const size_t blank = line.find(' ');
  if (blank == std::string_view::npos) return none;
  const std::optional<uint64_t> of = ParseEpoch(line.substr(0, blank));
  const std::optional<uint64_t> last = ParseEpoch(line.substr(blank + 1));
  // The state may have gone on since, not back.
  if (!of || !last || due < *of || *last < due || *last - due >= kMaxOpened) return none;
  return {*last + 1, pipes};
}

// The old word stays if it fails.
void EpochRecovery::TryWrite(const ForkGuardedFd& lock, uint64_t due,
                             const Word& word) const noexcept {
  try {
    Write(lock, due, word);
  } catch (const std::exception&) {
    return;
  }
}

// No fsync: with the machine the FIFOs go, too.
void EpochRecovery::Write(const ForkGuardedFd& lock, uint64_t due, const Word& word) const {
  // Where none was opened there is nothing to tell.
  std::string text =
      word.end > due ? std::to_string(due) + " " + std::to_string(word.end - 1) : std::string();
  if (word.end > due) text += EndingOf(word.pipes);
  text += '\n';
  ssize_t count = RetryOnSignal([&] { return ::pwrite(lock.get(), text.data(), text.size(), 0); });
  if (count >= 0 && static_cast<size_t>(count) < text.size()) {
    count = -1;
    errno = ENOSPC;  // a short write does not say why
  }
  if (count < 0) throw IoError(errno, "cannot write the lock file '" + state_.lock_path() + "'");
}

}  // namespace pipemode
