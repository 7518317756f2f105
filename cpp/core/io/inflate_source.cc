// SPDX-License-Identifier: Apache-2.0
//
// ISA-L decompresses and computes the checksums. Headers and trailers are read here, since
// ISA-L 2.30
//  - loses what it has read beyond a zlib trailer: the start of the next stream, or garbage,
//  - finds the checksum of a gzip header wrong if the header comes in two pieces,
//  - accepts gzip flags that RFC 1952 has readers refuse.
#include "core/io/inflate_source.h"

#include <isa-l/crc.h>
#include <isa-l/igzip_lib.h>

#include <algorithm>
#include <string>
#include <utility>

#include "core/base/error.h"

namespace pipemode {
namespace {

// ISA-L counts in 32 bits.
constexpr size_t kMaxOutputBytes = size_t{1} << 30;
// ISA-L holds up to 64 bits of its input.
constexpr size_t kMaxLookAheadBytes = 8;

constexpr uint8_t kDeflate = 8;  // the compression method of both formats

constexpr uint8_t kGzipMagic[] = {0x1f, 0x8b};
constexpr size_t kGzipFixedBytes = 10;  // magic, method, flags, time, extra flags, system
constexpr uint8_t kHeaderCrcFlag = 0x02;
constexpr uint8_t kExtraFlag = 0x04;
constexpr uint8_t kNameFlag = 0x08;
constexpr uint8_t kCommentFlag = 0x10;
constexpr uint8_t kReservedFlags = 0xe0;
constexpr size_t kGzipTrailerBytes = 8;  // CRC-32 and length modulo 2^32, little-endian

constexpr uint8_t kMaxZlibMethod = 0x7f;  // deflate with the largest window, 32 KiB
constexpr uint8_t kUsualZlibMethod = 0x78;
constexpr uint8_t kZlibDictionaryFlag = 0x20;
constexpr size_t kZlibTrailerBytes = 4;  // Adler-32, big-endian

// The header of one member, taken byte by byte: it may be split anywhere.
class Header {
 public:
  enum class Result { kMore, kDone, kBadMagic, kBadMethod, kBadFlags, kBadChecksum, kDictionary };

  bool begun() const { return part_ != Part::kFixed || taken_ > 0; }

  Result TakeGzip(uint8_t byte) {
    if (part_ != Part::kChecksum) checksum_ = crc32_gzip_refl(checksum_, &byte, 1);
    const size_t at = taken_++;
    switch (part_) {
      case Part::kFixed:
        if (at < 2 && byte != kGzipMagic[at]) return Result::kBadMagic;
        if (at == 2 && byte != kDeflate) return Result::kBadMethod;
        if (at == 3) flags_ = byte;
        if ((flags_ & kReservedFlags) != 0) return Result::kBadFlags;
        return taken_ < kGzipFixedBytes ? Result::kMore : NextPart();
      case Part::kExtraLength:
        extra_length_ |= size_t{byte} << (8 * at);
        return taken_ < 2 ? Result::kMore : NextPart();
      case Part::kExtra:
        return taken_ < extra_length_ ? Result::kMore : NextPart();
      case Part::kName:
      case Part::kComment:
        return byte != 0 ? Result::kMore : NextPart();
      case Part::kChecksum:
        if (byte != (checksum_ >> (8 * at) & 0xff)) return Result::kBadChecksum;
        return taken_ < 2 ? Result::kMore : NextPart();
    }
    return Result::kDone;
  }

  Result TakeZlib(uint8_t byte) {
    if (taken_++ == 0) {
      method_ = byte;
      const bool good = (byte & 0x0f) == kDeflate && byte <= kMaxZlibMethod;
      return good ? Result::kMore : Result::kBadMagic;
    }
    if ((method_ * 256 + byte) % 31 != 0) return Result::kBadMagic;
    return (byte & kZlibDictionaryFlag) == 0 ? Result::kDone : Result::kDictionary;
  }

 private:
  enum class Part { kFixed, kExtraLength, kExtra, kName, kComment, kChecksum };

  // Goes on to the next part of a gzip header that is there.
  Result NextPart() {
    taken_ = 0;
    switch (part_) {
      case Part::kFixed:
        part_ = Part::kExtraLength;
        if ((flags_ & kExtraFlag) != 0) return Result::kMore;
        [[fallthrough]];
      case Part::kExtraLength:
        part_ = Part::kExtra;
        if (extra_length_ > 0) return Result::kMore;
        [[fallthrough]];
      case Part::kExtra:
        part_ = Part::kName;
        if ((flags_ & kNameFlag) != 0) return Result::kMore;
        [[fallthrough]];
      case Part::kName:
        part_ = Part::kComment;
        if ((flags_ & kCommentFlag) != 0) return Result::kMore;
        [[fallthrough]];
      case Part::kComment:
        part_ = Part::kChecksum;
        if ((flags_ & kHeaderCrcFlag) != 0) return Result::kMore;
        [[fallthrough]];
      case Part::kChecksum:
        break;
    }
    return Result::kDone;
  }

  Part part_ = Part::kFixed;
  size_t taken_ = 0;  // bytes of this part
  uint8_t method_ = 0;
  uint8_t flags_ = 0;
  size_t extra_length_ = 0;
  uint32_t checksum_ = 0;
};

}  // namespace

struct InflateSource::State {
  inflate_state inflate;  // headers and trailers, too, are taken from its next_in
  Header header;
  uint32_t length = 0;  // bytes that this member has given, modulo 2^32
  size_t trailer_taken = 0;
};

InflateSource::InflateSource(std::unique_ptr<ByteSource> compressed, Compression compression,
                             size_t input_bytes)
    : compressed_(std::move(compressed)),
      compression_(compression),
      input_capacity_(input_bytes),
      buffer_(new char[kMaxLookAheadBytes + input_bytes]),
      state_(new State) {
  isal_inflate_init(&state_->inflate);
}

InflateSource::~InflateSource() = default;

size_t InflateSource::Read(char* dst, size_t size) {
  while (!ended_) {
    switch (part_) {
      case Part::kHeader:
        ended_ = !ReadHeader();
        break;
      case Part::kBody:
        if (const size_t count = ReadBody(dst, size)) {
          // A wrong checksum is better known before the bytes are handed out; no reason to wait,
          // though.
          if (part_ == Part::kTrailer && state_->inflate.avail_in >= TrailerBytes()) ReadTrailer();
          return count;
        }
        break;
      case Part::kTrailer:
        ReadTrailer();
        break;
    }
  }
  return 0;
}

bool InflateSource::ReadHeader() {
  inflate_state& inflate = state_->inflate;
  for (;;) {
    if (inflate.avail_in == 0) {
      if (state_->header.begun()) {
        FillInputInMember();
      } else if (!FillInput()) {
        return false;
      }
    }
    const uint8_t byte = *inflate.next_in++;
    --inflate.avail_in;
    switch (compression_ == Compression::kGzip ? state_->header.TakeGzip(byte)
                                               : state_->header.TakeZlib(byte)) {
      case Header::Result::kMore:
        break;
      case Header::Result::kDone:
        BeginBody();
        return true;
      case Header::Result::kBadMagic:
        ThrowCorrupt(members_ > 0 ? "garbage follows a complete member" : BadStart(byte));
      case Header::Result::kBadMethod:
        ThrowCorrupt("unknown compression method");
      case Header::Result::kBadFlags:
        ThrowCorrupt("unknown header flags");
      case Header::Result::kBadChecksum:
        ThrowCorrupt("header checksum mismatch");
      case Header::Result::kDictionary:
        ThrowCorrupt("needs a preset dictionary");
    }
  }
}

void InflateSource::BeginBody() {
  inflate_state& inflate = state_->inflate;
  isal_inflate_reset(&inflate);
  inflate.crc_flag = compression_ == Compression::kGzip ? ISAL_GZIP_NO_HDR : ISAL_ZLIB_NO_HDR;
  state_->header = Header();
  state_->length = 0;
  part_ = Part::kBody;
}

size_t InflateSource::ReadBody(char* dst, size_t size) {
  inflate_state& inflate = state_->inflate;
  const uint32_t room = static_cast<uint32_t>(std::min(size, kMaxOutputBytes));
  for (;;) {
    const uint32_t input_before = inflate.avail_in;
    inflate.next_out = reinterpret_cast<uint8_t*>(dst);
    inflate.avail_out = room;
    if (isal_inflate(&inflate) < 0) ThrowCorrupt("invalid compressed data");
    const uint32_t produced = room - inflate.avail_out;
    state_->length += produced;
    if (inflate.block_state == ISAL_BLOCK_FINISH) {
      PutBackLookAhead();
      state_->trailer_taken = 0;
      part_ = Part::kTrailer;
      return produced;
    }
    if (produced > 0) return produced;
    if (inflate.avail_in == 0) {
      FillInputInMember();
    } else if (inflate.avail_in == input_before) {
      // Room for output, input at hand, and neither used: never seen, but it must not become an
      // endless loop.
      ThrowCorrupt("no progress");
    }
  }
}

void InflateSource::ReadTrailer() {
  inflate_state& inflate = state_->inflate;
  while (state_->trailer_taken < TrailerBytes()) {
    if (inflate.avail_in == 0) FillInputInMember();
    const uint8_t byte = *inflate.next_in++;
    --inflate.avail_in;
    const size_t at = state_->trailer_taken++;
    uint32_t expected;
    if (compression_ == Compression::kGzip) {
      expected = (at < 4 ? inflate.crc : state_->length) >> (8 * (at % 4));
    } else {
      expected = inflate.crc >> (8 * (3 - at));
    }
    if (byte != (expected & 0xff)) ThrowCorrupt(at < 4 ? "checksum mismatch" : "length mismatch");
  }
  ++members_;
  part_ = Part::kHeader;
}

bool InflateSource::FillInput() {
  char* const input = buffer_.get() + kMaxLookAheadBytes;
  size_t count;
  try {
    count = compressed_->Read(input, input_capacity_);
  } catch (const CancelledError&) {
    throw;
  } catch (const PipeError&) {
    ended_ = true;
    throw;
  }
  input_bytes_ += count;
  state_->inflate.next_in = reinterpret_cast<uint8_t*>(input);
  state_->inflate.avail_in = static_cast<uint32_t>(count);
  return count > 0;
}

void InflateSource::FillInputInMember() {
  if (!FillInput()) ThrowCorrupt("the stream ends inside a member");
}

void InflateSource::PutBackLookAhead() {
  inflate_state& inflate = state_->inflate;
  inflate.read_in >>= inflate.read_in_length % 8;  // what fills the last byte of the body
  const int32_t bytes = inflate.read_in_length / 8;
  // They stand in front of next_in already, or belong there: at the start of the input is room for
  // them.
  inflate.next_in -= bytes;
  inflate.avail_in += static_cast<uint32_t>(bytes);
  for (int32_t i = 0; i < bytes; ++i) {
    inflate.next_in[i] = static_cast<uint8_t>(inflate.read_in >> (8 * i));
  }
  inflate.read_in_length = 0;
}

size_t InflateSource::TrailerBytes() const {
  return compression_ == Compression::kGzip ? kGzipTrailerBytes : kZlibTrailerBytes;
}

std::string InflateSource::FormatName() const {
  return compression_ == Compression::kGzip ? "gzip" : "zlib";
}

std::string InflateSource::BadStart(uint8_t first) const {
  const inflate_state& inflate = state_->inflate;
  const uint8_t second = inflate.avail_in > 0 ? *inflate.next_in : 0;
  if (compression_ == Compression::kGzip && first == kUsualZlibMethod &&
      (first * 256 + second) % 31 == 0) {
    return "bad header; the stream begins like zlib: pass compression_type='ZLIB'";
  }
  if (compression_ == Compression::kZlib && first == kGzipMagic[0] && second == kGzipMagic[1]) {
    return "bad header; the stream begins like gzip: pass compression_type='GZIP'";
  }
  return "bad header; is this stream really " + FormatName() +
         "? Where the service decompresses (CompressionType: Gzip), pass no compression_type";
}

void InflateSource::ThrowCorrupt(const std::string& what) {
  ended_ = true;
  throw DataLossError(FormatName() + " member " + std::to_string(members_) +
                      ", near compressed byte " +
                      std::to_string(input_bytes_ - state_->inflate.avail_in) + ": " + what);
}

}  // namespace pipemode
