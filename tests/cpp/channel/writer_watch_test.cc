// SPDX-License-Identifier: Apache-2.0
#include "core/channel/writer_watch.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <string>

#include "core/base/unique_fd.h"
#include "testing/fifo_server.h"
#include "testing/temp_dir.h"

namespace pipemode {
namespace {

using ::pipemode::testing::MakeFifo;
using ::pipemode::testing::TempDir;
using ::pipemode::testing::WriteAll;
using Writer = WriterWatch::Writer;

class WriterWatchTest : public ::testing::Test {
 protected:
  WriterWatchTest() { MakeFifo(path_); }

  UniqueFd OpenReader() const { return UniqueFd(::open(path_.c_str(), O_RDONLY | O_NONBLOCK)); }
  UniqueFd OpenWriter() const { return UniqueFd(::open(path_.c_str(), O_WRONLY | O_NONBLOCK)); }

  timespec WrittenBefore() const {
    struct stat status{};
    EXPECT_EQ(::stat(path_.c_str(), &status), 0);
    return status.st_mtim;
  }

  const TempDir folder_;
  const std::string path_ = folder_ / "train_0";
};

TEST_F(WriterWatchTest, AtAFifoThatNobodyHasOpenedAnyWriterIsBelieved) {
  const timespec before = WrittenBefore();
  const UniqueFd reader = OpenReader();
  WriterWatch watch(reader.get(), false, before);
  EXPECT_EQ(watch.Look(), Writer::kAbsent);
  UniqueFd writer = OpenWriter();
  ASSERT_TRUE(WriteAll(writer.get(), "x"));
  EXPECT_EQ(watch.Look(), Writer::kPresent);
  writer.Reset();
  EXPECT_EQ(watch.Look(), Writer::kPresent);
}

TEST_F(WriterWatchTest, AWriterThatCameAndWentBeforeTheFirstLookIsBelieved) {
  // Its first write is not of the same tick of the clock as the FIFO.
  timespec before = WrittenBefore();
  before.tv_sec -= 1;
  const UniqueFd reader = OpenReader();
  ASSERT_TRUE(WriteAll(OpenWriter().get(), "a whole epoch"));
  WriterWatch watch(reader.get(), true, before);
  EXPECT_EQ(watch.Look(), Writer::kPresent);
}

TEST_F(WriterWatchTest, WhatWasLeftForAnotherReaderIsNotBelieved) {
  UniqueFd reader = OpenReader();
  UniqueFd writer = OpenWriter();
  ASSERT_TRUE(WriteAll(writer.get(), "the beginning of an epoch"));
  reader.Reset();
  const timespec before = WrittenBefore();
  reader = OpenReader();
  WriterWatch watch(reader.get(), true, before);
  EXPECT_EQ(watch.Look(), Writer::kUnsure);
  writer.Reset();
  EXPECT_EQ(watch.Look(), Writer::kGone);
}

TEST_F(WriterWatchTest, NeitherIsAFullPipeWhateverItsTime) {
  // The time of a write that has to wait for room is set when it returns.
  timespec before = WrittenBefore();
  before.tv_sec -= 1;
  UniqueFd reader = OpenReader();
  UniqueFd writer = OpenWriter();
  ASSERT_TRUE(WriteAll(writer.get(), std::string(1 << 15, 'x')));
  reader = OpenReader();
  WriterWatch watch(reader.get(), true, before);
  EXPECT_EQ(watch.Look(), Writer::kUnsure);
  writer.Reset();
  EXPECT_EQ(watch.Look(), Writer::kGone);
}

TEST_F(WriterWatchTest, AWriterThatGoesOnIsBelieved) {
  UniqueFd reader = OpenReader();
  UniqueFd writer = OpenWriter();
  ASSERT_TRUE(WriteAll(writer.get(), "the beginning"));
  reader.Reset();
  const timespec before = WrittenBefore();
  reader = OpenReader();
  WriterWatch watch(reader.get(), true, before);
  EXPECT_EQ(watch.Look(), Writer::kUnsure);
  ASSERT_TRUE(WriteAll(writer.get(), "more"));
  writer.Reset();
  EXPECT_EQ(watch.Look(), Writer::kPresent);
}

}  // namespace
}  // namespace pipemode
