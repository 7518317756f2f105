// SPDX-License-Identifier: Apache-2.0
#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"

namespace pipemode {

REGISTER_OP("PipeModeDataset")
    .Input("channel: string")
    .Input("files: string")
    .Input("file_sizes: int64")
    .Attr("record_format: string")
    .Attr("compression_type: string = ''")
    .Attr("recordio_parts: string = 'joined'")
    .Attr("pipe_dir: string")
    .Attr("state_dir: string")
    .Attr("reads_files: bool = false")
    .Attr("num_file_shards: int = 1")
    .Attr("file_shard_index: int = 0")
    .Attr("file_is_record: bool = false")
    .Attr("num_parallel_reads: int = 0")
    .Attr("pipe_channels: list(string) = []")
    .Attr("open_timeout: float = 1800.0")
    .Attr("read_timeout: float = 1800.0")
    .Attr("max_record_bytes: int = 1073741824")
    .Attr("max_corrupted_records_to_skip: int = 0")
    .Attr("benchmark: bool = false")
    .Attr("benchmark_records_interval: int = 0")
    .Attr("repeat_count: int = 1")
    .Attr("batch_size: int = 0")
    .Attr("drop_remainder: bool = false")
    .Attr("read_ahead_bytes: int = 0")
    .Attr("num_shards: int = 1")
    .Attr("shard_index: int = 0")
    .Attr("shard_across_epochs: bool = false")
    .Attr("skip_header_lines: int = 0")
    .Attr("repeated_header: bool = false")
    .Attr("strip_carriage_return: bool = false")
    .Attr("manifest_attributes: list(string) = []")
    .Attr("reshuffled_channels: list(string) = []")
    .Attr("output_types: list(type) >= 1 = [DT_STRING]")
    .Attr("output_shapes: list(shape) >= 1 = [{}]")
    .Attr("metadata: string = ''")
    .Output("handle: variant")
    // Two datasets with equal arguments read different epochs: never merge, fold or cache them.
    .SetIsStateful()
    .SetDoNotOptimize()
    .SetShapeFn(tensorflow::shape_inference::ScalarShape)
    .Doc(R"doc(
Creates a dataset of the records of a SageMaker channel.

Each iterator reads one epoch, or several, one after the other. In Pipe mode an epoch is the FIFO
`<pipe_dir>/<channel>_<n>`, where n comes from the state folder and is claimed when its first record
is asked for. With `reads_files`, as in File mode, it is `files`, one after the other. An element
is a record, as a scalar string, or a batch of records, as a vector of strings; of an augmented
manifest, a scalar or a vector for each attribute.

channel: A scalar. The channel's name.
files: A vector. Paths of the files, in order; empty unless `reads_files`.
file_sizes: A vector. The size of each in bytes: one that has another is an error.
record_format: `RecordIO`, `TFRecord` or `TextLine`.
compression_type: Empty (none), `GZIP`, `ZLIB`, or `AUTO`: gzip where the stream, or the file, begins
  like it.
recordio_parts: How parts of multi-part RecordIO records are put together: `joined` as they are, or
  `dmlc` with the magic number between them, which dmlc's writer drops.
pipe_dir: The folder of the FIFOs.
state_dir: The folder that holds the number of the next epoch.
reads_files: Whether an epoch is `files` and not a FIFO. What is about FIFOs means nothing then.
num_file_shards: Of so many files in a row, only one is read:
file_shard_index: the one of this number, from 0.
file_is_record: Whether a file is one record, whatever is in it; RecordIO only.
num_parallel_reads: How many files to read at once, in whose order records come all the same; 0: as
  many as pay.
pipe_channels: Names that `channel` may have. Empty: any.
open_timeout: Seconds to wait for the FIFO to appear and be opened by its writer; may be infinite.
read_timeout: Seconds to wait for each next byte from then on; may be infinite.
max_record_bytes: A longer record is an error.
max_corrupted_records_to_skip: How many records in a row may fail their payload CRC and be dropped
  before that is an error.
benchmark: Whether to print totals to stdout when an iterator ends.
benchmark_records_interval: If positive, numbers are printed to stdout every so many records.
repeat_count: How many epochs an iterator reads; negative: all that come.
batch_size: If positive, elements are vectors of so many records, across the ends of epochs.
read_ahead_bytes: How many bytes of records may lie ready; 0: records are read when asked for.
drop_remainder: Whether to drop a last batch that is not full.
num_shards: Of so many records, or lines of a manifest, in a row, only one is read and the others are dropped:
shard_index: the one of this number, from 0.
shard_across_epochs: Whether to count on from epoch to epoch, and not from 0 in each.
skip_header_lines: How many lines at the beginning of each epoch, or of each file, are dropped;
  TextLine only, as the two that follow.
repeated_header: Whether these lines, of the first file, are dropped wherever all of them come
  again, in this order, and no others are.
strip_carriage_return: Whether a carriage return at the end of a line is dropped.
manifest_attributes: The attributes of each line of an augmented manifest, in the order in which
  their records come; RecordIO only. Empty: each record is an element.
reshuffled_channels: Names of channels whose order changes from epoch to epoch: restoring an
  iterator of one warns.
output_types: DT_STRING for each component: one, or the attributes in the order of their names.
output_shapes: Of each: a scalar, or a vector of `batch_size`, unknown where the last may be
  shorter.
metadata: Set by tf.data.
)doc");

}  // namespace pipemode
