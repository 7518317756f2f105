// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_CORE_IO_INFLATE_SOURCE_H_
#define PIPEMODE_CORE_IO_INFLATE_SOURCE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "core/io/byte_source.h"

namespace pipemode {

enum class Compression {
  kNone,
  kGzip,
  kZlib,
  kAuto,  // kGzip if the stream begins like it, else kNone
};

// The decompressed bytes of a stream of gzip members (RFC 1952) or zlib streams (RFC 1950), one
// after the other, any of which may be empty; no bytes at all are an empty stream. Memory is
// constant whatever the ratio.
//
// Throws DataLossError if the stream ends inside a member, if a member is corrupt (its checksum and
// length are verified before its end is reported), or if anything else than a member follows one;
// and what the compressed source throws.
class InflateSource final : public ByteSource {
 public:
  static constexpr size_t kDefaultInputBytes = size_t{256} << 10;

  // `compression` is kGzip or kZlib. `input_bytes` is how much compressed data is read at a time.
  InflateSource(std::unique_ptr<ByteSource> compressed, Compression compression,
                size_t input_bytes = kDefaultInputBytes);
  ~InflateSource() override;

  size_t Read(char* dst, size_t size) override;

 private:
  struct State;  // keeps <isa-l> out of this header
  enum class Part { kHeader, kBody, kTrailer };

  // Each, called again after a CancelledError, goes on where it was.
  bool ReadHeader();                        // false at the end of the stream
  size_t ReadBody(char* dst, size_t size);  // 0 at the end of the body
  void ReadTrailer();

  bool FillInput();
  void FillInputInMember();
  void BeginBody();
  void PutBackLookAhead();
  size_t TrailerBytes() const;
  std::string FormatName() const;
  // What to say of a stream that does not begin as announced, but with `first`.
  std::string BadStart(uint8_t first) const;
  [[noreturn]] void ThrowCorrupt(const std::string& what);

  const std::unique_ptr<ByteSource> compressed_;
  const Compression compression_;
  const size_t input_capacity_;
  const std::unique_ptr<char[]> buffer_;  // room for look-ahead that is put back, then the input
  const std::unique_ptr<State> state_;
  Part part_ = Part::kHeader;  // of the current member
  uint64_t input_bytes_ = 0;   // compressed bytes read from the source
  uint64_t members_ = 0;       // complete members so far
  bool ended_ = false;
};

}  // namespace pipemode

#endif  // PIPEMODE_CORE_IO_INFLATE_SOURCE_H_
