// SPDX-License-Identifier: Apache-2.0
//
// Where a batch goes through the function at once, one bad record in it fails them all. Here the
// records of such a batch go through one by one, so that what comes out, errors included, is what
// tf.data gives where each record is mapped by itself.
#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "tensorflow/core/data/captured_function.h"
#include "tensorflow/core/framework/cancellation.h"
#include "tensorflow/core/framework/dataset.h"
#include "tensorflow/core/framework/model.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/platform/tstring.h"
#include "tensorflow/core/util/batch_util.h"

namespace pipemode {
namespace {

namespace data = tensorflow::data;
using tensorflow::DataTypeVector;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::PartialTensorShape;
using tensorflow::Tensor;
using tensorflow::TensorShape;
using tensorflow::tstring;

constexpr char kDatasetType[] = "PipeModeVectorizedMap";

enum class Elements { kSingle, kBatches, kFusedBatches, kWholeBatches };

Elements ElementsOf(const std::string& name) {
  if (name == "single") return Elements::kSingle;
  if (name == "batches") return Elements::kBatches;
  return name == "fused_batches" ? Elements::kFusedBatches : Elements::kWholeBatches;
}

// The components of an element of tf.data, of a record or of what the function made of one.
using Components = std::vector<Tensor>;

// One element of the input.
struct Batch {
  bool is_ok = false;
  Components results;  // if `is_ok`
  Components records;
  int64_t size = 0;
};

absl::Status SliceOf(Components* batch, int64_t row, Components* slice) {
  slice->clear();
  for (Tensor& component : *batch) {
    TensorShape shape = component.shape();
    shape.RemoveDim(0);
    Tensor element(component.dtype(), shape);
    TF_RETURN_IF_ERROR(tensorflow::batch_util::MaybeMoveSliceToElement(&component, &element, row));
    slice->push_back(std::move(element));
  }
  return absl::OkStatus();
}

// What the function made of one record.
struct Mapped {
  absl::Status status;
  Components results;
};

std::vector<Mapped>::const_iterator FirstBad(const std::vector<Mapped>& mapped) {
  return std::find_if(mapped.begin(), mapped.end(),
                      [](const Mapped& one) { return !one.status.ok(); });
}

// Whether each of `results` has a row for each of `count` records. Else the batch form is wrong.
bool HaveRows(const Components& results, int64_t count) {
  return std::all_of(results.begin(), results.end(), [count](const Tensor& result) {
    return result.dims() > 0 && result.dim_size(0) == count;
  });
}

// Makes a batch of rows, as tf.data does, whose error for rows of different shapes it gives.
absl::Status Stack(const std::vector<Mapped>& rows, Components* batch) {
  batch->clear();
  for (size_t component = 0; component < rows[0].results.size(); ++component) {
    const Tensor& first = rows[0].results[component];
    TensorShape shape = first.shape();
    TF_RETURN_IF_ERROR(shape.InsertDimWithStatus(0, static_cast<int64_t>(rows.size())));
    Tensor stacked(first.dtype(), shape);
    for (size_t row = 0; row < rows.size(); ++row) {
      const Tensor& element = rows[row].results[component];
      if (element.shape() != first.shape()) {
        return absl::InvalidArgumentError(
            "Cannot batch tensors with different shapes in component " + std::to_string(component) +
            ". First element had shape " + first.shape().DebugString() + " and element " +
            std::to_string(row) + " had shape " + element.shape().DebugString() + ".");
      }
      TF_RETURN_IF_ERROR(
          tensorflow::batch_util::CopyElementToSlice(element, &stacked, static_cast<int64_t>(row)));
    }
    batch->push_back(std::move(stacked));
  }
  return absl::OkStatus();
}

// The records of a batch, which stays as it is.
std::vector<Components> RowsOf(const Components& records) {
  std::vector<Components> rows(static_cast<size_t>(records[0].dim_size(0)));
  for (const Tensor& component : records) {
    const auto strings = component.flat<tstring>();
    for (size_t row = 0; row < rows.size(); ++row) {
      rows[row].emplace_back(strings(static_cast<int64_t>(row)));
    }
  }
  return rows;
}

// Makes a batch of the first `count` records, which stay as they are.
Components StackRecords(const std::deque<Components>& records, size_t count) {
  Components batch;
  for (size_t component = 0; component < records[0].size(); ++component) {
    Tensor stacked(tensorflow::DT_STRING, TensorShape({static_cast<int64_t>(count)}));
    auto strings = stacked.flat<tstring>();
    for (size_t row = 0; row < count; ++row) {
      strings(static_cast<int64_t>(row)) = records[row][component].scalar<tstring>()();
    }
    batch.push_back(std::move(stacked));
  }
  return batch;
}

// The keys of a saved position.
constexpr char kInputEnded[] = "input_ended";
constexpr char kErrorCode[] = "error_code";
constexpr char kErrorMessage[] = "error_message";
constexpr char kCarried[] = "carried";
constexpr char kCarriedRecords[] = "carried_records";
constexpr char kRow[] = "row";
constexpr char kSize[] = "size";
constexpr char kIsOk[] = "is_ok";
constexpr char kCurrent[] = "current";

class VectorizedMapDatasetOp final : public data::UnaryDatasetOpKernel {
 public:
  explicit VectorizedMapDatasetOp(OpKernelConstruction* ctx);

 private:
  class Dataset;

  void MakeDataset(OpKernelContext* ctx, data::DatasetBase* input,
                   data::DatasetBase** output) override;

  // Set when made.
  std::shared_ptr<data::FunctionMetadata> metadata_;
  std::shared_ptr<data::FunctionMetadata> batch_metadata_;
  std::string elements_;
  int64_t batch_size_ = 0;
  bool drop_remainder_ = false;
  DataTypeVector output_types_;
  std::vector<PartialTensorShape> output_shapes_;
};

class VectorizedMapDatasetOp::Dataset final : public data::DatasetBase {
 public:
  Dataset(OpKernelContext* ctx, const VectorizedMapDatasetOp& op, const data::DatasetBase* input,
          const data::DatasetBase* probe, std::unique_ptr<data::CapturedFunction> function,
          std::unique_ptr<data::CapturedFunction> batch_function, int64_t num_records)
      : DatasetBase(data::DatasetContext(ctx)),
        input_(input),
        probe_(probe),
        is_fused_(absl::StrContains(probe->type_string(), "MapAndBatch")),
        function_(std::move(function)),
        batch_function_(std::move(batch_function)),
        num_records_(num_records),
        elements_name_(op.elements_),
        elements_(ElementsOf(op.elements_)),
        batch_size_(op.batch_size_),
        drop_remainder_(op.drop_remainder_),
        output_types_(op.output_types_),
        output_shapes_(op.output_shapes_) {
    input_->Ref();
    probe_->Ref();
  }

  ~Dataset() override {
    input_->Unref();
    probe_->Unref();
  }

  std::unique_ptr<data::IteratorBase> MakeIteratorInternal(
      const std::string& prefix) const override;

  const DataTypeVector& output_dtypes() const override { return output_types_; }

  const std::vector<PartialTensorShape>& output_shapes() const override { return output_shapes_; }

  std::string DebugString() const override { return "PipeModeVectorizedMapDatasetOp::Dataset"; }

  int64_t CardinalityInternal(data::CardinalityOptions /*options*/) const override {
    if (num_records_ < 0 || elements_ == Elements::kSingle) return num_records_;
    return (num_records_ + (drop_remainder_ ? 0 : batch_size_ - 1)) / batch_size_;
  }

  absl::Status InputDatasets(std::vector<const DatasetBase*>* inputs) const override {
    inputs->push_back(input_);
    return absl::OkStatus();
  }

  absl::Status CheckExternalState() const override {
    TF_RETURN_IF_ERROR(function_->CheckExternalState());
    TF_RETURN_IF_ERROR(batch_function_->CheckExternalState());
    return input_->CheckExternalState();
  }

 protected:
  absl::Status AsGraphDefInternal(data::SerializationContext* ctx, DatasetGraphDefBuilder* b,
                                  tensorflow::Node** output) const override;

 private:
  class Iterator;

  const data::DatasetBase* const input_;
  const data::DatasetBase* const probe_;
  const bool is_fused_;  // what tf.data has made of the probe
  const std::unique_ptr<data::CapturedFunction> function_;
  const std::unique_ptr<data::CapturedFunction> batch_function_;
  const int64_t num_records_;  // or what tf.data says of those not known, or without end
  const std::string elements_name_;
  const Elements elements_;
  const int64_t batch_size_;
  const bool drop_remainder_;
  const DataTypeVector output_types_;
  const std::vector<PartialTensorShape> output_shapes_;
};  // class Dataset

class VectorizedMapDatasetOp::Dataset::Iterator final : public data::DatasetIterator<Dataset> {
 public:
  explicit Iterator(const Params& params)
      : DatasetIterator<Dataset>(params),
        batch_size_(static_cast<size_t>(params.dataset->batch_size_)) {}

  absl::Status Initialize(data::IteratorContext* ctx) override {
    const std::lock_guard<std::mutex> lock(mu_);
    TF_RETURN_IF_ERROR(dataset()->input_->MakeIterator(ctx, this, prefix(), &input_));
    TF_RETURN_IF_ERROR(dataset()->function_->Instantiate(ctx, &function_));
    return dataset()->batch_function_->Instantiate(ctx, &batch_function_);
  }

 protected:
  absl::Status GetNextInternal(data::IteratorContext* ctx, Components* out_tensors,
                               bool* end_of_sequence) override {
    const std::lock_guard<std::mutex> lock(mu_);
    switch (dataset()->elements_) {
      case Elements::kSingle:
        return NextSingle(ctx, out_tensors, end_of_sequence);
      case Elements::kBatches:
        return NextBatch(ctx, out_tensors, end_of_sequence);
      case Elements::kFusedBatches:
        if (!dataset()->is_fused_) return NextBatch(ctx, out_tensors, end_of_sequence);
        break;
      case Elements::kWholeBatches:
        break;
    }
    return NextWholeBatch(ctx, out_tensors, end_of_sequence);
  }

  std::shared_ptr<data::model::Node> CreateNode(data::IteratorContext* /*ctx*/,
                                                data::model::Node::Args args) const override {
    const bool is_single = dataset()->elements_ == Elements::kSingle;
    return data::model::MakeKnownRatioNode(
        std::move(args), is_single ? 1.0 / static_cast<double>(batch_size_) : 1.0);
  }

  absl::Status SaveInternal(data::SerializationContext* ctx,
                            data::IteratorStateWriter* writer) override;
  absl::Status RestoreInternal(data::IteratorContext* ctx,
                               data::IteratorStateReader* reader) override;

 private:
  // Reads the next element of the input.
  absl::Status Read(data::IteratorContext* ctx, Batch* batch, bool* end_of_sequence) {
    Components element;
    TF_RETURN_IF_ERROR(input_->GetNext(ctx, &element, end_of_sequence));
    if (*end_of_sequence) return absl::OkStatus();
    const auto records = element.begin() + 1 + static_cast<int>(dataset()->output_types_.size());
    batch->is_ok = element[0].scalar<bool>()();
    batch->results.assign(element.begin() + 1, records);
    batch->records.assign(records, element.end());
    batch->size = batch->records[0].dim_size(0);
    batch->is_ok = batch->is_ok && HaveRows(batch->results, batch->size);
    return absl::OkStatus();
  }

  // Maps records one by one, as many at once as there are threads for it.
  std::vector<Mapped> MapAll(data::IteratorContext* ctx, std::vector<Components> records) {
    std::vector<Mapped> all(records.size());
    std::mutex mu;
    std::condition_variable done;
    size_t left = all.size();
    for (size_t row = 0; row < all.size(); ++row) {
      Mapped& mapped = all[row];
      function_->RunAsync(
          ctx, std::move(records[row]), &mapped.results,
          [&mapped, &mu, &done, &left](const absl::Status& status) {
            const std::lock_guard<std::mutex> lock(mu);
            mapped.status = status;
            if (--left == 0) done.notify_one();
          },
          /*node=*/nullptr);
    }
    std::unique_lock<std::mutex> lock(mu);
    done.wait(lock, [&left] { return left == 0; });
    for (Mapped& mapped : all) {
      if (!absl::IsOutOfRange(mapped.status)) continue;
      // The function of `map` must not end the sequence.
      mapped.status = absl::InvalidArgumentError("Function invocation produced OutOfRangeError: " +
                                                 std::string(mapped.status.message()));
    }
    return all;
  }

  static bool IsCancelled(data::IteratorContext* ctx) {
    return ctx->cancellation_manager() != nullptr && ctx->cancellation_manager()->IsCancelled();
  }

  static absl::Status CancelledDuringMap() {
    return absl::CancelledError("cancelled while records were mapped");
  }

  absl::Status NextSingle(data::IteratorContext* ctx, Components* out, bool* end_of_sequence) {
    while (row_ == current_.size) {
      current_ = {};
      mapped_.clear();
      row_ = 0;
      TF_RETURN_IF_ERROR(Read(ctx, &current_, end_of_sequence));
      if (*end_of_sequence) return absl::OkStatus();
    }
    *end_of_sequence = false;
    if (current_.is_ok) return SliceOf(&current_.results, row_++, out);
    if (mapped_.empty()) {
      std::vector<Mapped> mapped = MapAll(ctx, RowsOf(current_.records));
      if (IsCancelled(ctx)) return CancelledDuringMap();
      mapped_ = std::move(mapped);
    }
    Mapped& mapped = mapped_[static_cast<size_t>(row_++)];
    *out = std::move(mapped.results);
    return mapped.status;
  }

  absl::Status NextWholeBatch(data::IteratorContext* ctx, Components* out, bool* end_of_sequence) {
    for (;;) {
      Batch batch;
      TF_RETURN_IF_ERROR(Read(ctx, &batch, end_of_sequence));
      if (*end_of_sequence) return absl::OkStatus();
      std::vector<Mapped> mapped;
      if (!batch.is_ok) {
        mapped = MapAll(ctx, RowsOf(batch.records));
        if (IsCancelled(ctx)) return CancelledDuringMap();
        const auto bad = FirstBad(mapped);
        const bool has_bad = bad != mapped.end();
        absl::Status status = has_bad ? bad->status : absl::OkStatus();
        // Of several errors the first counts, and so does a row of another shape.
        mapped.erase(bad, mapped.end());
        if (!mapped.empty()) TF_RETURN_IF_ERROR(Stack(mapped, out));
        if (has_bad) return status;
      } else {
        *out = std::move(batch.results);
      }
      if (dataset()->drop_remainder_ && static_cast<size_t>(batch.size) < batch_size_) continue;
      return absl::OkStatus();
    }
  }

  absl::Status NextBatch(data::IteratorContext* ctx, Components* out, bool* end_of_sequence) {
    *end_of_sequence = false;
    if (carried_.empty()) {
      if (!input_error_.ok()) return std::exchange(input_error_, absl::OkStatus());
      Batch batch;
      if (!input_ended_) {
        TF_RETURN_IF_ERROR(Read(ctx, &batch, &input_ended_));
      }
      if (input_ended_) {
        *end_of_sequence = true;
        return absl::OkStatus();
      }
      const bool is_full = static_cast<size_t>(batch.size) == batch_size_;
      if (batch.is_ok && (is_full || !dataset()->drop_remainder_)) {
        *out = std::move(batch.results);
        return absl::OkStatus();
      }
      Carry(batch.records);
    }
    return NextOfCarried(ctx, out, end_of_sequence);
  }

  // Makes the next batch of records that the input has in another batch.
  absl::Status NextOfCarried(data::IteratorContext* ctx, Components* out, bool* end_of_sequence) {
    while (carried_.size() < batch_size_ && !input_ended_ && input_error_.ok()) {
      Batch batch;
      input_error_ = Read(ctx, &batch, &input_ended_);
      if (input_error_.ok() && !input_ended_) Carry(batch.records);
    }
    if (!input_error_.ok() && IsCancelled(ctx)) {
      return std::exchange(input_error_, absl::OkStatus());
    }
    const size_t count = std::min(carried_.size(), batch_size_);
    const bool is_full = count == batch_size_;
    const bool is_wanted = is_full || (input_error_.ok() && !dataset()->drop_remainder_);
    if (is_wanted) {
      const absl::Status status =
          batch_function_->Run(ctx, StackRecords(carried_, count), out, model_node());
      if (IsCancelled(ctx)) return CancelledDuringMap();
      if (status.ok() && HaveRows(*out, static_cast<int64_t>(count))) {
        Drop(count);
        return absl::OkStatus();
      }
    }
    const auto end = carried_.begin() + static_cast<std::ptrdiff_t>(count);
    std::vector<Mapped> mapped = MapAll(ctx, {carried_.begin(), end});
    if (IsCancelled(ctx)) return CancelledDuringMap();
    const auto bad = FirstBad(mapped);
    if (bad != mapped.end()) {
      // tf.data drops what it has gathered of the batch, and begins anew behind the bad record.
      Drop(static_cast<size_t>(bad - mapped.begin()) + 1);
      return bad->status;
    }
    Drop(count);
    if (is_wanted) return Stack(mapped, out);
    if (!input_error_.ok()) return std::exchange(input_error_, absl::OkStatus());
    *end_of_sequence = true;
    return absl::OkStatus();
  }

  absl::Status WriteComponents(data::IteratorStateWriter* writer, const std::string& key,
                               const Components& components) const {
    TF_RETURN_IF_ERROR(writer->WriteScalar(prefix(), key, static_cast<int64_t>(components.size())));
    for (size_t i = 0; i < components.size(); ++i) {
      TF_RETURN_IF_ERROR(
          writer->WriteTensor(prefix(), key + "_" + std::to_string(i), components[i]));
    }
    return absl::OkStatus();
  }

  absl::Status ReadComponents(data::IteratorContext* ctx, data::IteratorStateReader* reader,
                              const std::string& key, Components* components) const {
    int64_t count = 0;
    TF_RETURN_IF_ERROR(reader->ReadScalar(prefix(), key, &count));
    components->resize(static_cast<size_t>(count));
    for (size_t i = 0; i < components->size(); ++i) {
      TF_RETURN_IF_ERROR(reader->ReadTensor(ctx->flr(), prefix(), key + "_" + std::to_string(i),
                                            &(*components)[i]));
    }
    return absl::OkStatus();
  }

  void Carry(const Components& records) {
    for (Components& record : RowsOf(records)) carried_.push_back(std::move(record));
  }

  void Drop(size_t count) {
    carried_.erase(carried_.begin(), carried_.begin() + static_cast<std::ptrdiff_t>(count));
  }

  const size_t batch_size_;
  std::mutex mu_;  // guards all below
  std::unique_ptr<data::IteratorBase> input_;
  std::unique_ptr<data::InstantiatedCapturedFunction> function_;
  std::unique_ptr<data::InstantiatedCapturedFunction> batch_function_;
  // Of single elements: the batch in hand, what the function made of it record by record, if it had
  // to, and the next one's row in it.
  Batch current_;
  std::vector<Mapped> mapped_;
  int64_t row_ = 0;
  // Of batches, from an error on until they are used up: records that belong to the next batches.
  std::deque<Components> carried_;
  absl::Status input_error_;  // what comes behind them instead of more
  bool input_ended_ = false;
};  // class Iterator

std::unique_ptr<data::IteratorBase> VectorizedMapDatasetOp::Dataset::MakeIteratorInternal(
    const std::string& prefix) const {
  return std::make_unique<Iterator>(Iterator::Params{this, prefix + "::" + kDatasetType});
}

// Where in the input and in what is in hand. Batches are saved as vectors of components.
absl::Status VectorizedMapDatasetOp::Dataset::Iterator::SaveInternal(
    data::SerializationContext* ctx, data::IteratorStateWriter* writer) {
  const std::lock_guard<std::mutex> lock(mu_);
  TF_RETURN_IF_ERROR(SaveInput(ctx, writer, input_));
  const auto put = [&](const char* key, int64_t value) {
    return writer->WriteScalar(prefix(), key, value);
  };
  TF_RETURN_IF_ERROR(put(kInputEnded, input_ended_ ? 1 : 0));
  TF_RETURN_IF_ERROR(put(kErrorCode, static_cast<int64_t>(input_error_.code())));
  TF_RETURN_IF_ERROR(
      writer->WriteScalar(prefix(), kErrorMessage, tstring(std::string(input_error_.message()))));
  TF_RETURN_IF_ERROR(put(kCarried, static_cast<int64_t>(carried_.size())));
  if (!carried_.empty()) {
    TF_RETURN_IF_ERROR(
        WriteComponents(writer, kCarriedRecords, StackRecords(carried_, carried_.size())));
  }
  TF_RETURN_IF_ERROR(put(kRow, row_));
  TF_RETURN_IF_ERROR(put(kSize, current_.size));
  if (row_ == current_.size) return absl::OkStatus();
  TF_RETURN_IF_ERROR(put(kIsOk, current_.is_ok ? 1 : 0));
  return WriteComponents(writer, kCurrent, current_.is_ok ? current_.results : current_.records);
}

absl::Status VectorizedMapDatasetOp::Dataset::Iterator::RestoreInternal(
    data::IteratorContext* ctx, data::IteratorStateReader* reader) {
  const std::lock_guard<std::mutex> lock(mu_);
  TF_RETURN_IF_ERROR(RestoreInput(ctx, reader, input_));
  int64_t value = 0;
  TF_RETURN_IF_ERROR(reader->ReadScalar(prefix(), kInputEnded, &value));
  input_ended_ = value != 0;
  tstring message;
  TF_RETURN_IF_ERROR(reader->ReadScalar(prefix(), kErrorCode, &value));
  TF_RETURN_IF_ERROR(reader->ReadScalar(prefix(), kErrorMessage, &message));
  input_error_ = absl::Status(static_cast<absl::StatusCode>(value), std::string(message));
  carried_.clear();
  TF_RETURN_IF_ERROR(reader->ReadScalar(prefix(), kCarried, &value));
  if (value > 0) {
    Components records;
    TF_RETURN_IF_ERROR(ReadComponents(ctx, reader, kCarriedRecords, &records));
    Carry(records);
  }
  current_ = {};
  mapped_.clear();
  TF_RETURN_IF_ERROR(reader->ReadScalar(prefix(), kRow, &row_));
  TF_RETURN_IF_ERROR(reader->ReadScalar(prefix(), kSize, &current_.size));
  if (row_ == current_.size) return absl::OkStatus();
  TF_RETURN_IF_ERROR(reader->ReadScalar(prefix(), kIsOk, &value));
  current_.is_ok = value != 0;
  return ReadComponents(ctx, reader, kCurrent,
                        current_.is_ok ? &current_.results : &current_.records);
}

absl::Status VectorizedMapDatasetOp::Dataset::AsGraphDefInternal(data::SerializationContext* ctx,
                                                                 DatasetGraphDefBuilder* b,
                                                                 tensorflow::Node** output) const {
  tensorflow::Node* input = nullptr;
  tensorflow::Node* probe = nullptr;
  tensorflow::Node* num_records = nullptr;
  TF_RETURN_IF_ERROR(b->AddInputDataset(ctx, input_, &input));
  TF_RETURN_IF_ERROR(b->AddInputDataset(ctx, probe_, &probe));
  TF_RETURN_IF_ERROR(b->AddScalar(num_records_, &num_records));
  std::vector<tensorflow::Node*> captured;
  std::vector<tensorflow::Node*> batch_captured;
  DataTypeVector types;
  DataTypeVector batch_types;
  TF_RETURN_IF_ERROR(function_->AddToGraph(ctx, b, &captured, &types));
  TF_RETURN_IF_ERROR(batch_function_->AddToGraph(ctx, b, &batch_captured, &batch_types));
  std::vector<std::pair<absl::string_view, tensorflow::AttrValue>> attributes;
  const auto add = [&](const char* name, const auto& attribute) {
    tensorflow::AttrValue value;
    b->BuildAttrValue(attribute, &value);
    attributes.emplace_back(name, std::move(value));
  };
  add("f", function_->func());
  add("batch_f", batch_function_->func());
  add("Tf_captured", types);
  add("Tbatch_f_captured", batch_types);
  add("elements", elements_name_);
  add("batch_size", batch_size_);
  add("drop_remainder", drop_remainder_);
  return b->AddDataset(this, {{0, input}, {3, num_records}, {4, probe}},
                       {{1, captured}, {2, batch_captured}}, attributes, output);
}

VectorizedMapDatasetOp::VectorizedMapDatasetOp(OpKernelConstruction* ctx)
    : UnaryDatasetOpKernel(ctx) {
  OP_REQUIRES_OK(ctx, data::FunctionMetadata::Create(ctx, "f", /*params=*/{}, &metadata_));
  OP_REQUIRES_OK(ctx,
                 data::FunctionMetadata::Create(ctx, "batch_f", /*params=*/{}, &batch_metadata_));
  OP_REQUIRES_OK(ctx, ctx->GetAttr("elements", &elements_));
  OP_REQUIRES_OK(ctx, ctx->GetAttr("batch_size", &batch_size_));
  OP_REQUIRES_OK(ctx, ctx->GetAttr("drop_remainder", &drop_remainder_));
  OP_REQUIRES_OK(ctx, ctx->GetAttr("output_types", &output_types_));
  OP_REQUIRES_OK(ctx, ctx->GetAttr("output_shapes", &output_shapes_));
}

void VectorizedMapDatasetOp::MakeDataset(OpKernelContext* ctx, data::DatasetBase* input,
                                         data::DatasetBase** output) {
  std::unique_ptr<data::CapturedFunction> function;
  std::unique_ptr<data::CapturedFunction> batch_function;
  OP_REQUIRES_OK(ctx, data::CapturedFunction::Create(ctx, metadata_, "f_captured", &function));
  OP_REQUIRES_OK(ctx, data::CapturedFunction::Create(ctx, batch_metadata_, "batch_f_captured",
                                                     &batch_function));
  int64_t num_records = 0;
  OP_REQUIRES_OK(ctx, data::ParseScalarArgument<int64_t>(ctx, "num_records", &num_records));
  OP_REQUIRES(ctx, input->output_dtypes().size() > 1 + output_types_.size(),
              absl::InvalidArgumentError("the input must have records behind the results"));
  data::DatasetBase* probe = nullptr;
  OP_REQUIRES_OK(ctx, data::GetDatasetFromVariantTensor(ctx->input(ctx->num_inputs() - 1), &probe));
  *output = new Dataset(ctx, *this, input, probe, std::move(function), std::move(batch_function),
                        num_records);
}

REGISTER_KERNEL_BUILDER(Name("PipeModeVectorizedMapDataset").Device(tensorflow::DEVICE_CPU),
                        VectorizedMapDatasetOp);

}  // namespace
}  // namespace pipemode
