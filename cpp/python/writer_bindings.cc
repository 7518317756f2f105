// SPDX-License-Identifier: Apache-2.0
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/error.h"
#include "core/channel/pipe_state.h"
#include "core/writer/fifo_channel_writer.h"
#include "core/writer/record_encoder.h"
#include "python/bindings.h"
#include "python/blocking_object.h"

namespace pipemode::python {
namespace {

namespace py = pybind11;

// The memory of a bytes-like object, which cannot change its size meanwhile. Made and destroyed
// with the GIL held.
class BytesView {
 public:
  explicit BytesView(const py::object& object) {
    if (PyObject_GetBuffer(object.ptr(), &buffer_, PyBUF_SIMPLE) != 0) {
      throw py::error_already_set();
    }
  }
  BytesView(const BytesView&) = delete;
  BytesView& operator=(const BytesView&) = delete;
  ~BytesView() { PyBuffer_Release(&buffer_); }

  std::string_view get() const noexcept {
    return {static_cast<const char*>(buffer_.buf), static_cast<size_t>(buffer_.len)};
  }

 private:
  Py_buffer buffer_;
};

// Feeds the FIFOs of one channel.
class ChannelWriter final : public BlockingObject {
 public:
  ChannelWriter(const std::string& pipe_dir, const std::string& channel, uint64_t first_epoch,
                const FifoWriterOptions& options)
      : BlockingObject("writer", "debug"), prefix_(pipe_dir + "/" + channel + "_") {
    CheckChannelName(channel);
    writer_ =
        std::make_unique<FifoChannelWriter>(pipe_dir, channel, first_epoch, options, context());
    Publish();
  }

  void BeginEpoch() {
    Call call(this);
    if (begun_) throw FailedPreconditionError("begin_epoch() before the end of the last epoch");
    call.gil().Release();
    writer_->BeginEpoch();
    begun_ = true;
  }

  bool Write(const py::object& data) {
    const BytesView bytes(data);
    Call call(this);
    CheckBegun("write()");
    call.gil().Release();
    return writer_->Write(bytes.get());
  }

  std::optional<uint64_t> WriteFile(int fd, int64_t size) {
    Call call(this);
    CheckBegun("write_file()");
    const uint64_t bytes = AtLeast(0, size, "size");
    call.gil().Release();
    return writer_->WriteFile(fd, bytes);
  }

  void EndEpoch() {
    Call call(this);
    CheckBegun("end_epoch()");
    call.gil().Release();
    writer_->EndEpoch();
    begun_ = false;
  }

  uint64_t epoch() const noexcept { return epoch_; }
  std::string path() const { return prefix_ + std::to_string(epoch()); }
  uint64_t bytes_written() const noexcept { return bytes_written_; }
  bool reader_closed() const noexcept { return reader_closed_; }

 private:
  void CheckBegun(const char* call) const {
    if (!begun_) throw FailedPreconditionError(std::string(call) + " without begin_epoch()");
  }

  void Publish() noexcept override {
    if (writer_ == nullptr) return;
    epoch_ = writer_->epoch();
    bytes_written_ = writer_->bytes_written();
    reader_closed_ = writer_->reader_closed();
  }

  void Release() noexcept override { writer_.reset(); }

  const std::string prefix_;
  std::unique_ptr<FifoChannelWriter> writer_;  // until cancelled
  bool begun_ = false;
  std::atomic<uint64_t> epoch_{0};
  std::atomic<uint64_t> bytes_written_{0};
  std::atomic<bool> reader_closed_{false};
};

WriterFault ParseFault(const std::optional<std::string>& name) {
  if (!name) return WriterFault::kNone;
  if (*name == "stop") return WriterFault::kStop;
  if (*name == "stall") return WriterFault::kStall;
  if (*name == "die") return WriterFault::kDie;
  throw InvalidArgumentError("fault '" + *name + "' is not one of None, 'stop', 'stall', 'die'");
}

std::unique_ptr<ChannelWriter> MakeChannelWriter(
    const std::filesystem::path& pipe_dir, const std::string& channel, int64_t first_epoch,
    int64_t chunk_bytes, std::optional<double> bytes_per_second, int64_t pipe_bytes,
    const std::optional<std::string>& fault, int64_t fault_at_byte) {
  FifoWriterOptions options;
  options.chunk_bytes = AtLeast(1, chunk_bytes, "chunk_bytes");
  options.bytes_per_second = bytes_per_second.value_or(std::numeric_limits<double>::infinity());
  options.pipe_bytes = AtLeast(0, pipe_bytes, "pipe_bytes");
  options.fault = ParseFault(fault);
  options.fault_at_byte = AtLeast(0, fault_at_byte, "fault_at_byte");
  return std::make_unique<ChannelWriter>(pipe_dir.string(), channel,
                                         AtLeast(0, first_epoch, "first_epoch"), options);
}

py::bytes Encode(const py::object& record, const std::string& record_format,
                 const std::string& recordio_parts, int64_t recordio_max_part_bytes) {
  EncoderOptions options;
  options.format = ParseRecordFormat(record_format);
  options.recordio_parts = ParseRecordIoParts(recordio_parts);
  options.recordio_max_part_bytes = AtLeast(1, recordio_max_part_bytes, "recordio_max_part_bytes");
  const RecordEncoder encoder(options);
  const BytesView bytes(record);
  std::string encoded;
  encoder.Append(bytes.get(), &encoded);
  return encoded;
}

constexpr char kBeginEpochDoc[] =
    R"doc(Makes the FIFO of the next epoch and waits until a reader has opened it.

Raises:
    FailedPreconditionError: If the last epoch has not ended, or what is at the path is not
        a FIFO.
    CancelledError: After ``cancel()``.
    OSError: If the FIFO cannot be made.
)doc";

constexpr char kWriteDoc[] = R"doc(Writes all of ``data``, a bytes-like object, without a copy.

Returns:
    ``False`` once the epoch is over early: the reader has closed it, or the fault struck.

Raises:
    FailedPreconditionError: Before ``begin_epoch()``.
    CancelledError: After ``cancel()``.
)doc";

constexpr char kCancelDoc[] =
    R"doc(Closes the FIFO; ends the call that another thread is in, and every later one, with
CancelledError.

Args:
    wait: Whether to wait for the end of that call, which a file that hangs may hold up.
)doc";

constexpr char kWriteFileDoc[] =
    R"doc(Hands on up to ``size`` bytes of a file, from its position on, without reading them.

Args:
    fd: The file. It must not be written to before the reader has its bytes.
    size: In bytes.

Returns:
    How many they were: fewer if the file ends, or once the epoch is over early. ``None``: this file
    cannot be handed on so, and has to be read.

Raises:
    FailedPreconditionError: Before ``begin_epoch()``.
    CancelledError: After ``cancel()``.
    OSError: If the file cannot be read.
)doc";

}  // namespace

void BindWriters(py::module_& module) {
  using namespace pybind11::literals;  // NOLINT(google-build-using-namespace): arg names

  module.def("encode", &Encode, "See records.encode.", "record"_a, "record_format"_a = "RecordIO",
             py::kw_only(), "recordio_parts"_a = "joined",
             "recordio_max_part_bytes"_a = static_cast<int64_t>(kRecordIoMaxPartBytes));

  module.def(
      "has_reader", [](const std::filesystem::path& path) { return HasReader(path.string()); },
      "Whether a process has a FIFO open for reading. No child that is forked meanwhile keeps it.",
      "path"_a);

  py::class_<ChannelWriter>(module, "ChannelWriter", "See records.ChannelWriter.",
                            py::module_local())
      .def(py::init(&MakeChannelWriter), "pipe_dir"_a, "channel"_a, py::kw_only(),
           "first_epoch"_a = 0, "chunk_bytes"_a = int64_t{1} << 20,
           "bytes_per_second"_a = py::none(), "pipe_bytes"_a = 0, "fault"_a = py::none(),
           "fault_at_byte"_a = 0)
      .def("begin_epoch", &ChannelWriter::BeginEpoch, kBeginEpochDoc)
      .def("write", &ChannelWriter::Write, kWriteDoc, "data"_a)
      .def("write_file", &ChannelWriter::WriteFile, kWriteFileDoc, "fd"_a, "size"_a)
      .def("end_epoch", &ChannelWriter::EndEpoch,
           "Closes the FIFO: its reader sees the end of the epoch.")
      .def("cancel", &ChannelWriter::Close, kCancelDoc, py::kw_only(), "wait"_a = true)
      .def_property_readonly("epoch", &ChannelWriter::epoch,
                             "Number of the current epoch, or of the next one between two.")
      .def_property_readonly("path", &ChannelWriter::path, "FIFO of that epoch.")
      .def_property_readonly("bytes_written", &ChannelWriter::bytes_written,
                             "Bytes written in the current or last epoch, as of the last call.")
      .def_property_readonly("reader_closed", &ChannelWriter::reader_closed,
                             "Whether its reader closed it early.")
      .def_property_readonly("seconds_waited", &ChannelWriter::seconds_waited,
                             "How long calls have slept so far, that which goes on now, too.")
      .def_property_readonly("is_waiting", &ChannelWriter::is_waiting,
                             "Whether a call goes on that had to wait.");
}

}  // namespace pipemode::python
