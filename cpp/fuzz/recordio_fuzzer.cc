// SPDX-License-Identifier: Apache-2.0
//
// Input: options (bit 0: dmlc's parts, bit 1: records of any size, bit 2: write and read back),
// chunking, stream.
#include <cstddef>
#include <cstdint>

#include "fuzz/fuzz_input.h"
#include "fuzz/verdict.h"

namespace {

constexpr uint8_t kDmlc = 1;
constexpr uint8_t kAnySize = 2;
constexpr uint8_t kWrite = 4;

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace pipemode;
  fuzz::FuzzInput input(data, size);
  const uint8_t flags = input.TakeByte();
  const uint8_t chunking_byte = input.TakeByte();
  const fuzz::Chunking chunking = fuzz::Chunking::FromByte(chunking_byte);
  StreamOptions options;
  options.format = RecordFormat::kRecordIo;
  options.recordio_parts = (flags & kDmlc) != 0 ? RecordIoParts::kDmlc : RecordIoParts::kJoined;
  if ((flags & kWrite) != 0) {
    fuzz::CheckRoundTrip(input.rest(), options, chunking_byte, chunking);
    return 0;
  }
  options.max_record_bytes = (flags & kAnySize) != 0 ? UINT64_MAX : 40;
  fuzz::CheckFormat(input.rest(), options, chunking);
  return 0;
}
