// SPDX-License-Identifier: Apache-2.0
#include "core/format/record_stream.h"

#include <new>
#include <utility>

#include "core/format/detecting_source.h"
#include "core/io/inflate_source.h"

namespace pipemode {

std::unique_ptr<ByteSource> Decompressed(std::unique_ptr<ByteSource> source,
                                         Compression compression, std::atomic<bool>* found_gzip) {
  if (compression == Compression::kNone) return source;
  if (compression == Compression::kAuto) {
    return std::make_unique<DetectingSource>(std::move(source), found_gzip);
  }
  return std::make_unique<InflateSource>(std::move(source), compression);
}

RecordStream::RecordStream(std::unique_ptr<ByteSource> source, const StreamOptions& options,
                           StreamCarry* carry, size_t buffer_bytes)
    : carry_(carry != nullptr ? *carry : own_carry_),
      input_(Decompressed(std::move(source), options.compression), buffer_bytes),
      reader_(MakeRecordReader(options, &input_, &carry_.header)),
      attributes_(options.attributes),
      max_corrupted_in_a_row_(options.max_corrupted_records_to_skip) {}

bool RecordStream::Read(RecordSink& sink) { return Next(&sink); }

bool RecordStream::Skip() { return Next(nullptr); }

void RecordStream::TakeBuffered(size_t max, std::vector<std::string_view>* records) {
  if (ended_) return;
  const size_t before = records->size();
  reader_->TakeBuffered(max, records);
  if (records->size() == before) return;
  records_ += records->size() - before;
  carry_.corrupted_in_a_row = 0;
}

bool RecordStream::Next(RecordSink* sink) {
  while (!ended_) {
    try {
      const bool found = sink != nullptr ? reader_->Read(*sink) : reader_->Skip();
      if (!found) {
        CheckLineIsWhole();
        break;
      }
      ++records_;
      carry_.corrupted_in_a_row = 0;
      return true;
    } catch (CorruptRecordError& error) {
      if (carry_.corrupted_in_a_row >= max_corrupted_in_a_row_) {
        AddPosition(error);
        ++corrupted_records_;
        throw;
      }
      ++carry_.corrupted_in_a_row;
      ++corrupted_records_;
    } catch (CancelledError& error) {
      AddPosition(error);
      throw;
    } catch (PipeError& error) {
      ended_ = true;
      AddPosition(error);
      throw;
    } catch (const std::bad_alloc&) {
      // The record is consumed, at least in part: to go on would be to leave it out silently.
      ended_ = true;
      throw;
    }
  }
  ended_ = true;
  return false;
}

void RecordStream::CheckLineIsWhole() const {
  if (attributes_.empty() || records_ % attributes_.size() == 0) return;
  const size_t found = records_ % attributes_.size();
  throw DataLossError("the stream ends between the attributes of line " +
                      std::to_string(records_ / attributes_.size()) + ", after '" +
                      attributes_[found - 1] + "' and before '" + attributes_[found] +
                      "'; are these the AttributeNames of the job, and is the data complete?");
}

void RecordStream::AddPosition(PipeError& error) const {
  error.AddContext("record " + std::to_string(records_ + corrupted_records_) + " at byte " +
                   std::to_string(reader_->record_offset()));
}

}  // namespace pipemode
