// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_CORE_IO_BYTE_SOURCE_H_
#define PIPEMODE_CORE_IO_BYTE_SOURCE_H_

#include <cstddef>

namespace pipemode {

// A stream of bytes, read once from front to back. Not safe for use by two threads at once.
class ByteSource {
 public:
  virtual ~ByteSource() = default;

  // Waits for at least one byte and copies 1 to `size` bytes to `dst`; `size` must not be 0.
  // Returns how many, or 0 at the true end of the stream, then at every later call too.
  // Throws PipeError. After CancelledError the call may be made again and nothing is lost; after
  // any other error the source is at its end.
  virtual size_t Read(char* dst, size_t size) = 0;

  // Like Read, but once `dst` is full may go on with up to `tail_size` bytes in `tail`. Returns how
  // many in both together. Throws as Read.
  virtual size_t ReadScattered(char* dst, size_t size, char* tail, size_t tail_size) {
    (void)tail;
    (void)tail_size;
    return Read(dst, size);
  }
};

}  // namespace pipemode

#endif  // PIPEMODE_CORE_IO_BYTE_SOURCE_H_
