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
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/coarse_clock.h"
#include "core/base/error.h"
#include "core/channel/channel_reader.h"
#include "core/channel/channel_stats.h"
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
#include "tf/channel_stats_registry.h"
#include "tf/dataset_attributes.h"
#include "tf/element_reader.h"
#include "tf/python_interrupt.h"
#include "tf/read_ahead.h"
#include "tf/saved_position.h"
#include "tf/status_adapter.h"
#include "tf/warning_log.h"

namespace pipemode {
namespace {

namespace data = tensorflow::data;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::tstring;

constexpr char kDatasetType[] = "PipeMode";

// Connects the waits of one call of the iterator with the caller's cancellation manager, logs long
// waits, and adds them up.
class CallGuard final : public WaitObserver {
 public:
  CallGuard(CancelToken* cancel, ReaderCounters* counters)
      : cancel_(*cancel), counters_(*counters) {}

  void Begin(tensorflow::CancellationManager* manager) { manager_ = manager; }

  // Returns whether the call has waited for the pipe.
  bool End() {
    if (deregister_) {
      deregister_();
      deregister_ = nullptr;
      cancel_.Reset();
    }
    return std::exchange(has_waited_, false);
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

  void OnWaited(std::chrono::steady_clock::duration time) override {
    has_waited_ = true;
    // The consumer waits for the record, since it is only read when asked for.
    counters_.pipe_wait.Add(time);
    counters_.starved.Add(time);
  }

 private:
  CancelToken& cancel_;
  ReaderCounters& counters_;
  tensorflow::CancellationManager* manager_ = nullptr;
  std::function<void()> deregister_;  // set once the current call has blocked, or takes long
  bool has_waited_ = false;           // the current call
  std::chrono::steady_clock::time_point blocked_since_;
};

class PipeModeDatasetOp final : public data::DatasetOpKernel {
 public:
  explicit PipeModeDatasetOp(tensorflow::OpKernelConstruction* ctx);

 private:
  class Dataset;

  void MakeDataset(OpKernelContext* ctx, data::DatasetBase** output) override;
  static absl::Status ParseFiles(OpKernelContext* ctx, FileList* files);

  DatasetAttributes attributes_;
};

class PipeModeDatasetOp::Dataset final : public data::DatasetBase {
 public:
  Dataset(OpKernelContext* ctx, const DatasetAttributes& attributes, ElementOptions options)
      : DatasetBase(data::DatasetContext(ctx)),
        attributes_(attributes),
        options_(std::move(options)),
        is_reshuffled_(Contains(attributes.reshuffled_channels, options_.channel.channel)),
        output_dtypes_(options_.components.size(), tensorflow::DT_STRING),
        output_shapes_(options_.components.size(), ElementShape(attributes)) {}

  std::unique_ptr<data::IteratorBase> MakeIteratorInternal(
      const std::string& prefix) const override;

  const tensorflow::DataTypeVector& output_dtypes() const override { return output_dtypes_; }

  const std::vector<tensorflow::PartialTensorShape>& output_shapes() const override {
    return output_shapes_;
  }

  std::string DebugString() const override {
    return "PipeModeDatasetOp::Dataset(" + options_.channel.channel + ")";
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
    if (attributes_.reads_files) return absl::OkStatus();
    return absl::FailedPreconditionError(DebugString() +
                                         " reads a FIFO, whose content is not part of the graph");
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
  const ElementOptions options_;  // what they mean for this channel
  const bool is_reshuffled_;
  const tensorflow::DataTypeVector output_dtypes_;
  const std::vector<tensorflow::PartialTensorShape> output_shapes_;
};  // class Dataset

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
      const ChannelOptions& channel = dataset()->options_.channel;
      counters_ = StatsRegistry().Add(channel.pipe_dir, channel.channel);
      guard_ = std::make_unique<CallGuard>(cancel_.get(), counters_.get());
      const int64_t read_ahead_bytes = dataset()->attributes_.read_ahead_bytes;
      const ElementOptions& options = dataset()->options_;
      if (read_ahead_bytes > 0) {
        read_ahead_ = std::make_unique<ReadAhead>(options, static_cast<size_t>(read_ahead_bytes),
                                                  counters_.get());
      } else {
        reader_ = std::make_unique<ElementReader>(options, /*max_idle_bytes=*/0, context(),
                                                  counters_.get());
      }
    });
  }

 protected:
  absl::Status GetNextInternal(data::IteratorContext* ctx, std::vector<Tensor>* out_tensors,
                               bool* end_of_sequence) override {
    const std::lock_guard<std::mutex> lock(mu_);
    std::optional<Element> element;
    *end_of_sequence = ended_;
    if (ended_) return absl::OkStatus();
    absl::Status status = Call(ctx, [&] {
      if (!benchmark_.enabled()) {
        element = Next();
        return;
      }
      const auto begin = std::chrono::steady_clock::now();
      element = Next();
      benchmark_.OnRead(std::chrono::steady_clock::now() - begin, element ? element->records : 0,
                        element ? element->bytes : 0);
    });
    if (!status.ok()) return status;
    ended_ = *end_of_sequence = !element;
    if (element) {
      position_ = element->position;
      counters_->records.Add(element->records);
      counters_->bytes.Add(element->bytes);
      bytes_read_->IncrementBy(static_cast<int64_t>(element->bytes));
      *out_tensors = std::move(element->tensors);
    }
    return absl::OkStatus();
  }

  absl::Status SkipInternal(data::IteratorContext* ctx, int num_to_skip, bool* end_of_sequence,
                            int* num_skipped) override {
    const std::lock_guard<std::mutex> lock(mu_);
    *num_skipped = 0;
    *end_of_sequence = ended_;
    return Call(ctx, [&] {
      while (*num_skipped < num_to_skip && !*end_of_sequence) {
        if (SkipOne()) {
          ++*num_skipped;
        } else {
          ended_ = *end_of_sequence = true;
        }
      }
    });
  }

  std::shared_ptr<data::model::Node> CreateNode(data::IteratorContext* /*ctx*/,
                                                data::model::Node::Args args) const override {
    return data::model::MakeSourceNode(std::move(args));
  }

  // What the consumer has got, not what was read ahead.
  absl::Status SaveInternal(data::SerializationContext* /*ctx*/,
                            data::IteratorStateWriter* writer) override {
    const std::lock_guard<std::mutex> lock(mu_);
    const SavedPosition saved{position_, ended_};
    return WritePosition(saved, dataset()->options_.channel, prefix(), writer);
  }

  absl::Status RestoreInternal(data::IteratorContext* /*ctx*/,
                               data::IteratorStateReader* reader) override {
    const std::lock_guard<std::mutex> lock(mu_);
    SavedPosition saved;
    absl::Status status = ReadPosition(dataset()->options_.channel, prefix(), reader, &saved);
    if (status.ok()) {
      status = StatusOf([&] {
        if (reader_ != nullptr) {
          reader_->Resume(saved.position);
        } else {
          read_ahead_->Resume(saved.position);
        }
      });
    }
    if (!status.ok()) return status;
    if (dataset()->is_reshuffled_ && saved.position.records > 0) {
      LogWarning("channel '" + dataset()->options_.channel.channel +
                 "' has a ShuffleConfig: each epoch sends its objects in another order, so behind "
                 "the restored position of PipeModeDataset some records come twice and others not "
                 "at all; for exact resume start the job without it, and shuffle the dataset");
    }
    position_ = saved.position;
    ended_ = saved.ended;
    return status;
  }

 private:
  // Runs `call`, which may block, so that the caller can cancel it.
  absl::Status Call(data::IteratorContext* ctx, const std::function<void()>& call) {
    guard_->Begin(ctx->cancellation_manager());
    // Without reading ahead, the pipe waits until the next call.
    Stopwatch::Duration away{0};
    if (reader_ != nullptr && called_at_) away = CoarseNow() - *called_at_;
    absl::Status status = StatusOf(call);
    const bool has_waited = guard_->End();
    if (reader_ != nullptr) {
      // If nothing lay ready, it was not the pipe that waited.
      if (!has_waited) counters_->backpressure.Add(away);
      called_at_ = CoarseNow();
    }
    return status;
  }

  WaitContext context() const { return {cancel_.get(), guard_.get()}; }

  // Returns the next element; nothing at the end.
  std::optional<Element> Next() {
    return reader_ != nullptr ? reader_->Next() : read_ahead_->Next(context());
  }

  // Drops one element. Returns false at the end.
  bool SkipOne() {
    if (reader_ != nullptr) {
      if (!reader_->Skip()) return false;
      position_ = reader_->position();
      return true;
    }
    const std::optional<Element> element = Next();
    if (element) position_ = element->position;
    return element.has_value();
  }

  tensorflow::monitoring::CounterCell* const bytes_read_;
  std::mutex mu_;  // guards all below
  BenchmarkPrinter benchmark_;
  SequencePosition position_;  // behind the last element that the consumer has
  bool ended_ = false;         // the consumer has been told
  // End of the last call, without reading ahead.
  std::optional<std::chrono::steady_clock::time_point> called_at_;
  std::shared_ptr<ReaderCounters> counters_;
  std::unique_ptr<CancelToken> cancel_;
  std::unique_ptr<CallGuard> guard_;
  // One of the two; last, since they use the others.
  std::unique_ptr<ElementReader> reader_;
  std::unique_ptr<ReadAhead> read_ahead_;
};  // class Iterator

std::unique_ptr<data::IteratorBase> PipeModeDatasetOp::Dataset::MakeIteratorInternal(
    const std::string& prefix) const {
  return std::make_unique<Iterator>(Iterator::Params{this, prefix + "::" + kDatasetType});
}

absl::Status PipeModeDatasetOp::Dataset::AsGraphDefInternal(data::SerializationContext* /*ctx*/,
                                                            DatasetGraphDefBuilder* b,
                                                            tensorflow::Node** output) const {
  tensorflow::Node* channel = nullptr;
  tensorflow::Node* files = nullptr;
  tensorflow::Node* file_sizes = nullptr;
  std::vector<tstring> paths;
  std::vector<int64_t> sizes;
  if (options_.channel.files != nullptr) {
    for (const FileList::File& file : options_.channel.files->files) {
      paths.emplace_back(file.path);
      sizes.push_back(static_cast<int64_t>(file.size));
    }
  }
  absl::Status status = b->AddScalar(tstring(options_.channel.channel), &channel);
  if (status.ok()) status = b->AddVector(paths, &files);
  if (status.ok()) status = b->AddVector(sizes, &file_sizes);
  if (!status.ok()) return status;
  std::vector<std::pair<absl::string_view, tensorflow::AttrValue>> attributes;
  DatasetAttributes::ForEach(attributes_, [&](const char* name, const auto& attribute) {
    tensorflow::AttrValue value;
    b->BuildAttrValue(attribute, &value);
    attributes.emplace_back(name, std::move(value));
  });
  return b->AddDataset(this, {channel, files, file_sizes}, attributes, output);
}

PipeModeDatasetOp::PipeModeDatasetOp(tensorflow::OpKernelConstruction* ctx) : DatasetOpKernel(ctx) {
  OP_REQUIRES_OK(ctx, ReadAttributes(ctx, &attributes_));
}

void PipeModeDatasetOp::MakeDataset(OpKernelContext* ctx, data::DatasetBase** output) {
  tstring channel;
  OP_REQUIRES_OK(ctx, data::ParseScalarArgument<tstring>(ctx, "channel", &channel));
  FileList files;
  OP_REQUIRES_OK(ctx, ParseFiles(ctx, &files));
  ElementOptions options;
  OP_REQUIRES_OK(
      ctx, StatusOf([&] { options = MakeElementOptions(attributes_, channel, std::move(files)); }));
  // Not only when a wait begins: a signal may come before that, while TensorFlow compiles the first
  // step.
  PythonInterrupt::Watch();
  StatsRegistry().Announce(attributes_.pipe_dir, channel);
  *output = new Dataset(ctx, attributes_, std::move(options));
}

absl::Status PipeModeDatasetOp::ParseFiles(OpKernelContext* ctx, FileList* files) {
  std::vector<tstring> paths;
  std::vector<int64_t> sizes;
  absl::Status status = data::ParseVectorArgument<tstring>(ctx, "files", &paths);
  if (status.ok()) status = data::ParseVectorArgument<int64_t>(ctx, "file_sizes", &sizes);
  if (!status.ok()) return status;
  if (paths.size() != sizes.size()) {
    return absl::InvalidArgumentError("there must be a size for each file, but files are " +
                                      std::to_string(paths.size()) + " and sizes " +
                                      std::to_string(sizes.size()));
  }
  for (size_t i = 0; i < paths.size(); ++i) {
    if (sizes[i] < 0) {
      return absl::InvalidArgumentError("the size of a file must not be negative, but is " +
                                        std::to_string(sizes[i]));
    }
    files->files.push_back({paths[i], static_cast<uint64_t>(sizes[i])});
  }
  return absl::OkStatus();
}

REGISTER_KERNEL_BUILDER(Name("PipeModeDataset").Device(tensorflow::DEVICE_CPU), PipeModeDatasetOp);

}  // namespace
}  // namespace pipemode
