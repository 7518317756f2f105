// SPDX-License-Identifier: Apache-2.0
#include "core/channel/writer_watch.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "core/base/unique_fd.h"
#include "core/io/fifo_source.h"
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

  const TempDir folder_;
  const std::string path_ = folder_ / "train_0";
};

TEST_F(WriterWatchTest, WhereThereWasNoOtherReaderAnyWriterIsBelieved) {
  const UniqueFd reader = OpenReader();
  WriterWatch watch(reader.get(), std::nullopt);
  EXPECT_EQ(watch.Look(), Writer::kAbsent);
  UniqueFd writer = OpenWriter();
  ASSERT_TRUE(WriteAll(writer.get(), "x"));
  EXPECT_EQ(watch.Look(), Writer::kPresent);
  writer.Reset();
  EXPECT_EQ(watch.Look(), Writer::kPresent);
}

TEST_F(WriterWatchTest, AWriterThatCameAndWentBeforeTheFirstLookIsBelieved) {
  const UniqueFd reader = OpenReader();
  const size_t left = FifoSource::Available(reader.get());
  ASSERT_TRUE(WriteAll(OpenWriter().get(), "a whole epoch"));
  WriterWatch watch(reader.get(), left);
  EXPECT_EQ(watch.Look(), Writer::kPresent);
}

TEST_F(WriterWatchTest, WhatWasLeftForAnotherReaderIsNotBelieved) {
  UniqueFd reader = OpenReader();
  UniqueFd writer = OpenWriter();
  ASSERT_TRUE(WriteAll(writer.get(), "the beginning of an epoch"));
  reader.Reset();
  reader = OpenReader();
  WriterWatch watch(reader.get(), FifoSource::Available(reader.get()));
  EXPECT_EQ(watch.Look(), Writer::kUnsure);
  writer.Reset();
  EXPECT_EQ(watch.Look(), Writer::kGone);
}

TEST_F(WriterWatchTest, AWriterThatGoesOnIsBelieved) {
  UniqueFd reader = OpenReader();
  UniqueFd writer = OpenWriter();
  ASSERT_TRUE(WriteAll(writer.get(), "the beginning"));
  reader.Reset();
  reader = OpenReader();
  WriterWatch watch(reader.get(), FifoSource::Available(reader.get()));
  EXPECT_EQ(watch.Look(), Writer::kUnsure);
  ASSERT_TRUE(WriteAll(writer.get(), "more"));
  writer.Reset();
  EXPECT_EQ(watch.Look(), Writer::kPresent);
}

}  // namespace
}  // namespace pipemode
