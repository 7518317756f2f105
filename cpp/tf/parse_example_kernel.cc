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
#include "tensorflow/core/platform/tstring.h"
#include "tf/status_adapter.h"

namespace pipemode {
namespace {

using tensorflow::DataType;
using tensorflow::OpInputList;
using tensorflow::OpKernel;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
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
    std::vector<std::string> names;
    std::vector<DataType> types;
    OP_REQUIRES_OK(ctx, ctx->GetAttr("names", &names));
    OP_REQUIRES_OK(ctx, ctx->GetAttr("types", &types));
    OP_REQUIRES_OK(ctx, ctx->GetAttr("shapes", &shapes_));
    OP_REQUIRES(ctx, names.size() == types.size() && names.size() == shapes_.size(),
                absl::InvalidArgumentError("names, types and shapes must be equally many"));
    OP_REQUIRES_OK(ctx, StatusOf([&] {
                     std::vector<FeatureSpec> specs;
                     specs.reserve(names.size());
                     for (size_t i = 0; i < names.size(); ++i) {
                       specs.push_back({names[i], TypeOf(types[i]),
                                        static_cast<size_t>(shapes_[i].num_elements())});
                     }
                     features_ = std::make_unique<const ExampleFeatures>(std::move(specs));
                   }));
  }

  void Compute(OpKernelContext* ctx) override {
    const Tensor& serialized = ctx->input(0);
    OpInputList defaults;
    OP_REQUIRES_OK(ctx, ctx->input_list("defaults", &defaults));
    OP_REQUIRES_OK(ctx, StatusOf([&] { CheckDefaults(defaults); }));
    std::vector<Tensor*> outputs(shapes_.size());
    for (size_t i = 0; i < shapes_.size(); ++i) {
      TensorShape shape = serialized.shape();
      OP_REQUIRES_OK(ctx, shape.AppendShapeWithStatus(shapes_[i]));
      OP_REQUIRES_OK(ctx, ctx->allocate_output(static_cast<int>(i), shape, &outputs[i]));
    }
    OP_REQUIRES_OK(ctx, StatusOf([&] {
                     TensorSink sink(defaults, outputs);
                     ExampleParser parser(features_.get(), &sink);
                     const auto examples = serialized.flat<tstring>();
                     for (int64_t row = 0; row < examples.size(); ++row) {
                       ParseRow(examples(row), static_cast<size_t>(row), &parser);
                     }
                   }));
  }

 private:
  static void ParseRow(const tstring& example, size_t row, ExampleParser* parser) {
    try {
      parser->Parse({example.data(), example.size()}, row);
    } catch (InvalidArgumentError& error) {
      error.AddContext("example " + std::to_string(row));
      throw;
    }
  }

  void CheckDefaults(const OpInputList& defaults) const {
    for (size_t i = 0; i < shapes_.size(); ++i) {
      const int64_t given = defaults[static_cast<int>(i)].NumElements();
      if (given == 0 || given == shapes_[i].num_elements()) continue;
      const FeatureSpec& spec = features_->specs()[i];
      throw InvalidArgumentError("feature '" + spec.name + "': the default must have " +
                                 std::to_string(spec.size) + " values, not " +
                                 std::to_string(given));
    }
  }

  std::vector<TensorShape> shapes_;
  std::unique_ptr<const ExampleFeatures> features_;  // set when made, then read by all calls
};

REGISTER_KERNEL_BUILDER(Name("PipeModeParseExample").Device(tensorflow::DEVICE_CPU),
                        ParseExampleOp);

}  // namespace
}  // namespace pipemode
