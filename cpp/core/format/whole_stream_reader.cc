// SPDX-License-Identifier: Apache-2.0
#include "core/format/whole_stream_reader.h"

#include <algorithm>

namespace pipemode {
namespace {

// The first allocation; each further one doubles what there is.
constexpr size_t kFirstStepBytes = size_t{64} << 10;

}  // namespace

bool WholeStreamReader::Next(RecordSink* sink) {
  if (done_) return false;
  BeginRecord();
  BeginParts();
  if (sink == nullptr) {
    DropAll();
  } else {
    sink->Resize(ReadAll(sink));
  }
  EndParts();
  done_ = true;
  return true;
}

size_t WholeStreamReader::ReadAll(RecordSink* sink) {
  size_t size = 0;
  size_t allocated = std::max(sink->capacity(), kFirstStepBytes);
  char* payload = sink->Resize(allocated);
  for (;;) {
    const size_t count = input_.ReadInto(payload + size, allocated - size);
    size += count;
    CheckSize(size);
    if (size < allocated) return size;
    allocated *= 2;
    payload = sink->Resize(allocated);
  }
}

size_t WholeStreamReader::DropAll() {
  size_t size = 0;
  while (input_.Fill(1)) {
    size += input_.buffered().size();
    input_.Consume(input_.buffered().size());
    CheckSize(size);
  }
  return size;
}

}  // namespace pipemode
