// SPDX-License-Identifier: Apache-2.0
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

#include <atomic>
#include <cerrno>
#include <exception>
#include <filesystem>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <utility>

#include "core/base/error.h"
#include "core/channel/channel_reader.h"
#include "core/format/record_format.h"
#include "core/format/record_stream.h"
#include "core/io/fifo_source.h"
#include "python/bindings.h"
#include "python/blocking_object.h"
#include "python/record_batch.h"

namespace pipemode::python {
namespace {

namespace py = pybind11;

// From this size on the GIL is let go while the bytes of a record are copied.
constexpr size_t kLongRecordBytes = size_t{256} << 10;

// The one copy of a record goes from the stream's buffer, or from the file itself, right into the
// bytes object.
class BytesSink final : public RecordSink {
 public:
  explicit BytesSink(Gil* gil) : gil_(*gil) {}
  ~BytesSink() override {
    if (bytes_ == nullptr) return;
    gil_.Acquire();
    Py_DECREF(bytes_);
  }

  char* Resize(size_t size) override {
    gil_.Acquire();
    const auto length = static_cast<Py_ssize_t>(size);
    if (bytes_ == nullptr) {
      bytes_ = PyBytes_FromStringAndSize(nullptr, length);
    } else {
      _PyBytes_Resize(&bytes_, length);
    }
    if (bytes_ == nullptr) {
      // What the stream knows, so that it does not go on behind the record that is lost.
      PyErr_Clear();
      throw std::bad_alloc();
    }
    char* const data = PyBytes_AS_STRING(bytes_);
    if (size >= kLongRecordBytes) gil_.Release();
    return data;
  }

  py::bytes Take() {
    gil_.Acquire();
    return py::reinterpret_steal<py::bytes>(std::exchange(bytes_, nullptr));
  }

 private:
  Gil& gil_;
  PyObject* bytes_ = nullptr;
};

// A reader of records, whatever they come from.
class Reader : public BlockingObject {
 public:
  py::bytes Next();
  py::tuple ReadBatch(int64_t max_records, std::optional<int64_t> max_bytes);
  uint64_t Skip(int64_t count);

  uint64_t records() const noexcept { return records_; }
  uint64_t corrupted_records() const noexcept { return corrupted_records_; }

 protected:
  Reader() : BlockingObject("reader", "warning") {}

  // Reads into `sink`, or drops if it is null. Begins with the GIL held; may return with or without
  // it.
  virtual bool NextRecord(RecordSink* sink) = 0;
  virtual uint64_t CountCorrupted() const noexcept = 0;

  void Publish() noexcept override { corrupted_records_ = CountCorrupted(); }
  void Release() noexcept override { batch_.Clear(); }

 private:
  // Throws the error that came behind the last record handed out, if one did.
  void ThrowDeferred() {
    if (deferred_ != nullptr) std::rethrow_exception(std::exchange(deferred_, nullptr));
  }

  // What read_batch had read when a signal handler raised; handed out before anything else.
  RecordBatch batch_;
  std::exception_ptr deferred_;
  std::atomic<uint64_t> records_{0};  // handed out or dropped
  std::atomic<uint64_t> corrupted_records_{0};
};

py::bytes Reader::Next() {
  Call call(this);
  if (batch_.size() > 0) {
    const std::string_view front = batch_.front();
    py::bytes record(front.data(), front.size());
    batch_.PopFront();
    ++records_;
    return record;
  }
  ThrowDeferred();
  BytesSink sink(&call.gil());
  if (!NextRecord(&sink)) throw py::stop_iteration();
  ++records_;
  return sink.Take();
}

py::tuple Reader::ReadBatch(int64_t max_records, std::optional<int64_t> max_bytes) {
  const uint64_t limit = AtLeast(1, max_records, "max_records");
  const uint64_t byte_limit =
      max_bytes ? AtLeast(1, *max_bytes, "max_bytes") : std::numeric_limits<uint64_t>::max();
  Call call(this);
  if (batch_.size() > limit) {
    RecordBatch first = batch_.Split(limit);
    records_ += limit;
    return first.ToArrays();
  }
  if (batch_.size() == 0) ThrowDeferred();
  call.gil().Release();
  try {
    while (batch_.size() < limit && batch_.bytes() < byte_limit && deferred_ == nullptr &&
           NextRecord(&batch_)) {
      batch_.Commit();
      call.CheckNowAndThen();
    }
  } catch (const PipeError&) {
    // What came before the error is good, and is handed out before it.
    if (batch_.size() == 0 || closed()) throw;
    deferred_ = std::current_exception();
  }
  call.gil().Acquire();
  const uint64_t count = batch_.size();
  py::tuple arrays = batch_.ToArrays();
  records_ += count;
  return arrays;
}

uint64_t Reader::Skip(int64_t count) {
  const uint64_t limit = AtLeast(0, count, "count");
  Call call(this);
  uint64_t skipped = 0;
  for (; skipped < limit && batch_.size() > 0; ++skipped, ++records_) batch_.PopFront();
  if (skipped < limit) ThrowDeferred();
  call.gil().Release();
  for (; skipped < limit && NextRecord(nullptr); ++skipped, ++records_) {
    call.CheckNowAndThen();
  }
  return skipped;
}

// The records of one file or FIFO.
class FileReader final : public Reader {
 public:
  FileReader(const std::string& path, std::string name, const StreamOptions& options,
             TimeLimit read_timeout)
      : name_(std::move(name)) {
    ForkGuardedFd fd = FifoSource::Open(path);
    if (!fd) throw IoError(ENOENT, "cannot open '" + path + "'");
    auto source = std::make_unique<FifoSource>(std::move(fd), name_, read_timeout, context());
    stream_.emplace(std::make_unique<Source>(this, std::move(source)), options);
  }

  uint64_t bytes_read() const noexcept { return bytes_read_; }

 private:
  // Reading a regular file may block and does not tell the observer before.
  class Source final : public ByteSource {
   public:
    Source(FileReader* reader, std::unique_ptr<ByteSource> source)
        : reader_(*reader), source_(std::move(source)) {}

    size_t Read(char* dst, size_t size) override {
      reader_.call().gil().Release();
      const size_t count = source_->Read(dst, size);
      reader_.bytes_read_ += count;
      return count;
    }

   private:
    FileReader& reader_;
    const std::unique_ptr<ByteSource> source_;
  };

  bool NextRecord(RecordSink* sink) override {
    if (!stream_) return false;
    try {
      const bool found = sink != nullptr ? stream_->Read(*sink) : stream_->Skip();
      corrupted_ = stream_->corrupted_records();
      if (!found) stream_.reset();
      return found;
    } catch (PipeError& error) {
      corrupted_ = stream_->corrupted_records();
      error.AddContext("'" + name_ + "'");
      throw;
    }
  }

  uint64_t CountCorrupted() const noexcept override { return corrupted_; }

  void Release() noexcept override {
    Reader::Release();
    stream_.reset();
  }

  const std::string name_;
  std::optional<RecordStream> stream_;  // until the end
  std::atomic<uint64_t> bytes_read_{0};
  uint64_t corrupted_ = 0;
};

// The records of one epoch of one channel.
class EpochReader final : public Reader {
 public:
  explicit EpochReader(ChannelOptions options) : reader_(std::move(options), context()) {}

  std::optional<int64_t> epoch() const {
    const int64_t epoch = epoch_;
    return epoch < 0 ? std::nullopt : std::make_optional(epoch);
  }

 private:
  bool NextRecord(RecordSink* sink) override {
    // Claiming an epoch writes to disk. From then on reads do not block without telling the
    // observer.
    if (!reader_.epoch()) call().gil().Release();
    return sink != nullptr ? reader_.Read(*sink) : reader_.Skip();
  }

  uint64_t CountCorrupted() const noexcept override { return reader_.corrupted_records(); }

  void Publish() noexcept override {
    Reader::Publish();
    if (const auto epoch = reader_.epoch()) epoch_ = static_cast<int64_t>(*epoch);
  }

  void Release() noexcept override {
    Reader::Release();
    reader_.Close();
  }

  ChannelReader reader_;
  std::atomic<int64_t> epoch_{-1};
};

TimeLimit ToTimeLimit(std::optional<double> seconds, const char* name) {
  if (!seconds) return kNoLimit;
  if (!(*seconds > 0)) {
    throw InvalidArgumentError(std::string(name) +
                               " must be a positive number of seconds, or None for no limit, not " +
                               std::to_string(*seconds));
  }
  return TimeLimit(*seconds);
}

StreamOptions ToStreamOptions(const std::string& record_format,
                              const std::optional<std::string>& compression_type,
                              const std::string& recordio_parts, int64_t max_record_bytes,
                              int64_t max_corrupted_records_to_skip) {
  StreamOptions options;
  options.format = ParseRecordFormat(record_format);
  options.compression = ParseCompression(compression_type.value_or(""));
  options.recordio_parts = ParseRecordIoParts(recordio_parts);
  options.max_record_bytes = AtLeast(1, max_record_bytes, "max_record_bytes");
  options.max_corrupted_records_to_skip =
      AtLeast(0, max_corrupted_records_to_skip, "max_corrupted_records_to_skip");
  return options;
}

std::unique_ptr<FileReader> MakeFileReader(
    const std::filesystem::path& path, const std::string& record_format,
    const std::optional<std::string>& compression_type, const std::string& recordio_parts,
    int64_t max_record_bytes, int64_t max_corrupted_records_to_skip,
    std::optional<double> read_timeout, const std::optional<std::string>& name) {
  Gil gil;
  gil.Release();
  return std::make_unique<FileReader>(
      path.string(), name.value_or(path.string()),
      ToStreamOptions(record_format, compression_type, recordio_parts, max_record_bytes,
                      max_corrupted_records_to_skip),
      ToTimeLimit(read_timeout, "read_timeout"));
}

std::unique_ptr<EpochReader> MakeEpochReader(
    const std::string& channel, const std::string& record_format,
    const std::filesystem::path& pipe_dir, const std::filesystem::path& state_dir,
    const std::optional<std::string>& compression_type, const std::string& recordio_parts,
    int64_t max_record_bytes, int64_t max_corrupted_records_to_skip,
    std::optional<double> open_timeout, std::optional<double> read_timeout) {
  ChannelOptions options;
  options.channel = channel;
  options.pipe_dir = pipe_dir.string();
  options.state_dir = state_dir.string();
  options.stream = ToStreamOptions(record_format, compression_type, recordio_parts,
                                   max_record_bytes, max_corrupted_records_to_skip);
  options.open_timeout = ToTimeLimit(open_timeout, "open_timeout");
  options.read_timeout = ToTimeLimit(read_timeout, "read_timeout");
  return std::make_unique<EpochReader>(std::move(options));
}

constexpr char kCloseDoc[] =
    R"doc(Closes the file, and ends the call that another thread is in with CancelledError.

Later calls end like that too, and the writer of a FIFO sees that its reader is gone. May be called
again.
)doc";

}  // namespace

void BindReaders(py::module_& module) {
  using namespace pybind11::literals;  // NOLINT(google-build-using-namespace): arg names
  constexpr double kDefaultTimeout = 1800;
  constexpr auto kDefaultMaxRecord = static_cast<int64_t>(kDefaultMaxRecordBytes);

  py::class_<Reader>(module, "Reader", "What all readers have in common.", py::module_local())
      .def("__iter__", [](py::object self) { return self; })
      .def("__next__", &Reader::Next)
      .def("read_batch", &Reader::ReadBatch, "See records.RecordReader.", "max_records"_a,
           "max_bytes"_a = py::none())
      .def("skip", &Reader::Skip, "See records.RecordReader.", "count"_a)
      .def(
          "close", [](Reader& self) { self.Close(); }, kCloseDoc)
      .def("__enter__", [](py::object self) { return self; })
      .def("__exit__", [](Reader& self, const py::args&) { self.Close(); })
      .def_property_readonly("records", &Reader::records, "Records handed out or skipped so far.")
      .def_property_readonly("corrupted_records", &Reader::corrupted_records,
                             "Corrupt records met so far.");

  py::class_<FileReader, Reader>(module, "RecordReader", "See records.RecordReader.",
                                 py::module_local())
      .def(py::init(&MakeFileReader), "path"_a, "record_format"_a = "RecordIO", py::kw_only(),
           "compression_type"_a = py::none(), "recordio_parts"_a = "joined",
           "max_record_bytes"_a = kDefaultMaxRecord, "max_corrupted_records_to_skip"_a = 0,
           "read_timeout"_a = kDefaultTimeout, "name"_a = py::none())
      .def_property_readonly(
          "bytes_read", &FileReader::bytes_read,
          "Bytes taken from the file so far, as they are in it: compressed if it is.");

  py::class_<EpochReader, Reader>(module, "ChannelReader", "See records.ChannelReader.",
                                  py::module_local())
      .def(py::init(&MakeEpochReader), "channel"_a, "record_format"_a = "RecordIO", py::kw_only(),
           "pipe_dir"_a, "state_dir"_a, "compression_type"_a = py::none(),
           "recordio_parts"_a = "joined", "max_record_bytes"_a = kDefaultMaxRecord,
           "max_corrupted_records_to_skip"_a = 0, "open_timeout"_a = kDefaultTimeout,
           "read_timeout"_a = kDefaultTimeout)
      .def_property_readonly(
          "epoch", &EpochReader::epoch,
          "Number of the epoch that is being read, or was; None before the first record.");
}

}  // namespace pipemode::python
