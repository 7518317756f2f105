// SPDX-License-Identifier: Apache-2.0
//
// What bytes are, told from how they begin: for hints in messages, and to find compression that
// was not announced.
#ifndef PIPEMODE_CORE_FORMAT_CONTENT_H_
#define PIPEMODE_CORE_FORMAT_CONTENT_H_

#include <cstddef>
#include <string_view>

namespace pipemode {

enum class Content { kUnknown, kGzip, kZlib, kRecordIo, kTfRecord, kText };

// Of a longer head, ContentOf looks at no more than this. Every buffer holds as much.
inline constexpr size_t kContentHeadBytes = 32;

// What a stream holds whose first bytes are `head`. All but kTfRecord, which has a checksum, is a
// guess. With fewer bytes than kContentHeadBytes, more of them may change it.
Content ContentOf(std::string_view head) noexcept;

// Whether a stream of which `head` is known may still turn out to be compressed. False as soon as
// its first bytes exclude that, which are mostly one or two.
bool MayBeCompressed(std::string_view head) noexcept;

// "gzip", "zlib", "RecordIO", "TFRecord", "text".
const char* ContentName(Content content) noexcept;

}  // namespace pipemode

#endif  // PIPEMODE_CORE_FORMAT_CONTENT_H_
