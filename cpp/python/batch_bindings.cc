// SPDX-License-Identifier: Apache-2.0
//
// Many records in one call, as NumPy arrays: what a loop in Python would be too slow for.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/writer/example_encoder.h"
#include "core/writer/record_encoder.h"
#include "python/bindings.h"
#include "python/gil.h"

namespace pipemode::python {
namespace {

namespace py = pybind11;

// Contiguous; an array of another type is an error and not converted.
using Int64Array = py::array_t<int64_t, py::array::c_style>;
// A feature's name, values, value offsets (strings only) and row splits.
using Column = std::tuple<std::string, py::array, std::optional<Int64Array>, Int64Array>;

// Hands `values` over to an array, without a copy.
template <class Element, class Container>
py::array ToArray(Container values) {
  auto owned = std::make_unique<Container>(std::move(values));
  Container* const container = owned.get();
  const py::capsule owner(container, [](void* memory) { delete static_cast<Container*>(memory); });
  (void)owned.release();
  return py::array_t<Element>(static_cast<py::ssize_t>(container->size()),
                              reinterpret_cast<const Element*>(container->data()), owner);
}

void CheckVector(const py::array& array, const std::string& name) {
  if (array.ndim() != 1) throw InvalidArgumentError(name + " must have one dimension");
}

// `offsets` must lead from 0 or more to `size` at most and never back.
void CheckOffsets(const Int64Array& offsets, py::ssize_t size, const std::string& name) {
  CheckVector(offsets, name);
  const int64_t* const begin = offsets.data();
  const int64_t* const end = begin + offsets.size();
  if (begin == end || *begin < 0 || *(end - 1) > size || !std::is_sorted(begin, end)) {
    throw InvalidArgumentError(name +
                               " must not be empty, must not decrease, and must stay in 0 to " +
                               std::to_string(size));
  }
}

py::array EncodeBatch(const py::array& data, const Int64Array& begins, const Int64Array& ends,
                      const std::string& record_format) {
  EncoderOptions options;
  options.format = ParseRecordFormat(record_format);
  const RecordEncoder encoder(options);
  const auto bytes = py::array_t<uint8_t, py::array::c_style>::ensure(data);
  if (!py::isinstance<py::array_t<uint8_t>>(data) || !bytes) {
    throw InvalidArgumentError("data must be an array of uint8");
  }
  CheckVector(bytes, "data");
  CheckVector(begins, "begins");
  CheckVector(ends, "ends");
  if (begins.size() != ends.size()) {
    throw InvalidArgumentError("begins and ends must have the same length");
  }
  std::string encoded;
  {
    const char* const base = reinterpret_cast<const char*>(bytes.data());
    const int64_t* const begin = begins.data();
    const int64_t* const end = ends.data();
    const auto count = static_cast<size_t>(begins.size());
    const int64_t size = bytes.size();
    Gil gil;
    gil.Release();
    size_t total = 0;
    for (size_t i = 0; i < count; ++i) {
      if (begin[i] < 0 || begin[i] > end[i] || end[i] > size) {
        throw InvalidArgumentError("record " + std::to_string(i) + " is not within data");
      }
      total += static_cast<size_t>(end[i] - begin[i]);
    }
    encoded.reserve(total + count * (kTfRecordLengthBytes + 2 * sizeof(uint32_t)));
    for (size_t i = 0; i < count; ++i) {
      encoder.Append({base + begin[i], static_cast<size_t>(end[i] - begin[i])}, &encoded);
    }
  }
  return ToArray<uint8_t>(std::move(encoded));
}

FeatureColumn ToFeatureColumn(const Column& column) {
  const auto& [name, values, value_offsets, row_splits] = column;
  const std::string where = "feature '" + name + "': ";
  CheckVector(values, where + "values");
  if ((values.flags() & py::array::c_style) == 0) {
    throw InvalidArgumentError(where + "values must be contiguous");
  }
  FeatureColumn result{name, static_cast<const int64_t*>(nullptr), row_splits.data()};
  py::ssize_t count = values.size();
  if (py::isinstance<py::array_t<int64_t>>(values)) {
    result.values = static_cast<const int64_t*>(values.data());
  } else if (py::isinstance<py::array_t<float>>(values)) {
    result.values = static_cast<const float*>(values.data());
  } else if (py::isinstance<py::array_t<uint8_t>>(values) && value_offsets) {
    CheckOffsets(*value_offsets, values.size(), where + "value offsets");
    result.values = BytesValues{static_cast<const char*>(values.data()), value_offsets->data()};
    count = value_offsets->size() - 1;
  } else {
    throw InvalidArgumentError(where +
                               "values must be int64, float32, or uint8 with value offsets");
  }
  CheckOffsets(row_splits, count, where + "row splits");
  return result;
}

py::tuple EncodeExamples(const std::vector<Column>& columns) {
  if (columns.empty()) throw InvalidArgumentError("an Example needs at least one feature");
  const py::ssize_t splits = std::get<3>(columns.front()).size();
  std::vector<FeatureColumn> features;
  for (const Column& column : columns) {
    features.push_back(ToFeatureColumn(column));
    if (std::get<3>(column).size() != splits) {
      throw InvalidArgumentError("feature '" + features.back().name +
                                 "': all features must have the same number of rows");
    }
  }
  std::string data;
  std::vector<int64_t> offsets;
  {
    Gil gil;
    gil.Release();
    ExampleEncoder encoder(std::move(features));
    const auto rows = static_cast<size_t>(splits - 1);
    offsets.reserve(rows + 1);
    offsets.push_back(0);
    for (size_t row = 0; row < rows; ++row) {
      encoder.Append(row, &data);
      offsets.push_back(static_cast<int64_t>(data.size()));
    }
  }
  return py::make_tuple(ToArray<uint8_t>(std::move(data)), ToArray<int64_t>(std::move(offsets)));
}

constexpr char kEncodeBatchDoc[] = R"doc(Returns many records as a stream holds them.

Args:
    data: Array of uint8.
    begins: int64 of shape [n]: where each record begins in ``data``; in any order.
    ends: int64 of shape [n]: where each record ends.
    record_format: ``'RecordIO'``, ``'TFRecord'`` or ``'TextLine'``, in any case.

Returns:
    Array of uint8, which owns its memory.

Raises:
    InvalidArgumentError: If an argument is not valid, or the format cannot hold a record.
)doc";

constexpr char kEncodeExamplesDoc[] =
    R"doc(Returns rows as serialized ``tf.train.Example`` messages.

Args:
    columns: For each feature a tuple of its name; its values, an array of int64 or float32, or of
        uint8 for strings one behind the other; for these their offsets, int64 of shape
        [strings + 1], else ``None``; and the row splits, int64 of shape [rows + 1]: row r has the
        values from row_splits[r] to row_splits[r + 1]. A row without values lacks the feature.

Returns:
    A tuple ``(data, offsets)`` as ``Reader.read_batch`` returns it.

Raises:
    InvalidArgumentError: If shapes or types do not fit.
)doc";

}  // namespace

void BindBatchEncoders(py::module_& module) {
  using namespace pybind11::literals;  // NOLINT(google-build-using-namespace): arg names

  module.def("encode_batch", &EncodeBatch, kEncodeBatchDoc, "data"_a, "begins"_a, "ends"_a,
             "record_format"_a = "RecordIO");
  module.def("encode_examples", &EncodeExamples, kEncodeExamplesDoc, "columns"_a);
}

}  // namespace pipemode::python
