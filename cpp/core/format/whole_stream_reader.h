// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_CORE_FORMAT_WHOLE_STREAM_READER_H_
#define PIPEMODE_CORE_FORMAT_WHOLE_STREAM_READER_H_

#include "core/format/record_reader.h"

namespace pipemode {

// One record, which is all of the stream; also if that is empty.
class WholeStreamReader final : public RecordReader {
 public:
  WholeStreamReader(BufferedReader* input, uint64_t max_record_bytes)
      : RecordReader(input, max_record_bytes) {}

  // Takes nothing: where the record ends is not known before the stream does.
  void TakeBuffered(size_t /*max*/, std::vector<std::string_view>* /*records*/) override {}

 private:
  bool Next(RecordSink* sink) override;
  size_t ReadAll(RecordSink* sink);
  size_t DropAll();

  bool done_ = false;
};

}  // namespace pipemode

#endif  // PIPEMODE_CORE_FORMAT_WHOLE_STREAM_READER_H_
