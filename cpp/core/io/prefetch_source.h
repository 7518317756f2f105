// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_CORE_IO_PREFETCH_SOURCE_H_
#define PIPEMODE_CORE_IO_PREFETCH_SOURCE_H_

#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <thread>

#include "core/base/byte_budget_queue.h"
#include "core/io/byte_source.h"
#include "core/io/cancel_token.h"
#include "core/io/wait.h"

namespace pipemode {

// The bytes of another source, which a thread reads before they are asked for.
//
// Who does what: the thread opens the source, reads it, and puts pieces into a queue that holds so
// many bytes. It waits for the source (ended by `cancel_`) or for room in the queue (ended by
// closing it). Read waits for the queue only. The destructor ends both waits and joins the thread.
class PrefetchSource final : public ByteSource {
 public:
  // `open` makes the source, in the thread, for which the context is. What it throws, and what the
  // source throws, Read throws behind the bytes before it. `budget_bytes` is how much may lie
  // ready. Throws std::system_error if no thread can be had. What `context` points to must outlive
  // the object.
  using Open = std::function<std::unique_ptr<ByteSource>(const WaitContext& context)>;
  PrefetchSource(Open open, size_t budget_bytes, const WaitContext& context);
  ~PrefetchSource() override;

  size_t Read(char* dst, size_t size) override;

 private:
  struct Piece {
    std::unique_ptr<char[]> bytes;
    size_t size = 0;           // 0: the end
    std::exception_ptr error;  // in place of bytes
  };

  void Run(const Open& open) noexcept;
  Piece Pop();

  const WaitContext context_;
  CancelToken cancel_;
  ByteBudgetQueue<Piece> queue_;
  Piece piece_;  // the consumer's, as all below
  size_t taken_ = 0;
  bool ended_ = false;
  std::thread thread_;
};

}  // namespace pipemode

#endif  // PIPEMODE_CORE_IO_PREFETCH_SOURCE_H_
