// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_CORE_FORMAT_TFRECORD_READER_H_
#define PIPEMODE_CORE_FORMAT_TFRECORD_READER_H_

#include "core/format/record_reader.h"

namespace pipemode {

// TFRecord. A wrong length CRC is final, since nothing tells where the next record begins; a wrong
// payload CRC is a CorruptRecordError.
class TFRecordReader final : public RecordReader {
 public:
  TFRecordReader(BufferedReader* input, uint64_t max_record_bytes)
      : RecordReader(input, max_record_bytes) {}

  void TakeBuffered(size_t max, std::vector<std::string_view>* records) override;

 private:
  bool Next(RecordSink* sink) override;
  void NextLong(RecordSink* sink, size_t length);
  [[noreturn]] void ThrowBadLength() const;
};

}  // namespace pipemode

#endif  // PIPEMODE_CORE_FORMAT_TFRECORD_READER_H_
