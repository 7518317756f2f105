// SPDX-License-Identifier: Apache-2.0
#include "core/channel/epoch_sequence.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/channel/pipe_state.h"
#include "core/io/cancel_token.h"
#include "testing/file_list.h"
#include "testing/random.h"
#include "testing/record_formats.h"
#include "testing/string_sink.h"
#include "testing/temp_dir.h"

namespace pipemode {
namespace {

using ::pipemode::testing::AllFormats;
using ::pipemode::testing::Encode;
using ::pipemode::testing::FormatCase;
using ::pipemode::testing::MakeFiles;
using ::pipemode::testing::Random;
using ::pipemode::testing::Records;
using ::pipemode::testing::StringSink;
using ::pipemode::testing::TempDir;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

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

// Files in the place of pipes: an epoch is all of them.
class EpochSequenceOfFilesTest : public EpochSequenceTest {
 protected:
  EpochSequenceOfFilesTest() { options_.pipe_dir = options_.state_dir = ""; }

  void ListFiles(const std::vector<Records>& files, const FormatCase& format = AllFormats()[0]) {
    std::vector<std::string> contents;
    contents.reserve(files.size());
    for (const Records& records : files) contents.push_back(Encode(format, records).bytes);
    options_.stream.format = format.encoder.format;
    options_.files = MakeFiles(dir_.path(), contents);
  }

  std::string Path(size_t file) const { return options_.files->files[file].path; }

  // Reads `count` records and returns the position behind them.
  SequencePosition PositionBehind(uint64_t count, int64_t epochs, const Shard& shard = {}) {
    EpochSequence sequence(options_, epochs, context_, nullptr, shard);
    StringSink sink;
    for (; count > 0; --count) EXPECT_TRUE(sequence.Read(sink));
    return sequence.position();
  }

  // Checks that, behind each of the records that all epochs give, the rest can be read.
  void CheckEveryPosition(int64_t epochs, const Shard& shard = {}) {
    EpochSequence whole(options_, epochs, context_, nullptr, shard);
    const Records all = ReadAll(whole);
    Random random(5);
    for (uint64_t read = 0; read <= all.size(); ++read) {
      EpochSequence sequence(options_, epochs, context_, nullptr, shard);
      sequence.Resume(PositionBehind(read, epochs, shard));
      const Records expected(all.begin() + static_cast<std::ptrdiff_t>(read), all.end());
      const bool in_any_way = random.OneIn(2) && options_.stream.attributes.empty();
      const Records rest = in_any_way ? ReadShard(sequence, random) : ReadAll(sequence);
      ASSERT_EQ(rest.size(), expected.size()) << read;
      for (size_t i = 0; i < rest.size(); ++i) {
        ASSERT_TRUE(rest[i] == expected[i] || (in_any_way && rest[i].empty())) << read;
      }
      // A position that is reached by going on is the same as without a break.
      ASSERT_EQ(sequence.position().epochs, whole.position().epochs);
      ASSERT_EQ(sequence.position().records_before, whole.position().records_before);
    }
  }

  static std::vector<Records> SomeFiles() {
    return {{}, {"a", "b", "c"}, {}, {"d"}, {"e", "f", "g", "h"}, {"i", "j"}, {}};
  }
};

TEST_F(EpochSequenceOfFilesTest, EachEpochIsAllFiles) {
  ListFiles({{"a", "b"}, {}, {"c"}});
  EpochSequence sequence(options_, 2, context_);
  EXPECT_THAT(ReadAll(sequence), ElementsAre("a", "b", "c", "a", "b", "c"));
  StringSink sink;
  EXPECT_FALSE(sequence.Read(sink));
  EXPECT_EQ(sequence.position().epochs, 2U);
}

TEST_F(EpochSequenceOfFilesTest, NoFilesAreEmptyEpochs) {
  ListFiles({});
  EpochSequence sequence(options_, 3, context_);
  EXPECT_THAT(ReadAll(sequence), ElementsAre());
  EXPECT_EQ(sequence.position().epochs, 3U);
}

TEST_F(EpochSequenceOfFilesTest, TellsFileAndRecordInIt) {
  ListFiles({{}, {"a", "b"}, {}, {"c"}});
  EpochSequence sequence(options_, 2, context_);
  std::vector<std::vector<uint64_t>> positions;
  StringSink sink;
  while (sequence.Read(sink)) {
    const SequencePosition& position = sequence.position();
    positions.push_back({position.epochs, position.records, position.file, position.file_records});
  }
  using Position = std::vector<uint64_t>;
  EXPECT_THAT(positions,
              ElementsAre(Position{0, 1, 1, 1}, Position{0, 2, 1, 2}, Position{0, 3, 3, 1},
                          Position{1, 1, 1, 1}, Position{1, 2, 1, 2}, Position{1, 3, 3, 1}));
  EXPECT_EQ(sequence.position().file, 0U);
  EXPECT_EQ(sequence.position().file_records, 0U);
}

TEST_F(EpochSequenceOfFilesTest, TakenRecordsAndDroppedOnesCount) {
  ListFiles({{"a"}, {"b", "c", "d", "e"}});
  EpochSequence sequence(options_, 1, context_);
  ASSERT_TRUE(sequence.Skip());
  ASSERT_TRUE(sequence.Skip());
  std::vector<std::string_view> views;
  sequence.TakeBuffered(2, &views);
  EXPECT_THAT(views, ElementsAre("c", "d"));
  EXPECT_EQ(sequence.position().records, 4U);
  EXPECT_EQ(sequence.position().file, 1U);
  EXPECT_EQ(sequence.position().file_records, 3U);
}

TEST_F(EpochSequenceOfFilesTest, GoesOnWithTheNextFileAfterAnError) {
  ListFiles({{"a"}, {"b"}, {"c"}});
  std::filesystem::resize_file(Path(1), 16);
  EpochSequence sequence(options_, 2, context_);
  StringSink sink;
  for (int epoch = 0; epoch < 2; ++epoch) {
    ASSERT_TRUE(sequence.Read(sink));
    EXPECT_EQ(sink.record(), "a");
    EXPECT_THROW(sequence.Read(sink), DataLossError);
    ASSERT_TRUE(sequence.Read(sink));
    EXPECT_EQ(sink.record(), "c");
  }
  EXPECT_FALSE(sequence.Read(sink));
}

TEST_F(EpochSequenceOfFilesTest, AsksBeforeEachFileAndEachEpoch) {
  ListFiles({{"a"}, {"b"}, {"c"}});
  std::string asked;
  EpochSequence sequence(
      options_, 2, context_, [&] { asked += "epoch "; }, {}, [&] { asked += "file "; });
  ReadAll(sequence);
  EXPECT_EQ(asked, "file file epoch file file ");
}

TEST_F(EpochSequenceOfFilesTest, ResumesAtEveryPosition) {
  ListFiles(SomeFiles());
  for (const int64_t epochs : {1, 3}) CheckEveryPosition(epochs);
}

TEST_F(EpochSequenceOfFilesTest, ResumesAtEveryPositionOfAShardOfRecords) {
  ListFiles(SomeFiles());
  for (const bool across_epochs : {false, true}) {
    for (const uint64_t count : {2, 3, 7}) {
      for (uint64_t index = 0; index < count; index += 2) {
        CheckEveryPosition(3, {count, index, across_epochs});
      }
    }
  }
}

TEST_F(EpochSequenceOfFilesTest, ResumesAtEveryPositionOfAShardOfFiles) {
  ListFiles(SomeFiles());
  FileList list = *options_.files;
  for (list.stride = 2; list.stride <= 8; ++list.stride) {
    for (list.first = 0; list.first < list.stride; ++list.first) {
      options_.files = std::make_shared<const FileList>(list);
      CheckEveryPosition(2);
      CheckEveryPosition(2, {2, 1, false});
    }
  }
}

TEST_F(EpochSequenceOfFilesTest, ResumesAtEveryPositionOfLinesOfAttributes) {
  const FormatCase record_io = AllFormats()[1];
  ListFiles({{"a0", "a1"}, {}, {"b0", "b1", "c0", "c1"}, {"d0", "d1", "e0", "e1"}}, record_io);
  options_.stream.attributes = {"image", "label"};
  for (const uint64_t count : {1, 2, 3}) {
    for (const bool across_epochs : {false, true}) {
      EpochSequence whole(options_, 2, context_, nullptr, {count, 0, across_epochs});
      const Records all = ReadAll(whole);
      // A checkpoint is behind a line.
      for (uint64_t read = 0; read <= all.size(); read += 2) {
        EpochSequence sequence(options_, 2, context_, nullptr, {count, 0, across_epochs});
        sequence.Resume(PositionBehind(read, 2, {count, 0, across_epochs}));
        EXPECT_EQ(ReadAll(sequence),
                  Records(all.begin() + static_cast<std::ptrdiff_t>(read), all.end()));
      }
    }
  }
}

TEST_F(EpochSequenceOfFilesTest, ResumesWithTheHeaderOfFilesBefore) {
  const FormatCase text = AllFormats()[4];
  ListFiles({{"h", "1", "2"}, {"h", "3"}, {"4", "h", "5"}, {}, {"h"}, {"h", "6"}}, text);
  options_.stream.text = {1, true, false};
  CheckEveryPosition(2);
}

TEST_F(EpochSequenceOfFilesTest, FilesBeforeThePositionAreNotRead) {
  ListFiles({{"a", "b"}, {"c", "d"}, {"e"}});
  const SequencePosition position = PositionBehind(3, 1);
  std::filesystem::remove(Path(0));
  EpochSequence sequence(options_, 1, context_);
  sequence.Resume(position);
  EXPECT_THAT(ReadAll(sequence), ElementsAre("d", "e"));
}

TEST_F(EpochSequenceOfFilesTest, APositionWithoutAFileCountsFromTheFirst) {
  ListFiles(SomeFiles());
  for (uint64_t records = 0; records <= 10; ++records) {
    EpochSequence sequence(options_, 1, context_);
    SequencePosition position;
    position.records = records;
    position.file = SequencePosition::kNoFile;
    sequence.Resume(position);
    EXPECT_EQ(ReadAll(sequence).size(), 10 - records);
  }
  EpochSequence sequence(options_, 1, context_);
  SequencePosition position;
  position.records = 11;
  position.file = SequencePosition::kNoFile;
  sequence.Resume(position);
  StringSink sink;
  EXPECT_THROW(sequence.Read(sink), DataLossError);
  EXPECT_FALSE(sequence.Read(sink));
}

TEST_F(EpochSequenceOfFilesTest, AFileThatBecameShorterIsAnError) {
  ListFiles({{"a"}, {"b", "c", "d"}, {"e", "f", "g", "h"}, {"i"}});
  const SequencePosition position = PositionBehind(4, 2);
  ASSERT_EQ(position.file, 1U);
  ASSERT_EQ(position.file_records, 3U);
  for (const uint64_t left : {0, 1, 16, 17, 34, 50}) {
    std::filesystem::resize_file(Path(1), left);
    EpochSequence sequence(options_, 2, context_);
    sequence.Resume(position);
    StringSink sink;
    EXPECT_THAT([&] { sequence.Read(sink); },
                ThrowsMessage<DataLossError>(HasSubstr("file '" + Path(1) + "'")));
    // The next file is whole, from its first record on.
    ASSERT_TRUE(sequence.Read(sink));
    EXPECT_EQ(sink.record(), "e");
    EXPECT_EQ(sequence.position().file, 2U);
    EXPECT_EQ(sequence.position().file_records, 1U);
  }
}

// As where the list was made anew, and nothing about the file itself is wrong.
TEST_F(EpochSequenceOfFilesTest, AFileWithFewerRecordsIsAnErrorAndNoOtherTakesItsPlace) {
  ListFiles({{"a"}, {"b", "c", "d"}, {"e", "f", "g", "h"}, {"i"}});
  const SequencePosition position = PositionBehind(4, 2);
  for (const Records& records : std::vector<Records>{{}, {"b"}, {"b", "c"}}) {
    ListFiles({{"a"}, records, {"e", "f", "g", "h"}, {"i"}});
    EpochSequence sequence(options_, 2, context_);
    sequence.Resume(position);
    StringSink sink;
    EXPECT_THAT([&] { sequence.Read(sink); },
                ThrowsMessage<DataLossError>(HasSubstr("before the saved position")));
    Records next_epoch = {"a", "e", "f", "g", "h", "i"};
    next_epoch.insert(next_epoch.begin() + 1, records.begin(), records.end());
    EXPECT_EQ(ReadAll(sequence), next_epoch);
  }
}

TEST_F(EpochSequenceOfFilesTest, CorruptRecordsBeforeThePositionInAFileAreNoErrorAgain) {
  ListFiles({{"a"}, {"b", "c", "d"}, {"e"}});
  std::string bytes = Bytes({"b", "c", "d"});
  bytes[12] ^= 1;  // the payload of "b"
  testing::WriteFile(Path(1), bytes);
  EpochSequence sequence(options_, 1, context_);
  SequencePosition position;
  position.records = 2;
  position.file = 1;
  position.file_records = 1;
  sequence.Resume(position);
  EXPECT_THAT(ReadAll(sequence), ElementsAre("d", "e"));
}

TEST_F(EpochSequenceOfFilesTest, AnErrorBetweenAttributesIsTheOnlyOne) {
  ListFiles({{"a0", "a1", "b0"}, {"c0", "c1"}}, AllFormats()[1]);
  options_.stream.attributes = {"image", "label"};
  EpochSequence sequence(options_, 1, context_);
  StringSink sink;
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(sequence.Read(sink));
  EXPECT_THROW(sequence.Read(sink), DataLossError);
  EXPECT_EQ(sequence.column(), 0U);
  EXPECT_EQ(sequence.position().records, 2U);
  EXPECT_EQ(sequence.position().file_records, 2U);
  EXPECT_THAT(ReadAll(sequence), ElementsAre("c0", "c1"));
}

TEST_F(EpochSequenceOfFilesTest, AnErrorBeforeTheFileLeavesThePositionInIt) {
  // The file that tells the header is gone; the one with the position is not.
  const FormatCase text = AllFormats()[4];
  ListFiles({{"h", "1"}, {"h", "2", "3", "4"}, {"h", "5"}}, text);
  options_.stream.text = {1, true, false};
  const SequencePosition position = PositionBehind(2, 1);
  std::filesystem::remove(Path(0));
  EpochSequence sequence(options_, 1, context_);
  sequence.Resume(position);
  StringSink sink;
  EXPECT_THROW(sequence.Read(sink), PipeError);
  EXPECT_THAT(ReadAll(sequence), ElementsAre("3", "4", "5"));
}

}  // namespace
}  // namespace pipemode
