// SPDX-License-Identifier: Apache-2.0
//
// Ctrl-C while C++ waits. Python only notes a signal and acts on it after the C++ call returns, so
// a call that waits for data would never be interrupted. Once enabled, the first wait that blocks
// chains a handler in front of an existing one for SIGINT and SIGTERM; the handler stores the time
// and calls the one it found. Waits look at that time every kSignalTick and give up kSignalGrace
// after the signal, whereupon Python raises KeyboardInterrupt, or runs the handler that the script
// set.
//
// A handler is chained only in front of an existing one (never where the signal has its default
// action or is ignored), and again only if somebody restored exactly the one found first: one set
// later by other means is left alone.
#ifndef PIPEMODE_CORE_IO_SIGNAL_WATCH_H_
#define PIPEMODE_CORE_IO_SIGNAL_WATCH_H_

#include <chrono>
#include <optional>

namespace pipemode {

// How often a blocked wait looks for a signal. 50 wake-ups a second cost below 0.1 % of a core.
inline constexpr std::chrono::milliseconds kSignalTick{20};

// How long a wait goes on after a signal: a short lull in the data must not turn a script's own,
// graceful signal handling into a failed read.
inline constexpr std::chrono::milliseconds kSignalGrace{50};

class SignalWatch {
 public:
  SignalWatch() = delete;

  // Lets waits of this process chain the handlers. To be called where Python is the host.
  static void Enable() noexcept;

  // Chains the handlers if enabled and not in place. Returns whether signals are watched.
  // Cheap (a few system calls); called before each wait that blocks.
  static bool Arm() noexcept;

  // When the last watched signal arrived, if one did.
  static std::optional<std::chrono::steady_clock::time_point> LastSignal() noexcept;
};

}  // namespace pipemode

#endif  // PIPEMODE_CORE_IO_SIGNAL_WATCH_H_
