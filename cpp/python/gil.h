// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_PYTHON_GIL_H_
#define PIPEMODE_PYTHON_GIL_H_

#include <Python.h>
#include <unistd.h>

#include <utility>

namespace pipemode::python {

// The interpreter's lock, as the calling thread holds it when the object is made, and again when it
// is destroyed. In between it may be let go and taken back at will. For use by that one thread.
class Gil {
 public:
  Gil() = default;
  Gil(const Gil&) = delete;
  Gil& operator=(const Gil&) = delete;
  ~Gil() { Acquire(); }

  void Release() noexcept {
    if (state_ == nullptr) state_ = PyEval_SaveThread();
  }

  void Acquire() noexcept {
    if (state_ == nullptr) return;
    try {
      PyEval_RestoreThread(std::exchange(state_, nullptr));
    } catch (...) {
      // Not an exception: while the interpreter shuts down, CPython before 3.14 ends a thread that
      // asks for the lock by unwinding its stack, which must not go through C++ that does not
      // expect it. Like later versions: let this thread, a daemon, sleep until the process is over.
      for (;;) ::pause();
    }
  }

 private:
  PyThreadState* state_ = nullptr;  // set while let go
};

}  // namespace pipemode::python

#endif  // PIPEMODE_PYTHON_GIL_H_
