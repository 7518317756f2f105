// SPDX-License-Identifier: Apache-2.0
#include "core/channel/files_reader.h"

#include <algorithm>
#include <utility>

#include "core/io/file_source.h"

namespace pipemode {
namespace {

// A buffer for a small file need not be larger than the file, but what it inflates to may be.
constexpr size_t kMinBufferBytes = size_t{64} << 10;

}  // namespace

FilesReader::FilesReader(const std::string& channel, std::shared_ptr<const FileList> files,
                         const StreamOptions& options, const WaitContext& context,
                         uint64_t first_file, std::function<void()> before_next_file)
    : channel_(channel),
      list_(std::move(files)),
      options_(options),
      context_(context),
      before_next_file_(std::move(before_next_file)),
      first_file_(first_file),
      next_file_(first_file),
      file_(first_file) {}

void FilesReader::Close() noexcept {
  CloseFile();
  next_source_.reset();
  next_file_ = list_->files.size();
}

uint64_t FilesReader::corrupted_records() const noexcept {
  return corrupted_before_ + (stream_ == nullptr ? 0 : stream_->corrupted_records());
}

bool FilesReader::Next(RecordSink* sink) {
  while (stream_ != nullptr || OpenNext()) {
    try {
      if (sink != nullptr ? stream_->Read(*sink) : stream_->Skip()) return true;
    } catch (PipeError& error) {
      Describe(error, file_, stream_->records());
      if (stream_->ended()) CloseFile();
      throw;
    }
    CloseFile();
  }
  return false;
}

bool FilesReader::OpenNext() {
  if (next_file_ < list_->files.size()) LearnHeader();
  has_begun_ = true;
  if (next_file_ >= list_->files.size()) return false;
  if (next_file_ > first_file_ && before_next_file_) before_next_file_();
  // One that cannot be opened is an error once; the call after that goes on with the next file.
  file_ = std::exchange(next_file_, next_file_ + list_->stride);
  header_file_ = file_ + 1;
  stream_ = Open(file_, next_source_ != nullptr ? std::move(next_source_) : OpenSource(file_));
  FetchNext();
  return true;
}

// Files before the next one that are not read, as those of other shards, may tell the header. One
// that cannot be read is an error once, as if it were read.
void FilesReader::LearnHeader() {
  if (!options_.text.repeated_header) return;
  while (header_file_ < next_file_ && carry_.header.size() < options_.text.skip_header_lines) {
    const uint64_t file = header_file_++;
    const size_t known = carry_.header.size();
    const std::unique_ptr<RecordStream> stream = Open(file, OpenSource(file));
    try {
      stream->Skip();
    } catch (PipeError& error) {
      Describe(error, file, stream->records());
      if (error.code() == ErrorCode::kCancelled) {
        carry_.header.resize(known);
        header_file_ = file;
      }
      throw;
    }
  }
}

std::unique_ptr<RecordStream> FilesReader::Open(uint64_t file, std::unique_ptr<ByteSource> source) {
  const uint64_t size = list_->files[file].size;
  const size_t buffer_bytes =
      std::clamp<uint64_t>(size, kMinBufferBytes, BufferedReader::kDefaultCapacity);
  return std::make_unique<RecordStream>(std::move(source), options_, &carry_, buffer_bytes);
}

std::unique_ptr<ByteSource> FilesReader::OpenSource(uint64_t file) const {
  try {
    return std::make_unique<FileSource>(list_->files[file].path, list_->files[file].size, context_);
  } catch (PipeError& error) {
    Describe(error, file, /*records=*/1);
    throw;
  }
}

void FilesReader::FetchNext() noexcept {
  if (next_file_ >= list_->files.size()) return;
  try {
    next_source_ = OpenSource(next_file_);
  } catch (...) {
    // It is opened again when it is due, and then that is an error.
  }
}

void FilesReader::CloseFile() noexcept {
  corrupted_before_ = corrupted_records();
  stream_.reset();
}

void FilesReader::Describe(PipeError& error, uint64_t file, uint64_t records) const {
  error.AddContext("channel '" + channel_ + "' file '" + list_->files[file].path + "'");
  if (records > 0 || list_->files.size() == 1 || error.code() != ErrorCode::kDataLoss) return;
  error.AddAdvice(
      "if this file is not data of the channel, choose the files that are with files=, "
      "for example files='*.tfrecord'");
}

}  // namespace pipemode
