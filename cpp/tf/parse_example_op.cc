// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/framework/tensor_shape.h"
#include "tensorflow/core/framework/types.h"

namespace pipemode {
namespace {

using tensorflow::DataTypeVector;
using tensorflow::PartialTensorShape;
using tensorflow::shape_inference::DimensionHandle;
using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

// Sets the shapes of all outputs, in their order.
class OutputShapes {
 public:
  explicit OutputShapes(InferenceContext* context) : context_(context) {}

  // As many outputs of one shape as attribute `types` has types.
  void Put(const char* types, ShapeHandle shape) {
    DataTypeVector counted;
    if (!Try(context_->GetAttr(types, &counted))) return;
    for (size_t i = 0; i < counted.size(); ++i) PutOne(shape);
  }

  // The same, each with a shape of attribute `shapes` behind `front`.
  void Put(const char* types, const char* shapes, ShapeHandle front) {
    DataTypeVector counted;
    std::vector<PartialTensorShape> partial;
    if (!Try(context_->GetAttr(types, &counted)) || !Try(context_->GetAttr(shapes, &partial))) {
      return;
    }
    if (partial.size() != counted.size()) {
      Try(absl::InvalidArgumentError("types and shapes must be equally many"));
      return;
    }
    for (const PartialTensorShape& back : partial) {
      ShapeHandle shape;
      if (!Try(context_->MakeShapeFromPartialTensorShape(back, &shape))) return;
      if (!Try(context_->Concatenate(front, shape, &shape))) return;
      PutOne(shape);
    }
  }

  const absl::Status& status() const { return status_; }

 private:
  bool Try(absl::Status status) {
    if (status_.ok()) status_ = std::move(status);
    return status_.ok();
  }

  void PutOne(ShapeHandle shape) {
    if (output_ < context_->num_outputs()) context_->set_output(output_++, shape);
  }

  InferenceContext* const context_;
  int output_ = 0;
  absl::Status status_;
};

absl::Status SetShapes(InferenceContext* c) {
  ShapeHandle serialized;
  absl::Status status = c->WithRankAtMost(c->input(0), 1, &serialized);
  if (!status.ok()) return status;
  DimensionHandle index_size = c->UnknownDim();
  DimensionHandle split_count = c->UnknownDim();
  if (c->RankKnown(serialized)) {
    index_size = c->MakeDim(c->Rank(serialized) + 1);
    split_count = c->MakeDim(2);
    if (c->Rank(serialized) == 1) {
      status = c->Add(c->Dim(serialized, 0), 1, &split_count);
      if (!status.ok()) return status;
    }
  }
  ShapeHandle rows;
  status = c->Concatenate(serialized, c->Vector(c->UnknownDim()), &rows);
  if (!status.ok()) return status;
  const ShapeHandle list = c->Vector(c->UnknownDim());
  OutputShapes shapes(c);
  shapes.Put("types", "shapes", serialized);
  shapes.Put("sparse_types", c->Matrix(c->UnknownDim(), index_size));
  shapes.Put("sparse_types", list);
  shapes.Put("sparse_types", c->Vector(index_size));
  shapes.Put("ragged_types", list);
  shapes.Put("ragged_split_types", c->Vector(split_count));
  shapes.Put("padded_types", "padded_shapes", rows);
  return shapes.status();
}

REGISTER_OP("PipeModeParseExample")
    .Input("serialized: string")
    .Input("defaults: types")
    .Input("paddings: padded_types")
    .Output("values: types")
    .Output("sparse_indices: num_sparse * int64")
    .Output("sparse_values: sparse_types")
    .Output("sparse_shapes: num_sparse * int64")
    .Output("ragged_values: ragged_types")
    .Output("ragged_splits: ragged_split_types")
    .Output("padded_values: padded_types")
    .Attr("names: list(string) >= 0")
    .Attr("types: list({float, int64, string}) >= 0")
    .Attr("shapes: list(shape) >= 0")
    .Attr("num_sparse: int >= 0 = 0")
    .Attr("sparse_names: list(string) >= 0 = []")
    .Attr("sparse_types: list({float, int64, string}) >= 0 = []")
    .Attr("ragged_names: list(string) >= 0 = []")
    .Attr("ragged_types: list({float, int64, string}) >= 0 = []")
    .Attr("ragged_split_types: list({int32, int64}) >= 0 = []")
    .Attr("padded_names: list(string) >= 0 = []")
    .Attr("padded_types: list({float, int64, string}) >= 0 = []")
    .Attr("padded_shapes: list(shape) >= 0 = []")
    .Attr("is_strict: bool = false")
    .SetShapeFn(SetShapes)
    .Doc(R"doc(
Parses serialized tf.train.Example messages.

Features come in four kinds, each with its names, types and outputs: those of a fixed length; and
those of any length as sparse tensors, as ragged ones, and padded to the longest of the batch. A
name is there once in all of them.

serialized: Examples, a vector or a scalar.
defaults: For each feature of a fixed length the values, of its shape, that it has where an Example
  lacks it; an empty tensor if each must have it.
paddings: For each padded feature a single value to fill up with.
values: For each feature its values, of the shape of `serialized` with that of the feature behind.
sparse_indices: Of tf.SparseTensor.
sparse_values: Of tf.SparseTensor.
sparse_shapes: Of tf.SparseTensor, [number of Examples, number of values of the longest].
ragged_values: Of tf.RaggedTensor.
ragged_splits: The row splits of tf.RaggedTensor.
padded_values: [number of Examples, number of elements of the longest] with the shape of the element
  behind.
names: The names of the features of a fixed length.
types: Their types.
shapes: Their shapes, fully defined and with at least one value.
num_sparse: The number of `sparse_names`.
sparse_names: The names of the sparse features.
sparse_types: Their types.
ragged_names: The names of the ragged features.
ragged_types: Their types.
ragged_split_types: The types of their row splits.
padded_names: The names of the padded features.
padded_types: Their types.
padded_shapes: The shapes of their elements, fully defined and with at least one value.
is_strict: Whether to refuse each Example that ParseExampleV2 may read in another way.
)doc");

}  // namespace
}  // namespace pipemode
