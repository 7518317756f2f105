// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_TF_DATASET_ATTRIBUTES_H_
#define PIPEMODE_TF_DATASET_ATTRIBUTES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tf/element_reader.h"

namespace pipemode {

// The attributes of the PipeModeDataset op, as they stand in a graph. pipe_mode_dataset_op.cc
// documents them.
struct DatasetAttributes {
  std::string record_format;
  std::string compression_type;
  std::string recordio_parts;
  std::string pipe_dir;
  std::string state_dir;
  bool reads_files = false;
  int64_t num_file_shards = 1;
  int64_t file_shard_index = 0;
  bool file_is_record = false;
  int64_t num_parallel_reads = 0;
  std::vector<std::string> pipe_channels;
  float open_timeout = 0;
  float read_timeout = 0;
  int64_t max_record_bytes = 0;
  int64_t max_corrupted_records_to_skip = 0;
  bool benchmark = false;
  int64_t benchmark_records_interval = 0;
  int64_t repeat_count = 0;
  int64_t batch_size = 0;
  bool drop_remainder = false;
  int64_t read_ahead_bytes = 0;
  int64_t num_shards = 1;
  int64_t shard_index = 0;
  bool shard_across_epochs = false;
  int64_t skip_header_lines = 0;
  bool repeated_header = false;
  bool strip_carriage_return = false;
  std::vector<std::string> manifest_attributes;
  std::vector<std::string> reshuffled_channels;

  // Calls `visit`(name, attribute) for each of them.
  template <typename Attributes, typename Visit>
  static void ForEach(Attributes& attributes, Visit visit) {
    visit("record_format", attributes.record_format);
    visit("compression_type", attributes.compression_type);
    visit("recordio_parts", attributes.recordio_parts);
    visit("pipe_dir", attributes.pipe_dir);
    visit("state_dir", attributes.state_dir);
    visit("reads_files", attributes.reads_files);
    visit("num_file_shards", attributes.num_file_shards);
    visit("file_shard_index", attributes.file_shard_index);
    visit("file_is_record", attributes.file_is_record);
    visit("num_parallel_reads", attributes.num_parallel_reads);
    visit("pipe_channels", attributes.pipe_channels);
    visit("open_timeout", attributes.open_timeout);
    visit("read_timeout", attributes.read_timeout);
    visit("max_record_bytes", attributes.max_record_bytes);
    visit("max_corrupted_records_to_skip", attributes.max_corrupted_records_to_skip);
    visit("benchmark", attributes.benchmark);
    visit("benchmark_records_interval", attributes.benchmark_records_interval);
    visit("repeat_count", attributes.repeat_count);
    visit("batch_size", attributes.batch_size);
    visit("drop_remainder", attributes.drop_remainder);
    visit("read_ahead_bytes", attributes.read_ahead_bytes);
    visit("num_shards", attributes.num_shards);
    visit("shard_index", attributes.shard_index);
    visit("shard_across_epochs", attributes.shard_across_epochs);
    visit("skip_header_lines", attributes.skip_header_lines);
    visit("repeated_header", attributes.repeated_header);
    visit("strip_carriage_return", attributes.strip_carriage_return);
    visit("manifest_attributes", attributes.manifest_attributes);
    visit("reshuffled_channels", attributes.reshuffled_channels);
  }
};

// Reads all of them. Returns what TensorFlow says of one that is missing or of another type;
// `attributes` may then hold a part of them.
absl::Status ReadAttributes(tensorflow::OpKernelConstruction* ctx, DatasetAttributes* attributes);

bool Contains(const std::vector<std::string>& names, const std::string& name);

// What `attributes` mean for `channel`; `files` counts if they say so. Throws InvalidArgumentError
// for values that are not valid, and for a channel that is not among `pipe_channels`.
ElementOptions MakeElementOptions(const DatasetAttributes& attributes, const std::string& channel,
                                  FileList files);

}  // namespace pipemode

#endif  // PIPEMODE_TF_DATASET_ATTRIBUTES_H_
