// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_CORE_FORMAT_RECORDIO_READER_H_
#define PIPEMODE_CORE_FORMAT_RECORDIO_READER_H_

#include "core/format/record_reader.h"

namespace pipemode {

// dmlc RecordIO, with records of one or of several parts. The format has no checksums: only its
// framing is checked.
class RecordIOReader final : public RecordReader {
 public:
  RecordIOReader(BufferedReader* input, uint64_t max_record_bytes, RecordIoParts parts)
      : RecordReader(input, max_record_bytes), parts_(parts) {}

  void TakeBuffered(size_t max, std::vector<std::string_view>* records) override;

 private:
  bool Next(RecordSink* sink) override;
  // Reads the part whose header is buffered to sink[offset].
  void NextPart(RecordSink* sink, size_t offset, size_t length);
  // Reads the parts that follow a first one of `size` bytes.
  void NextParts(RecordSink* sink, size_t size);
  void CheckMagic(const char* header) const;

  const RecordIoParts parts_;
};

}  // namespace pipemode

#endif  // PIPEMODE_CORE_FORMAT_RECORDIO_READER_H_
