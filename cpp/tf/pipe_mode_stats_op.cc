// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/platform/tstring.h"
#include "tf/channel_stats_registry.h"

namespace pipemode {
namespace {

using tensorflow::OpKernel;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::tstring;

REGISTER_OP("PipeModeStats")
    .Attr("pipe_dir: string")
    .Attr("channel: string")
    .Output("records: int64")
    .Output("bytes: int64")
    .Output("epochs: int64")
    .Output("lost_epochs: int64")
    .Output("corrupt_records: int64")
    .Output("queued_records: int64")
    .Output("queued_bytes: int64")
    .Output("pipe_wait_seconds: double")
    .Output("backpressure_seconds: double")
    .Output("starved_seconds: double")
    // It looks at what changes by itself.
    .SetIsStateful()
    .SetShapeFn([](tensorflow::shape_inference::InferenceContext* c) {
      for (int i = 0; i < c->num_outputs(); ++i) c->set_output(i, c->Scalar());
      return absl::OkStatus();
    })
    .Doc(R"doc(
Tells how the reading of a Pipe-mode channel goes, in all iterators of this process together.

pipe_dir: The folder of the FIFOs, or of the channels' folders, as PipeModeDataset has it.
channel: The channel's name.
records: Records that iterators have given out.
bytes: Bytes of these.
epochs: Epochs read to their end.
lost_epochs: Epochs that were passed over, since the service does not send them again.
corrupt_records: Corrupt records passed over, or reported as errors.
queued_records: Records that have been read ahead and not been asked for yet.
queued_bytes: Bytes of these.
pipe_wait_seconds: How long iterators have waited for the pipe.
backpressure_seconds: How long the pipe has waited for iterators.
starved_seconds: How long iterators were waited for.
)doc");

class PipeModeStatsOp final : public OpKernel {
 public:
  explicit PipeModeStatsOp(OpKernelConstruction* ctx) : OpKernel(ctx) {
    OP_REQUIRES_OK(ctx, ctx->GetAttr("pipe_dir", &pipe_dir_));
    OP_REQUIRES_OK(ctx, ctx->GetAttr("channel", &channel_));
  }

  void Compute(OpKernelContext* ctx) override {
    const ChannelStats stats = StatsRegistry().Get(pipe_dir_, channel_);
    int output = 0;
    for (const uint64_t number :
         {stats.records, stats.bytes, stats.epochs, stats.lost_epochs, stats.corrupt_records,
          stats.queued_records, stats.queued_bytes}) {
      Set(ctx, output++, static_cast<int64_t>(number));
    }
    for (const Stopwatch::Duration time : {stats.pipe_wait, stats.backpressure, stats.starved}) {
      Set(ctx, output++, std::chrono::duration<double>(time).count());
    }
  }

 private:
  template <typename Value>
  static void Set(OpKernelContext* ctx, int output, Value value) {
    Tensor* tensor = nullptr;
    OP_REQUIRES_OK(ctx, ctx->allocate_output(output, {}, &tensor));
    tensor->scalar<Value>()() = value;
  }

  std::string pipe_dir_;
  std::string channel_;
};

REGISTER_KERNEL_BUILDER(Name("PipeModeStats").Device(tensorflow::DEVICE_CPU), PipeModeStatsOp);

REGISTER_OP("PipeModeStatsFolders")
    .Attr("channel: string")
    .Attr("default_dir: string")
    .Output("folders: string")
    .SetIsStateful()
    .SetShapeFn([](tensorflow::shape_inference::InferenceContext* c) {
      c->set_output(0, c->Vector(c->UnknownDim()));
      return absl::OkStatus();
    })
    .Doc(R"doc(
Tells where PipeModeStats finds a channel that is asked for by its name alone.

channel: The channel's name.
default_dir: The folder that is meant if a dataset of this process has the channel there.
folders: `default_dir`, or else each folder in which this process has read such a channel.
)doc");

class PipeModeStatsFoldersOp final : public OpKernel {
 public:
  explicit PipeModeStatsFoldersOp(OpKernelConstruction* ctx) : OpKernel(ctx) {
    OP_REQUIRES_OK(ctx, ctx->GetAttr("channel", &channel_));
    OP_REQUIRES_OK(ctx, ctx->GetAttr("default_dir", &default_dir_));
  }

  void Compute(OpKernelContext* ctx) override {
    const std::vector<std::string> folders = StatsRegistry().Folders(channel_, default_dir_);
    Tensor* tensor = nullptr;
    OP_REQUIRES_OK(ctx, ctx->allocate_output(0, {static_cast<int64_t>(folders.size())}, &tensor));
    std::copy(folders.begin(), folders.end(), tensor->vec<tstring>().data());
  }

 private:
  std::string channel_;
  std::string default_dir_;
};

REGISTER_KERNEL_BUILDER(Name("PipeModeStatsFolders").Device(tensorflow::DEVICE_CPU),
                        PipeModeStatsFoldersOp);

}  // namespace
}  // namespace pipemode
