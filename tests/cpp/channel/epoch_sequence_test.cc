// SPDX-License-Identifier: Apache-2.0
#include "core/channel/epoch_sequence.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/error.h"
#include "core/channel/pipe_state.h"
#include "core/io/cancel_token.h"
#include "testing/record_formats.h"
#include "testing/string_sink.h"
#include "testing/temp_dir.h"

namespace pipemode {
namespace {

using ::pipemode::testing::AllFormats;
using ::pipemode::testing::Encode;
using ::pipemode::testing::Records;
using ::pipemode::testing::StringSink;
using ::pipemode::testing::TempDir;
using ::testing::ElementsAre;

// Regular files in the place of FIFOs: what is new here is the way from one epoch to the next.
class EpochSequenceTest : public ::testing::Test {
 protected:
  EpochSequenceTest() {
    options_.channel = "train";
    options_.pipe_dir = dir_.path();
    options_.state_dir = dir_.path() + "/state";
    options_.stream.format = RecordFormat::kTfRecord;
    options_.open_timeout = TimeLimit(0.05);
  }

  void WriteEpoch(int epoch, const std::string& bytes) {
    std::ofstream(dir_.path() + "/train_" + std::to_string(epoch), std::ios::binary) << bytes;
  }

  static std::string Bytes(const Records& records) {
    return Encode(AllFormats()[0], records).bytes;
  }

  static Records ReadAll(EpochSequence& sequence) {
    Records records;
    StringSink sink;
    while (sequence.Read(sink)) records.push_back(sink.record());
    return records;
  }

  uint64_t NextEpoch() {
    return PipeState(options_.state_dir, options_.pipe_dir, options_.channel).NextEpoch();
  }

  TempDir dir_;
  CancelToken cancel_;
  WaitContext context_{&cancel_};
  ChannelOptions options_;
};

TEST_F(EpochSequenceTest, ReadsSoManyEpochs) {
  WriteEpoch(0, Bytes({"a", "b"}));
  WriteEpoch(1, Bytes({}));
  WriteEpoch(2, Bytes({"c"}));
  WriteEpoch(3, Bytes({"not due"}));
  EpochSequence sequence(options_, 3, context_);
  EXPECT_THAT(ReadAll(sequence), ElementsAre("a", "b", "c"));
  StringSink sink;
  EXPECT_FALSE(sequence.Read(sink));
  EXPECT_EQ(NextEpoch(), 3U);
}

TEST_F(EpochSequenceTest, NoEpochsTouchNothing) {
  EpochSequence sequence(options_, 0, context_);
  StringSink sink;
  EXPECT_FALSE(sequence.Read(sink));
  EXPECT_FALSE(sequence.Skip());
  EXPECT_EQ(::access(options_.state_dir.c_str(), F_OK), -1);
}

TEST_F(EpochSequenceTest, AnEndlessOneWaitsForTheNextEpoch) {
  WriteEpoch(0, Bytes({}));
  WriteEpoch(1, Bytes({"a"}));
  EpochSequence sequence(options_, EpochSequence::kEndless, context_);
  StringSink sink;
  ASSERT_TRUE(sequence.Read(sink));
  EXPECT_EQ(sink.record(), "a");
  EXPECT_THROW(sequence.Read(sink), DeadlineExceededError);
  WriteEpoch(2, Bytes({"b"}));
  ASSERT_TRUE(sequence.Read(sink));
  EXPECT_EQ(sink.record(), "b");
}

TEST_F(EpochSequenceTest, TakesBufferedRecordsOfOneEpochOnly) {
  WriteEpoch(0, Bytes({"a", "b", "c"}));
  WriteEpoch(1, Bytes({"d", "e"}));
  EpochSequence sequence(options_, 2, context_);
  std::vector<std::string_view> views;
  StringSink sink;
  sequence.TakeBuffered(10, &views);
  EXPECT_TRUE(views.empty());  // nothing is open yet
  ASSERT_TRUE(sequence.Read(sink));
  sequence.TakeBuffered(10, &views);
  EXPECT_THAT(views, ElementsAre("b", "c"));
  views.clear();
  sequence.TakeBuffered(10, &views);
  EXPECT_TRUE(views.empty());
  ASSERT_TRUE(sequence.Skip());
  sequence.TakeBuffered(10, &views);
  EXPECT_THAT(views, ElementsAre("e"));
  EXPECT_FALSE(sequence.Read(sink));
}

TEST_F(EpochSequenceTest, GoesOnWithTheNextEpochAfterAnError) {
  WriteEpoch(0, Bytes({"a"}) + "cut");
  WriteEpoch(1, Bytes({"b"}));
  EpochSequence sequence(options_, 2, context_);
  StringSink sink;
  ASSERT_TRUE(sequence.Read(sink));
  EXPECT_THROW(sequence.Read(sink), DataLossError);
  ASSERT_TRUE(sequence.Read(sink));
  EXPECT_EQ(sink.record(), "b");
  EXPECT_FALSE(sequence.Read(sink));
}

TEST_F(EpochSequenceTest, AsksBeforeItTouchesAFurtherEpoch) {
  for (int epoch = 0; epoch < 3; ++epoch) WriteEpoch(epoch, Bytes({"a"}));
  std::vector<uint64_t> asked;
  EpochSequence sequence(options_, 3, context_, [&] {
    asked.push_back(NextEpoch());
    if (asked.size() == 2) throw CancelledError("not now");
  });
  StringSink sink;
  ASSERT_TRUE(sequence.Read(sink));
  EXPECT_TRUE(asked.empty());
  ASSERT_TRUE(sequence.Read(sink));
  EXPECT_THROW(sequence.Read(sink), CancelledError);
  EXPECT_EQ(NextEpoch(), 2U);
  ASSERT_TRUE(sequence.Read(sink));
  EXPECT_FALSE(sequence.Read(sink));
  EXPECT_THAT(asked, ElementsAre(1U, 2U, 2U));
}

}  // namespace
}  // namespace pipemode
