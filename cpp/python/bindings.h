// SPDX-License-Identifier: Apache-2.0
//
// What the parts of the module share.
#ifndef PIPEMODE_PYTHON_BINDINGS_H_
#define PIPEMODE_PYTHON_BINDINGS_H_

#include <pybind11/pybind11.h>

#include <cstdint>
#include <optional>
#include <string>

#include "core/base/error.h"

namespace pipemode::python {

// Each adds its classes and functions to `module`; called once, when that is imported.
void BindReaders(pybind11::module_& module);
void BindWriters(pybind11::module_& module);
void BindBatchEncoders(pybind11::module_& module);

// Returns `value`, or throws InvalidArgumentError that names it. Signed on the Python side, so that
// a negative number gets a message that says what is wrong with it.
inline uint64_t AtLeast(int64_t least, int64_t value, const char* name) {
  if (value < least) {
    throw InvalidArgumentError(std::string(name) + " must be at least " + std::to_string(least) +
                               ", not " + std::to_string(value));
  }
  return static_cast<uint64_t>(value);
}

}  // namespace pipemode::python

#endif  // PIPEMODE_PYTHON_BINDINGS_H_
