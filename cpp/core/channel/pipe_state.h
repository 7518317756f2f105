// SPDX-License-Identifier: Apache-2.0
//
// Which epoch of a channel is read next, and by whom. docs/adr/0006-epoch-claims.md tells why it is
// done this way.
//
// Files in `state_dir`, kept from the predecessor, since other tools read them:
//   .<channel>-pipe_mode-state   the number of the next epoch to read, in decimal; missing means 0
//   .<channel>-pipe_mode-lock    flock()ed around every look at, and change of, the state; holds
//                                "<epoch due> <last epoch opened> marked", as of the last time
//                                that a reader opened a FIFO; "marked" unless some of their pipes
//                                may look like new ones
//
// Locks on an epoch are flock()s on its FIFO itself, so they hold across threads, processes and
// state folders, and vanish with their holder:
//   exclusive   somebody waits there for a writer; the state still names this epoch
//   shared      somebody reads it; the state names the next one
#ifndef PIPEMODE_CORE_CHANNEL_PIPE_STATE_H_
#define PIPEMODE_CORE_CHANNEL_PIPE_STATE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/fork_guarded_fd.h"

namespace pipemode {

// One epoch, held until destruction.
struct EpochClaim {
  uint64_t epoch;
  std::string path;
  ForkGuardedFd fd;     // the open FIFO; carries the lock
  uint64_t due;         // the epoch that the state names: this one, or one before it
  uint64_t opened_end;  // from `due` up to here, readers opened FIFOs and left the state alone
  // How many bytes were in the pipe at first, if readers have opened this FIFO before.
  std::optional<size_t> left;
};

// Safe for use by several threads and processes at once; keeps nothing in memory.
class PipeState {
 public:
  // Creates `state_dir` if need be. Throws InvalidArgumentError if `channel` is no channel name,
  // IoError.
  PipeState(const std::string& state_dir, const std::string& pipe_dir, const std::string& channel);

  // The epoch to be read next. Throws FailedPreconditionError if the state file holds no such
  // number.
  uint64_t NextEpoch() const;

  struct Attempt {
    uint64_t epoch = 0;               // the epoch that is due
    std::string path;                 // its FIFO
    bool busy = false;                // somebody else is about to read it, or has the state locked
    std::optional<EpochClaim> claim;  // set on success
  };

  // Claims the epoch that is due if its FIFO exists and nobody else waits on it; if the FIFO is
  // gone and a reader has opened it before, the next one that exists. Never waits. Throws
  // FailedPreconditionError that names the holder if somebody is reading that very FIFO (by another
  // state folder, or the state was reset), and as NextEpoch does.
  Attempt TryClaim() const;

  // Claims those epochs after `claim` that may be in its place and are not in `later` yet, if the
  // FIFO of `claim` was opened before: the reader that did so may have been killed in the instant
  // in which the writer came, and then the writer has gone on to the next FIFO. Looks one epoch
  // further than readers have come so far. Of all these, the one that has a writer is to be read.
  // Never waits.
  void TryClaimLater(const EpochClaim& claim, std::vector<EpochClaim>* later) const;

  // Whether the FIFO of `claim` is still the one at its path. A service that starts anew may have
  // removed it, or put another in its place: no writer will ever come to the claimed one.
  bool IsCurrent(const EpochClaim& claim) const;

  // Whether the FIFO that is due is there. TryClaim may have taken a later one while it was not.
  bool DueExists(const EpochClaim& claim) const;

  // Sets the state to the epoch after `claim`; to be called when its writer is there, before a byte
  // is read. Returns false, having done nothing, if the state is locked: try again soon. A state
  // that no longer names the epoch that was due is left alone.
  bool TryMarkStarted(const EpochClaim& claim) const;

  std::string PipePath(uint64_t epoch) const;

 private:
  // What readers have left word of.
  struct Opened {
    uint64_t end;  // the epoch after the last one that they have opened
    bool marked;   // whether no pipe that any of them has had open looks like a new one
  };

  ForkGuardedFd TryLock() const;
  ForkGuardedFd OpenPipe(const ForkGuardedFd& lock, uint64_t due, uint64_t epoch,
                         std::optional<size_t>* left) const;
  Opened ReadOpened(const ForkGuardedFd& lock, uint64_t due) const;
  void WriteOpened(const ForkGuardedFd& lock, uint64_t due, const Opened& opened) const;
  void WriteNextEpoch(uint64_t epoch) const;

  const std::string pipe_prefix_;  // "<pipe_dir>/<channel>_"
  const std::string state_path_;
  const std::string lock_path_;
};

// Throws InvalidArgumentError unless `channel` has 1 to 64 of the characters A-Z a-z 0-9 . - _
void CheckChannelName(const std::string& channel);

}  // namespace pipemode

#endif  // PIPEMODE_CORE_CHANNEL_PIPE_STATE_H_
