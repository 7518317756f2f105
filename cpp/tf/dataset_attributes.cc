// SPDX-License-Identifier: Apache-2.0
#include "tf/dataset_attributes.h"

#include <algorithm>
#include <memory>
#include <numeric>
#include <utility>

#include "core/base/error.h"
#include "core/format/record_format.h"

namespace pipemode {
namespace {

uint64_t NotNegative(int64_t value, const char* name) {
  if (value < 0) {
    throw InvalidArgumentError(std::string(name) + " must not be negative, but is " +
                               std::to_string(value));
  }
  return static_cast<uint64_t>(value);
}

void CheckIsPipeChannel(const std::string& channel, const std::vector<std::string>& pipe_channels) {
  if (pipe_channels.empty() || Contains(pipe_channels, channel)) return;
  std::string names;
  for (const std::string& name : pipe_channels) names += (names.empty() ? "'" : ", '") + name + "'";
  throw InvalidArgumentError("channel '" + channel +
                             "' is not one of this job's Pipe-mode channels: " + names);
}

void CheckShard(int64_t index, int64_t count) {
  if (index >= 0 && index < count) return;
  throw InvalidArgumentError(
      "the index of a shard must be from 0 to one less than their number, "
      "but is " +
      std::to_string(index) + " of " + std::to_string(count));
}

Shard MakeShard(const DatasetAttributes& attributes) {
  CheckShard(attributes.shard_index, attributes.num_shards);
  return {static_cast<uint64_t>(attributes.num_shards),
          static_cast<uint64_t>(attributes.shard_index), attributes.shard_across_epochs};
}

std::shared_ptr<const FileList> MakeFileList(const DatasetAttributes& attributes, FileList files) {
  CheckShard(attributes.file_shard_index, attributes.num_file_shards);
  files.stride = static_cast<uint64_t>(attributes.num_file_shards);
  files.first = static_cast<uint64_t>(attributes.file_shard_index);
  files.parallel_reads = NotNegative(attributes.num_parallel_reads, "num_parallel_reads");
  return std::make_shared<const FileList>(std::move(files));
}

// The components of an element stand in the order of their names, as in every structure of tf.nest.
std::vector<size_t> SortedByName(const std::vector<std::string>& names) {
  std::vector<size_t> sorted(std::max<size_t>(names.size(), 1));
  std::iota(sorted.begin(), sorted.end(), size_t{0});
  std::sort(sorted.begin(), sorted.end(), [&](size_t a, size_t b) { return names[a] < names[b]; });
  return sorted;
}

}  // namespace

bool Contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

absl::Status ReadAttributes(tensorflow::OpKernelConstruction* ctx, DatasetAttributes* attributes) {
  absl::Status status;
  DatasetAttributes::ForEach(*attributes, [&](const char* name, auto& attribute) {
    if (status.ok()) status = ctx->GetAttr(name, &attribute);
  });
  return status;
}

ElementOptions MakeElementOptions(const DatasetAttributes& attributes, const std::string& channel,
                                  FileList files) {
  ElementOptions element;
  ChannelOptions& options = element.channel;
  options.channel = channel;
  if (attributes.reads_files) options.files = MakeFileList(attributes, std::move(files));
  options.pipe_dir = attributes.pipe_dir;
  options.state_dir = attributes.state_dir;
  options.open_timeout = TimeLimit(attributes.open_timeout);
  options.read_timeout = TimeLimit(attributes.read_timeout);
  options.stream.format = ParseRecordFormat(attributes.record_format);
  options.stream.compression = ParseCompression(attributes.compression_type);
  options.stream.recordio_parts = ParseRecordIoParts(attributes.recordio_parts);
  options.stream.text.skip_header_lines =
      NotNegative(attributes.skip_header_lines, "skip_header_lines");
  options.stream.text.repeated_header = attributes.repeated_header;
  options.stream.text.strip_carriage_return = attributes.strip_carriage_return;
  options.stream.is_one_record = attributes.file_is_record;
  options.stream.attributes = attributes.manifest_attributes;
  options.stream.max_record_bytes = NotNegative(attributes.max_record_bytes, "max_record_bytes");
  options.stream.max_corrupted_records_to_skip =
      NotNegative(attributes.max_corrupted_records_to_skip, "max_corrupted_records_to_skip");
  NotNegative(attributes.benchmark_records_interval, "benchmark_records_interval");
  NotNegative(attributes.read_ahead_bytes, "read_ahead_bytes");
  CheckOptions(options);
  CheckIsPipeChannel(channel, attributes.pipe_channels);
  element.epochs = attributes.repeat_count;
  element.batch_size = static_cast<int64_t>(NotNegative(attributes.batch_size, "batch_size"));
  element.components = SortedByName(attributes.manifest_attributes);
  element.drop_remainder = attributes.drop_remainder;
  element.shard = MakeShard(attributes);
  return element;
}

}  // namespace pipemode
