// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_CORE_FORMAT_RECORD_READER_H_
#define PIPEMODE_CORE_FORMAT_RECORD_READER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/format/content.h"
#include "core/format/record_format.h"
#include "core/io/buffered_reader.h"

namespace pipemode {

// Where a reader puts the bytes of one record.
class RecordSink {
 public:
  virtual ~RecordSink() = default;

  // Makes the record `size` bytes long and returns where it begins, never null; bytes written so
  // far stay. Called once for most records, more often, with growing sizes, for one that is longer
  // than what is buffered.
  virtual char* Resize(size_t size) = 0;

  // Up to which size Resize allocates nothing.
  virtual size_t capacity() const { return 0; }
};

// Takes records out of a byte stream, one after the other. Not safe for use by two threads at once.
class RecordReader {
 public:
  // The least capacity of an input: a header and a short record fit in.
  static constexpr size_t kMinInputBytes = kContentHeadBytes;

  virtual ~RecordReader() = default;
  RecordReader(const RecordReader&) = delete;
  RecordReader& operator=(const RecordReader&) = delete;

  // Reads the next record into `sink`. Returns false, and leaves the sink alone, at the clean end
  // of the stream. Throws CorruptRecordError if only this record is bad: the next call reads the
  // one after it. After CancelledError the call may be repeated; if it came in the midst of a long
  // record, that one is lost and the repeated call says so by DataLossError. Any other PipeError is
  // final: the stream cannot be read on. A sink may hold part of a record when a call throws.
  bool Read(RecordSink& sink) { return Next(&sink); }

  // Drops the next record, with all the checks of Read. Returns and throws as that.
  bool Skip() { return Next(nullptr); }

  // Takes up to `max` whole records out of what is buffered, without copying: appends views that
  // are valid until the next call of any other method. Never waits and never throws: it stops
  // before the first record that it cannot take like that, because it is not wholly buffered, comes
  // in parts, or is bad. Read tells which.
  virtual void TakeBuffered(size_t max, std::vector<std::string_view>* records) = 0;

  // Where the record of the last Read or Skip begins, in bytes of the (decompressed) stream.
  uint64_t record_offset() const noexcept { return record_offset_; }

 protected:
  // `input` must outlive the reader and hold at least kMinInputBytes.
  RecordReader(BufferedReader* input, uint64_t max_record_bytes);

  // Reads into `sink`, or drops if it is null.
  virtual bool Next(RecordSink* sink) = 0;

  // To be called first by Next.
  void BeginRecord();
  // To be called before the first bytes of a record are consumed while others are still to come,
  // and after the last ones.
  void BeginParts() noexcept { half_read_ = true; }
  void EndParts() noexcept { half_read_ = false; }

  // Whether a payload of `size` bytes is worth a read of its own rather than a copy out of the
  // buffer, or does not fit in there.
  bool IsLong(size_t size) const noexcept { return size > long_bytes_; }

  // Moves `size` payload bytes from the input to sink[offset], past the buffer, in steps that grow
  // with what really arrives; drops them if `sink` is null. Extends `crc` by them unless it is
  // null.
  void MovePayload(RecordSink* sink, size_t offset, size_t size, uint32_t* crc);

  // Whether TakeBuffered may take a record of `size` bytes.
  bool MayTake(uint64_t size) const noexcept { return size <= max_record_bytes_ && !half_read_; }
  // Throws if a record of `size` bytes is longer than allowed.
  void CheckSize(uint64_t size) const;
  // Throws the error for a stream that ends inside `where`.
  [[noreturn]] static void ThrowTruncated(const std::string& where);
  // What the stream seems to hold, at its first record and as far as it is buffered; kUnknown
  // later.
  Content StartContent() const;
  // Completes the message about bytes that are not `format`, where the current record begins.
  std::string HintFor(Content format) const;

  BufferedReader& input_;

 private:
  const uint64_t max_record_bytes_;
  const size_t long_bytes_;
  uint64_t record_offset_ = 0;
  bool half_read_ = false;
};

// Makes the reader for `options`, which are taken for valid. `input` must outlive it, and so must
// `header` unless it is null: the lines of a repeated header as far as earlier streams of the
// channel have told them, where this stream adds what it tells.
std::unique_ptr<RecordReader> MakeRecordReader(const StreamOptions& options, BufferedReader* input,
                                               std::vector<std::string>* header = nullptr);

}  // namespace pipemode

#endif  // PIPEMODE_CORE_FORMAT_RECORD_READER_H_
