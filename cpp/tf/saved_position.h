// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_TF_SAVED_POSITION_H_
#define PIPEMODE_TF_SAVED_POSITION_H_

#include <string>

#include "absl/status/status.h"
#include "core/channel/channel_reader.h"
#include "core/channel/epoch_sequence.h"
#include "tensorflow/core/framework/dataset.h"

namespace pipemode {

// What a checkpoint holds of an iterator.
struct SavedPosition {
  SequencePosition position;
  bool ended = false;  // the consumer has seen the end
};

// Writes the position in `channel` under the keys of `prefix`, the iterator's. Returns what
// `writer` says of the first value that it does not take; those before it are written then.
absl::Status WritePosition(const SavedPosition& saved, const ChannelOptions& channel,
                           const std::string& prefix,
                           tensorflow::data::IteratorStateWriter* writer);

// Reads it back. Returns InvalidArgument if there is none, or if it is one of another version of
// this format, of another channel, of other records than those of `channel`, or not valid; `saved`
// is not to be used then.
absl::Status ReadPosition(const ChannelOptions& channel, const std::string& prefix,
                          tensorflow::data::IteratorStateReader* reader, SavedPosition* saved);

}  // namespace pipemode

#endif  // PIPEMODE_TF_SAVED_POSITION_H_
