// SPDX-License-Identifier: Apache-2.0
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "tensorflow/core/framework/attr_value.pb.h"
#include "tensorflow/core/framework/cancellation.h"
#include "tensorflow/core/framework/function.h"
#include "tensorflow/core/framework/node_def_util.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor.h"

namespace pipemode {
namespace {

using tensorflow::AsyncOpKernel;
using tensorflow::CancellationManager;
using tensorflow::FunctionLibraryRuntime;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;

class TryFunctionOp final : public AsyncOpKernel {
 public:
  explicit TryFunctionOp(OpKernelConstruction* ctx) : AsyncOpKernel(ctx) {
    OP_REQUIRES_OK(ctx, ctx->GetAttr("f", &function_));
  }

  void ComputeAsync(OpKernelContext* ctx, DoneCallback done) override {
    FunctionLibraryRuntime* const library = ctx->function_library();
    OP_REQUIRES_ASYNC(ctx, library != nullptr, absl::InternalError("no function library"), done);
    FunctionLibraryRuntime::Handle handle = 0;
    // The library keeps what it has instantiated, and finds it by name and attributes.
    OP_REQUIRES_OK_ASYNC(
        ctx,
        library->Instantiate(function_.name(), tensorflow::AttrSlice(&function_.attr()), &handle),
        done);
    std::vector<Tensor> arguments;
    arguments.reserve(static_cast<size_t>(ctx->num_inputs()));
    for (int i = 0; i < ctx->num_inputs(); ++i) arguments.push_back(ctx->input(i));
    // A function that fails cancels its call, which must not be that of the op.
    const auto call = std::make_shared<FunctionCall>();
    call->cancellation = ChildOf(ctx->cancellation_manager());
    library->Run(OptionsOf(ctx, call->cancellation.get()), handle, arguments, &call->results,
                 [this, ctx, call, done = std::move(done)](const absl::Status& status) {
                   PutResults(status, std::move(call->results), ctx);
                   call->cancellation.reset();  // that of the op may be gone behind the next line
                   done();
                 });
  }

 private:
  struct FunctionCall {
    std::unique_ptr<CancellationManager> cancellation;  // ends with that of the op
    std::vector<Tensor> results;
  };

  static std::unique_ptr<CancellationManager> ChildOf(CancellationManager* parent) {
    if (parent == nullptr) return std::make_unique<CancellationManager>();
    return std::make_unique<CancellationManager>(parent);
  }

  static FunctionLibraryRuntime::Options OptionsOf(OpKernelContext* ctx,
                                                   CancellationManager* cancellation) {
    FunctionLibraryRuntime::Options options(ctx->step_id());
    options.create_rendezvous = true;  // for the same reason
    options.cancellation_manager = cancellation;
    options.stats_collector = ctx->stats_collector();
    options.runner = ctx->runner();
    options.run_all_kernels_inline = ctx->run_all_kernels_inline();
    options.step_container = ctx->step_container();
    return options;
  }

  void PutResults(const absl::Status& status, std::vector<Tensor> results,
                  OpKernelContext* ctx) const {
    CancellationManager* const cancellation = ctx->cancellation_manager();
    if (!status.ok() && cancellation != nullptr && cancellation->IsCancelled()) {
      ctx->SetStatus(status);
      return;
    }
    ctx->set_output(0, Tensor(status.ok()));
    for (int i = 1; i < ctx->num_outputs(); ++i) {
      if (status.ok()) {
        ctx->set_output(i, std::move(results[static_cast<size_t>(i) - 1]));
      } else {
        ctx->set_output(i, Tensor(output_type(i), tensorflow::TensorShape({0})));
      }
    }
  }

  tensorflow::NameAttrList function_;
};

REGISTER_KERNEL_BUILDER(Name("PipeModeTryFunction").Device(tensorflow::DEVICE_CPU), TryFunctionOp);

}  // namespace
}  // namespace pipemode
