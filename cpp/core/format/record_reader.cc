// SPDX-License-Identifier: Apache-2.0
#include "core/format/record_reader.h"

#include <algorithm>
#include <cassert>

#include "core/base/error.h"
#include "core/format/crc32c.h"
#include "core/format/recordio_reader.h"
#include "core/format/text_line_reader.h"
#include "core/format/tfrecord_reader.h"
#include "core/format/whole_stream_reader.h"

namespace pipemode {
namespace {

// From here on a copy costs more than a system call.
constexpr size_t kLongBytes = size_t{16} << 10;
// The first step of a long payload; each further one doubles what there is.
constexpr size_t kFirstStepBytes = size_t{1} << 20;
// Read and checked at a time, small enough to be still in cache for the CRC.
constexpr size_t kPieceBytes = size_t{256} << 10;

}  // namespace

RecordReader::RecordReader(BufferedReader* input, uint64_t max_record_bytes)
    : input_(*input),
      max_record_bytes_(max_record_bytes),
      long_bytes_(std::min(kLongBytes, input->capacity() / 4)) {
  assert(input->capacity() >= kMinInputBytes);
}

void RecordReader::BeginRecord() {
  if (half_read_) {
    throw DataLossError("this record was left half read by a cancelled call");
  }
  record_offset_ = input_.position();
}

void RecordReader::MovePayload(RecordSink* sink, size_t offset, size_t size, uint32_t* crc) {
  size_t done = 0;
  char* payload = nullptr;
  size_t allocated = 0;
  while (done < size) {
    size_t count;
    const char* piece;
    if (sink == nullptr) {
      input_.Fill(std::min({size - done, kPieceBytes, input_.capacity()}));
      piece = input_.buffered().data();
      count = std::min(input_.buffered().size(), size - done);
      input_.Consume(count);
    } else {
      if (done == allocated) {
        const size_t at_hand = sink->capacity() - std::min(sink->capacity(), offset + done);
        allocated += std::min(size - done, std::max({done, kFirstStepBytes, at_hand}));
        payload = sink->Resize(offset + allocated) + offset;
      }
      piece = payload + done;
      count = input_.ReadInto(payload + done, std::min(allocated - done, kPieceBytes));
    }
    if (count == 0) {
      ThrowTruncated("a payload of " + std::to_string(size) + " bytes, after " +
                     std::to_string(done));
    }
    if (crc != nullptr) *crc = ExtendCrc32c(*crc, piece, count);
    done += count;
  }
}

void RecordReader::CheckSize(uint64_t size) const {
  if (size > max_record_bytes_) {
    throw DataLossError("a record of " + std::to_string(size) +
                        " bytes is longer than max_record_bytes (" +
                        std::to_string(max_record_bytes_) +
                        "); raise that if such records are real, else the stream is corrupt");
  }
}

void RecordReader::ThrowTruncated(const std::string& where) {
  throw DataLossError("the stream ends inside " + where +
                      "; was the writer cut off, or is the object incomplete?");
}

Content RecordReader::StartContent() const {
  return input_.position() == 0 ? ContentOf(input_.buffered()) : Content::kUnknown;
}

std::string RecordReader::HintFor(Content format) const {
  const Content content = ContentOf(input_.buffered());
  const std::string name = ContentName(content);
  if (record_offset_ > 0) {
    return content == Content::kGzip
               ? "gzip data begins here: objects must be all compressed or all not"
               : "the stream is corrupt from here on";
  }
  switch (content) {
    case Content::kGzip:
    case Content::kZlib:
      return "the stream begins like " + name + ": pass compression_type='" +
             (content == Content::kGzip ? "GZIP" : "ZLIB") + "'";
    case Content::kText:
      return "the stream begins like text: pass record_format='TextLine'";
    case Content::kRecordIo:
    case Content::kTfRecord:
      if (content != format) {
        return "the stream begins like " + name + ": pass record_format='" + name + "'";
      }
      break;
    case Content::kUnknown:
      break;
  }
  return std::string("is this really ") + ContentName(format) +
         ", and is its compression announced?";
}

std::unique_ptr<RecordReader> MakeRecordReader(const StreamOptions& options, BufferedReader* input,
                                               std::vector<std::string>* header) {
  if (options.is_one_record) {
    return std::make_unique<WholeStreamReader>(input, options.max_record_bytes);
  }
  switch (options.format) {
    case RecordFormat::kTfRecord:
      return std::make_unique<TFRecordReader>(input, options.max_record_bytes);
    case RecordFormat::kTextLine:
      return std::make_unique<TextLineReader>(input, options.max_record_bytes, options.text,
                                              header);
    case RecordFormat::kRecordIo:
      break;
  }
  return std::make_unique<RecordIOReader>(input, options.max_record_bytes, options.recordio_parts);
}

}  // namespace pipemode
