// SPDX-License-Identifier: Apache-2.0
//
// The values of features of any length as tensors, in the three forms that TensorFlow has for them.
#ifndef PIPEMODE_TF_PARSED_LISTS_H_
#define PIPEMODE_TF_PARSED_LISTS_H_

#include <cstddef>
#include <cstdint>

#include "core/example/example_parser.h"
#include "tensorflow/core/framework/tensor.h"

namespace pipemode {

// Each of these writes one tensor, which is allocated with the shape that it says. There `rows` are
// the Examples, `total` the values of all of them, and `longest` is the largest number of elements
// of one.

size_t NumValues(const FeatureList& list) noexcept;
// In values.
size_t LongestRow(const FeatureList& list) noexcept;

// Values of all rows, one after the other: [total].
void WriteValues(const FeatureList& list, tensorflow::Tensor* values);
// tf.SparseTensor's indices: [total, 2], row and place; of a single Example [total, 1], the place.
void WriteSparseIndices(const FeatureList& list, tensorflow::Tensor* indices);
// tf.RaggedTensor's row splits, of int32 or int64: [rows + 1]. Throws InvalidArgumentError if
// there are more values than int32 can count.
void WriteRowSplits(const FeatureList& list, tensorflow::Tensor* splits);
// Rows that are filled up with the only value of `padding`: [rows, longest, ...].
void WritePadded(const FeatureList& list, const tensorflow::Tensor& padding,
                 tensorflow::Tensor* values);

}  // namespace pipemode

#endif  // PIPEMODE_TF_PARSED_LISTS_H_
