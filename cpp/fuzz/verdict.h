// SPDX-License-Identifier: Apache-2.0
//
// What a stream gives, however it is read: the same records and the same end.
#ifndef PIPEMODE_FUZZ_VERDICT_H_
#define PIPEMODE_FUZZ_VERDICT_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/error.h"
#include "core/format/record_format.h"
#include "core/io/byte_source.h"
#include "fuzz/chunked_source.h"

namespace pipemode::fuzz {

struct Verdict {
  // Records, in order; none where one was corrupt, but the one after it could be read.
  std::vector<std::optional<std::string>> records;
  std::optional<ErrorCode> error;  // that ended the stream; none: a clean end
  std::string message;             // of that error

  bool operator==(const Verdict& other) const {
    return records == other.records && error == other.error;
  }
};

enum class Method {
  kRead,
  kSkip,          // every second record is dropped
  kTakeBuffered,  // views of what is buffered, as far as that goes
};

// Reads all of `bytes` with a RecordReader over a buffer of `capacity`. Checks that memory follows
// the bytes, not the lengths that they claim, and that nothing comes after the end.
Verdict ReadWithReader(std::string_view bytes, const StreamOptions& options, size_t capacity,
                       const Chunking& chunking, Method method);

// The same with the whole chain: inflate, framing, and the rule for corrupt records, which are not
// reported as long as the rule lets them pass.
Verdict ReadWithStream(std::unique_ptr<ByteSource> source, const StreamOptions& options);

// Checks that `verdict` is `expected`, but for records that show as dropped.
void CheckSame(const Verdict& verdict, const Verdict& expected, Method method, const char* what);

// Checks that cancellation changed nothing, or that a long record which it cut off is reported.
void CheckCancelled(const Verdict& cancelled, const Verdict& expected);

// Checks that `bytes` give the same with every capacity, method and chunking, and, when calls are
// cancelled, the same or less; and that records make the round trip through our own writer.
void CheckFormat(std::string_view bytes, const StreamOptions& options, const Chunking& chunking);

// Writes what `bytes` is cut into as records, and reads that back.
void CheckRoundTrip(std::string_view bytes, const StreamOptions& options, uint8_t record_bytes,
                    const Chunking& chunking);

// All of `records`, which must have no gaps, as our own writer encodes them.
std::string Encode(const std::vector<std::optional<std::string>>& records,
                   const StreamOptions& options, size_t recordio_max_part_bytes);

}  // namespace pipemode::fuzz

#endif  // PIPEMODE_FUZZ_VERDICT_H_
