// SPDX-License-Identifier: Apache-2.0
#include "absl/status/status.h"
#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace pipemode {
namespace {

using tensorflow::shape_inference::InferenceContext;

absl::Status SetTryShapes(InferenceContext* c) {
  c->set_output(0, c->Scalar());
  for (int i = 1; i < c->num_outputs(); ++i) c->set_output(i, c->UnknownShape());
  return absl::OkStatus();
}

REGISTER_OP("PipeModeTryFunction")
    .Input("arguments: Targuments")
    .Output("is_ok: bool")
    .Output("outputs: output_types")
    .Attr("f: func")
    .Attr("Targuments: list(type) >= 1")
    .Attr("output_types: list(type) >= 1")
    .SetShapeFn(SetTryShapes)
    .Doc(R"doc(
Calls a function, and says whether that went well.

arguments: Those of `f`, and what it captures.
is_ok: Whether `f` had no error. That of a call that was cancelled is the op's.
outputs: The results of `f`; empty tensors if it had an error.
f: The function.
)doc");

REGISTER_OP("PipeModeVectorizedMapDataset")
    .Input("input_dataset: variant")
    .Input("f_captured: Tf_captured")
    .Input("batch_f_captured: Tbatch_f_captured")
    .Input("num_records: int64")
    .Input("fusion_probe: variant")
    .Output("handle: variant")
    .Attr("f: func")
    .Attr("batch_f: func")
    .Attr("Tf_captured: list(type) >= 0")
    .Attr("Tbatch_f_captured: list(type) >= 0")
    .Attr("elements: {'single', 'batches', 'fused_batches', 'whole_batches'}")
    .Attr("batch_size: int >= 1")
    .Attr("drop_remainder: bool = false")
    .Attr("output_types: list(type) >= 1")
    .Attr("output_shapes: list(shape) >= 1")
    .Attr("metadata: string = ''")
    .SetShapeFn(tensorflow::shape_inference::ScalarShape)
    .Doc(R"doc(
Gives what `records.map(f)` gives, or `records.map(f).batch(batch_size)`, of batches that went
through `f` at once.

An element of the input is what PipeModeTryFunction made of `batch_size` records: whether it went
well, the results of `batch_f`, and the records, as vectors of strings. Where it did not go well,
the records go through `f` one by one, so that each error is that of its record and costs no other
record more than it does in tf.data.

input_dataset: The batches; the last may be smaller.
f_captured: What `f` captures.
batch_f_captured: What `batch_f` captures.
num_records: The cardinality of the records.
fusion_probe: Any `map` and `batch`. tf.data makes one transformation of the two, in the whole
  pipeline, unless its options say otherwise.
f: A function of one record.
batch_f: The same for a vector of records, with the same results in another first dimension.
elements: `single`: a record's results, as of `map`. `batches`: as of `map` and `batch`, where the
  batch after an error begins behind the record in error. `whole_batches`: as of `map_and_batch`,
  where an error costs its batch. `fused_batches`: the one or the other, as `fusion_probe` tells.
batch_size: Records in an element of the input; likewise in one of the output unless that is
  `single`.
drop_remainder: Whether a last batch that is smaller is dropped.
)doc");

}  // namespace
}  // namespace pipemode
