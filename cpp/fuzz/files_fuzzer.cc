// SPDX-License-Identifier: Apache-2.0
//
// The files of a channel, held against each of them read alone. Input: what they are (format,
// compression found or not, parts), limits, text (as text_line_fuzzer has it), how many files there
// are (bits 0 and 1), which of them are read (bits 2 to 4), which one is listed with a wrong size
// (bits 5 to 7); two bytes for the size of each file but the last one; what is in them.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/base/unique_fd.h"
#include "core/channel/files_reader.h"
#include "core/format/content.h"
#include "core/format/record_format.h"
#include "core/format/record_stream.h"
#include "core/io/cancel_token.h"
#include "core/io/inflate_source.h"
#include "core/io/wait.h"
#include "fuzz/check.h"
#include "fuzz/chunked_source.h"
#include "fuzz/fuzz_input.h"
#include "fuzz/verdict.h"
#include "testing/string_sink.h"

namespace pipemode::fuzz {
namespace {

// What every buffer of a reader holds: of more, how much comes before a wrong checksum shows
// depends on the buffer.
constexpr size_t kMaxInflatedBytes = 60'000;

constexpr uint8_t kStrip = 8;
constexpr uint8_t kRepeatedHeader = 16;
constexpr int kHeaderLinesShift = 5;

StreamOptions TakeOptions(FuzzInput* input) {
  constexpr RecordFormat kFormats[] = {RecordFormat::kRecordIo, RecordFormat::kTfRecord,
                                       RecordFormat::kTextLine};
  constexpr uint64_t kMaxRecordBytes[] = {kDefaultMaxRecordBytes, 1, 20, 1000, 20000, UINT64_MAX};
  constexpr uint64_t kMaxCorrupted[] = {0, 1, 2, UINT64_MAX};
  const uint8_t kind = input->TakeByte();
  const uint8_t limits = input->TakeByte();
  const uint8_t text = input->TakeByte();
  StreamOptions options;
  options.format = kFormats[kind % 3];
  options.compression = kind / 3 % 2 != 0 ? Compression::kAuto : Compression::kNone;
  options.recordio_parts = kind / 6 % 2 != 0 ? RecordIoParts::kDmlc : RecordIoParts::kJoined;
  options.is_one_record = options.format == RecordFormat::kRecordIo && kind / 12 % 4 == 3;
  options.max_record_bytes = kMaxRecordBytes[limits % 6];
  options.max_corrupted_records_to_skip = kMaxCorrupted[limits / 6 % 4];
  if (options.format == RecordFormat::kTextLine) {
    options.text.strip_carriage_return = (text & kStrip) != 0;
    options.text.skip_header_lines = text >> kHeaderLinesShift & 3;
    options.text.repeated_header =
        options.text.skip_header_lines > 0 && (text & kRepeatedHeader) != 0;
  }
  return options;
}

// Files in memory, which paths lead to.
struct Files {
  std::vector<std::string> contents;
  std::vector<UniqueFd> descriptors;
  std::shared_ptr<FileList> list = std::make_shared<FileList>();
};

Files TakeFiles(FuzzInput* input) {
  const uint8_t choice = input->TakeByte();
  Files files;
  const size_t count = 1 + choice % 4;
  std::vector<size_t> sizes;
  for (size_t i = 1; i < count; ++i) {
    const size_t low = input->TakeByte();
    sizes.push_back(low + 256 * input->TakeByte());
  }
  sizes.push_back(SIZE_MAX);
  std::string_view rest = input->rest();
  for (const size_t size : sizes) {
    files.contents.emplace_back(rest.substr(0, size));
    rest.remove_prefix(files.contents.back().size());
  }
  for (const std::string& content : files.contents) {
    files.descriptors.emplace_back(::memfd_create("fuzz", MFD_CLOEXEC));
    const int fd = files.descriptors.back().get();
    Check(::write(fd, content.data(), content.size()) == static_cast<ssize_t>(content.size()),
          "a short write");
    files.list->files.push_back({"/proc/self/fd/" + std::to_string(fd), content.size()});
  }
  files.list->stride = 1 + choice / 4 % 4;
  files.list->first = choice / 16 % 2 % files.list->stride;
  const size_t wrong = choice / 32;
  if (wrong < count) ++files.list->files[wrong].size;
  return files;
}

bool IsSmall(std::string_view bytes) {
  if (ContentOf(bytes) != Content::kGzip) return true;
  InflateSource source(std::make_unique<ChunkedSource>(bytes, Chunking()), Compression::kGzip);
  std::string piece(kMaxInflatedBytes, '\0');
  size_t size = 0;
  try {
    while (const size_t count = source.Read(piece.data(), piece.size())) {
      size += count;
      if (size > kMaxInflatedBytes) return false;
    }
  } catch (const DataLossError&) {
  }
  return size <= kMaxInflatedBytes;
}

// A record and its file, or an error.
struct Event {
  std::string record;
  uint64_t file = 0;
  std::string error;

  bool operator==(const Event& other) const {
    return record == other.record && file == other.file && error == other.error;
  }
};

using Events = std::vector<Event>;

std::string WithoutAdvice(std::string message) {
  for (const char* advice : {"; if this file is not data", "; is something writing to it?"}) {
    message = message.substr(0, message.find(advice));
  }
  return message;
}

std::string Where(const Files& files, uint64_t file) {
  return "channel 'fuzz' file '" + files.list->files[file].path + "': ";
}

// Appends what `stream`, the file number `file`, gives; its first record only, and that not as an
// event, if it is read for its header.
void ReadAlone(const Files& files, uint64_t file, RecordStream& stream, bool for_header,
               Events* events) {
  testing::StringSink sink;
  for (;;) {
    try {
      if (for_header) {
        stream.Skip();
        return;
      }
      if (!stream.Read(sink)) return;
      events->push_back({sink.record(), file, ""});
    } catch (const PipeError& error) {
      events->push_back({"", file, Where(files, file) + error.what()});
      if (for_header) return;
    }
  }
}

// The records of the files that are read, each by itself.
Events ReadEachAlone(const Files& files, const StreamOptions& options) {
  const FileList& list = *files.list;
  Events events;
  StreamCarry carry;
  uint64_t last = list.first;
  while (last + list.stride < list.files.size()) last += list.stride;
  for (uint64_t file = 0; file <= last && last < list.files.size(); ++file) {
    const bool is_read = file % list.stride == list.first;
    const bool tells_header =
        options.text.repeated_header && carry.header.size() < options.text.skip_header_lines;
    if (!is_read && !tells_header) continue;
    const std::string& bytes = files.contents[file];
    if (list.files[file].size != bytes.size()) {
      events.push_back({"", file,
                        Where(files, file) + "the file has " + std::to_string(bytes.size()) +
                            " bytes now, and had " + std::to_string(list.files[file].size) +
                            " when it was listed"});
      continue;
    }
    RecordStream stream(std::make_unique<ChunkedSource>(bytes, Chunking()), options, &carry);
    ReadAlone(files, file, stream, !is_read, &events);
  }
  return events;
}

// Cancels what reads, after every third read.
class Canceller final : public WaitObserver {
 public:
  void OnWaited(std::chrono::steady_clock::duration /*time*/) override {
    if (++reads_ % 3 == 0) cancel.Cancel();
  }

  CancelToken cancel;

 private:
  int reads_ = 0;
};

Events ReadTogether(const Files& files, const StreamOptions& options, Method method,
                    bool cancelling) {
  Canceller canceller;
  FilesReader reader("fuzz", files.list, options,
                     WaitContext{&canceller.cancel, cancelling ? &canceller : nullptr},
                     files.list->first);
  Events events;
  testing::StringSink sink;
  std::vector<std::string_view> views;
  for (;;) {
    try {
      if (method == Method::kTakeBuffered) {
        views.clear();
        reader.TakeBuffered(1 + events.size() % 3, &views);
        for (const std::string_view view : views) {
          events.push_back({std::string(view), reader.file(), ""});
        }
      }
      const bool drop = method == Method::kSkip && events.size() % 2 == 0;
      if (drop ? !reader.Skip() : !reader.Read(sink)) break;
      events.push_back({drop ? "(dropped)" : sink.record(), reader.file(), ""});
    } catch (const CancelledError&) {
      canceller.cancel.Reset();
    } catch (const PipeError& error) {
      // The file is the one that the message names.
      const std::string message = WithoutAdvice(error.what());
      uint64_t file = 0;
      while (message.find(Where(files, file)) != 0) {
        Check(++file < files.contents.size(), "an error that names no file: " + message);
      }
      events.push_back({"", file, message});
    }
  }
  reader.TakeBuffered(1, &views);
  Check(!reader.Read(sink) && !reader.Skip(), "something after the end");
  return events;
}

std::string Describe(const Events& events) {
  std::string text = std::to_string(events.size()) + " events:";
  for (const Event& event : events) {
    text += event.error.empty() ? " " + std::to_string(event.record.size()) + " bytes of file " +
                                      std::to_string(event.file)
                                : " [" + event.error + "]";
  }
  return text;
}

void CheckSameEvents(const Events& events, const Events& expected, const char* what) {
  Check(events == expected,
        std::string(what) + ": " + Describe(events) + "; expected: " + Describe(expected));
}

// A long record that a cancelled call left half read is an error.
bool IsHalfRead(const Event& event) {
  return event.error.find("half read by a cancelled call") != std::string::npos;
}

}  // namespace
}  // namespace pipemode::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace pipemode;
  using fuzz::Events;
  fuzz::FuzzInput input(data, size);
  const StreamOptions options = fuzz::TakeOptions(&input);
  const fuzz::Files files = fuzz::TakeFiles(&input);
  if (options.compression == Compression::kAuto &&
      !std::all_of(files.contents.begin(), files.contents.end(), fuzz::IsSmall)) {
    return 0;
  }
  Events expected = fuzz::ReadEachAlone(files, options);
  for (fuzz::Event& event : expected) event.error = fuzz::WithoutAdvice(event.error);
  for (const fuzz::Method method : {fuzz::Method::kRead, fuzz::Method::kTakeBuffered}) {
    fuzz::CheckSameEvents(fuzz::ReadTogether(files, options, method, false), expected, "together");
  }
  const Events cancelled = fuzz::ReadTogether(files, options, fuzz::Method::kRead, true);
  if (std::none_of(cancelled.begin(), cancelled.end(), fuzz::IsHalfRead)) {
    fuzz::CheckSameEvents(cancelled, expected, "cancelled");
  }
  for (size_t i = 0; i < expected.size(); i += 2) {
    if (expected[i].error.empty()) expected[i].record = "(dropped)";
  }
  fuzz::CheckSameEvents(fuzz::ReadTogether(files, options, fuzz::Method::kSkip, false), expected,
                        "dropped");
  return 0;
}
