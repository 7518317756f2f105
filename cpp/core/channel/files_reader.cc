// SPDX-License-Identifier: Apache-2.0
#include "core/channel/files_reader.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "core/io/file_source.h"
#include "core/io/prefetch_source.h"

namespace pipemode {
namespace {

// The least buffer, for a small file.
constexpr size_t kMinBufferBytes = size_t{64} << 10;
// How much of each file that comes next may lie ready.
constexpr size_t kAheadBytes = size_t{8} << 20;
// More than that, files that are inflated side by side would cost more memory than they save time.
constexpr unsigned kMaxInflating = 8;

StreamOptions WithoutCompression(StreamOptions options) {
  options.compression = Compression::kNone;
  return options;
}

}  // namespace

FilesReader::FilesReader(const std::string& channel, std::shared_ptr<const FileList> files,
                         const StreamOptions& options, const WaitContext& context,
                         uint64_t first_file, std::function<void()> before_next_file)
    : channel_(channel),
      list_(std::move(files)),
      compression_(options.compression),
      options_(WithoutCompression(options)),
      context_(context),
      before_next_file_(std::move(before_next_file)),
      first_file_(first_file),
      next_file_(first_file),
      file_(first_file) {}

void FilesReader::Close() noexcept {
  CloseFile();
  ahead_.clear();
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
  stream_ = Open(file_, TakeSource());
  OpenAhead();
  return true;
}

// Files before the next one that are not read, as those of other shards, may tell the header. One
// that cannot be read is an error once, as if it were read.
void FilesReader::LearnHeader() {
  if (!options_.text.repeated_header) return;
  while (header_file_ < next_file_ && carry_.header.size() < options_.text.skip_header_lines) {
    const uint64_t file = header_file_++;
    const size_t known = carry_.header.size();
    const std::unique_ptr<RecordStream> stream = Open(file, OpenNow(file));
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
  // What a file inflates to may be larger than the file, and a wrong checksum is better known
  // before records are handed out.
  const size_t buffer_bytes = compression_ == Compression::kNone
                                  ? std::clamp<uint64_t>(list_->files[file].size, kMinBufferBytes,
                                                         BufferedReader::kDefaultCapacity)
                                  : BufferedReader::kDefaultCapacity;
  return std::make_unique<RecordStream>(std::move(source), options_, &carry_, buffer_bytes);
}

// Of the file that is due.
std::unique_ptr<ByteSource> FilesReader::TakeSource() {
  if (ahead_.empty()) return OpenNow(file_);
  std::unique_ptr<ByteSource> source = std::move(ahead_.front());
  ahead_.pop_front();
  return source;
}

std::unique_ptr<ByteSource> FilesReader::OpenNow(uint64_t file) {
  try {
    return OpenSource(file, context_);
  } catch (PipeError& error) {
    Describe(error, file, /*records=*/0);
    throw;
  }
}

std::unique_ptr<ByteSource> FilesReader::OpenSource(uint64_t file, const WaitContext& context) {
  const FileList::File& listed = list_->files[file];
  return Decompressed(std::make_unique<FileSource>(listed.path, listed.size, context), compression_,
                      &found_gzip_);
}

void FilesReader::OpenAhead() noexcept {
  const uint64_t parallel = ParallelReads();
  const size_t wanted = std::max<uint64_t>(parallel, 2) - 1;
  while (ahead_.size() < wanted) {
    const uint64_t file = next_file_ + ahead_.size() * list_->stride;
    if (file >= list_->files.size()) return;
    try {
      if (parallel == 1) {
        ahead_.push_back(OpenSource(file, context_));
      } else {
        ahead_.push_back(std::make_unique<PrefetchSource>(
            [this, file](const WaitContext& context) { return OpenSource(file, context); },
            kAheadBytes, context_));
      }
    } catch (...) {
      return;  // it is opened again when it is due, and then that is an error
    }
  }
}

uint64_t FilesReader::ParallelReads() const noexcept {
  if (list_->parallel_reads > 0) return list_->parallel_reads;
  const bool inflates = compression_ == Compression::kGzip || compression_ == Compression::kZlib ||
                        found_gzip_.load(std::memory_order_relaxed);
  return inflates ? std::clamp(std::thread::hardware_concurrency(), 1U, kMaxInflating) : 1;
}

void FilesReader::CloseFile() noexcept {
  corrupted_before_ = corrupted_records();
  stream_.reset();
}

void FilesReader::Describe(PipeError& error, uint64_t file, uint64_t records) const {
  error.AddContext("channel '" + channel_ + "' file '" + ShownPath(list_->files[file].path) + "'");
  if (records > 0 || list_->files.size() == 1 || error.code() != ErrorCode::kDataLoss ||
      dynamic_cast<const CorruptRecordError*>(&error) != nullptr ||
      dynamic_cast<const FileChangedError*>(&error) != nullptr) {
    return;
  }
  error.AddAdvice(
      "if this file is not data of the channel, choose the files that are with files=, "
      "for example files='*.tfrecord'");
}

}  // namespace pipemode
