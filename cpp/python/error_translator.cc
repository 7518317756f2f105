// SPDX-License-Identifier: Apache-2.0
#include "python/error_translator.h"

#include <exception>
#include <string>

#include "core/base/error.h"

namespace pipemode::python {
namespace {

namespace py = pybind11;

// The classes, one for each code and CorruptRecordError. They live as long as the process: a
// pybind11 translator is a plain function, and the module is never unloaded.
struct ErrorClasses {
  PyObject* pipe;
  PyObject* data_loss;
  PyObject* corrupt_record;
  PyObject* cancelled;
  PyObject* deadline_exceeded;
  PyObject* invalid_argument;
  PyObject* failed_precondition;
  PyObject* not_found;
  PyObject* permission_denied;
  PyObject* resource_exhausted;
  PyObject* unavailable;
  PyObject* internal;
};
ErrorClasses classes;

PyObject* MakeClass(py::module_& module, const char* name, const char* doc, PyObject* base,
                    PyObject* builtin = nullptr) {
  // Named after the public module, so that tracebacks show it and pickle finds it.
  const std::string full_name = std::string("sagemaker_tensorflow.records.") + name;
  py::list bases;
  bases.append(py::handle(base));
  if (builtin != nullptr) bases.append(py::handle(builtin));
  PyObject* const result =
      PyErr_NewExceptionWithDoc(full_name.c_str(), doc, py::tuple(bases).ptr(), /*dict=*/nullptr);
  if (result == nullptr) throw py::error_already_set();
  module.add_object(name, py::reinterpret_borrow<py::object>(result));
  return result;
}

PyObject* ClassOf(const PipeError& error) {
  switch (error.code()) {
    case ErrorCode::kDataLoss:
      return dynamic_cast<const CorruptRecordError*>(&error) != nullptr ? classes.corrupt_record
                                                                        : classes.data_loss;
    case ErrorCode::kCancelled:
      return classes.cancelled;
    case ErrorCode::kDeadlineExceeded:
      return classes.deadline_exceeded;
    case ErrorCode::kInvalidArgument:
      return classes.invalid_argument;
    case ErrorCode::kFailedPrecondition:
      return classes.failed_precondition;
    case ErrorCode::kNotFound:
      return classes.not_found;
    case ErrorCode::kPermissionDenied:
      return classes.permission_denied;
    case ErrorCode::kResourceExhausted:
      return classes.resource_exhausted;
    case ErrorCode::kUnavailable:
      return classes.unavailable;
    case ErrorCode::kInternal:
      break;
  }
  return classes.internal;
}

// Called by pybind11 with whatever left a bound function; what is not caught here goes to
// pybind11's own translator (std::bad_alloc becomes MemoryError).
// NOLINTNEXTLINE(performance-unnecessary-value-param): pybind11 has it so
void Translate(std::exception_ptr exception) {
  try {
    if (exception) std::rethrow_exception(exception);
  } catch (const PipeError& error) {
    PyErr_SetObject(ClassOf(error), MessageToStr(error.what()).ptr());
  }
}

}  // namespace

void RegisterErrors(py::module_& module) {
  classes.pipe =
      MakeClass(module, "PipeError", "Base class of all errors of this module.", PyExc_Exception);
  classes.data_loss =
      MakeClass(module, "DataLossError",
                "Bytes are corrupt or missing. The stream cannot be read on.", classes.pipe);
  classes.corrupt_record = MakeClass(
      module, "CorruptRecordError",
      "One record is corrupt. The next call reads the record after it.", classes.data_loss);
  classes.cancelled =
      MakeClass(module, "CancelledError",
                "The object was closed or cancelled, perhaps by another thread.", classes.pipe);
  classes.deadline_exceeded =
      MakeClass(module, "DeadlineExceededError", "A FIFO or its data did not come in time.",
                classes.pipe, PyExc_TimeoutError);
  classes.invalid_argument = MakeClass(module, "InvalidArgumentError", "An argument is not valid.",
                                       classes.pipe, PyExc_ValueError);
  classes.failed_precondition = MakeClass(
      module, "FailedPreconditionError",
      "The call does not fit the state of things: the epoch has another reader, the state file "
      "does not hold a number, what is at the path is not a FIFO.",
      classes.pipe);
  classes.not_found =
      MakeClass(module, "NotFoundError", "No such file.", classes.pipe, PyExc_FileNotFoundError);
  classes.permission_denied =
      MakeClass(module, "PermissionDeniedError", "The system refuses access to a file.",
                classes.pipe, PyExc_PermissionError);
  classes.resource_exhausted = MakeClass(
      module, "ResourceExhaustedError",
      "The system is out of disk space, memory or file descriptors.", classes.pipe, PyExc_OSError);
  classes.unavailable =
      MakeClass(module, "UnavailableError", "Input or output failed.", classes.pipe, PyExc_OSError);
  classes.internal = MakeClass(module, "InternalError",
                               "The system reports an error that has no class of its own.",
                               classes.pipe, PyExc_OSError);
  py::register_local_exception_translator(&Translate);
}

py::str MessageToStr(std::string_view message) {
  PyObject* const result = PyUnicode_DecodeUTF8(
      message.data(), static_cast<Py_ssize_t>(message.size()), "surrogateescape");
  if (result == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::str>(result);
}

}  // namespace pipemode::python
