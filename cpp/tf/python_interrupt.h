// SPDX-License-Identifier: Apache-2.0
//
// Ctrl-C while Python's main thread is inside a TensorFlow call that waits for us.
//
// Python's own C handler only notes a signal; the interpreter acts on it when it next runs
// bytecode. A main thread that is inside an op, or waits for a prefetch buffer that waits for an
// op, runs none until data comes. So the op must notice the signal and return, with an error. But
// if the signal is noted by then, the interpreter acts on it too early, inside the constructor of
// that error's exception, and pybind11 turns the resulting KeyboardInterrupt into a RuntimeError
// ("MISMATCH of original and normalized ..."). Hence this, for SIGINT and SIGTERM, where Python has
// a handler for them:
//
//   1. Our handler stands in front of Python's. If the main thread holds the GIL, it calls
//      Python's: all is as ever.
//   2. Else it wakes a helper thread. If the main thread is not inside TensorFlow (sleeping,
//      reading a socket), the helper sends the signal on to Python's handler at once, so that the
//      system call is interrupted as ever.
//   3. Else the signal is held back. Waits that see it give up after a short grace. A pending call,
//      which the interpreter runs on the main thread as soon as that is back from TensorFlow, has
//      made its exception and is not inside a finalizer of the garbage collection, passes the
//      signal to Python's handler: KeyboardInterrupt rises there, or the script's own handler runs.
//
// Python's C API is found by dlsym: the library is the same for every Python, and without Python
// nothing happens.
#ifndef PIPEMODE_TF_PYTHON_INTERRUPT_H_
#define PIPEMODE_TF_PYTHON_INTERRUPT_H_

#include <chrono>

namespace pipemode {

class PythonInterrupt {
 public:
  PythonInterrupt() = delete;

  // Puts our handler in front of Python's unless it is there. Does nothing without Python, where a
  // signal has its default action or is ignored, and where another library has put a handler in
  // front of ours meanwhile. Cheap, any thread.
  static void Watch() noexcept;

  // Whether a call that has waited since `begun` should give up, because a signal is held back
  // until the main thread returns from TensorFlow. A call that begins after the signal has its
  // grace all the same: it may be the next one of a thread that reads ahead, while the error of the
  // last is still on its way to the main thread. Lock-free, any thread.
  static bool ShouldStopWaiting(std::chrono::steady_clock::time_point begun) noexcept;
};

}  // namespace pipemode

#endif  // PIPEMODE_TF_PYTHON_INTERRUPT_H_
