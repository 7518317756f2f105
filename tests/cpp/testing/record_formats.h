// SPDX-License-Identifier: Apache-2.0
//
// The record formats as parameters of tests, and whole streams read at once.
#ifndef PIPEMODE_TESTS_TESTING_RECORD_FORMATS_H_
#define PIPEMODE_TESTS_TESTING_RECORD_FORMATS_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "core/base/byte_order.h"
#include "core/base/error.h"
#include "core/format/record_format.h"
#include "core/format/record_reader.h"
#include "core/format/wire_format.h"
#include "core/io/buffered_reader.h"
#include "core/io/byte_source.h"
#include "core/writer/record_encoder.h"
#include "testing/random.h"
#include "testing/string_sink.h"

namespace pipemode::testing {

using Records = std::vector<std::string>;

// A format with everything that makes its bytes look different.
struct FormatCase {
  std::string name;
  EncoderOptions encoder;

  StreamOptions options() const {
    StreamOptions options;
    options.format = encoder.format;
    options.recordio_parts = encoder.recordio_parts;
    return options;
  }
  bool is_text() const { return encoder.format == RecordFormat::kTextLine; }
};

inline void PrintTo(const FormatCase& format, std::ostream* out) { *out << format.name; }

inline std::vector<FormatCase> AllFormats() {
  return {
      {"TFRecord", {RecordFormat::kTfRecord, RecordIoParts::kJoined, kRecordIoMaxPartBytes}},
      {"RecordIO", {RecordFormat::kRecordIo, RecordIoParts::kJoined, kRecordIoMaxPartBytes}},
      {"RecordIOInParts", {RecordFormat::kRecordIo, RecordIoParts::kJoined, 5}},
      {"RecordIODmlc", {RecordFormat::kRecordIo, RecordIoParts::kDmlc, kRecordIoMaxPartBytes}},
      {"TextLine", {RecordFormat::kTextLine, RecordIoParts::kJoined, kRecordIoMaxPartBytes}},
  };
}

// All but TextLine.
inline std::vector<FormatCase> FramedFormats() {
  std::vector<FormatCase> formats = AllFormats();
  formats.pop_back();
  return formats;
}

inline const FormatCase& TfRecord() {
  static const FormatCase format = AllFormats()[0];
  return format;
}

inline const FormatCase& RecordIo() {
  static const FormatCase format = AllFormats()[1];
  return format;
}

inline std::string RecordIoMagic() {
  std::string magic(kRecordIoMagicBytes, '\0');
  StoreLittleEndian32(kRecordIoMagic, magic.data());
  return magic;
}

// A stream, and the offsets behind each of its records.
struct Encoded {
  std::string bytes;
  std::vector<size_t> ends;
};

inline Encoded Encode(const FormatCase& format, const Records& records) {
  const RecordEncoder encoder(format.encoder);
  Encoded encoded;
  for (const std::string& record : records) {
    encoder.Append(record, &encoded.bytes);
    encoded.ends.push_back(encoded.bytes.size());
  }
  return encoded;
}

// A record that the format can hold; every now and then with what looks like a frame inside.
inline std::string RandomRecord(const FormatCase& format, size_t size, Random& random) {
  std::string record = random.Bytes(size);
  for (size_t hits = random.Below(3); hits > 0 && size >= kRecordIoMagicBytes; --hits) {
    record.replace(random.Below(size - kRecordIoMagicBytes + 1), kRecordIoMagicBytes,
                   RecordIoMagic());
  }
  if (format.is_text()) std::replace(record.begin(), record.end(), '\n', ' ');
  return record;
}

// What a stream gives until it ends, or fails.
struct ReadOutcome {
  Records records;
  std::string error;  // empty: a clean end
  bool data_loss = false;
  bool corrupt_record = false;
  int cancelled = 0;
  size_t largest_sink = 0;
};

// Reads all records, again after each CancelledError. `skip_one_in` records are dropped and show as
// "skipped" if it is not 0.
inline ReadOutcome ReadRecords(std::unique_ptr<ByteSource> source, const StreamOptions& options,
                               size_t capacity = BufferedReader::kDefaultCapacity,
                               size_t skip_one_in = 0) {
  BufferedReader input(std::move(source), capacity);
  const std::unique_ptr<RecordReader> reader = MakeRecordReader(options, &input);
  StringSink sink;
  ReadOutcome outcome;
  for (;;) {
    const bool skip = skip_one_in > 0 && outcome.records.size() % skip_one_in == 0;
    try {
      if (skip ? !reader->Skip() : !reader->Read(sink)) break;
      outcome.records.push_back(skip ? "skipped" : sink.record());
    } catch (const CancelledError&) {
      ++outcome.cancelled;
    } catch (const PipeError& error) {
      outcome.error = error.what();
      outcome.data_loss = dynamic_cast<const DataLossError*>(&error) != nullptr;
      outcome.corrupt_record = dynamic_cast<const CorruptRecordError*>(&error) != nullptr;
      break;
    }
  }
  outcome.largest_sink = sink.largest();
  return outcome;
}

// The first `count` of `records`, with those that ReadRecords drops.
inline Records FirstRecords(const Records& records, size_t count, size_t skip_one_in = 0) {
  Records first(records.begin(), records.begin() + static_cast<std::ptrdiff_t>(count));
  if (skip_one_in == 0) return first;
  for (size_t i = 0; i < first.size(); i += skip_one_in) first[i] = "skipped";
  return first;
}

}  // namespace pipemode::testing

#endif  // PIPEMODE_TESTS_TESTING_RECORD_FORMATS_H_
