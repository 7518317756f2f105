// SPDX-License-Identifier: Apache-2.0
//
// InflateSource against zlib. Input: options (bit 0: zlib instead of gzip, bits 1 and 2: what the
// rest is, bits 3 to 5: how much is read at a time), chunking, and
//   0, 3  a stream
//   1     a deflate body, to be wrapped into a member with a right trailer
//   2     how to compress, plain bytes
#include <zlib.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/byte_order.h"
#include "core/base/error.h"
#include "core/io/inflate_source.h"
#include "fuzz/check.h"
#include "fuzz/chunked_source.h"
#include "fuzz/compress.h"
#include "fuzz/fuzz_input.h"
#include "fuzz/guarded_buffer.h"
#include "testing/deflate.h"

namespace pipemode::fuzz {
namespace {

constexpr size_t kReadBytes[] = {1, 7, 64, 300, 4096, 65536, 100, 2};
constexpr size_t kInputBytes[] = {1, 2, 9, 64, 300, 4096, 65536, InflateSource::kDefaultInputBytes};
// From here on small reads only take time.
constexpr size_t kSlowBytes = size_t{1} << 14;

// Everything that comes out; nothing if anything is refused.
std::optional<std::string> Inflate(std::string_view bytes, Compression compression,
                                   const Chunking& chunking, uint8_t sizes) {
  static const GuardedBuffer buffer(65536);
  InflateSource source(std::make_unique<ChunkedSource>(bytes, chunking), compression,
                       kInputBytes[sizes / 8 % 8]);
  std::string out;
  for (;;) {
    const size_t size = out.size() < kSlowBytes ? kReadBytes[sizes % 8] : 65536;
    try {
      const size_t count = source.Read(buffer.Last(size), size);
      Check(count <= size, "more than was asked for");
      if (count == 0) break;
      out.append(buffer.Last(size), count);
    } catch (const CancelledError&) {
      // Again.
    } catch (const DataLossError&) {
      Check(source.Read(buffer.Last(1), 1) == 0, "something after the end");
      return std::nullopt;
    }
  }
  Check(source.Read(buffer.Last(1), 1) == 0, "something after the end");
  return out;
}

// `body` as one member, with the trailer that it should have if zlib can inflate it at all.
std::string Wrap(std::string_view body, Compression compression) {
  std::string out;
  z_stream stream{};
  Check(::inflateInit2(&stream, -15) == Z_OK, "inflateInit2");
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(body.data()));
  stream.avail_in = static_cast<uInt>(body.size());
  int result = Z_OK;
  char piece[4096];
  do {
    stream.next_out = reinterpret_cast<Bytef*>(piece);
    stream.avail_out = sizeof(piece);
    result = ::inflate(&stream, Z_NO_FLUSH);
    out.append(piece, sizeof(piece) - stream.avail_out);
  } while (result == Z_OK);
  const size_t used = body.size() - stream.avail_in;
  ::inflateEnd(&stream);
  const auto* const plain = reinterpret_cast<const Bytef*>(out.data());
  const auto size = static_cast<uInt>(out.size());
  std::string member;
  char trailer[8];
  if (compression == Compression::kGzip) {
    member = std::string("\x1f\x8b\x08\0\0\0\0\0\0\x03", 10);
    StoreLittleEndian32(static_cast<uint32_t>(::crc32(0, plain, size)), trailer);
    StoreLittleEndian32(size, trailer + 4);
    return member.append(body.substr(0, used)).append(trailer, 8).append(body.substr(used));
  }
  member = "\x78\x9c";
  StoreLittleEndian32(__builtin_bswap32(static_cast<uint32_t>(::adler32(1, plain, size))), trailer);
  return member.append(body.substr(0, used)).append(trailer, 4).append(body.substr(used));
}

}  // namespace
}  // namespace pipemode::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace pipemode;
  fuzz::FuzzInput input(data, size);
  const uint8_t flags = input.TakeByte();
  const uint8_t chunking_byte = input.TakeByte();
  const auto sizes = static_cast<uint8_t>(flags / 8 % 8 + chunking_byte / 16 * 8);
  const Compression compression = (flags & 1) != 0 ? Compression::kZlib : Compression::kGzip;
  fuzz::Chunking chunking = fuzz::Chunking::FromByte(chunking_byte);

  std::string bytes;
  std::optional<std::string> expected;
  switch (flags / 2 % 4) {
    case 2: {
      const uint8_t choice = input.TakeByte();
      expected = std::string(input.rest());
      bytes = fuzz::CompressInMembers(input.rest(), compression, choice);
      break;
    }
    case 1:
      bytes = fuzz::Wrap(input.rest(), compression);
      expected = testing::ReferenceInflate(bytes, compression);
      break;
    default:
      bytes = std::string(input.rest());
      expected = testing::ReferenceInflate(bytes, compression);
  }
  const auto check = [&] {
    const std::optional<std::string> found = fuzz::Inflate(bytes, compression, chunking, sizes);
    fuzz::Check(!found || expected, "zlib refuses what we accept");
    fuzz::Check(found || !expected, "zlib accepts what we refuse");
    fuzz::Check(found == expected, "zlib inflates it differently");
  };
  check();
  chunking.cancelling = true;
  check();
  return 0;
}
