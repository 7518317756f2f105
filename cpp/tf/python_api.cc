// SPDX-License-Identifier: Apache-2.0
#include "tf/python_api.h"

#include <dlfcn.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <string_view>

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

constexpr char kTensorFlow[] = "/tensorflow/python/";

bool EndsWith(std::string_view text, std::string_view end) noexcept {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
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
  return frame != nullptr && FrameIsOfTensorFlow(frame);
}

bool PythonApi::WouldLoseException() const noexcept {
  void* const innermost = get_frame_();
  if (innermost == nullptr) return false;
  if (FrameLosesException(innermost)) return true;
  // What loses it may itself be in a call.
  Reference frame(frame_back_(innermost), decref_);
  for (int depth = 0; frame && depth < 4; ++depth) {
    if (FrameLosesException(frame.get())) return true;
    frame.reset(frame_back_(frame.get()));
  }
  return false;
}

bool PythonApi::FrameIsOfTensorFlow(void* frame) const noexcept {
  return CodeOf(frame).file.find(kTensorFlow) != std::string::npos;
}

bool PythonApi::FrameLosesException(void* frame) const noexcept {
  const Code code = CodeOf(frame);
  if (code.name == "__del__") return true;
  if (code.name == "__init__") return code.file.find(kTensorFlow) != std::string::npos;
  // Callbacks of weak references: of `finalize`, WeakSet and the like.
  return EndsWith(code.file, "/weakref.py") || EndsWith(code.file, "/_weakrefset.py");
}

PythonApi::Code PythonApi::CodeOf(void* frame) const noexcept {
  const Reference code(frame_code_(frame), decref_);
  if (!code) return {};
  return {Attribute(code.get(), "co_filename"), Attribute(code.get(), "co_name")};
}

std::string PythonApi::Attribute(void* object, const char* name) const noexcept {
  const Reference value(get_attribute_(object, name), decref_);
  const char* const text = value ? as_utf8_(value.get()) : nullptr;
  return text != nullptr ? text : "";
}

}  // namespace pipemode
