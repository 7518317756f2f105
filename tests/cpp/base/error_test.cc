// SPDX-License-Identifier: Apache-2.0
#include "core/base/error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <exception>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>

namespace pipemode {
namespace {

using ::testing::EndsWith;
using ::testing::StartsWith;

TEST(ErrorTest, APathIsShownWithoutControlCharacters) {
  EXPECT_EQ(ShownPath("/data/\xc3\xa4 b"), "/data/\xc3\xa4 b");
  EXPECT_EQ(ShownPath("/a\nb\x1b[0m\x7f"), "/a\\x0ab\\x1b[0m\\x7f");
}

TEST(PipeErrorTest, HoldsItsCodeAndMessage) {
  const PipeError error(ErrorCode::kUnavailable, "the message");
  EXPECT_EQ(error.code(), ErrorCode::kUnavailable);
  EXPECT_STREQ(error.what(), "the message");
}

TEST(PipeErrorTest, EachTypeHasItsCode) {
  EXPECT_EQ(DataLossError("").code(), ErrorCode::kDataLoss);
  EXPECT_EQ(CorruptRecordError("").code(), ErrorCode::kDataLoss);
  EXPECT_EQ(CancelledError("").code(), ErrorCode::kCancelled);
  EXPECT_EQ(DeadlineExceededError("").code(), ErrorCode::kDeadlineExceeded);
  EXPECT_EQ(InvalidArgumentError("").code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(FailedPreconditionError("").code(), ErrorCode::kFailedPrecondition);
}

TEST(PipeErrorTest, ContextStandsInFront) {
  DataLossError error("length CRC mismatch");
  error.AddContext("record 3 at byte 70");
  error.AddContext("channel 'train'");
  EXPECT_STREQ(error.what(), "channel 'train': record 3 at byte 70: length CRC mismatch");
}

TEST(PipeErrorTest, AdviceStandsBehind) {
  DataLossError error("length CRC mismatch");
  error.AddAdvice("choose other files");
  error.AddContext("record 3");
  EXPECT_STREQ(error.what(), "record 3: length CRC mismatch; choose other files");
}

TEST(PipeErrorTest, ContextStaysWithAnErrorThatIsThrownOn) {
  try {
    try {
      throw CorruptRecordError("payload CRC mismatch");
    } catch (PipeError& error) {
      error.AddContext("record 1");
      throw;
    }
  } catch (const CorruptRecordError& error) {
    EXPECT_STREQ(error.what(), "record 1: payload CRC mismatch");
  }
}

TEST(PipeErrorTest, IsCaughtAsAnyOfItsBases) {
  static_assert(std::is_base_of_v<std::exception, PipeError>);
  static_assert(std::is_base_of_v<DataLossError, CorruptRecordError>);
  EXPECT_THROW(throw CorruptRecordError(""), DataLossError);
  EXPECT_THROW(throw CorruptRecordError(""), PipeError);
  EXPECT_THROW(throw IoError(EIO, ""), PipeError);
}

TEST(IoErrorTest, MessageEndsWithTheTextOfErrno) {
  const IoError error(ENOENT, "cannot open '/somewhere'");
  EXPECT_THAT(error.what(), StartsWith("cannot open '/somewhere': "));
  EXPECT_THAT(error.what(), EndsWith(std::generic_category().message(ENOENT)));
}

struct ErrnoCase {
  int error_number;
  ErrorCode code;
};

class IoErrorCodeTest : public ::testing::TestWithParam<ErrnoCase> {};

TEST_P(IoErrorCodeTest, FitsErrno) {
  EXPECT_EQ(IoError(GetParam().error_number, "").code(), GetParam().code);
}

TEST(ExcerptTest, IsShortAndPrintable) {
  EXPECT_EQ(Excerpt(""), "");
  EXPECT_EQ(Excerpt("a name"), "a name");
  EXPECT_EQ(Excerpt(std::string_view("\n\0\x7f\xff", 4)), "\\x0a\\x00\\x7f\\xff");
  EXPECT_EQ(Excerpt(std::string(40, 'x')), std::string(40, 'x'));
  EXPECT_EQ(Excerpt(std::string(41, 'x')), std::string(40, 'x') + "...");
}

INSTANTIATE_TEST_SUITE_P(AllErrnos, IoErrorCodeTest,
                         ::testing::Values(ErrnoCase{ENOENT, ErrorCode::kNotFound},
                                           ErrnoCase{ENOTDIR, ErrorCode::kNotFound},
                                           ErrnoCase{EACCES, ErrorCode::kPermissionDenied},
                                           ErrnoCase{EPERM, ErrorCode::kPermissionDenied},
                                           ErrnoCase{EROFS, ErrorCode::kPermissionDenied},
                                           ErrnoCase{ENOSPC, ErrorCode::kResourceExhausted},
                                           ErrnoCase{EDQUOT, ErrorCode::kResourceExhausted},
                                           ErrnoCase{EMFILE, ErrorCode::kResourceExhausted},
                                           ErrnoCase{ENFILE, ErrorCode::kResourceExhausted},
                                           ErrnoCase{ENOMEM, ErrorCode::kResourceExhausted},
                                           ErrnoCase{EINVAL, ErrorCode::kInvalidArgument},
                                           ErrnoCase{ENAMETOOLONG, ErrorCode::kInvalidArgument},
                                           ErrnoCase{EISDIR, ErrorCode::kFailedPrecondition},
                                           ErrnoCase{ELOOP, ErrorCode::kFailedPrecondition},
                                           ErrnoCase{EBUSY, ErrorCode::kFailedPrecondition},
                                           ErrnoCase{EPIPE, ErrorCode::kUnavailable},
                                           ErrnoCase{EIO, ErrorCode::kUnavailable},
                                           ErrnoCase{EBADF, ErrorCode::kInternal}));

}  // namespace
}  // namespace pipemode
