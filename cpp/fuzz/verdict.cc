// SPDX-License-Identifier: Apache-2.0
#include "fuzz/verdict.h"

#include <algorithm>
#include <utility>

#include "core/format/record_reader.h"
#include "core/format/record_stream.h"
#include "core/format/wire_format.h"
#include "core/io/buffered_reader.h"
#include "core/writer/record_encoder.h"
#include "fuzz/check.h"

namespace pipemode::fuzz {
namespace {

constexpr size_t kReferenceCapacity = size_t{1} << 12;
// The least there may be: nearly every record is a long one, read past the buffer.
constexpr size_t kSmallCapacity = RecordReader::kMinInputBytes;
constexpr size_t kOddCapacity = 117;
// What a record may ask for before any of its bytes have arrived.
constexpr size_t kHeadStartBytes = size_t{1} << 20;
constexpr char kDropped[] = "(dropped)";

// Collects a record. `arrived` is how many bytes there are in all.
class CheckingSink final : public RecordSink {
 public:
  explicit CheckingSink(size_t arrived) : limit_(2 * arrived + kHeadStartBytes) {}

  char* Resize(size_t size) override {
    Check(size <= limit_, "memory on the word of a length");
    record_.resize(size, '\xA5');
    return record_.data();
  }
  const std::string& record() const { return record_; }

 private:
  const size_t limit_;
  std::string record_;
};

// Messages go into logs and onto terminals: they are short, and hold no bytes of records.
void CheckMessage(std::string_view message) {
  Check(message.size() < 400, "a long message");
  for (const char c : message) Check(c >= ' ' && c <= '~', "an unprintable message");
}

// Reads until the end, whatever `Reader` is.
template <typename Reader>
Verdict ReadAll(Reader& reader, size_t arrived, Method method) {
  Verdict verdict;
  CheckingSink sink(arrived);
  std::vector<std::string_view> views;
  for (size_t turn = 0;; ++turn) {
    try {
      if (method == Method::kTakeBuffered) {
        views.clear();
        const size_t most = 1 + turn % 3;
        reader.TakeBuffered(most, &views);
        Check(views.size() <= most, "more views than asked for");
        for (const std::string_view view : views) verdict.records.emplace_back(std::string(view));
      }
      const bool drop = method == Method::kSkip && verdict.records.size() % 2 == 0;
      if (drop ? !reader.Skip() : !reader.Read(sink)) break;
      verdict.records.emplace_back(drop ? kDropped : sink.record());
    } catch (const CorruptRecordError& error) {
      CheckMessage(error.what());
      verdict.records.emplace_back(std::nullopt);
    } catch (const CancelledError&) {
      // The next turn makes the call again.
    } catch (const PipeError& error) {
      CheckMessage(error.what());
      verdict.error = error.code();
      verdict.message = error.what();
      break;
    }
  }
  return verdict;
}

bool IsPrefix(const Verdict& part, const Verdict& whole) {
  return part.records.size() <= whole.records.size() &&
         std::equal(part.records.begin(), part.records.end(), whole.records.begin());
}

std::string Describe(const Verdict& verdict) {
  return std::to_string(verdict.records.size()) + " records, " +
         (verdict.error ? "error: " + verdict.message : "clean end");
}

// What is there of a stream's beginning up to the first corrupt record.
std::vector<std::optional<std::string>> GoodRecords(const Verdict& verdict) {
  const auto end = std::find(verdict.records.begin(), verdict.records.end(), std::nullopt);
  return {verdict.records.begin(), end};
}

void CheckReEncoding(std::string_view bytes, const Verdict& verdict, const StreamOptions& options) {
  const std::vector<std::optional<std::string>> records = GoodRecords(verdict);
  const std::string encoded = Encode(records, options, kRecordIoMaxPartBytes);
  // RecordIO says the same in many ways: parts, and padding of any value.
  if (options.format != RecordFormat::kRecordIo) {
    // The last line may lack its newline.
    const bool open_end = options.format == RecordFormat::kTextLine && !verdict.error &&
                          !bytes.empty() && bytes.back() != '\n';
    const std::string with_newline = std::string(bytes) + (open_end ? "\n" : "");
    Check(with_newline.compare(0, encoded.size(), encoded) == 0, "encoded anew it is different");
    if (!verdict.error && records.size() == verdict.records.size()) {
      Check(encoded.size() == with_newline.size(), "bytes that belong to no record");
    }
  }
  Verdict expected;
  expected.records = records;
  StreamOptions any_size = options;
  any_size.max_record_bytes = kDefaultMaxRecordBytes;
  // A first line that looks like gzip is refused, so it was not in `records`.
  CheckSame(ReadWithReader(encoded, any_size, kReferenceCapacity, Chunking(), Method::kRead),
            expected, Method::kRead, "encoded anew");
}

}  // namespace

Verdict ReadWithReader(std::string_view bytes, const StreamOptions& options, size_t capacity,
                       const Chunking& chunking, Method method) {
  BufferedReader input(std::make_unique<ChunkedSource>(bytes, chunking), capacity);
  const std::unique_ptr<RecordReader> reader = MakeRecordReader(options, &input);
  Verdict verdict = ReadAll(*reader, bytes.size(), method);
  Check(reader->record_offset() <= bytes.size(), "a record behind the end");
  Check(input.position() <= bytes.size(), "a position behind the end");
  if (!verdict.error) Check(input.position() == bytes.size(), "a clean end before the end");
  return verdict;
}

Verdict ReadWithStream(std::unique_ptr<ByteSource> source, const StreamOptions& options) {
  // Inflated bytes are not counted: what they may ask for, the formats' own targets check.
  constexpr size_t kAnything = size_t{1} << 40;
  RecordStream stream(std::move(source), options);
  Verdict verdict = ReadAll(stream, kAnything, Method::kTakeBuffered);
  CheckingSink sink(0);
  std::vector<std::string_view> views;
  stream.TakeBuffered(1, &views);
  Check(views.empty() && !stream.Read(sink) && !stream.Skip(), "something after the end");
  const size_t corrupt =
      static_cast<size_t>(std::count(verdict.records.begin(), verdict.records.end(), std::nullopt));
  Check(stream.records() == verdict.records.size() - corrupt, "records miscounted");
  Check(stream.corrupted_records() >= corrupt, "corrupt records miscounted");
  return verdict;
}

void CheckSame(const Verdict& verdict, const Verdict& expected, Method method, const char* what) {
  Verdict due = expected;
  if (method == Method::kSkip) {
    for (size_t i = 0; i < due.records.size(); i += 2) {
      if (due.records[i]) due.records[i] = kDropped;
    }
  }
  Check(verdict == due,
        std::string(what) + ": " + Describe(verdict) + "; expected: " + Describe(due));
}

void CheckCancelled(const Verdict& cancelled, const Verdict& expected) {
  Check(cancelled == expected ||
            (IsPrefix(cancelled, expected) && cancelled.error == ErrorCode::kDataLoss),
        "cancelled: " + Describe(cancelled) + "; expected: " + Describe(expected));
}

void CheckFormat(std::string_view bytes, const StreamOptions& options, const Chunking& chunking) {
  const Verdict expected =
      ReadWithReader(bytes, options, kReferenceCapacity, Chunking(), Method::kRead);
  for (const size_t capacity : {kSmallCapacity, kOddCapacity, kReferenceCapacity}) {
    // A header that is to be recognised again has to fit in.
    if (options.text.repeated_header && capacity < kReferenceCapacity) continue;
    for (const Method method : {Method::kRead, Method::kSkip, Method::kTakeBuffered}) {
      CheckSame(ReadWithReader(bytes, options, capacity, chunking, method), expected, method,
                "read differently");
    }
  }
  Chunking cancelling = chunking;
  cancelling.cancelling = true;
  for (const size_t capacity : {kSmallCapacity, kReferenceCapacity}) {
    if (options.text.repeated_header && capacity < kReferenceCapacity) continue;
    CheckCancelled(ReadWithReader(bytes, options, capacity, cancelling, Method::kRead), expected);
  }
  const TextOptions& text = options.text;
  const bool leaves_out = text.skip_header_lines > 0 || text.strip_carriage_return;
  if (!leaves_out) CheckReEncoding(bytes, expected, options);
}

void CheckRoundTrip(std::string_view bytes, const StreamOptions& options, uint8_t record_bytes,
                    const Chunking& chunking) {
  Verdict expected;
  while (!bytes.empty()) {
    const size_t size = std::min<size_t>(record_bytes, bytes.size() - 1);
    std::string record(bytes.substr(0, size));
    if (options.format == RecordFormat::kTextLine) {
      std::replace(record.begin(), record.end(), '\n', ' ');
      // Refused as a first line, by intent: it would be compressed text that nobody announced.
      if (expected.records.empty() && MayBeCompressed(record)) record.insert(0, " ");
    }
    expected.records.emplace_back(std::move(record));
    bytes.remove_prefix(size + 1);
  }
  for (const size_t part_bytes : {size_t{kRecordIoMaxPartBytes}, size_t{5}}) {
    const std::string encoded = Encode(expected.records, options, part_bytes);
    for (const size_t capacity : {kSmallCapacity, kReferenceCapacity}) {
      CheckSame(ReadWithReader(encoded, options, capacity, chunking, Method::kTakeBuffered),
                expected, Method::kRead, "round trip");
    }
  }
}

std::string Encode(const std::vector<std::optional<std::string>>& records,
                   const StreamOptions& options, size_t recordio_max_part_bytes) {
  const RecordEncoder encoder({options.format, options.recordio_parts, recordio_max_part_bytes});
  std::string encoded;
  for (const std::optional<std::string>& record : records) encoder.Append(*record, &encoded);
  return encoded;
}

}  // namespace pipemode::fuzz
