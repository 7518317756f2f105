// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_TF_PYTHON_API_H_
#define PIPEMODE_TF_PYTHON_API_H_

#include <string>

namespace pipemode {

// The little of Python's stable C API that python_interrupt.cc needs, found in the running process.
// Any thread, unless a method says otherwise.
class PythonApi {
 public:
  // Returns null if no Python ran at the first call; the object lives as long as the process.
  static const PythonApi* Find() noexcept;

  // May be called from a signal handler.
  bool CurrentThreadHoldsGil() const noexcept { return gil_state_check_() != 0; }

  // Lets the main thread call `function` when it next runs bytecode. Needs no GIL. Returns false if
  // the queue is full.
  bool AddPendingCall(int (*function)(void*)) const noexcept;

  // Whether the main thread's innermost frame is TensorFlow's. Takes the GIL.
  bool MainThreadIsInTensorFlow() const noexcept;

  // Runs the script's handlers of the signals that Python has noted so far. For the main thread,
  // with the GIL. Returns false, with the exception set, if one raised.
  bool RunSignalHandlers() const noexcept;

  // Whether an exception raised now would not reach the script: the current thread, which must hold
  // the GIL, is inside the constructor of one of TensorFlow's exceptions, or inside a finalizer,
  // where Python only prints it. Garbage is collected wherever objects are made.
  bool WouldLoseException() const noexcept;

 private:
  bool Load() noexcept;
  bool MainThreadIsInTensorFlowLocked() const noexcept;
  // Where a frame's code is from, and the name of its function.
  struct Code {
    std::string file;
    std::string name;
  };

  Code CodeOf(void* frame) const noexcept;
  std::string Attribute(void* object, const char* name) const noexcept;
  bool FrameIsOfTensorFlow(void* frame) const noexcept;
  bool FrameLosesException(void* frame) const noexcept;

  int (*is_initialized_)() = nullptr;
  int (*gil_state_check_)() = nullptr;
  int (*gil_state_ensure_)() = nullptr;
  void (*gil_state_release_)(int) = nullptr;
  int (*add_pending_call_)(int (*)(void*), void*) = nullptr;
  void* (*get_frame_)() = nullptr;        // borrowed
  void* (*frame_code_)(void*) = nullptr;  // new reference
  void* (*frame_back_)(void*) = nullptr;  // new reference or null
  void* (*get_attribute_)(void*, const char*) = nullptr;
  const char* (*as_utf8_)(void*) = nullptr;
  void* (*sys_object_)(const char*) = nullptr;  // borrowed
  void* (*call_no_args_)(void*) = nullptr;
  void* (*import_)(const char*) = nullptr;
  void* (*dict_get_)(void*, void*) = nullptr;  // borrowed
  void (*clear_error_)() = nullptr;
  int (*check_signals_)() = nullptr;
  void (*decref_)(void*) = nullptr;
};

}  // namespace pipemode

#endif  // PIPEMODE_TF_PYTHON_API_H_
