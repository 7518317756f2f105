// SPDX-License-Identifier: Apache-2.0
#include "tf/element_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/channel/channel_stats.h"
#include "core/channel/files_reader.h"
#include "core/io/cancel_token.h"
#include "core/io/wait.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/platform/tstring.h"
#include "testing/environment.h"
#include "testing/epoch_service.h"
#include "testing/file_list.h"
#include "testing/random.h"
#include "testing/record_formats.h"
#include "testing/temp_dir.h"
#include "tf/tensor_records.h"

namespace pipemode {
namespace {

using ::pipemode::testing::Encode;
using ::pipemode::testing::Encoded;
using ::pipemode::testing::EpochService;
using ::pipemode::testing::FormatCase;
using ::pipemode::testing::kPatience;
using ::pipemode::testing::MakeFiles;
using ::pipemode::testing::Random;
using ::pipemode::testing::Records;
using ::pipemode::testing::RecordsOf;
using ::pipemode::testing::TempDir;
using tensorflow::Tensor;
using tensorflow::tstring;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::ThrowsMessage;

const FormatCase kTfRecord = testing::AllFormats()[0];
const FormatCase kRecordIo = testing::AllFormats()[1];

Records Numbered(size_t count) {
  Records records;
  for (size_t i = 0; i < count; ++i) records.push_back(std::to_string(i));
  return records;
}

Records RecordsOf(const std::optional<Element>& element) {
  return element ? RecordsOf(element->tensors.at(0)) : Records{"the end"};
}

class ElementReaderTest : public ::testing::Test {
 protected:
  // For files with the given contents, each in `format`.
  ElementOptions Options(const FormatCase& format, const std::vector<Records>& files) {
    std::vector<std::string> contents;
    for (const Records& records : files) contents.push_back(Encode(format, records).bytes);
    return OptionsOfBytes(format, contents);
  }
  ElementOptions Options(const Records& records) { return Options(kTfRecord, {records}); }

  ElementOptions OptionsOfBytes(const FormatCase& format,
                                const std::vector<std::string>& contents) {
    ElementOptions options;
    options.channel.channel = "train";
    options.channel.stream = format.options();
    options.channel.files = MakeFiles(folder_.path(), contents);
    return options;
  }

  ElementReader Reader(const ElementOptions& options, size_t max_idle_bytes = 0) {
    return ElementReader(options, max_idle_bytes, {&cancel_, nullptr}, &counters_);
  }

  // The first component of all elements that are left.
  static std::vector<Records> ReadAll(ElementReader& reader) {
    std::vector<Records> elements;
    while (const std::optional<Element> element = reader.Next()) {
      elements.push_back(RecordsOf(element));
    }
    EXPECT_FALSE(reader.Next());
    EXPECT_FALSE(reader.Skip());
    return elements;
  }

  // The records of all elements, and how many calls have thrown.
  static std::pair<Records, int> ReadPastErrors(ElementReader& reader) {
    Records records;
    int errors = 0;
    for (;;) {
      try {
        const std::optional<Element> element = reader.Next();
        if (!element) return {records, errors};
        for (const std::string& record : RecordsOf(element)) records.push_back(record);
      } catch (const PipeError&) {
        ++errors;
      }
    }
  }

  const TempDir folder_;
  const CancelToken cancel_;
  ReaderCounters counters_;
};

// Scalars.

TEST_F(ElementReaderTest, OneRecordAfterTheOther) {
  ElementReader reader = Reader(Options({"first", "", std::string(300'000, 'x')}));
  std::optional<Element> element = reader.Next();
  ASSERT_TRUE(element);
  ASSERT_EQ(element->tensors.size(), 1U);
  EXPECT_EQ(element->tensors[0].dtype(), tensorflow::DT_STRING);
  EXPECT_EQ(element->tensors[0].dims(), 0);
  EXPECT_EQ(element->records, 1U);
  EXPECT_EQ(element->bytes, 5U);
  EXPECT_EQ(element->position.records, 1U);
  EXPECT_THAT(RecordsOf(element), ElementsAre("first"));
  EXPECT_THAT(RecordsOf(reader.Next()), ElementsAre(""));
  element = reader.Next();
  ASSERT_TRUE(element);
  EXPECT_EQ(element->bytes, 300'000U);
  EXPECT_EQ(element->position.records, 3U);
  EXPECT_TRUE(RecordsOf(element) == Records{std::string(300'000, 'x')});
  EXPECT_THAT(ReadAll(reader), IsEmpty());
}

TEST_F(ElementReaderTest, NoRecordsNoElement) {
  for (const std::vector<Records>& files : {std::vector<Records>{}, {{}}, {{}, {}}}) {
    for (const int64_t batch_size : {0, 1, 3}) {
      ElementOptions options = Options(kTfRecord, files);
      options.batch_size = batch_size;
      options.epochs = 2;
      ElementReader reader = Reader(options);
      EXPECT_THAT(ReadAll(reader), IsEmpty());
    }
  }
}

// Batches.

TEST_F(ElementReaderTest, BatchesHaveTheirSizeAndTheLastOneTheRest) {
  for (int64_t size = 1; size <= 12; ++size) {
    for (const bool drop_remainder : {false, true}) {
      ElementOptions options = Options(Numbered(10));
      options.batch_size = size;
      options.drop_remainder = drop_remainder;
      ElementReader reader = Reader(options);
      Records left = Numbered(10);
      for (const Records& batch : ReadAll(reader)) {
        ASSERT_LE(batch.size(), left.size());
        const auto end = left.begin() + static_cast<std::ptrdiff_t>(batch.size());
        EXPECT_EQ(batch, Records(left.begin(), end));
        left.erase(left.begin(), end);
        const bool is_whole = batch.size() == static_cast<size_t>(size);
        EXPECT_TRUE(is_whole || (left.empty() && !drop_remainder)) << size;
      }
      EXPECT_EQ(left.size(), drop_remainder ? 10 % static_cast<size_t>(size) : 0) << size;
    }
  }
}

TEST_F(ElementReaderTest, ABatchSaysWhatItHolds) {
  ElementOptions options = Options({"1", "22", "333", "4444", "55555"});
  options.batch_size = 3;
  ElementReader reader = Reader(options);
  std::optional<Element> element = reader.Next();
  ASSERT_TRUE(element);
  ASSERT_EQ(element->tensors[0].dims(), 1);
  EXPECT_EQ(element->tensors[0].dim_size(0), 3);
  EXPECT_EQ(element->records, 3U);
  EXPECT_EQ(element->bytes, 6U);
  EXPECT_EQ(element->position.records, 3U);
  element = reader.Next();
  ASSERT_TRUE(element);
  EXPECT_EQ(element->tensors[0].dim_size(0), 2);
  EXPECT_EQ(element->records, 2U);
  EXPECT_EQ(element->bytes, 9U);
  EXPECT_EQ(element->position.records, 5U);
}

TEST_F(ElementReaderTest, BatchesGoOnFromFileToFileAndFromEpochToEpoch) {
  ElementOptions options = Options(kTfRecord, {{"a", "b"}, {}, {"c"}});
  options.batch_size = 4;
  options.epochs = 3;
  ElementReader reader = Reader(options);
  EXPECT_THAT(ReadAll(reader), ElementsAre(ElementsAre("a", "b", "c", "a"),
                                           ElementsAre("b", "c", "a", "b"), ElementsAre("c")));
  EXPECT_EQ(counters_.Get().epochs, 3U);
}

TEST_F(ElementReaderTest, EveryRecordOfLargeBatchesInOrder) {
  // More than are looked at at once, of all sizes up to more than are buffered.
  Records records;
  Random random(3);
  for (int i = 0; i < 3'000; ++i) {
    records.push_back(random.Bytes(random.Below(random.OneIn(100) ? 200'000 : 40)));
  }
  for (const FormatCase& format : {kTfRecord, kRecordIo}) {
    for (const int64_t size : {255, 256, 257, 1'000, 5'000}) {
      ElementOptions options = Options(format, {records});
      options.batch_size = size;
      ElementReader reader = Reader(options);
      Records read;
      for (const Records& batch : ReadAll(reader)) {
        read.insert(read.end(), batch.begin(), batch.end());
      }
      EXPECT_TRUE(read == records) << format.name << ", " << size;
    }
  }
}

TEST_F(ElementReaderTest, TheMemoryOfABatchThatIsGoneServesAgain) {
  ElementOptions options = Options(Numbered(30));
  options.batch_size = 10;
  ElementReader reader = Reader(options, /*max_idle_bytes=*/size_t{1} << 20);
  std::optional<Element> element = reader.Next();
  ASSERT_TRUE(element);
  const void* const memory = element->tensors[0].flat<tstring>().data();
  const std::optional<Element> kept = reader.Next();
  ASSERT_TRUE(kept);
  EXPECT_NE(kept->tensors[0].flat<tstring>().data(), memory);
  element.reset();
  element = reader.Next();
  ASSERT_TRUE(element);
  EXPECT_EQ(element->tensors[0].flat<tstring>().data(), memory);
  // What is still held has not changed.
  EXPECT_EQ(RecordsOf(kept).front(), "10");
  EXPECT_EQ(RecordsOf(element).front(), "20");
}

// Lines of several attributes.

TEST_F(ElementReaderTest, EachComponentIsAnAttribute) {
  ElementOptions options = Options(kRecordIo, {{"image 0", "0", "image 1", "1", "image 2", "2"}});
  options.channel.stream.attributes = {"image", "label"};
  options.components = {1, 0};
  {
    ElementReader reader = Reader(options);
    const std::optional<Element> element = reader.Next();
    ASSERT_TRUE(element);
    ASSERT_EQ(element->tensors.size(), 2U);
    EXPECT_THAT(RecordsOf(element->tensors[0]), ElementsAre("0"));
    EXPECT_THAT(RecordsOf(element->tensors[1]), ElementsAre("image 0"));
    EXPECT_EQ(element->records, 2U);
    EXPECT_EQ(element->bytes, 8U);
    EXPECT_EQ(element->position.records, 2U);
  }
  options.batch_size = 2;
  ElementReader reader = Reader(options);
  std::optional<Element> element = reader.Next();
  ASSERT_TRUE(element);
  EXPECT_THAT(RecordsOf(element->tensors[0]), ElementsAre("0", "1"));
  EXPECT_THAT(RecordsOf(element->tensors[1]), ElementsAre("image 0", "image 1"));
  EXPECT_EQ(element->records, 4U);
  element = reader.Next();
  ASSERT_TRUE(element);
  EXPECT_THAT(RecordsOf(element->tensors[0]), ElementsAre("2"));
  EXPECT_THAT(RecordsOf(element->tensors[1]), ElementsAre("image 2"));
}

TEST_F(ElementReaderTest, ALineThatEndsEarlyIsDroppedAndTheNextFileBeginsALine) {
  for (const int64_t batch_size : {0, 1, 3}) {
    ElementOptions options = Options(kRecordIo, {{"image 0", "0", "image 1"}, {"image 2", "2"}});
    options.channel.stream.attributes = {"image", "label"};
    options.components = {0, 1};
    options.batch_size = batch_size;
    ElementReader reader = Reader(options);
    const auto [images, errors] = ReadPastErrors(reader);
    EXPECT_THAT(images, ElementsAre("image 0", "image 2")) << batch_size;
    EXPECT_EQ(errors, 1);
  }
}

// Errors.

class ElementReaderErrorTest : public ElementReaderTest {
 protected:
  ElementReaderErrorTest() {
    encoded_ = Encode(kTfRecord, Numbered(10));
    // In the midst of the second batch of four.
    char& byte = encoded_.bytes[encoded_.ends[kCorrupt] - 1];
    byte = static_cast<char>(byte ^ 1);
  }

  ElementOptions BatchOptions() {
    ElementOptions options = OptionsOfBytes(kTfRecord, {encoded_.bytes});
    options.batch_size = 4;
    return options;
  }

  static constexpr size_t kCorrupt = 5;
  Encoded encoded_;
};

TEST_F(ElementReaderErrorTest, ABatchKeepsItsRecordsOverACorruptOne) {
  ElementReader reader = Reader(BatchOptions());
  EXPECT_THAT(RecordsOf(reader.Next()), ElementsAre("0", "1", "2", "3"));
  EXPECT_THAT([&] { reader.Next(); }, ThrowsMessage<CorruptRecordError>(HasSubstr("record 5")));
  EXPECT_EQ(counters_.Get().corrupt_records, 1U);
  const std::optional<Element> element = reader.Next();
  EXPECT_THAT(RecordsOf(element), ElementsAre("4", "6", "7", "8"));
  EXPECT_EQ(element->records, 4U);
  EXPECT_EQ(element->bytes, 4U);
  EXPECT_THAT(ReadAll(reader), ElementsAre(ElementsAre("9")));
}

TEST_F(ElementReaderErrorTest, CorruptRecordsThatMayBeSkippedAreCounted) {
  ElementOptions options = BatchOptions();
  options.channel.stream.max_corrupted_records_to_skip = 1;
  ElementReader reader = Reader(options);
  EXPECT_THAT(ReadAll(reader), ElementsAre(ElementsAre("0", "1", "2", "3"),
                                           ElementsAre("4", "6", "7", "8"), ElementsAre("9")));
  EXPECT_EQ(counters_.Get().corrupt_records, 1U);
}

TEST_F(ElementReaderErrorTest, WhatAnErrorLeftInTheBatchCountsWhenItIsSkipped) {
  ElementReader reader = Reader(BatchOptions());
  EXPECT_TRUE(reader.Skip());
  EXPECT_THROW(reader.Next(), CorruptRecordError);  // has "4"
  EXPECT_TRUE(reader.Skip());                       // and "6", "7", "8"
  EXPECT_THAT(ReadAll(reader), ElementsAre(ElementsAre("9")));
}

TEST_F(ElementReaderErrorTest, AfterAFileThatEndsEarlyTheBatchGoesOnWithTheNextOne) {
  const std::string bytes = Encode(kTfRecord, Numbered(3)).bytes;
  ElementOptions options = OptionsOfBytes(
      kTfRecord, {bytes.substr(0, bytes.size() - 1), Encode(kTfRecord, {"a", "b"}).bytes});
  options.batch_size = 3;
  ElementReader reader = Reader(options);
  EXPECT_THAT([&] { reader.Next(); },
              ThrowsMessage<DataLossError>(HasSubstr(options.channel.files->files[0].path)));
  EXPECT_THAT(ReadAll(reader), ElementsAre(ElementsAre("0", "1", "a"), ElementsAre("b")));
}

TEST_F(ElementReaderErrorTest, WhatAnErrorLeavesOfTheLastBatchIsDroppedIfRemaindersAre) {
  const std::string bytes = Encode(kTfRecord, Numbered(3)).bytes;
  ElementOptions options = OptionsOfBytes(kTfRecord, {bytes.substr(0, bytes.size() - 1)});
  options.batch_size = 3;
  for (const bool drop_remainder : {false, true}) {
    options.drop_remainder = drop_remainder;
    ElementReader reader = Reader(options);
    EXPECT_THROW(reader.Next(), DataLossError);
    EXPECT_EQ(ReadAll(reader).size(), drop_remainder ? 0U : 1U);
  }
}

TEST_F(ElementReaderErrorTest, OptionsThatAreNotValidAreRefused) {
  ElementOptions options = BatchOptions();
  options.channel.channel = "a/b";
  EXPECT_THAT([&] { Reader(options); }, ThrowsMessage<InvalidArgumentError>(HasSubstr("a/b")));
}

// Skipping.

TEST_F(ElementReaderTest, SkippedElementsAreLeftOut) {
  for (const bool drop_remainder : {false, true}) {
    ElementOptions options = Options(Numbered(8));
    options.batch_size = 3;
    options.drop_remainder = drop_remainder;
    ElementReader reader = Reader(options);
    EXPECT_TRUE(reader.Skip());
    EXPECT_EQ(reader.position().records, 3U);
    EXPECT_THAT(RecordsOf(reader.Next()), ElementsAre("3", "4", "5"));
    EXPECT_EQ(reader.Skip(), !drop_remainder);
    EXPECT_FALSE(reader.Skip());
    EXPECT_FALSE(reader.Next());
  }
}

TEST_F(ElementReaderTest, AScalarThatIsSkippedIsAWholeLine) {
  ElementOptions options = Options(kRecordIo, {{"image 0", "0", "image 1", "1"}});
  options.channel.stream.attributes = {"image", "label"};
  options.components = {0, 1};
  ElementReader reader = Reader(options);
  EXPECT_TRUE(reader.Skip());
  EXPECT_THAT(ReadAll(reader), ElementsAre(ElementsAre("image 1")));
}

// Rows, which are read ahead.

TEST_F(ElementReaderTest, RowsAreFilledUpToALimit) {
  ElementReader reader = Reader(Options(Numbered(10)));
  EXPECT_TRUE(reader.FillRows(4, SIZE_MAX));
  EXPECT_EQ(reader.filled(), 4U);
  EXPECT_EQ(reader.filled_to().records, 4U);
  EXPECT_THAT(RecordsOf(VectorTensors({0}, reader.TakeRows())[0]), ElementsAre("0", "1", "2", "3"));
  EXPECT_EQ(reader.filled(), 0U);
  // One at least, whatever its size, and no further once there are so many bytes.
  EXPECT_TRUE(reader.FillRows(4, 0));
  EXPECT_GE(reader.filled(), 1U);
  // Those that are there count.
  EXPECT_FALSE(reader.FillRows(100, SIZE_MAX));
  EXPECT_EQ(reader.filled(), 6U);
  EXPECT_EQ(reader.filled_to().records, 10U);
  EXPECT_FALSE(reader.FillRows(100, SIZE_MAX));
  EXPECT_EQ(RowsOf(reader.TakeRows()), 6U);
}

TEST_F(ElementReaderTest, RowsOfManyBytesAreNotWaitedFor) {
  const std::string large(2'000'000, 'x');  // more than is buffered
  ElementReader reader = Reader(Options({large, large, large}));
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(reader.FillRows(100, large.size()));
    ASSERT_EQ(reader.filled(), 1U);
    EXPECT_TRUE(RecordsOf(VectorTensors({0}, reader.TakeRows())[0]) == Records{large});
  }
  EXPECT_FALSE(reader.FillRows(100, large.size()));
}

TEST_F(ElementReaderTest, ScalarsAreTakenOutOfRows) {
  ElementReader reader = Reader(Options({"a", "b"}));
  ASSERT_TRUE(reader.FillRows(2, SIZE_MAX));
  const RecordColumns rows = reader.TakeRows();
  for (const auto& [row, expected] : {std::pair(size_t{0}, "a"), std::pair(size_t{1}, "b")}) {
    const std::vector<Tensor> tensors = ScalarTensors({0}, rows, row);
    ASSERT_EQ(tensors.size(), 1U);
    EXPECT_EQ(tensors[0].dims(), 0);
    EXPECT_THAT(RecordsOf(tensors[0]), ElementsAre(expected));
  }
}

// Going on.

TEST_F(ElementReaderTest, GoesOnBehindAnyElement) {
  ElementOptions options = Options(kTfRecord, {Numbered(7), {}, {"a", "b", "c"}});
  options.epochs = 2;
  for (const int64_t batch_size : {0, 3}) {
    options.batch_size = batch_size;
    std::vector<Records> elements;
    std::vector<SequencePosition> positions;
    ElementReader whole = Reader(options);
    while (const std::optional<Element> element = whole.Next()) {
      elements.push_back(RecordsOf(element));
      positions.push_back(element->position);
    }
    for (size_t at = 0; at < elements.size(); ++at) {
      ElementReader reader = Reader(options);
      reader.Resume(positions[at]);
      const auto behind = elements.begin() + static_cast<std::ptrdiff_t>(at) + 1;
      EXPECT_EQ(ReadAll(reader), std::vector<Records>(behind, elements.end())) << at;
    }
  }
}

TEST_F(ElementReaderTest, EpochsOfAnEarlierIteratorDoNotCount) {
  ElementOptions options = Options(Numbered(3));
  options.epochs = 5;
  SequencePosition position;
  position.epochs = 3;
  ElementReader reader = Reader(options);
  reader.Resume(position);
  EXPECT_EQ(ReadAll(reader).size(), 6U);
  EXPECT_EQ(counters_.Get().epochs, 2U);
}

TEST_F(ElementReaderTest, APositionBehindAllEpochsIsRefused) {
  SequencePosition position;
  position.epochs = 2;
  ElementReader reader = Reader(Options(Numbered(3)));
  EXPECT_THROW(reader.Resume(position), InvalidArgumentError);
}

// Pipes.

TEST_F(ElementReaderTest, ReadsEpochsOfAPipeAndTellsBeforeEachFurtherOne) {
  const EpochService service(folder_.path(), "train", [](uint64_t epoch) {
    return Encode(kTfRecord, {std::to_string(epoch), "x"}).bytes;
  });
  ElementOptions options;
  options.channel.channel = "train";
  options.channel.pipe_dir = folder_.path();
  options.channel.state_dir = folder_ / "state";
  options.channel.stream = kTfRecord.options();
  options.channel.open_timeout = options.channel.read_timeout = kPatience;
  options.epochs = 3;
  options.batch_size = 3;
  std::vector<uint64_t> told;  // how many epochs were over by then
  ElementReader reader(options, 0, {&cancel_, nullptr}, &counters_,
                       [&] { told.push_back(counters_.Get().epochs); });
  EXPECT_THAT(ReadAll(reader), ElementsAre(ElementsAre("0", "x", "1"), ElementsAre("x", "2", "x")));
  EXPECT_THAT(told, ElementsAre(1U, 2U));
}

}  // namespace
}  // namespace pipemode
