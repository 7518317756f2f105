// SPDX-License-Identifier: Apache-2.0
//
// What is known of an epoch that readers have come to before, and ended without reading it. Most
// have given up and left it whole. One may have been killed in the instant in which its writer
// came; then the state still names an epoch that the service has done with.
// docs/adr/0006-epoch-claims.md draws it and tells why it is done this way.
//
// Word of it is in the channel's lock file, as one line:
//   <epoch due> <last epoch opened>          readers have opened the FIFOs of these; one of them
//                                            may have been killed
//   <epoch due> <last epoch opened> marked   the same, and they have marked all pipes
//   <epoch due> <last epoch opened> closed   all of them have closed their FIFOs again, and there
//                                            was no writer
#ifndef PIPEMODE_CORE_CHANNEL_EPOCH_RECOVERY_H_
#define PIPEMODE_CORE_CHANNEL_EPOCH_RECOVERY_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "core/base/fork_guarded_fd.h"
#include "core/channel/pipe_state.h"

namespace pipemode {

// Claims epochs, and leaves word for the readers to come. Safe for use by several threads and
// processes at once; keeps nothing in memory.
class EpochRecovery {
 public:
  // `state` must outlive the object.
  explicit EpochRecovery(const PipeState& state) : state_(state) {}

  // As PipeState::TryClaim; if the FIFO that is due is gone and a reader has opened it before, the
  // next one that exists. Throws IoError besides, if word cannot be left in the lock file.
  PipeState::Attempt TryClaim() const;

  // Claims those epochs after `claim` that may be in its place and are not in `later` yet, if
  // readers have opened the FIFO of `claim` before. Looks one epoch further than they have come.
  // The service serves epochs in order, so of all these the one that has a writer is to be read.
  // Throws as TryClaim; `later` then has those that were claimed before that. Never waits.
  void TryClaimLater(const EpochClaim& claim, std::vector<EpochClaim>* later) const;

  // Gives up epochs that were claimed together: all, or those after one that is being read. Returns
  // false, having left them alone, if one has got a writer meanwhile. If another has the state
  // locked for long (0.1 s), or the word cannot be written, the next reader finds things as after a
  // kill.
  bool TryGiveUp(std::vector<EpochClaim>* claims) const noexcept;

 private:
  // What readers have left word of.
  struct Word {
    uint64_t end;  // the epoch after the last one that they have opened
    OpenedPipes pipes;
  };

  PipeState::Attempt Open(const ForkGuardedFd& lock, uint64_t due, uint64_t epoch,
                          const Word& before) const;
  Word Read(const ForkGuardedFd& lock, uint64_t due) const;
  void Write(const ForkGuardedFd& lock, uint64_t due, const Word& word) const;
  void TryWrite(const ForkGuardedFd& lock, uint64_t due, const Word& word) const noexcept;
  ForkGuardedFd LockSoon() const;
  // Returns the word to leave when `claims` are closed; none if there may be pipes of others.
  std::optional<Word> WordAfter(const ForkGuardedFd& lock, uint64_t* due,
                                const std::vector<EpochClaim>& claims) const;
  bool IsCertain(uint64_t due, uint64_t end, const std::vector<EpochClaim>& claims) const;

  const PipeState& state_;
};

}  // namespace pipemode

#endif  // PIPEMODE_CORE_CHANNEL_EPOCH_RECOVERY_H_
