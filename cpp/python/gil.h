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
    // While the interpreter shuts down, it ends threads that ask for the lock by unwinding their
    // stack, which C++ takes for a crash. Such a thread (a daemon) has nothing left to do: it may
    // as well wait for the end.
    while (IsFinalizing() && ::getpid() != ::gettid()) ::pause();
    PyEval_RestoreThread(std::exchange(state_, nullptr));
  }

 private:
  static bool IsFinalizing() noexcept {
#if PY_VERSION_HEX >= 0x030d0000
    return Py_IsFinalizing() != 0;
#else
    return _Py_IsFinalizing() != 0;
#endif
  }

  PyThreadState* state_ = nullptr;  // set while let go
};

}  // namespace pipemode::python

#endif  // PIPEMODE_PYTHON_GIL_H_
