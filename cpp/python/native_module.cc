// SPDX-License-Identifier: Apache-2.0
//
// The Python module _native: the core's readers and writers for Python without TensorFlow. What
// users see of it is sagemaker_tensorflow/records.py; _native.pyi holds the types.
#include <pybind11/pybind11.h>

#include "python/bindings.h"
#include "python/error_translator.h"

PYBIND11_MODULE(_native, module) {
  module.doc() = "Record readers and writers in C++; see sagemaker_tensorflow.records.";
  pipemode::python::RegisterErrors(module);
  pipemode::python::BindReaders(module);
  pipemode::python::BindWriters(module);
  pipemode::python::BindBatchEncoders(module);
}
