// SPDX-License-Identifier: Apache-2.0
//
// Input: options (bit 0: make the checksums right, bit 1: records of any size, bit 2: write and
// read back), chunking, stream.
#include <cstddef>
#include <cstdint>
#include <string>

#include "core/base/byte_order.h"
#include "core/format/crc32c.h"
#include "core/format/wire_format.h"
#include "fuzz/fuzz_input.h"
#include "fuzz/verdict.h"

namespace pipemode::fuzz {
namespace {

constexpr uint8_t kRepair = 1;
constexpr uint8_t kAnySize = 2;
constexpr uint8_t kWrite = 4;

// No mutation ever guesses a checksum. Lengths beyond what is there stay as they are, with a right
// checksum: that is what a truncated record looks like.
void RepairChecksums(std::string* bytes) {
  size_t at = 0;
  while (bytes->size() - at >= kTfRecordHeaderBytes) {
    char* const header = bytes->data() + at;
    const uint64_t length = LoadLittleEndian64(header);
    StoreLittleEndian32(MaskCrc(Crc32c(header, kTfRecordLengthBytes)),
                        header + kTfRecordLengthBytes);
    at += kTfRecordHeaderBytes;
    const size_t rest = bytes->size() - at;
    if (length > rest || rest - length < kTfRecordFooterBytes) return;
    char* const payload = header + kTfRecordHeaderBytes;
    // Some stay wrong.
    if (length == 0 || payload[0] != '!') {
      StoreLittleEndian32(MaskCrc(Crc32c(payload, length)), payload + length);
    }
    at += length + kTfRecordFooterBytes;
  }
}

}  // namespace
}  // namespace pipemode::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace pipemode;
  fuzz::FuzzInput input(data, size);
  const uint8_t flags = input.TakeByte();
  const uint8_t chunking_byte = input.TakeByte();
  const fuzz::Chunking chunking = fuzz::Chunking::FromByte(chunking_byte);
  StreamOptions options;
  options.format = RecordFormat::kTfRecord;
  if ((flags & fuzz::kWrite) != 0) {
    fuzz::CheckRoundTrip(input.rest(), options, chunking_byte, chunking);
    return 0;
  }
  options.max_record_bytes = (flags & fuzz::kAnySize) != 0 ? UINT64_MAX : 40;
  std::string bytes(input.rest());
  if ((flags & fuzz::kRepair) != 0) fuzz::RepairChecksums(&bytes);
  fuzz::CheckFormat(bytes, options, chunking);
  return 0;
}
