// SPDX-License-Identifier: Apache-2.0
#include "tf/fake_python.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <cstring>
#include <utility>

namespace pipemode::testing {
namespace {

std::atomic<Place> place{Place::kBytecode};
std::atomic<bool> initialized{true};
std::atomic<int> refused{0};

std::array<std::atomic<bool>, NSIG> noted{};
std::array<void (*)(int), NSIG> handlers{};

using PendingCall = int (*)(void*);
std::atomic<PendingCall> pending{nullptr};  // a short queue, without a lock that a fork could take

bool IsMainThread() { return ::syscall(SYS_gettid) == ::getpid(); }

void NoteSignal(int signal_number) { noted[static_cast<size_t>(signal_number)] = true; }

bool raised = false;

int RunNotedHandlers() {
  for (size_t number = 0; number < noted.size(); ++number) {
    if (!noted[number].exchange(false)) continue;
    handlers[number](static_cast<int>(number));
    if (std::exchange(raised, false)) return -1;
  }
  return 0;
}

// An object is its text.
void* Text(const char* text) { return const_cast<char*>(text); }

}  // namespace

void SetPlace(Place new_place) { place = new_place; }

void SetInitialized(bool is_initialized) { initialized = is_initialized; }

void SetPendingCallsRefused(int count) { refused = count; }

void SetPythonHandler(int signal_number, void (*handler)(int)) {
  handlers[static_cast<size_t>(signal_number)] = handler;
  struct sigaction action = {};
  action.sa_handler = NoteSignal;
  ::sigaction(signal_number, &action, nullptr);
}

void RaiseException() { raised = true; }

bool RunBytecode() {
  const PendingCall call = pending.exchange(nullptr);
  if (call != nullptr && call(nullptr) != 0) return false;
  return RunNotedHandlers() == 0;
}

}  // namespace pipemode::testing

// NOLINTBEGIN: these are Python's names.

#define PIPEMODE_PYTHON extern "C" __attribute__((visibility("default")))

using pipemode::testing::Place;
using pipemode::testing::place;
using pipemode::testing::Text;

PIPEMODE_PYTHON int Py_IsInitialized() { return pipemode::testing::initialized ? 1 : 0; }
PIPEMODE_PYTHON int PyGILState_Check() {
  return place == Place::kBytecode && pipemode::testing::IsMainThread() ? 1 : 0;
}
PIPEMODE_PYTHON int PyGILState_Ensure() { return 0; }
PIPEMODE_PYTHON void PyGILState_Release(int) {}
PIPEMODE_PYTHON int Py_AddPendingCall(int (*call)(void*), void*) {
  if (pipemode::testing::refused > 0) {
    --pipemode::testing::refused;
    return -1;
  }
  pipemode::testing::PendingCall none = nullptr;
  return pipemode::testing::pending.compare_exchange_strong(none, call) ? 0 : -1;
}
PIPEMODE_PYTHON void* PyEval_GetFrame() {
  return Text(place == Place::kCallOfException ? "call" : "frame");
}
PIPEMODE_PYTHON void* PyFrame_GetCode(void* frame) { return frame; }
PIPEMODE_PYTHON void* PyFrame_GetBack(void* frame) {
  return std::strcmp(static_cast<char*>(frame), "call") == 0 ? Text("frame") : nullptr;
}
PIPEMODE_PYTHON void* PyObject_GetAttrString(void* object, const char* name) {
  const bool in_exception = place == Place::kException || place == Place::kCallOfException;
  const bool is_call = std::strcmp(static_cast<char*>(object), "call") == 0;
  switch (name[3]) {
    case 'f':  // co_filename
      return Text(place == Place::kTensorFlow || in_exception ? "/lib/tensorflow/python/ops.py"
                                                              : "script.py");
    case 'n':  // co_name
      return Text(in_exception && !is_call ? "__init__" : "next");
    default:
      return object;
  }
}
PIPEMODE_PYTHON const char* PyUnicode_AsUTF8(void* text) { return static_cast<const char*>(text); }
PIPEMODE_PYTHON void* PySys_GetObject(const char* name) { return Text(name); }
PIPEMODE_PYTHON void* PyObject_CallNoArgs(void* callable) { return callable; }
PIPEMODE_PYTHON void* PyImport_ImportModule(const char* name) { return Text(name); }
PIPEMODE_PYTHON void* PyDict_GetItem(void* dict, void*) { return dict; }
PIPEMODE_PYTHON void PyErr_Clear() {}
PIPEMODE_PYTHON int PyErr_CheckSignals() { return pipemode::testing::RunNotedHandlers(); }
PIPEMODE_PYTHON void Py_DecRef(void*) {}

// NOLINTEND
