// SPDX-License-Identifier: Apache-2.0
#include "tf/parsed_lists.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>

#include "core/base/error.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/platform/tstring.h"

namespace pipemode {
namespace {

using tensorflow::Tensor;
using tensorflow::tstring;

template <typename Value>
void Copy(const Value* from, size_t count, Value* to) {
  std::copy_n(from, count, to);
}

void Copy(const std::string_view* from, size_t count, tstring* to) {
  for (size_t i = 0; i < count; ++i) to[i].assign(from[i].data(), from[i].size());
}

// Calls `function` with the first value of the list, of its type, and the first of the tensor.
template <typename Function>
void WithValues(const FeatureList& list, Tensor* values, Function function) {
  switch (values->dtype()) {
    case tensorflow::DT_FLOAT:
      function(list.floats.data(), values->flat<float>().data());
      return;
    case tensorflow::DT_INT64:
      function(list.int64s.data(), values->flat<int64_t>().data());
      return;
    default:
      function(list.bytes.data(), values->flat<tstring>().data());
  }
}

template <typename Split>
void FillRowSplits(const FeatureList& list, Tensor* splits) {
  if (NumValues(list) > static_cast<size_t>(std::numeric_limits<Split>::max())) {
    throw InvalidArgumentError("the batch has " + std::to_string(NumValues(list)) +
                               " values of a ragged feature, more than its row splits of int32 can "
                               "count; set row_splits_dtype=tf.int64");
  }
  auto out = splits->flat<Split>();
  out(0) = 0;
  for (size_t row = 0; row < list.ends.size(); ++row) {
    out(static_cast<int64_t>(row) + 1) = static_cast<Split>(list.ends[row]);
  }
}

}  // namespace

size_t NumValues(const FeatureList& list) noexcept {
  return list.ends.empty() ? 0 : list.ends.back();
}

size_t LongestRow(const FeatureList& list) noexcept {
  size_t longest = 0;
  size_t begin = 0;
  for (const size_t end : list.ends) {
    longest = std::max(longest, end - begin);
    begin = end;
  }
  return longest;
}

void WriteValues(const FeatureList& list, Tensor* values) {
  WithValues(list, values, [&list](auto* from, auto* to) { Copy(from, NumValues(list), to); });
}

void WriteSparseIndices(const FeatureList& list, Tensor* indices) {
  const bool has_rows = indices->dim_size(1) == 2;
  int64_t* out = indices->flat<int64_t>().data();
  size_t begin = 0;
  for (size_t row = 0; row < list.ends.size(); ++row) {
    for (size_t at = begin; at < list.ends[row]; ++at) {
      if (has_rows) *out++ = static_cast<int64_t>(row);
      *out++ = static_cast<int64_t>(at - begin);
    }
    begin = list.ends[row];
  }
}

void WriteRowSplits(const FeatureList& list, Tensor* splits) {
  if (splits->dtype() == tensorflow::DT_INT32) {
    FillRowSplits<int32_t>(list, splits);
  } else {
    FillRowSplits<int64_t>(list, splits);
  }
}

void WritePadded(const FeatureList& list, const Tensor& padding, Tensor* values) {
  const size_t width = LongestRow(list);
  WithValues(list, values, [&](auto* from, auto* to) {
    const auto& fill = *padding.flat<std::remove_reference_t<decltype(*to)>>().data();
    size_t begin = 0;
    for (const size_t end : list.ends) {
      Copy(from + begin, end - begin, to);
      std::fill_n(to + (end - begin), width - (end - begin), fill);
      to += width;
      begin = end;
    }
  });
}

}  // namespace pipemode
