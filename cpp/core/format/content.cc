// SPDX-License-Identifier: Apache-2.0
#include "core/format/content.h"

#include <algorithm>
#include <cstdint>

#include "core/base/byte_order.h"
#include "core/format/crc32c.h"
#include "core/format/wire_format.h"

namespace pipemode {
namespace {

constexpr std::string_view kGzipMagic = "\x1f\x8b\x08";  // with the only method there is
constexpr uint8_t kReservedGzipFlags = 0xe0;
constexpr char kZlibMethod = '\x78';  // deflate with the usual window
// Fewer bytes may be the beginning of anything.
constexpr size_t kMinTextBytes = 4;

uint8_t ByteAt(std::string_view bytes, size_t at) { return static_cast<uint8_t>(bytes[at]); }

bool BeginsLikeGzip(std::string_view head) {
  if (head.substr(0, kGzipMagic.size()) != kGzipMagic) return false;
  return head.size() == kGzipMagic.size() ||
         (ByteAt(head, kGzipMagic.size()) & kReservedGzipFlags) == 0;
}

// A control character that text has no use for.
bool IsBinary(char c) {
  const auto byte = static_cast<uint8_t>(c);
  return byte == 0x7f || (byte < 0x20 && (byte < '\t' || byte > '\r') && byte != 0x1b);
}

// Whether `head` may be the beginning of text in UTF-8.
bool MayBeUtf8(std::string_view head) {
  size_t following = 0;  // bytes of the current character that are still to come
  for (size_t at = 0; at < head.size(); ++at) {
    const uint8_t byte = ByteAt(head, at);
    const bool continues = (byte & 0xc0) == 0x80;
    if (continues != (following > 0)) return false;
    if (continues) {
      --following;
    } else if (byte >= 0x80) {
      if (byte < 0xc2 || byte > 0xf4) return false;
      following = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
    }
  }
  return true;
}

bool HasZlibHeader(std::string_view head) {
  return head.size() >= 2 && head[0] == kZlibMethod &&
         (ByteAt(head, 0) * 256 + ByteAt(head, 1)) % 31 == 0;
}

}  // namespace

Content ContentOf(std::string_view head) noexcept {
  head = head.substr(0, kContentHeadBytes);
  if (head.size() >= kTfRecordHeaderBytes &&
      LoadLittleEndian32(head.data() + kTfRecordLengthBytes) ==
          MaskCrc(Crc32cOfUint64(LoadLittleEndian64(head.data())))) {
    return Content::kTfRecord;
  }
  if (BeginsLikeGzip(head)) return Content::kGzip;
  if (head.size() >= kRecordIoMagicBytes && LoadLittleEndian32(head.data()) == kRecordIoMagic) {
    return Content::kRecordIo;
  }
  const bool is_binary = std::any_of(head.begin(), head.end(), IsBinary);
  // Text may begin with these two bytes as well.
  if (HasZlibHeader(head) && (is_binary || !MayBeUtf8(head))) return Content::kZlib;
  return is_binary || head.size() < kMinTextBytes ? Content::kUnknown : Content::kText;
}

bool MayBeCompressed(std::string_view head) noexcept {
  if (head.empty()) return true;
  const size_t magic = std::min(head.size(), kGzipMagic.size());
  const bool may_be_gzip = head.substr(0, magic) == kGzipMagic.substr(0, magic);
  const bool may_be_zlib = head[0] == kZlibMethod && (head.size() < 2 || HasZlibHeader(head));
  return may_be_gzip || may_be_zlib;
}

const char* ContentName(Content content) noexcept {
  switch (content) {
    case Content::kGzip:
      return "gzip";
    case Content::kZlib:
      return "zlib";
    case Content::kRecordIo:
      return "RecordIO";
    case Content::kTfRecord:
      return "TFRecord";
    case Content::kText:
      return "text";
    case Content::kUnknown:
      break;
  }
  return "something else";
}

}  // namespace pipemode
