// SPDX-License-Identifier: Apache-2.0
//
// The kernel of PipeModeDataset: a thin face over ElementReader, which reads when asked, and
// ReadAhead, which does so before it is asked.
//
// Who owns and blocks what. An Iterator owns its reader, thus one epoch at a time, and guards it by
// `mu_`. GetNext and Skip block with `mu_` held, for as long as there is no data. What wakes them:
// data, the reader's time limits, a signal (python_interrupt.h), and the CancelToken, which the
// caller's CancellationManager cancels by a callback. The callback takes no lock. It is registered
// when a call is about to block, not before, because most calls find their record at hand; and
// deregistered before that call returns, which waits for a callback under way, so none can reach a
// later call or a destroyed iterator.
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/channel/channel_reader.h"
#include "core/io/cancel_token.h"
#include "core/io/wait.h"
#include "tensorflow/core/framework/cancellation.h"
#include "tensorflow/core/framework/dataset.h"
#include "tensorflow/core/framework/metrics.h"
#include "tensorflow/core/framework/model.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/platform/tstring.h"
#include "tf/benchmark_printer.h"
#include "tf/dataset_attributes.h"
#include "tf/element_reader.h"
#include "tf/python_interrupt.h"
#include "tf/read_ahead.h"
#include "tf/status_adapter.h"
#include "tf/warning_log.h"

namespace pipemode {
namespace {

namespace data = tensorflow::data;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::tstring;

constexpr char kDatasetType[] = "PipeMode";

// Connects the waits of one call of the iterator with the caller's cancellation manager, and logs
// long waits.
class CallGuard final : public WaitObserver {
 public:
  explicit CallGuard(CancelToken* cancel) : cancel_(*cancel) {}

  void Begin(tensorflow::CancellationManager* manager) { manager_ = manager; }

  void End() {
    if (!deregister_) return;
    deregister_();
    deregister_ = nullptr;
    cancel_.Reset();
  }

  void OnBlock() override {
    PythonInterrupt::Watch();
    if (deregister_) return;
    blocked_since_ = std::chrono::steady_clock::now();
    const absl::Status registered = tensorflow::RegisterCancellationCallback(
        manager_, [this] { cancel_.Cancel(); }, &deregister_);
    if (!registered.ok()) {
      deregister_ = nullptr;
      throw CancelledError(std::string(registered.message()));
    }
  }

  void OnTick() override {
    // The script may set a handler of its own while a thread waits.
    PythonInterrupt::Watch();
    if (PythonInterrupt::ShouldStopWaiting(blocked_since_)) {
      throw CancelledError("interrupted by a signal");
    }
  }

  void OnStillWaiting(std::string_view what, std::chrono::seconds waited) override {
    LogLongWait(what, waited);
  }

 private:
  CancelToken& cancel_;
  tensorflow::CancellationManager* manager_ = nullptr;
  std::function<void()> deregister_;  // set while the current call has blocked
  std::chrono::steady_clock::time_point blocked_since_;
};

class PipeModeDatasetOp final : public data::DatasetOpKernel {
 public:
  explicit PipeModeDatasetOp(tensorflow::OpKernelConstruction* ctx);

 private:
  class Dataset;

  void MakeDataset(OpKernelContext* ctx, data::DatasetBase** output) override;

  DatasetAttributes attributes_;
};

class PipeModeDatasetOp::Dataset final : public data::DatasetBase {
 public:
  Dataset(OpKernelContext* ctx, const DatasetAttributes& attributes, ChannelOptions options)
      : DatasetBase(data::DatasetContext(ctx)),
        attributes_(attributes),
        options_(std::move(options)),
        output_shapes_({ElementShape(attributes)}) {}

  std::unique_ptr<data::IteratorBase> MakeIteratorInternal(
      const std::string& prefix) const override;

  const tensorflow::DataTypeVector& output_dtypes() const override {
    static const auto* const dtypes = new tensorflow::DataTypeVector({tensorflow::DT_STRING});
    return *dtypes;
  }

  const std::vector<tensorflow::PartialTensorShape>& output_shapes() const override {
    return output_shapes_;
  }

  std::string DebugString() const override {
    return "PipeModeDatasetOp::Dataset(" + options_.channel + ")";
  }

  int64_t CardinalityInternal(data::CardinalityOptions /*options*/) const override {
    if (attributes_.repeat_count == 0) return 0;
    return attributes_.repeat_count < 0 ? data::kInfiniteCardinality : data::kUnknownCardinality;
  }

  absl::Status InputDatasets(std::vector<const DatasetBase*>* inputs) const override {
    inputs->clear();
    return absl::OkStatus();
  }

  absl::Status CheckExternalState() const override {
    return absl::FailedPreconditionError(
        DebugString() + " reads a FIFO, whose content and position cannot be saved");
  }

 protected:
  absl::Status AsGraphDefInternal(data::SerializationContext* ctx, DatasetGraphDefBuilder* b,
                                  tensorflow::Node** output) const override;

 private:
  class Iterator;

  static tensorflow::PartialTensorShape ElementShape(const DatasetAttributes& attributes) {
    if (attributes.batch_size == 0) return {};
    return {attributes.drop_remainder ? attributes.batch_size : -1};
  }

  const DatasetAttributes attributes_;
  const ChannelOptions options_;  // what they mean for this channel
  const std::vector<tensorflow::PartialTensorShape> output_shapes_;
};

class PipeModeDatasetOp::Dataset::Iterator final : public data::DatasetIterator<Dataset> {
 public:
  explicit Iterator(const Params& params)
      : DatasetIterator<Dataset>(params),
        bytes_read_(tensorflow::metrics::GetTFDataBytesReadCounter(kDatasetType)),
        benchmark_(dataset()->attributes_.benchmark,
                   dataset()->attributes_.benchmark_records_interval) {}

  // Everything that can fail, and be it for want of a file descriptor, happens here and not in the
  // constructor. Nothing is opened or claimed before the first record is asked for.
  absl::Status Initialize(data::IteratorContext* /*ctx*/) override {
    const std::lock_guard<std::mutex> lock(mu_);
    return StatusOf([this] {
      cancel_ = std::make_unique<CancelToken>();
      guard_ = std::make_unique<CallGuard>(cancel_.get());
      const DatasetAttributes& attributes = dataset()->attributes_;
      const ElementOptions options{dataset()->options_, attributes.repeat_count,
                                   attributes.batch_size, attributes.drop_remainder};
      if (attributes.read_ahead_bytes > 0) {
        read_ahead_ =
            std::make_unique<ReadAhead>(options, static_cast<size_t>(attributes.read_ahead_bytes));
      } else {
        reader_ = std::make_unique<ElementReader>(options, context());
      }
    });
  }

 protected:
  absl::Status GetNextInternal(data::IteratorContext* ctx, std::vector<Tensor>* out_tensors,
                               bool* end_of_sequence) override {
    const std::lock_guard<std::mutex> lock(mu_);
    Tensor element;
    const absl::Status status = Call(ctx, [&] {
      if (!benchmark_.enabled()) {
        element = Next(ctx);
        return;
      }
      const auto begin = std::chrono::steady_clock::now();
      element = Next(ctx);
      benchmark_.OnRead(std::chrono::steady_clock::now() - begin,
                        static_cast<size_t>(element.NumElements()), StringBytes(element));
    });
    if (!status.ok()) return status;
    *end_of_sequence = element.NumElements() == 0;
    if (!*end_of_sequence) {
      bytes_read_->IncrementBy(static_cast<int64_t>(StringBytes(element)));
      out_tensors->push_back(std::move(element));
    }
    return absl::OkStatus();
  }

  absl::Status SkipInternal(data::IteratorContext* ctx, int num_to_skip, bool* end_of_sequence,
                            int* num_skipped) override {
    const std::lock_guard<std::mutex> lock(mu_);
    *num_skipped = 0;
    *end_of_sequence = false;
    return Call(ctx, [&] {
      while (*num_skipped < num_to_skip && !*end_of_sequence) {
        if (SkipOne(ctx)) {
          ++*num_skipped;
        } else {
          *end_of_sequence = true;
        }
      }
    });
  }

  std::shared_ptr<data::model::Node> CreateNode(data::IteratorContext* /*ctx*/,
                                                data::model::Node::Args args) const override {
    return data::model::MakeSourceNode(std::move(args));
  }

  absl::Status SaveInternal(data::SerializationContext* /*ctx*/,
                            data::IteratorStateWriter* /*writer*/) override {
    return absl::UnimplementedError(
        "the position in a PipeModeDataset cannot be saved yet; leave the iterator out of the "
        "checkpoint");
  }

  absl::Status RestoreInternal(data::IteratorContext* /*ctx*/,
                               data::IteratorStateReader* /*reader*/) override {
    return absl::UnimplementedError("the position in a PipeModeDataset cannot be restored yet");
  }

 private:
  // Runs `call`, which may block, so that the caller can cancel it.
  absl::Status Call(data::IteratorContext* ctx, const std::function<void()>& call) {
    guard_->Begin(ctx->cancellation_manager());
    absl::Status status = StatusOf(call);
    guard_->End();
    return status;
  }

  WaitContext context() const { return {cancel_.get(), guard_.get()}; }

  // Returns the next element, or a tensor without elements at the end.
  Tensor Next(data::IteratorContext* ctx) {
    tensorflow::Allocator* const allocator = ctx->allocator({});
    if (reader_ != nullptr) return reader_->Next(allocator);
    return read_ahead_->Next(allocator, context());
  }

  // Drops one element. Returns false at the end.
  bool SkipOne(data::IteratorContext* ctx) {
    return reader_ != nullptr ? reader_->Skip() : Next(ctx).NumElements() > 0;
  }

  tensorflow::monitoring::CounterCell* const bytes_read_;
  std::mutex mu_;  // guards all below
  BenchmarkPrinter benchmark_;
  std::unique_ptr<CancelToken> cancel_;
  std::unique_ptr<CallGuard> guard_;
  // One of the two; last, since they use the others.
  std::unique_ptr<ElementReader> reader_;
  std::unique_ptr<ReadAhead> read_ahead_;
};

std::unique_ptr<data::IteratorBase> PipeModeDatasetOp::Dataset::MakeIteratorInternal(
    const std::string& prefix) const {
  return std::make_unique<Iterator>(Iterator::Params{this, prefix + "::" + kDatasetType});
}

absl::Status PipeModeDatasetOp::Dataset::AsGraphDefInternal(data::SerializationContext* /*ctx*/,
                                                            DatasetGraphDefBuilder* b,
                                                            tensorflow::Node** output) const {
  tensorflow::Node* channel = nullptr;
  const absl::Status status = b->AddScalar(tstring(options_.channel), &channel);
  if (!status.ok()) return status;
  std::vector<std::pair<absl::string_view, tensorflow::AttrValue>> attributes;
  DatasetAttributes::ForEach(attributes_, [&](const char* name, const auto& attribute) {
    tensorflow::AttrValue value;
    b->BuildAttrValue(attribute, &value);
    attributes.emplace_back(name, std::move(value));
  });
  return b->AddDataset(this, {channel}, attributes, output);
}

PipeModeDatasetOp::PipeModeDatasetOp(tensorflow::OpKernelConstruction* ctx) : DatasetOpKernel(ctx) {
  OP_REQUIRES_OK(ctx, ReadAttributes(ctx, &attributes_));
}

void PipeModeDatasetOp::MakeDataset(OpKernelContext* ctx, data::DatasetBase** output) {
  tstring channel;
  OP_REQUIRES_OK(ctx, data::ParseScalarArgument<tstring>(ctx, "channel", &channel));
  ChannelOptions options;
  OP_REQUIRES_OK(ctx, StatusOf([&] { options = MakeChannelOptions(attributes_, channel); }));
  // Not only when a wait begins: a signal may come before that, while TensorFlow compiles the first
  // step.
  PythonInterrupt::Watch();
  *output = new Dataset(ctx, attributes_, std::move(options));
}

REGISTER_KERNEL_BUILDER(Name("PipeModeDataset").Device(tensorflow::DEVICE_CPU), PipeModeDatasetOp);

}  // namespace
}  // namespace pipemode
