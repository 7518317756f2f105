// SPDX-License-Identifier: Apache-2.0
#include "core/channel/epoch_sequence.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/channel/pipe_state.h"
#include "core/io/cancel_token.h"
#include "testing/random.h"
#include "testing/record_formats.h"
#include "testing/string_sink.h"
#include "testing/temp_dir.h"

namespace pipemode {
namespace {

using ::pipemode::testing::AllFormats;
using ::pipemode::testing::Encode;
using ::pipemode::testing::Random;
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

TEST_F(EpochSequenceTest, TellsThePosition) {
  WriteEpoch(0, Bytes({"a", "b"}));
  WriteEpoch(1, Bytes({"c"}));
  EpochSequence sequence(options_, 2, {&cancel_});
  StringSink sink;
  std::vector<std::pair<uint64_t, uint64_t>> positions;
  do {
    positions.emplace_back(sequence.position().epochs, sequence.position().records);
  } while (sequence.Read(sink));
  positions.emplace_back(sequence.position().epochs, sequence.position().records);
  using Position = std::pair<uint64_t, uint64_t>;
  EXPECT_THAT(positions, ElementsAre(Position(0, 0), Position(0, 1), Position(0, 2), Position(1, 1),
                                     Position(2, 0)));
}

TEST_F(EpochSequenceTest, TakenAndSkippedRecordsCount) {
  WriteEpoch(0, Bytes({"a", "b", "c", "d", "e"}));
  EpochSequence sequence(options_, 1, {&cancel_});
  ASSERT_TRUE(sequence.Skip());
  std::vector<std::string_view> views;
  sequence.TakeBuffered(2, &views);
  EXPECT_THAT(views, ElementsAre("b", "c"));
  EXPECT_EQ(sequence.position().records, 3U);
}

TEST_F(EpochSequenceTest, ResumesInTheEpochThatIsDue) {
  WriteEpoch(0, Bytes({"a", "b", "c"}));
  WriteEpoch(1, Bytes({"d"}));
  EpochSequence sequence(options_, 5, {&cancel_});
  sequence.Resume({3, 2});
  EXPECT_THAT(ReadAll(sequence), ElementsAre("c", "d"));
  EXPECT_EQ(sequence.position().epochs, 5U);
}

TEST_F(EpochSequenceTest, ResumesBehindTheLastRecord) {
  WriteEpoch(0, Bytes({"a", "b"}));
  WriteEpoch(1, Bytes({"c"}));
  EpochSequence sequence(options_, 2, {&cancel_});
  sequence.Resume({0, 2});
  EXPECT_THAT(ReadAll(sequence), ElementsAre("c"));
}

TEST_F(EpochSequenceTest, NothingIsTakenBeforeThePosition) {
  WriteEpoch(0, Bytes({"a", "b", "c"}));
  EpochSequence sequence(options_, 1, {&cancel_});
  sequence.Resume({0, 1});
  std::vector<std::string_view> views;
  sequence.TakeBuffered(9, &views);
  EXPECT_TRUE(views.empty());
  EXPECT_THAT(ReadAll(sequence), ElementsAre("b", "c"));
}

TEST_F(EpochSequenceTest, CannotResumeBehindTheEnd) {
  EpochSequence sequence(options_, 2, {&cancel_});
  EXPECT_THROW(sequence.Resume({2, 1}), InvalidArgumentError);
  EXPECT_THROW(sequence.Resume({3, 0}), InvalidArgumentError);
  sequence.Resume({2, 0});
  EXPECT_THAT(ReadAll(sequence), ElementsAre());
  EXPECT_EQ(NextEpoch(), 0U);
}

TEST_F(EpochSequenceTest, AnEpochShorterThanThePositionIsAnErrorAndIsOver) {
  WriteEpoch(0, Bytes({"a", "b"}));
  WriteEpoch(1, Bytes({"c"}));
  EpochSequence sequence(options_, 2, {&cancel_});
  sequence.Resume({0, 3});
  StringSink sink;
  EXPECT_THROW(sequence.Read(sink), DataLossError);
  EXPECT_THAT(ReadAll(sequence), ElementsAre("c"));
}

TEST_F(EpochSequenceTest, CorruptRecordsBeforeThePositionAreNoErrorAgain) {
  std::string bytes = Bytes({"a", "b", "c", "d"});
  bytes[bytes.size() / 4 + 12] ^= 1;  // the payload of "b"
  WriteEpoch(0, bytes);
  EpochSequence sequence(options_, 1, {&cancel_});
  sequence.Resume({0, 2});  // "a" and "c"
  EXPECT_THAT(ReadAll(sequence), ElementsAre("d"));
}

// The records of a shard, by Read, Skip and TakeBuffered in any order; "" for one that was skipped.
std::vector<std::string> ReadShard(EpochSequence& sequence, Random& random) {
  std::vector<std::string> records;
  std::vector<std::string_view> views;
  StringSink sink;
  for (;;) {
    views.clear();
    sequence.TakeBuffered(random.Below(4), &views);
    records.insert(records.end(), views.begin(), views.end());
    if (random.OneIn(3)) {
      if (!sequence.Skip()) return records;
      records.emplace_back();
    } else {
      if (!sequence.Read(sink)) return records;
      records.push_back(sink.record());
    }
  }
}

TEST_F(EpochSequenceTest, AShardHasEveryNthRecord) {
  Random random(7);
  for (int round = 0, epoch = 0; round < 100; ++round) {
    Shard shard;
    shard.count = 1 + random.Below(5);
    shard.index = random.Below(shard.count);
    shard.across_epochs = random.OneIn(2);
    const int epochs = static_cast<int>(1 + random.Below(3));
    std::vector<std::string> expected;
    uint64_t number = 0;
    for (int i = 0; i < epochs; ++i) {
      if (!shard.across_epochs) number = 0;
      std::vector<std::string> records(random.Below(20));
      for (std::string& record : records) {
        record = std::to_string(random.Below(1000));
        if (number++ % shard.count == shard.index) expected.push_back(record);
      }
      WriteEpoch(epoch++, Bytes(records));
    }
    EpochSequence sequence(options_, epochs, context_, nullptr, shard);
    const std::vector<std::string> records = ReadShard(sequence, random);
    ASSERT_EQ(records.size(), expected.size()) << "round " << round;
    for (size_t i = 0; i < records.size(); ++i) {
      ASSERT_TRUE(records[i].empty() || records[i] == expected[i]) << "round " << round;
    }
  }
}

TEST_F(EpochSequenceTest, AShardResumesWhereItWas) {
  for (const bool across_epochs : {false, true}) {
    for (uint64_t read = 0; read <= 6; ++read) {
      const uint64_t first = NextEpoch();
      for (uint64_t epoch = first; epoch < first + 4; ++epoch) {
        WriteEpoch(static_cast<int>(epoch), Bytes({"a", "b", "c", "d", "e", "f", "g"}));
      }
      const Shard shard{3, 1, across_epochs};
      StringSink sink;
      SequencePosition position;
      {
        EpochSequence sequence(options_, 2, context_, nullptr, shard);
        for (uint64_t i = 0; i < read; ++i) {
          if (!sequence.Read(sink)) break;
        }
        position = sequence.position();
      }
      EpochSequence sequence(options_, 2, context_, nullptr, shard);
      sequence.Resume(position);
      std::vector<std::string> expected = across_epochs
                                              ? std::vector<std::string>{"b", "e", "a", "d", "g"}
                                              : std::vector<std::string>{"b", "e", "b", "e"};
      expected.erase(expected.begin(),
                     expected.begin() +
                         static_cast<std::ptrdiff_t>(std::min<uint64_t>(read, expected.size())));
      EXPECT_EQ(ReadAll(sequence), expected) << read << " read, across epochs: " << across_epochs;
    }
  }
}

TEST_F(EpochSequenceTest, ATimeLimitBeforeTheEpochLeavesThePositionInIt) {
  WriteEpoch(1, Bytes({"not", "this", "one", "yet"}));
  EpochSequence sequence(options_, 2, context_);
  sequence.Resume({0, 2});
  StringSink sink;
  for (int call = 0; call < 3; ++call) {
    EXPECT_THROW(sequence.Read(sink), DeadlineExceededError);
    EXPECT_EQ(sequence.position().epochs, 0U);
  }
  WriteEpoch(0, Bytes({"a", "b", "c"}));
  EXPECT_THAT(ReadAll(sequence), ElementsAre("c", "not", "this", "one", "yet"));
}

TEST_F(EpochSequenceTest, AnyOtherErrorBeforeTheEpochEndsItAndLeavesThePositionToTheNext) {
  WriteEpoch(0, Bytes({"a", "b", "c"}));
  std::ofstream(dir_.path() + "/state");  // a file in the place of the folder
  EpochSequence sequence(options_, 2, context_);
  sequence.Resume({0, 2});
  StringSink sink;
  EXPECT_THROW(sequence.Read(sink), PipeError);
  std::remove((dir_.path() + "/state").c_str());
  EXPECT_THAT(ReadAll(sequence), ElementsAre("c"));
  EXPECT_EQ(sequence.position().epochs, 2U);
}

TEST_F(EpochSequenceTest, AnErrorBeforeThePositionIsTheOnlyOne) {
  WriteEpoch(0, Bytes({"a"}) + "cut");
  WriteEpoch(1, Bytes({"b"}));
  EpochSequence sequence(options_, 2, context_);
  sequence.Resume({0, 2});
  StringSink sink;
  EXPECT_THROW(sequence.Read(sink), DataLossError);
  EXPECT_THAT(ReadAll(sequence), ElementsAre("b"));
}

// Lines of several records, as an augmented manifest has them.
class EpochSequenceOfLinesTest : public EpochSequenceTest {
 protected:
  EpochSequenceOfLinesTest() { SetAttributes(2); }

  void SetAttributes(size_t count) {
    options_.stream.format = RecordFormat::kRecordIo;
    options_.stream.attributes.clear();
    for (size_t i = 0; i < count; ++i) {
      options_.stream.attributes.push_back("attribute " + std::to_string(i));
    }
  }

  static std::string Bytes(const Records& records) {
    return Encode(AllFormats()[1], records).bytes;
  }
};

TEST_F(EpochSequenceOfLinesTest, EachEpochBeginsWithALine) {
  WriteEpoch(0, Bytes({"a0", "a1", "b0"}));
  WriteEpoch(1, Bytes({"c0", "c1"}));
  EpochSequence sequence(options_, 2, context_);
  StringSink sink;
  for (const size_t column : {0, 1, 0}) {
    EXPECT_EQ(sequence.column(), column);
    ASSERT_TRUE(sequence.Read(sink));
  }
  EXPECT_EQ(sequence.column(), 1U);
  EXPECT_THROW(sequence.Read(sink), DataLossError);
  EXPECT_EQ(sequence.column(), 0U);
  EXPECT_EQ(sequence.position().records, 2U);
  EXPECT_THAT(ReadAll(sequence), ElementsAre("c0", "c1"));
  EXPECT_EQ(sequence.position().records_before, 4U);
}

TEST_F(EpochSequenceOfLinesTest, AnErrorWithinALineIsTheOnlyOne) {
  WriteEpoch(0, Bytes({"a0", "a1", "b0", "b1"}) + "cut");
  WriteEpoch(1, Bytes({"c0", "c1"}));
  SetAttributes(3);
  EpochSequence sequence(options_, 2, context_);
  StringSink sink;
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(sequence.Read(sink));
  EXPECT_THROW(sequence.Read(sink), DataLossError);
  EXPECT_EQ(sequence.column(), 0U);
  ASSERT_TRUE(sequence.Read(sink));
  EXPECT_EQ(sink.record(), "c0");
}

TEST_F(EpochSequenceOfLinesTest, SkipGoesToTheEndOfTheLine) {
  WriteEpoch(0, Bytes({"a0", "a1", "b0", "b1", "c0", "c1"}));
  EpochSequence sequence(options_, 1, context_);
  StringSink sink;
  ASSERT_TRUE(sequence.Read(sink));
  ASSERT_TRUE(sequence.Skip());
  ASSERT_TRUE(sequence.Read(sink));
  EXPECT_EQ(sink.record(), "b0");
  ASSERT_TRUE(sequence.Skip());
  ASSERT_TRUE(sequence.Skip());
  EXPECT_FALSE(sequence.Skip());
}

TEST_F(EpochSequenceOfLinesTest, ShardsAreOfLines) {
  Random random(11);
  for (int round = 0, epoch = 0; round < 100; ++round) {
    const size_t width = 1 + random.Below(4);
    SetAttributes(width);
    Shard shard;
    shard.count = random.OneIn(5) ? uint64_t{1} << 62 : 1 + random.Below(5);
    shard.index = random.Below(std::min<uint64_t>(shard.count, 8));
    shard.across_epochs = random.OneIn(2);
    std::vector<std::string> expected;
    const int epochs = 3;
    uint64_t line = 0;
    for (int i = 0; i < epochs; ++i) {
      if (!shard.across_epochs) line = 0;
      Records records;
      for (uint64_t lines = random.Below(200); lines > 0; --lines, ++line) {
        for (size_t column = 0; column < width; ++column) {
          records.push_back(std::to_string(i) + "/" + std::to_string(line) + "/" +
                            std::to_string(column));
          // Now and then the buffer ends in a line, of this shard or of another one.
          if (random.OneIn(20)) records.back().append(60'000, 'x');
          if (line % shard.count == shard.index) expected.push_back(records.back());
        }
      }
      WriteEpoch(epoch + i, Bytes(records));
    }
    EpochSequence sequence(options_, epochs, context_, nullptr, shard);
    Records records;
    std::vector<std::string_view> views;
    StringSink sink;
    for (;;) {
      views.clear();
      const size_t max = random.Below(300);
      sequence.TakeBuffered(max, &views);
      ASSERT_LE(views.size(), max);
      records.insert(records.end(), views.begin(), views.end());
      ASSERT_EQ(sequence.column(), records.size() % width);
      if (!sequence.Read(sink)) break;
      records.push_back(sink.record());
    }
    ASSERT_EQ(records, expected) << "round " << round;
    epoch += epochs;
  }
}

}  // namespace
}  // namespace pipemode
