// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_CORE_FORMAT_RECORD_STREAM_H_
#define PIPEMODE_CORE_FORMAT_RECORD_STREAM_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/error.h"
#include "core/format/record_format.h"
#include "core/format/record_reader.h"
#include "core/io/buffered_reader.h"
#include "core/io/byte_source.h"

namespace pipemode {

// What one stream of a channel leaves to the next one, where each file is a stream.
struct StreamCarry {
  std::vector<std::string> header;  // lines of a repeated header
  uint64_t corrupted_in_a_row = 0;
};

// Returns the bytes of `source` without its `compression`. Sets `found_gzip`, which must outlive
// the result, where kAuto finds gzip; it may be null.
std::unique_ptr<ByteSource> Decompressed(std::unique_ptr<ByteSource> source,
                                         Compression compression,
                                         std::atomic<bool>* found_gzip = nullptr);

// The records of one byte stream: decompression, framing, the rule for corrupt records, and
// messages that say where. Not safe for use by two threads at once.
class RecordStream {
 public:
  // `options` are taken for valid. `buffer_bytes` is how much is read at a time. `carry` must
  // outlive the stream; null: there is none before it and none after it. Reads nothing yet.
  RecordStream(std::unique_ptr<ByteSource> source, const StreamOptions& options,
               StreamCarry* carry = nullptr,
               size_t buffer_bytes = BufferedReader::kDefaultCapacity);

  // Reads the next record into `sink`. Returns false at the end of the stream, then always.
  //
  // A stream that ends between the attributes of a line is DataLossError, thrown at its end.
  // Throws CorruptRecordError for a corrupt record that is more than max_corrupted_records_to_skip
  // in a row; the next call goes on after it. After CancelledError the call may be repeated. After
  // any other PipeError, and after bad_alloc, the stream is at its end: the next call returns
  // false. Each message begins with the record's number, from 0, and byte offset.
  bool Read(RecordSink& sink);

  // Drops the next record, with all the checks of Read. Returns and throws as that.
  bool Skip();

  // See RecordReader::TakeBuffered. Never waits, never throws.
  void TakeBuffered(size_t max, std::vector<std::string_view>* records);

  // Records read or dropped by the caller.
  uint64_t records() const noexcept { return records_; }
  // Corrupt records passed over.
  uint64_t corrupted_records() const noexcept { return corrupted_records_; }
  // Whether more records may come.
  bool ended() const noexcept { return ended_; }

 private:
  bool Next(RecordSink* sink);
  void CheckLineIsWhole() const;
  void AddPosition(PipeError& error) const;

  StreamCarry own_carry_;
  StreamCarry& carry_;
  BufferedReader input_;
  const std::unique_ptr<RecordReader> reader_;
  const std::vector<std::string> attributes_;
  const uint64_t max_corrupted_in_a_row_;
  uint64_t records_ = 0;
  uint64_t corrupted_records_ = 0;
  bool ended_ = false;
};

}  // namespace pipemode

#endif  // PIPEMODE_CORE_FORMAT_RECORD_STREAM_H_
