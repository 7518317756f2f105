// SPDX-License-Identifier: Apache-2.0
//
// Which epoch of a channel is read next, and by whom. docs/adr/0006-epoch-claims.md tells why it is
// done this way.
//
// Files in `state_dir`, kept from the predecessor, since other tools read them:
//   .<channel>-pipe_mode-state   the number of the next epoch to read, in decimal; missing means 0
//   .<channel>-pipe_mode-lock    flock()ed around every look at, and change of, the state; what it
//                                holds is the business of epoch_recovery.h
//
// Locks on an epoch are locks on its FIFO itself, so they hold across threads, processes and state
// folders, and vanish with their holder:
//   flock(LOCK_EX)               its reader has this from the time that it waits for a writer
//   F_OFD_SETLK, F_RDLCK         it has this as well once the state names the next epoch; others
//                                ask for it with F_OFD_GETLK, which takes no lock
#ifndef PIPEMODE_CORE_CHANNEL_PIPE_STATE_H_
#define PIPEMODE_CORE_CHANNEL_PIPE_STATE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/fork_guarded_fd.h"

namespace pipemode {

// What may be left of readers in the FIFOs that they opened.
enum class OpenedPipes {
  kAny,     // pipes
  kMarked,  // pipes that they have marked; see FifoSource::Mark
  kNone,    // nothing: they have said that they closed them
};

// One epoch, held until destruction.
struct EpochClaim {
  uint64_t epoch = 0;
  std::string path;
  ForkGuardedFd fd;  // the open FIFO; carries the locks
  uint64_t due = 0;  // the epoch that the state names: this one, or one before it
  // Of the pipe right after it was opened:
  size_t fill = 0;         // how many bytes it held
  bool was_new = false;    // whether it bore no mark
  bool is_marked = false;  // whether it bears one now

  // What EpochRecovery knows besides.
  uint64_t opened_end = 0;  // from `due` up to here, readers opened FIFOs and left the state alone
  OpenedPipes opened = OpenedPipes::kNone;
  std::optional<size_t> left;  // how many bytes may be of a writer to one that was killed
};

// Safe for use by several threads and processes at once; keeps nothing in memory.
class PipeState {
 public:
  // Creates `state_dir` if need be. Throws InvalidArgumentError if `channel` is not a valid channel
  // name, IoError if the folder cannot be made.
  PipeState(const std::string& state_dir, const std::string& pipe_dir, const std::string& channel);

  // The epoch to be read next; 0 without a state file. Throws FailedPreconditionError if the file
  // does not hold such a number, IoError if it cannot be read.
  uint64_t NextEpoch() const;

  struct Attempt {
    uint64_t epoch = 0;               // the epoch that is due
    std::string path;                 // its FIFO
    bool busy = false;                // another is about to read it, or has the state locked
    std::optional<EpochClaim> claim;  // set on success
  };

  // Claims the epoch that is due if its FIFO exists and no other reader waits there. Throws
  // FailedPreconditionError that names the holder if that very FIFO is being read already (by
  // another state folder, or the state was reset), as FifoSource::Open does, and as NextEpoch and
  // TryLock do. After an error nothing is claimed. Never waits.
  Attempt TryClaim() const;

  // The same for an epoch from `due`, the one that the state names, on; the caller has the lock.
  Attempt TryClaimLocked(uint64_t due, uint64_t epoch) const;

  // Locks the state, for as long as what is returned lives: the descriptor of the lock file, none
  // if another has it. Throws IoError, and FailedPreconditionError if the lock file is not a plain
  // file. Never waits.
  ForkGuardedFd TryLock() const;

  // Whether the FIFO of `claim` is still the one at its path. A service that starts anew may have
  // removed it, or put another in its place: no writer will ever come to the claimed one.
  bool IsCurrent(const EpochClaim& claim) const;

  // Whether there is a FIFO of `epoch`: anything but a clear no, opening it will tell.
  bool Exists(uint64_t epoch) const;

  // Sets the state to the epoch after `claim`; to be called when its writer is there, before a byte
  // is read. Returns false, having done nothing, if the state is locked: try again soon. A state
  // that no longer names the epoch that was due is left alone. Throws as TryLock and NextEpoch, and
  // IoError if the state cannot be written; it is as before then. Never waits.
  bool TryMarkStarted(const EpochClaim& claim) const;

  std::string PipePath(uint64_t epoch) const;
  const std::string& lock_path() const noexcept { return lock_path_; }

 private:
  void WriteNextEpoch(uint64_t epoch) const;

  const std::string pipe_prefix_;  // "<pipe_dir>/<channel>_"
  const std::string state_path_;
  const std::string lock_path_;
};

// Returns the number of an epoch: decimal digits and nothing else but blanks at the end.
std::optional<uint64_t> ParseEpoch(std::string_view text);

// Throws InvalidArgumentError unless `channel` has 1 to 64 of the characters A-Z a-z 0-9 . - _
void CheckChannelName(const std::string& channel);

}  // namespace pipemode

#endif  // PIPEMODE_CORE_CHANNEL_PIPE_STATE_H_
