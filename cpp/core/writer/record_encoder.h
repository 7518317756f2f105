// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_CORE_WRITER_RECORD_ENCODER_H_
#define PIPEMODE_CORE_WRITER_RECORD_ENCODER_H_

#include <cstddef>
#include <string>
#include <string_view>

#include "core/format/record_format.h"
#include "core/format/wire_format.h"

namespace pipemode {

struct EncoderOptions {
  RecordFormat format = RecordFormat::kRecordIo;
  RecordIoParts recordio_parts = RecordIoParts::kJoined;
  // RecordIO with kJoined only: longer records are written in parts of this many bytes.
  size_t recordio_max_part_bytes = kRecordIoMaxPartBytes;
};

// Records as bytes, in each format that a RecordReader reads. Stateless, thus safe for use by
// several threads.
class RecordEncoder {
 public:
  // Throws InvalidArgumentError if recordio_max_part_bytes is 0 or more than a part can hold.
  explicit RecordEncoder(const EncoderOptions& options);

  // Appends `record` to `out`. Throws InvalidArgumentError for what the format cannot hold: a
  // newline in a text line, 2^29 bytes and more in dmlc RecordIO; `out` is as before then.
  void Append(std::string_view record, std::string* out) const;

 private:
  const EncoderOptions options_;
};

}  // namespace pipemode

#endif  // PIPEMODE_CORE_WRITER_RECORD_ENCODER_H_
