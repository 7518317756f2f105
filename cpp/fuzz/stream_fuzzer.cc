// SPDX-License-Identifier: Apache-2.0
//
// The whole chain, from a source of bytes, or a pipe, to records: held against zlib and a reader of
// the plain bytes. Input: what the stream is (format, compression, parts, whether the compression
// is announced), limits, chunking (bit 5: through a pipe), how to compress (0: it is compressed
// already), stream.
#include <fcntl.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "core/base/error.h"
#include "core/base/fork_guarded_fd.h"
#include "core/base/unique_fd.h"
#include "core/format/content.h"
#include "core/format/record_format.h"
#include "core/io/byte_source.h"
#include "core/io/cancel_token.h"
#include "core/io/fifo_source.h"
#include "fuzz/check.h"
#include "fuzz/chunked_source.h"
#include "fuzz/compress.h"
#include "fuzz/fuzz_input.h"
#include "fuzz/verdict.h"
#include "testing/deflate.h"

namespace pipemode::fuzz {
namespace {

constexpr uint8_t kThroughPipe = 32;
// What a pipe holds for certain.
constexpr size_t kPipeBytes = 65536;

// What a stream is read as, and how it is compressed if that is not done already.
struct Kind {
  StreamOptions options;
  Compression used;
};

Kind TakeKind(FuzzInput* input) {
  constexpr RecordFormat kFormats[] = {RecordFormat::kRecordIo, RecordFormat::kTfRecord,
                                       RecordFormat::kTextLine};
  constexpr Compression kCompressions[] = {Compression::kNone, Compression::kGzip,
                                           Compression::kZlib};
  constexpr uint64_t kMaxRecordBytes[] = {kDefaultMaxRecordBytes, 1, 20, 1000, 20000, UINT64_MAX};
  constexpr uint64_t kMaxCorrupted[] = {0, 1, 2, UINT64_MAX};
  const uint8_t kind = input->TakeByte();
  const uint8_t limits = input->TakeByte();
  StreamOptions options;
  options.format = kFormats[kind % 3];
  const Compression used = kCompressions[kind / 3 % 3];
  options.compression = kind / 18 % 2 != 0 ? Compression::kAuto : used;
  options.recordio_parts = kind / 9 % 2 != 0 ? RecordIoParts::kDmlc : RecordIoParts::kJoined;
  options.max_record_bytes = kMaxRecordBytes[limits % 6];
  options.max_corrupted_records_to_skip = kMaxCorrupted[limits / 6 % 4];
  return {options, used};
}

// A pipe that holds all of `bytes`, and whose writer is gone.
std::unique_ptr<ByteSource> MakePipe(std::string_view bytes) {
  static const CancelToken cancel;
  int ends[2];
  Check(::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0, "pipe2");
  ForkGuardedFd out([&] { return ends[0]; });
  const UniqueFd in(ends[1]);
  const ssize_t written = bytes.empty() ? 0 : ::write(in.get(), bytes.data(), bytes.size());
  Check(written == static_cast<ssize_t>(bytes.size()), "a short write");
  return std::make_unique<FifoSource>(std::move(out), "fuzz", TimeLimit(10),
                                      WaitContext{&cancel, nullptr});
}

}  // namespace
}  // namespace pipemode::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace pipemode;
  fuzz::FuzzInput input(data, size);
  const auto [options, used] = fuzz::TakeKind(&input);
  const uint8_t chunking_byte = input.TakeByte();
  const uint8_t choice = input.TakeByte();
  const fuzz::Chunking chunking = fuzz::Chunking::FromByte(chunking_byte);

  std::string bytes(input.rest());
  if (used != Compression::kNone && choice != 0) {
    bytes = fuzz::CompressInMembers(bytes, used, choice);
  }
  Compression found = options.compression;
  if (found == Compression::kAuto) {
    found = ContentOf(bytes) == Content::kGzip ? Compression::kGzip : Compression::kNone;
  }
  const std::optional<std::string> plain =
      found == Compression::kNone ? bytes : testing::ReferenceInflate(bytes, found);
  const auto make_source = [&]() -> std::unique_ptr<ByteSource> {
    if ((chunking_byte & fuzz::kThroughPipe) != 0 && bytes.size() <= fuzz::kPipeBytes) {
      return fuzz::MakePipe(bytes);
    }
    return std::make_unique<fuzz::ChunkedSource>(bytes, chunking);
  };
  const fuzz::Verdict verdict = fuzz::ReadWithStream(make_source(), options);
  if (!plain) {
    fuzz::Check(verdict.error == ErrorCode::kDataLoss, "zlib refuses what we accept");
    return 0;
  }
  StreamOptions uncompressed = options;
  uncompressed.compression = Compression::kNone;
  const fuzz::Verdict expected = fuzz::ReadWithStream(
      std::make_unique<fuzz::ChunkedSource>(*plain, fuzz::Chunking()), uncompressed);
  fuzz::CheckSame(verdict, expected, fuzz::Method::kRead, "the chain");
  fuzz::Chunking cancelling = chunking;
  cancelling.cancelling = true;
  fuzz::CheckCancelled(
      fuzz::ReadWithStream(std::make_unique<fuzz::ChunkedSource>(bytes, cancelling), options),
      expected);
  return 0;
}
