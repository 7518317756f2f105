// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_PYTHON_ERROR_TRANSLATOR_H_
#define PIPEMODE_PYTHON_ERROR_TRANSLATOR_H_

#include <pybind11/pybind11.h>

#include <string_view>

namespace pipemode::python {

// Adds the exception classes to `module` and lets pybind11 turn the core's PipeError into them.
void RegisterErrors(pybind11::module_& module);

// A message of the core as a str. Paths in it need not be UTF-8: bytes that are not become
// surrogates, as in Python's own paths.
pybind11::str MessageToStr(std::string_view message);

}  // namespace pipemode::python

#endif  // PIPEMODE_PYTHON_ERROR_TRANSLATOR_H_
