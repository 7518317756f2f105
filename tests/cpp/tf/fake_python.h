// SPDX-License-Identifier: Apache-2.0
//
// As much of Python as PythonApi looks for: functions of its C API that this program exports, and
// the place of its main thread, which a test sets.
#ifndef PIPEMODE_TESTS_TF_FAKE_PYTHON_H_
#define PIPEMODE_TESTS_TF_FAKE_PYTHON_H_

#include <csignal>

namespace pipemode::testing {

// Where Python's main thread is.
enum class Place {
  kBytecode,         // it runs the script, and holds the GIL
  kSystemCall,       // the script sleeps
  kTensorFlow,       // inside a call of TensorFlow
  kException,        // back from there, in the constructor of the exception
  kCallOfException,  // in a function that the constructor calls
};

void SetPlace(Place place);

// Whether there is a Python at all. There is unless a test says otherwise, before the first look.
void SetInitialized(bool initialized);

// How many of the next pending calls find the queue full, of those of other libraries.
void SetPendingCallsRefused(int count);

// Has Python's handler put in place for `signal_number`, as signal.signal() does, and Python call
// `handler` of the script when it next looks.
void SetPythonHandler(int signal_number, void (*handler)(int));

// For a handler of the script: has it raise an exception when it returns.
void RaiseException();

// What the main thread does between two instructions of bytecode: runs the pending call, then the
// script's handlers of the signals that were noted, that of the lowest number first, up to one that
// raises. Returns false if something has raised.
bool RunBytecode();

}  // namespace pipemode::testing

#endif  // PIPEMODE_TESTS_TF_FAKE_PYTHON_H_
