// SPDX-License-Identifier: Apache-2.0
#include "absl/status/status.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/framework/tensor_shape.h"

namespace pipemode {
namespace {

REGISTER_OP("PipeModeParseExample")
    .Input("serialized: string")
    .Input("defaults: types")
    .Output("values: types")
    .Attr("names: list(string) >= 1")
    .Attr("types: list({float, int64, string}) >= 1")
    .Attr("shapes: list(shape) >= 1")
    .SetShapeFn([](tensorflow::shape_inference::InferenceContext* c) {
      std::vector<tensorflow::PartialTensorShape> shapes;
      absl::Status status = c->GetAttr("shapes", &shapes);
      for (int i = 0; status.ok() && i < c->num_outputs(); ++i) {
        if (shapes.size() != static_cast<size_t>(c->num_outputs())) {
          return absl::InvalidArgumentError("types and shapes must be equally many");
        }
        tensorflow::shape_inference::ShapeHandle shape;
        status = c->MakeShapeFromPartialTensorShape(shapes[static_cast<size_t>(i)], &shape);
        if (status.ok()) status = c->Concatenate(c->input(0), shape, &shape);
        c->set_output(i, shape);
      }
      return status;
    })
    .Doc(R"doc(
Parses serialized tf.train.Example messages whose features have fixed lengths.

serialized: Examples, of any shape.
defaults: For each feature the values, of its shape, that it has where an Example lacks it; an empty
  tensor if each must have it.
values: For each feature its values, of the shape of `serialized` with that of the feature behind.
names: The features' names, none twice.
types: Their types.
shapes: Their shapes, fully defined and with at least one value.
)doc");

}  // namespace
}  // namespace pipemode
