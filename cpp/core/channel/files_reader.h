// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_CORE_CHANNEL_FILES_READER_H_
#define PIPEMODE_CORE_CHANNEL_FILES_READER_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/error.h"
#include "core/channel/epoch_reader.h"
#include "core/format/record_format.h"
#include "core/format/record_stream.h"
#include "core/io/wait.h"

namespace pipemode {

// The files of a channel in File mode, in the order in which they are read.
struct FileList {
  struct File {
    std::string path;
    uint64_t size;  // in bytes, when the file was listed
  };
  std::vector<File> files;
  // Of these, every `stride`-th one is read, from number `first`, below `stride`, on.
  uint64_t stride = 1;
  uint64_t first = 0;
  // How many to read at once; 0: as many as pay.
  uint64_t parallel_reads = 0;
};

// The records of all files of a channel, one file after the other: an epoch in File mode.
//
// Each file is a stream of its own: decompressed, framed, ended and checked by itself. An error
// names the file, and counts records and bytes in it; after one that ends a file, the next call
// goes on with the next file. What goes on from file to file is a repeated header, which the first
// lines of the epoch tell, and the count of corrupt records in a row.
//
// The next file is opened while one is read, so that the system fetches it. Where more than one are
// to be read at once, a PrefetchSource for each of those that come next reads and decompresses it;
// records are taken out of them here, in the order of the files.
class FilesReader final : public EpochReader {
 public:
  // `channel` is the name that messages show. Begins with the file number `first_file`, which is at
  // least the list's first one; what comes before it is not read, except for the header.
  // `before_next_file` is called before a record of any further file is read; it may take its time,
  // and may throw, which leaves that file alone. Opens nothing yet. What `context` points to must
  // outlive the reader.
  FilesReader(const std::string& channel, std::shared_ptr<const FileList> files,
              const StreamOptions& options, const WaitContext& context, uint64_t first_file,
              std::function<void()> before_next_file = nullptr);

  bool Read(RecordSink& sink) override { return Next(&sink); }
  bool Skip() override { return Next(nullptr); }
  void TakeBuffered(size_t max, std::vector<std::string_view>* records) override {
    if (stream_ != nullptr) stream_->TakeBuffered(max, records);
  }
  void Close() noexcept override;

  bool has_begun() const noexcept override { return has_begun_; }
  uint64_t file() const noexcept override { return file_; }
  uint64_t lost_epochs() const noexcept override { return 0; }
  uint64_t corrupted_records() const noexcept override;

 private:
  bool Next(RecordSink* sink);
  // Returns false behind the last file.
  bool OpenNext();
  void LearnHeader();
  std::unique_ptr<RecordStream> Open(uint64_t file, std::unique_ptr<ByteSource> source);
  std::unique_ptr<ByteSource> TakeSource();
  std::unique_ptr<ByteSource> OpenNow(uint64_t file);
  std::unique_ptr<ByteSource> OpenSource(uint64_t file, const WaitContext& context);
  // Opens files that come next, as many as may be open at once.
  void OpenAhead() noexcept;
  uint64_t ParallelReads() const noexcept;
  void CloseFile() noexcept;
  // Says where `error` was, and what else may help.
  void Describe(PipeError& error, uint64_t file, uint64_t records) const;

  const std::string channel_;
  const std::shared_ptr<const FileList> list_;
  const Compression compression_;
  const StreamOptions options_;  // of what is decompressed
  const WaitContext context_;
  const std::function<void()> before_next_file_;
  StreamCarry carry_;
  const uint64_t first_file_;
  uint64_t next_file_;
  uint64_t header_file_ = 0;  // of those before it, the first that has not been seen for a header
  uint64_t file_;             // that `stream_` reads, or that was read last
  std::atomic<bool> found_gzip_{false};  // set by any source
  std::unique_ptr<RecordStream> stream_;
  std::deque<std::unique_ptr<ByteSource>> ahead_;  // of the files from `next_file_` on
  uint64_t corrupted_before_ = 0;                  // in files that are closed
  bool has_begun_ = false;
};

}  // namespace pipemode

#endif  // PIPEMODE_CORE_CHANNEL_FILES_READER_H_
