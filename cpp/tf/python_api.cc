// SPDX-License-Identifier: Apache-2.0
#include "tf/python_api.h"

#include <dlfcn.h>
#include <unistd.h>

#include <cstring>
#include <memory>

namespace pipemode {
namespace {

template <typename Function>
bool Resolve(const char* name, Function& function) noexcept {
  function = reinterpret_cast<Function>(::dlsym(RTLD_DEFAULT, name));
  return function != nullptr;
}

// For what may ask for the GIL. While the interpreter shuts down, CPython before 3.14 ends a thread
// that does so by unwinding its stack, which must not go through C++ that does not expect it. Like
// later versions: let the thread sleep until the process is over.
template <typename Function, typename... Arguments>
auto CallPython(Function function, Arguments... arguments) noexcept {
  try {
    return function(arguments...);
  } catch (...) {
    for (;;) ::pause();
  }
}

using Reference = std::unique_ptr<void, void (*)(void*)>;

}  // namespace

const PythonApi* PythonApi::Find() noexcept {
  static PythonApi api;
  static const bool kFound = api.Load();
  return kFound ? &api : nullptr;
}

bool PythonApi::Load() noexcept {
  return Resolve("Py_IsInitialized", is_initialized_) && is_initialized_() != 0 &&
         Resolve("PyGILState_Check", gil_state_check_) &&
         Resolve("PyGILState_Ensure", gil_state_ensure_) &&
         Resolve("PyGILState_Release", gil_state_release_) &&
         Resolve("Py_AddPendingCall", add_pending_call_) &&
         Resolve("PyEval_GetFrame", get_frame_) && Resolve("PyFrame_GetCode", frame_code_) &&
         Resolve("PyFrame_GetBack", frame_back_) &&
         Resolve("PyObject_GetAttrString", get_attribute_) &&
         Resolve("PyUnicode_AsUTF8", as_utf8_) && Resolve("PySys_GetObject", sys_object_) &&
         Resolve("PyObject_CallNoArgs", call_no_args_) &&
         Resolve("PyImport_ImportModule", import_) && Resolve("PyDict_GetItem", dict_get_) &&
         Resolve("PyErr_Clear", clear_error_) && Resolve("PyErr_CheckSignals", check_signals_) &&
         Resolve("Py_DecRef", decref_);
}

bool PythonApi::AddPendingCall(int (*function)(void*)) const noexcept {
  return add_pending_call_(function, nullptr) == 0;
}

bool PythonApi::RunSignalHandlers() const noexcept { return CallPython(check_signals_) == 0; }

bool PythonApi::MainThreadIsInTensorFlow() const noexcept {
  if (is_initialized_() == 0) return false;
  const int state = CallPython(gil_state_ensure_);
  const bool result = MainThreadIsInTensorFlowLocked();
  clear_error_();
  gil_state_release_(state);
  return result;
}

// sys._current_frames()[threading.main_thread().ident]
bool PythonApi::MainThreadIsInTensorFlowLocked() const noexcept {
  const Reference threading(CallPython(import_, "threading"), decref_);
  if (!threading) return false;
  const Reference main_thread(get_attribute_(threading.get(), "main_thread"), decref_);
  if (!main_thread) return false;
  const Reference thread(CallPython(call_no_args_, main_thread.get()), decref_);
  if (!thread) return false;
  const Reference ident(get_attribute_(thread.get(), "ident"), decref_);
  void* const current_frames = sys_object_("_current_frames");
  if (!ident || current_frames == nullptr) return false;
  const Reference frames(CallPython(call_no_args_, current_frames), decref_);
  if (!frames) return false;
  void* const frame = dict_get_(frames.get(), ident.get());
  return frame != nullptr && FrameMatches(frame, /*constructor=*/false);
}

bool PythonApi::IsMakingException() const noexcept {
  void* innermost = get_frame_();
  if (innermost == nullptr) return false;
  if (FrameMatches(innermost, /*constructor=*/true)) return true;
  // The constructor may itself be in a call.
  Reference frame(frame_back_(innermost), decref_);
  for (int depth = 0; frame && depth < 4; ++depth) {
    if (FrameMatches(frame.get(), /*constructor=*/true)) return true;
    frame.reset(frame_back_(frame.get()));
  }
  return false;
}

bool PythonApi::FrameMatches(void* frame, bool constructor) const noexcept {
  const Reference code(frame_code_(frame), decref_);
  if (!code) return false;
  const Reference file(get_attribute_(code.get(), "co_filename"), decref_);
  const Reference name(get_attribute_(code.get(), "co_name"), decref_);
  const char* const file_text = file ? as_utf8_(file.get()) : nullptr;
  const char* const name_text = name ? as_utf8_(name.get()) : nullptr;
  return file_text != nullptr && std::strstr(file_text, "/tensorflow/python/") != nullptr &&
         (!constructor || (name_text != nullptr && std::strcmp(name_text, "__init__") == 0));
}

}  // namespace pipemode
