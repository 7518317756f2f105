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
  kBytecode,    // it runs the script, and holds the GIL
  kSystemCall,  // the script sleeps
  kTensorFlow,  // inside a call of TensorFlow
  kException,   // back from there, in the constructor of the exception
};

void SetPlace(Place place);

// Has Python's handler put in place for `signal_number`, as signal.signal() does, and Python call
// `handler` of the script when it next looks.
void SetPythonHandler(int signal_number, void (*handler)(int));

// What the main thread does between two instructions of bytecode: runs the pending calls, then the
// script's handlers of the signals that were noted, that of the lowest number first.
void RunBytecode();

}  // namespace pipemode::testing

#endif  // PIPEMODE_TESTS_TF_FAKE_PYTHON_H_
