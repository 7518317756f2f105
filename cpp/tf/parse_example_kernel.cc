// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "core/base/error.h"
#include "core/example/example_parser.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/tensor_shape.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/tstring.h"
#include "tf/parsed_lists.h"
#include "tf/status_adapter.h"

namespace pipemode {
namespace {

using tensorflow::DataType;
using tensorflow::OpInputList;
using tensorflow::OpKernel;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::OpOutputList;
using tensorflow::Tensor;
using tensorflow::TensorShape;
using tensorflow::tstring;

FeatureType TypeOf(DataType type) {
  switch (type) {
    case tensorflow::DT_FLOAT:
      return FeatureType::kFloat;
    case tensorflow::DT_INT64:
      return FeatureType::kInt64;
    default:
      return FeatureType::kBytes;
  }
}

// The output tensors of one call.
class TensorSink final : public ExampleSink {
 public:
  // All of one length; each output has room for as many values as its feature has in all rows.
  TensorSink(const OpInputList& defaults, const std::vector<Tensor*>& outputs)
      : defaults_(defaults), outputs_(outputs) {}

  float* Floats(size_t feature) override { return Values<float>(feature); }
  int64_t* Int64s(size_t feature) override { return Values<int64_t>(feature); }

  void PutBytes(size_t feature, size_t at, std::string_view value) override {
    Values<tstring>(feature)[at].assign(value.data(), value.size());
  }

  // An empty default is none.
  bool PutDefault(size_t feature, size_t row) override {
    if (defaults_[static_cast<int>(feature)].NumElements() == 0) return false;
    switch (outputs_[feature]->dtype()) {
      case tensorflow::DT_FLOAT:
        Copy<float>(feature, row);
        break;
      case tensorflow::DT_INT64:
        Copy<int64_t>(feature, row);
        break;
      default:
        Copy<tstring>(feature, row);
    }
    return true;
  }

 private:
  template <typename Value>
  Value* Values(size_t feature) {
    return outputs_[feature]->flat<Value>().data();
  }

  template <typename Value>
  void Copy(size_t feature, size_t row) {
    const auto values = defaults_[static_cast<int>(feature)].flat<Value>();
    std::copy_n(values.data(), values.size(),
                Values<Value>(feature) + row * static_cast<size_t>(values.size()));
  }

  const OpInputList& defaults_;
  const std::vector<Tensor*>& outputs_;
};

class ParseExampleOp final : public OpKernel {
 public:
  explicit ParseExampleOp(OpKernelConstruction* ctx) : OpKernel(ctx) {
    OP_REQUIRES_OK(ctx, ctx->GetAttr("shapes", &shapes_));
    OP_REQUIRES_OK(ctx, ctx->GetAttr("padded_shapes", &padded_shapes_));
    OP_REQUIRES_OK(ctx, ctx->GetAttr("is_strict", &is_strict_));
    std::vector<FeatureSpec> specs;
    OP_REQUIRES_OK(ctx, AddSpecs(ctx, "names", "types", &shapes_, &specs));
    sparse_begin_ = specs.size();
    OP_REQUIRES_OK(ctx, AddSpecs(ctx, "sparse_names", "sparse_types", nullptr, &specs));
    ragged_begin_ = specs.size();
    OP_REQUIRES_OK(ctx, AddSpecs(ctx, "ragged_names", "ragged_types", nullptr, &specs));
    padded_begin_ = specs.size();
    OP_REQUIRES_OK(ctx, AddSpecs(ctx, "padded_names", "padded_types", &padded_shapes_, &specs));
    OP_REQUIRES(ctx, !specs.empty(), absl::InvalidArgumentError("no feature is asked for"));
    for (size_t i = sparse_begin_; i < specs.size(); ++i) specs[i].is_list = true;
    std::vector<FeatureSpec> batch_specs = specs;
    for (size_t i = sparse_begin_; i < padded_begin_; ++i) batch_specs[i].may_end_empty = true;
    int num_sparse = 0;
    std::vector<DataType> split_types;
    OP_REQUIRES_OK(ctx, ctx->GetAttr("num_sparse", &num_sparse));
    OP_REQUIRES_OK(ctx, ctx->GetAttr("ragged_split_types", &split_types));
    OP_REQUIRES(ctx,
                static_cast<size_t>(num_sparse) == ragged_begin_ - sparse_begin_ &&
                    split_types.size() == padded_begin_ - ragged_begin_,
                absl::InvalidArgumentError("num_sparse and ragged_split_types must fit the names"));
    OP_REQUIRES_OK(ctx, StatusOf([&] {
                     features_ = std::make_unique<const ExampleFeatures>(std::move(specs));
                     batch_features_ =
                         std::make_unique<const ExampleFeatures>(std::move(batch_specs));
                   }));
  }

  void Compute(OpKernelContext* ctx) override {
    const Tensor& serialized = ctx->input(0);
    OP_REQUIRES(ctx, serialized.dims() <= 1,
                absl::InvalidArgumentError("serialized must be a vector or a scalar of Examples, "
                                           "not of shape " +
                                           serialized.shape().DebugString()));
    const ExampleFeatures& features = serialized.dims() == 0 ? *features_ : *batch_features_;
    OpInputList defaults;
    OpInputList paddings;
    OP_REQUIRES_OK(ctx, ctx->input_list("defaults", &defaults));
    OP_REQUIRES_OK(ctx, ctx->input_list("paddings", &paddings));
    OP_REQUIRES_OK(ctx, StatusOf([&] { CheckDefaults(defaults, paddings); }));
    std::vector<Tensor*> outputs(shapes_.size());
    for (size_t i = 0; i < shapes_.size(); ++i) {
      TensorShape shape = serialized.shape();
      OP_REQUIRES_OK(ctx, shape.AppendShapeWithStatus(shapes_[i]));
      OP_REQUIRES_OK(ctx, ctx->allocate_output(static_cast<int>(i), shape, &outputs[i]));
    }
    TensorSink sink(defaults, outputs);
    std::unique_ptr<ExampleParser> parser;
    OP_REQUIRES_OK(ctx, StatusOf([&] {
                     parser = std::make_unique<ExampleParser>(&features, &sink, is_strict_);
                     const auto examples = serialized.flat<tstring>();
                     for (int64_t row = 0; row < examples.size(); ++row) {
                       ParseRow(examples(row), row, parser.get());
                     }
                   }));
    OP_REQUIRES_OK(ctx, PutSparse(*parser, serialized.dims(), ctx));
    OP_REQUIRES_OK(ctx, PutRagged(*parser, ctx));
    OP_REQUIRES_OK(ctx, PutPadded(*parser, serialized.shape(), paddings, ctx));
  }

 private:
  // Reads what one kind of features is, with `shapes` if it has them.
  static absl::Status AddSpecs(OpKernelConstruction* ctx, const char* names_attr,
                               const char* types_attr, const std::vector<TensorShape>* shapes,
                               std::vector<FeatureSpec>* specs) {
    std::vector<std::string> names;
    std::vector<DataType> types;
    TF_RETURN_IF_ERROR(ctx->GetAttr(names_attr, &names));
    TF_RETURN_IF_ERROR(ctx->GetAttr(types_attr, &types));
    if (names.size() != types.size() || (shapes != nullptr && shapes->size() != names.size())) {
      return absl::InvalidArgumentError("names, types and shapes must be equally many");
    }
    for (size_t i = 0; i < names.size(); ++i) {
      const int64_t size = shapes == nullptr ? 1 : (*shapes)[i].num_elements();
      specs->push_back({names[i], TypeOf(types[i]), static_cast<size_t>(size)});
    }
    return absl::OkStatus();
  }

  static void ParseRow(const tstring& example, int64_t row, ExampleParser* parser) {
    try {
      parser->Parse({example.data(), example.size()});
    } catch (InvalidArgumentError& error) {
      error.AddContext("example " + std::to_string(row));
      throw;
    }
  }

  void CheckDefaults(const OpInputList& defaults, const OpInputList& paddings) const {
    for (size_t i = 0; i < shapes_.size(); ++i) {
      const int64_t given = defaults[static_cast<int>(i)].NumElements();
      if (given == 0 || given == shapes_[i].num_elements()) continue;
      const FeatureSpec& spec = features_->specs()[i];
      throw InvalidArgumentError("feature '" + spec.name + "': the default must have " +
                                 std::to_string(spec.size) + " values, not " +
                                 std::to_string(given));
    }
    for (int i = 0; i < paddings.size(); ++i) {
      if (paddings[i].NumElements() == 1) continue;
      const FeatureSpec& spec = features_->specs()[padded_begin_ + static_cast<size_t>(i)];
      throw InvalidArgumentError("feature '" + spec.name +
                                 "': the padding must be one value, not " +
                                 std::to_string(paddings[i].NumElements()));
    }
  }

  // `rank` is that of the Examples.
  absl::Status PutSparse(const ExampleParser& parser, int rank, OpKernelContext* ctx) const {
    OpOutputList indices;
    OpOutputList values;
    OpOutputList shapes;
    TF_RETURN_IF_ERROR(ctx->output_list("sparse_indices", &indices));
    TF_RETURN_IF_ERROR(ctx->output_list("sparse_values", &values));
    TF_RETURN_IF_ERROR(ctx->output_list("sparse_shapes", &shapes));
    for (int i = 0; i < values.size(); ++i) {
      const FeatureList& list = parser.list(sparse_begin_ + static_cast<size_t>(i));
      const auto total = static_cast<int64_t>(NumValues(list));
      Tensor* out = nullptr;
      TF_RETURN_IF_ERROR(indices.allocate(i, TensorShape({total, rank + 1}), &out));
      WriteSparseIndices(list, out);
      TF_RETURN_IF_ERROR(values.allocate(i, TensorShape({total}), &out));
      WriteValues(list, out);
      TF_RETURN_IF_ERROR(shapes.allocate(i, TensorShape({rank + 1}), &out));
      auto shape = out->flat<int64_t>();
      shape(0) = static_cast<int64_t>(list.ends.size());
      shape(rank) = static_cast<int64_t>(LongestRow(list));  // of a single Example the only one
    }
    return absl::OkStatus();
  }

  absl::Status PutRagged(const ExampleParser& parser, OpKernelContext* ctx) const {
    OpOutputList values;
    OpOutputList splits;
    TF_RETURN_IF_ERROR(ctx->output_list("ragged_values", &values));
    TF_RETURN_IF_ERROR(ctx->output_list("ragged_splits", &splits));
    for (int i = 0; i < values.size(); ++i) {
      const FeatureList& list = parser.list(ragged_begin_ + static_cast<size_t>(i));
      Tensor* out = nullptr;
      TF_RETURN_IF_ERROR(
          values.allocate(i, TensorShape({static_cast<int64_t>(NumValues(list))}), &out));
      WriteValues(list, out);
      TF_RETURN_IF_ERROR(
          splits.allocate(i, TensorShape({static_cast<int64_t>(list.ends.size()) + 1}), &out));
      TF_RETURN_IF_ERROR(StatusOf([&] { WriteRowSplits(list, out); }));
    }
    return absl::OkStatus();
  }

  absl::Status PutPadded(const ExampleParser& parser, const TensorShape& examples,
                         const OpInputList& paddings, OpKernelContext* ctx) const {
    OpOutputList values;
    TF_RETURN_IF_ERROR(ctx->output_list("padded_values", &values));
    for (int i = 0; i < values.size(); ++i) {
      const size_t feature = padded_begin_ + static_cast<size_t>(i);
      const FeatureList& list = parser.list(feature);
      TensorShape shape = examples;
      TF_RETURN_IF_ERROR(shape.AddDimWithStatus(
          static_cast<int64_t>(LongestRow(list) / features_->specs()[feature].size)));
      TF_RETURN_IF_ERROR(shape.AppendShapeWithStatus(padded_shapes_[static_cast<size_t>(i)]));
      Tensor* out = nullptr;
      TF_RETURN_IF_ERROR(values.allocate(i, shape, &out));
      WritePadded(list, paddings[i], out);
    }
    return absl::OkStatus();
  }

  // Set when made, then read by all calls. The features are those of a fixed length, then those of
  // each kind of lists.
  std::vector<TensorShape> shapes_;
  std::vector<TensorShape> padded_shapes_;
  std::unique_ptr<const ExampleFeatures> features_;
  std::unique_ptr<const ExampleFeatures> batch_features_;  // the same of more than one Example
  bool is_strict_ = false;
  size_t sparse_begin_ = 0;
  size_t ragged_begin_ = 0;
  size_t padded_begin_ = 0;
};

REGISTER_KERNEL_BUILDER(Name("PipeModeParseExample").Device(tensorflow::DEVICE_CPU),
                        ParseExampleOp);

}  // namespace
}  // namespace pipemode
