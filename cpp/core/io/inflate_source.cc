// SPDX-License-Identifier: Apache-2.0
#include "core/io/inflate_source.h"

#include <isa-l/igzip_lib.h>

#include <algorithm>
#include <string>
#include <utility>

#include "core/base/error.h"

namespace pipemode {
namespace {

// ISA-L counts in 32 bits.
constexpr size_t kMaxOutputBytes = size_t{1} << 30;

}  // namespace

struct InflateSource::State {
  inflate_state inflate;
};

InflateSource::InflateSource(std::unique_ptr<ByteSource> compressed, Compression compression,
                             size_t input_bytes)
    : compressed_(std::move(compressed)),
      compression_(compression),
      input_capacity_(input_bytes),
      input_(new char[input_bytes]),
      state_(new State) {
  isal_inflate_init(&state_->inflate);
}

InflateSource::~InflateSource() = default;

size_t InflateSource::Read(char* dst, size_t size) {
  inflate_state& inflate = state_->inflate;
  while (!ended_) {
    if (!in_member_) {
      if (inflate.avail_in == 0 && !FillInput()) {
        ended_ = true;
        break;
      }
      BeginMember();
    }
    const uint32_t room = static_cast<uint32_t>(std::min(size, kMaxOutputBytes));
    const uint32_t input_before = inflate.avail_in;
    inflate.next_out = reinterpret_cast<uint8_t*>(dst);
    inflate.avail_out = room;
    const int result = isal_inflate(&inflate);
    if (result < 0 || result == ISAL_NEED_DICT) ThrowCorrupt(Describe(result));
    if (inflate.block_state == ISAL_BLOCK_FINISH) {
      in_member_ = false;
      ++members_;
    }
    const uint32_t produced = room - inflate.avail_out;
    if (produced > 0) return produced;
    if (!in_member_) continue;
    if (inflate.avail_in > 0) {
      // Room for output, input at hand, and neither used: never seen, but it must not become an
      // endless loop.
      if (inflate.avail_in == input_before) ThrowCorrupt("no progress");
    } else if (!FillInput()) {
      ThrowCorrupt("the stream ends inside a member");
    }
  }
  return 0;
}

bool InflateSource::FillInput() {
  const size_t count = compressed_->Read(input_.get(), input_capacity_);
  input_bytes_ += count;
  state_->inflate.next_in = reinterpret_cast<uint8_t*>(input_.get());
  state_->inflate.avail_in = static_cast<uint32_t>(count);
  return count > 0;
}

void InflateSource::BeginMember() {
  inflate_state& inflate = state_->inflate;
  isal_inflate_reset(&inflate);
  inflate.crc_flag = compression_ == Compression::kGzip ? ISAL_GZIP : ISAL_ZLIB;
  inflate.total_out = 0;
  in_member_ = true;
}

std::string InflateSource::Describe(int result) const {
  switch (result) {
    case ISAL_INVALID_WRAPPER:
      if (members_ > 0) return "garbage follows a complete member";
      return "bad header; is this stream really " + FormatName() +
             "? Where the service decompresses (CompressionType: Gzip), pass no compression_type";
    case ISAL_UNSUPPORTED_METHOD:
      return "unknown compression method";
    case ISAL_INCORRECT_CHECKSUM:
      return "checksum mismatch";
    case ISAL_NEED_DICT:
      return "needs a preset dictionary";
    default:
      return "invalid compressed data";
  }
}

std::string InflateSource::FormatName() const {
  return compression_ == Compression::kGzip ? "gzip" : "zlib";
}

void InflateSource::ThrowCorrupt(const std::string& what) {
  ended_ = true;
  throw DataLossError(FormatName() + " member " + std::to_string(members_) +
                      ", near compressed byte " +
                      std::to_string(input_bytes_ - state_->inflate.avail_in) + ": " + what);
}

}  // namespace pipemode
