// SPDX-License-Identifier: Apache-2.0
#include "core/io/prefetch_source.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <optional>
#include <utility>

#include "core/base/error.h"

namespace pipemode {
namespace {

// Small enough that it is still in cache when it is taken.
constexpr size_t kPieceBytes = size_t{256} << 10;

}  // namespace

PrefetchSource::PrefetchSource(Open open, size_t budget_bytes, const WaitContext& context)
    : context_(context),
      queue_(budget_bytes),
      thread_([this, open = std::move(open)] { Run(open); }) {}

PrefetchSource::~PrefetchSource() {
  cancel_.Cancel();
  queue_.Close();
  thread_.join();
}

size_t PrefetchSource::Read(char* dst, size_t size) {
  if (ended_) return 0;
  if (taken_ == piece_.size) {
    piece_ = Pop();
    taken_ = 0;
    ended_ = piece_.size == 0;
    if (piece_.error) std::rethrow_exception(std::exchange(piece_.error, nullptr));
    if (ended_) return 0;
  }
  const size_t count = std::min(size, piece_.size - taken_);
  std::memcpy(dst, piece_.bytes.get() + taken_, count);
  taken_ += count;
  return count;
}

PrefetchSource::Piece PrefetchSource::Pop() {
  std::optional<Piece> piece = queue_.Pop(std::chrono::milliseconds(0));
  if (!piece && context_.observer != nullptr) context_.observer->OnBlock();
  auto now = std::chrono::steady_clock::now();
  while (!piece) {
    if (context_.cancel->cancelled()) throw CancelledError("cancelled while reading a file");
    if (context_.observer != nullptr) context_.observer->OnTick();
    piece = queue_.Pop(kWaitTick);
    const auto since = std::exchange(now, std::chrono::steady_clock::now());
    if (context_.observer != nullptr) context_.observer->OnWaited(now - since);
  }
  return std::move(*piece);
}

void PrefetchSource::Run(const Open& open) noexcept {
  Piece last;
  try {
    const std::unique_ptr<ByteSource> source = open({&cancel_, nullptr});
    for (;;) {
      Piece piece;
      piece.bytes.reset(new char[kPieceBytes]);
      piece.size = source->Read(piece.bytes.get(), kPieceBytes);
      if (piece.size == 0) break;
      const size_t size = piece.size;
      if (!queue_.Push(std::move(piece), size)) return;
    }
  } catch (...) {
    last.error = std::current_exception();
  }
  queue_.PushLast(std::move(last));
}

}  // namespace pipemode
