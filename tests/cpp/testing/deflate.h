// SPDX-License-Identifier: Apache-2.0
//
// Compressed data as zlib makes it: the oracle for our own inflate.
#ifndef PIPEMODE_TESTS_TESTING_DEFLATE_H_
#define PIPEMODE_TESTS_TESTING_DEFLATE_H_

#include <zlib.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

#include "core/base/byte_order.h"
#include "core/io/inflate_source.h"

namespace pipemode::testing {

struct DeflateOptions {
  Compression compression = Compression::kGzip;
  int level = Z_DEFAULT_COMPRESSION;
  int strategy = Z_DEFAULT_STRATEGY;
  int window_bits = 15;
  // gzip header fields; none of them is written while all are empty.
  std::string name;
  std::string comment;
  std::string extra;
  bool header_crc = false;
};

// Wraps zlib's deflate; window bits as zlib wants them: 9..15 zlib, 25..31 gzip, negative raw.
class Deflater {
 public:
  Deflater(int window_bits, int level, int strategy) {
    if (::deflateInit2(&stream_, level, Z_DEFLATED, window_bits, 8, strategy) != Z_OK) {
      throw std::runtime_error("deflateInit2");
    }
  }
  Deflater(const Deflater&) = delete;
  Deflater& operator=(const Deflater&) = delete;
  ~Deflater() { ::deflateEnd(&stream_); }

  // `header` must live as long as this object.
  void SetHeader(gz_header* header) {
    if (::deflateSetHeader(&stream_, header) != Z_OK) throw std::runtime_error("deflateSetHeader");
  }

  std::string Run(std::string_view bytes, int flush) {
    std::string out;
    std::string piece(size_t{1} << 16, '\0');
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
    stream_.avail_in = static_cast<uInt>(bytes.size());
    int result;
    do {
      stream_.next_out = reinterpret_cast<Bytef*>(piece.data());
      stream_.avail_out = static_cast<uInt>(piece.size());
      result = ::deflate(&stream_, flush);
      if (result == Z_STREAM_ERROR) throw std::runtime_error("deflate");
      out.append(piece, 0, piece.size() - stream_.avail_out);
    } while (stream_.avail_out == 0 || (flush == Z_FINISH && result != Z_STREAM_END));
    return out;
  }

 private:
  z_stream stream_{};
};

// One gzip member or zlib stream.
inline std::string Deflate(std::string_view bytes, const DeflateOptions& options = {}) {
  const bool gzip = options.compression == Compression::kGzip;
  Deflater deflater(options.window_bits + (gzip ? 16 : 0), options.level, options.strategy);
  gz_header header{};
  std::string name = options.name;
  std::string comment = options.comment;
  std::string extra = options.extra;
  if (gzip) {
    header.os = 3;
    header.hcrc = options.header_crc ? 1 : 0;
    if (!name.empty()) header.name = reinterpret_cast<Bytef*>(name.data());
    if (!comment.empty()) header.comment = reinterpret_cast<Bytef*>(comment.data());
    if (!extra.empty()) header.extra = reinterpret_cast<Bytef*>(extra.data());
    header.extra_len = static_cast<uInt>(extra.size());
    deflater.SetHeader(&header);
  }
  return deflater.Run(bytes, Z_FINISH);
}

inline std::string Gzip(std::string_view bytes, int level = Z_DEFAULT_COMPRESSION) {
  DeflateOptions options;
  options.level = level;
  return Deflate(bytes, options);
}

inline std::string Zlib(std::string_view bytes, int level = Z_DEFAULT_COMPRESSION) {
  DeflateOptions options;
  options.compression = Compression::kZlib;
  options.level = level;
  return Deflate(bytes, options);
}

// One gzip member that holds `piece` `count` times, made in the time that one takes.
inline std::string GzipRepeated(std::string_view piece, size_t count) {
  // After a full flush the compressed bytes do not depend on what went before.
  Deflater deflater(-15, 9, Z_DEFAULT_STRATEGY);
  const std::string block = deflater.Run(piece, Z_FULL_FLUSH);
  const std::string last = deflater.Run("", Z_FINISH);
  std::string out("\x1f\x8b\x08\0\0\0\0\0\0\x03", 10);
  const uLong crc_of_piece =
      ::crc32(0, reinterpret_cast<const Bytef*>(piece.data()), static_cast<uInt>(piece.size()));
  uLong crc = ::crc32(0, nullptr, 0);
  for (size_t i = 0; i < count; ++i) {
    out += block;
    crc = ::crc32_combine(crc, crc_of_piece, static_cast<z_off_t>(piece.size()));
  }
  out += last;
  char trailer[8];
  StoreLittleEndian32(static_cast<uint32_t>(crc), trailer);
  StoreLittleEndian32(static_cast<uint32_t>(piece.size() * count), trailer + 4);
  return out.append(trailer, sizeof(trailer));
}

// What zlib makes of a stream of members; nothing if it refuses any of it.
inline std::optional<std::string> ReferenceInflate(std::string bytes, Compression compression) {
  std::string out;
  z_stream stream{};
  stream.next_in = reinterpret_cast<Bytef*>(bytes.data());
  stream.avail_in = static_cast<uInt>(bytes.size());
  if (::inflateInit2(&stream, compression == Compression::kGzip ? 31 : 15) != Z_OK) {
    throw std::runtime_error("inflateInit2");
  }
  char piece[4096];
  int result = Z_STREAM_END;
  while (result == Z_STREAM_END && stream.avail_in > 0) {
    ::inflateReset(&stream);
    do {
      stream.next_out = reinterpret_cast<Bytef*>(piece);
      stream.avail_out = sizeof(piece);
      result = ::inflate(&stream, Z_NO_FLUSH);
      out.append(piece, sizeof(piece) - stream.avail_out);
    } while (result == Z_OK && (stream.avail_in > 0 || stream.avail_out == 0));
  }
  ::inflateEnd(&stream);
  if (result != Z_STREAM_END) return std::nullopt;
  return out;
}

}  // namespace pipemode::testing

#endif  // PIPEMODE_TESTS_TESTING_DEFLATE_H_
