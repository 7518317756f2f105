// SPDX-License-Identifier: Apache-2.0
#include "tf/saved_position.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "core/channel/files_reader.h"
#include "core/format/record_format.h"
#include "tensorflow/core/framework/dataset.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/platform/tstring.h"
#include "testing/random.h"

namespace pipemode {
namespace {

namespace data = tensorflow::data;
using ::pipemode::testing::Random;
using tensorflow::Tensor;
using tensorflow::tstring;
using ::testing::HasSubstr;

constexpr int64_t kMaxCount = int64_t{1} << 48;
constexpr char kPrefix[] = "Iterator::PipeMode";

// A checkpoint: values by prefix and key.
using Value = std::variant<int64_t, std::string>;
using Checkpoint = std::map<std::pair<std::string, std::string>, Value>;

absl::Status NotOurs() { return absl::UnimplementedError("not called by SavedPosition"); }

class Writer final : public data::IteratorStateWriter {
 public:
  // Takes `room` values, then fails.
  explicit Writer(Checkpoint* checkpoint, size_t room = SIZE_MAX)
      : checkpoint_(*checkpoint), room_(room) {}

  absl::Status WriteScalar(absl::string_view name, absl::string_view key,
                           const int64_t value) override {
    return Write(name, key, value);
  }
  absl::Status WriteScalar(absl::string_view name, absl::string_view key,
                           const tstring& value) override {
    return Write(name, key, std::string(value));
  }
  absl::Status WriteScalar(absl::string_view /*key*/, const int64_t /*value*/) override {
    return NotOurs();
  }
  absl::Status WriteScalar(absl::string_view /*key*/, const tstring& /*value*/) override {
    return NotOurs();
  }
  absl::Status WriteTensor(absl::string_view /*key*/, const Tensor& /*value*/) override {
    return NotOurs();
  }
  absl::Status WriteTensor(absl::string_view /*name*/, absl::string_view /*key*/,
                           const Tensor& /*value*/) override {
    return NotOurs();
  }

 private:
  absl::Status Write(absl::string_view name, absl::string_view key, Value value) {
    if (checkpoint_.size() == room_) return absl::ResourceExhaustedError("no room");
    checkpoint_[{std::string(name), std::string(key)}] = std::move(value);
    return absl::OkStatus();
  }

  Checkpoint& checkpoint_;
  const size_t room_;
};

class Reader final : public data::IteratorStateReader {
 public:
  explicit Reader(const Checkpoint& checkpoint) : checkpoint_(checkpoint) {}

  absl::Status ReadScalar(absl::string_view name, absl::string_view key,
                          int64_t* value) const override {
    return Read(name, key, value);
  }
  absl::Status ReadScalar(absl::string_view name, absl::string_view key,
                          tstring* value) const override {
    std::string text;
    const absl::Status status = Read(name, key, &text);
    if (status.ok()) *value = text;
    return status;
  }
  bool Contains(absl::string_view /*key*/) const override { return false; }
  bool Contains(absl::string_view name, absl::string_view key) const override {
    return checkpoint_.count({std::string(name), std::string(key)}) > 0;
  }
  absl::Status ReadScalar(absl::string_view /*key*/, int64_t* /*value*/) const override {
    return NotOurs();
  }
  absl::Status ReadScalar(absl::string_view /*key*/, tstring* /*value*/) const override {
    return NotOurs();
  }
  absl::Status ReadTensor(absl::string_view /*key*/, Tensor* /*value*/) const override {
    return NotOurs();
  }
  absl::Status ReadTensor(tensorflow::FunctionLibraryRuntime* /*flr*/, absl::string_view /*key*/,
                          Tensor* /*value*/) const override {
    return NotOurs();
  }
  absl::Status ReadTensor(absl::string_view /*name*/, absl::string_view /*key*/,
                          Tensor* /*value*/) const override {
    return NotOurs();
  }
  absl::Status ReadTensor(tensorflow::FunctionLibraryRuntime* /*flr*/, absl::string_view /*name*/,
                          absl::string_view /*key*/, Tensor* /*value*/) const override {
    return NotOurs();
  }

 private:
  template <typename Type>
  absl::Status Read(absl::string_view name, absl::string_view key, Type* value) const {
    const auto found = checkpoint_.find({std::string(name), std::string(key)});
    if (found == checkpoint_.end()) return absl::NotFoundError(key);
    const Type* const held = std::get_if<Type>(&found->second);
    if (held == nullptr) return absl::InvalidArgumentError("of another type");
    *value = *held;
    return absl::OkStatus();
  }

  const Checkpoint& checkpoint_;
};

ChannelOptions PipeOptions() {
  ChannelOptions options;
  options.channel = "train";
  options.stream.format = RecordFormat::kRecordIo;
  return options;
}

FileList Files(size_t count) {
  FileList list;
  for (size_t i = 0; i < count; ++i) {
    list.files.push_back({"/data/train/part-" + std::to_string(i), 100 * i});
  }
  return list;
}

ChannelOptions FileOptions(FileList list) {
  ChannelOptions options = PipeOptions();
  options.files = std::make_shared<const FileList>(std::move(list));
  return options;
}

Checkpoint Saved(const SavedPosition& saved, const ChannelOptions& options) {
  Checkpoint checkpoint;
  Writer writer(&checkpoint);
  const absl::Status status = WritePosition(saved, options, kPrefix, &writer);
  EXPECT_TRUE(status.ok()) << status;
  return checkpoint;
}

absl::Status Restore(const Checkpoint& checkpoint, const ChannelOptions& options,
                     SavedPosition* saved) {
  Reader reader(checkpoint);
  return ReadPosition(options, kPrefix, &reader, saved);
}

// The message of the InvalidArgument that reading gives, or what it gives instead.
std::string Refused(const Checkpoint& checkpoint, const ChannelOptions& options) {
  SavedPosition saved;
  const absl::Status status = Restore(checkpoint, options, &saved);
  if (status.code() == absl::StatusCode::kInvalidArgument) return std::string(status.message());
  return "not refused: " + status.ToString();
}

Value& At(Checkpoint& checkpoint, const std::string& key) { return checkpoint.at({kPrefix, key}); }

// A position somewhere in the third of five files.
SavedPosition InAFile() {
  SavedPosition saved;
  saved.position.epochs = 2;
  saved.position.records = 30;
  saved.position.records_before = 200;
  saved.position.file = 2;
  saved.position.file_records = 10;
  return saved;
}

TEST(SavedPositionTest, ComesBackAsItWas) {
  Random random(1);
  const auto count = [&random](uint64_t limit) {
    return random.OneIn(4) ? (random.OneIn(2) ? limit : 0) : uint64_t{random.Below(limit + 1)};
  };
  for (int i = 0; i < 2'000; ++i) {
    ChannelOptions options = random.OneIn(2) ? PipeOptions() : FileOptions(Files(5));
    options.channel = "channel-" + std::to_string(random.Below(100));
    const bool in_lines = random.OneIn(2);
    if (in_lines) options.stream.attributes = {"image", "label", "size"};
    if (!in_lines && random.OneIn(2)) options.stream.format = RecordFormat::kTfRecord;
    const uint64_t unit = in_lines ? 3 : 1;
    SavedPosition saved;
    saved.ended = random.OneIn(2);
    saved.position.epochs = count(kMaxCount);
    saved.position.records = count(kMaxCount / unit) * unit;
    saved.position.records_before = count(kMaxCount / unit) * unit;
    if (options.files != nullptr) {
      saved.position.file = random.Below(5);
      saved.position.file_records = count(saved.position.records);
    }
    SavedPosition restored;
    const absl::Status status = Restore(Saved(saved, options), options, &restored);
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(restored.ended, saved.ended);
    EXPECT_EQ(restored.position.epochs, saved.position.epochs);
    EXPECT_EQ(restored.position.records, saved.position.records);
    EXPECT_EQ(restored.position.records_before, saved.position.records_before);
    if (options.files == nullptr) continue;
    // At the beginning of an epoch the file is the first one, whatever it is by then.
    const bool has_file = saved.position.records > 0;
    EXPECT_EQ(restored.position.file, has_file ? saved.position.file : SequencePosition::kNoFile);
    EXPECT_EQ(restored.position.file_records, has_file ? saved.position.file_records : 0);
  }
}

TEST(SavedPositionTest, IteratorsOfOneCheckpointKeepApart) {
  Checkpoint checkpoint;
  Writer writer(&checkpoint);
  for (const uint64_t epochs : {1, 2}) {
    SavedPosition saved;
    saved.position.epochs = epochs;
    ASSERT_TRUE(WritePosition(saved, PipeOptions(), std::to_string(epochs), &writer).ok());
  }
  Reader reader(checkpoint);
  for (const uint64_t epochs : {1, 2}) {
    SavedPosition restored;
    ASSERT_TRUE(ReadPosition(PipeOptions(), std::to_string(epochs), &reader, &restored).ok());
    EXPECT_EQ(restored.position.epochs, epochs);
  }
}

TEST(SavedPositionTest, KeysThatItDoesNotKnowAreLeftAlone) {
  const ChannelOptions options = FileOptions(Files(5));
  Checkpoint checkpoint = Saved(InAFile(), options);
  checkpoint[{kPrefix, "of a later release"}] = int64_t{7};
  checkpoint[{"another iterator", "epochs"}] = int64_t{7};
  SavedPosition restored;
  EXPECT_TRUE(Restore(checkpoint, options, &restored).ok());
  EXPECT_EQ(restored.position.epochs, 2U);
}

TEST(SavedPositionTest, TheFoldersOfTheFilesMayBeOthers) {
  const Checkpoint checkpoint = Saved(InAFile(), FileOptions(Files(5)));
  FileList moved = Files(5);
  for (FileList::File& file : moved.files) file.path.replace(0, 5, "/another/folder");
  SavedPosition restored;
  const absl::Status status = Restore(checkpoint, FileOptions(moved), &restored);
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(restored.position.file, 2U);
}

TEST(SavedPositionTest, OneOfAPipeIsOneInFilesTooAndCanBeSavedThereAgain) {
  SavedPosition saved;
  saved.position.records = 30;
  const ChannelOptions files = FileOptions(Files(5));
  SavedPosition restored;
  ASSERT_TRUE(Restore(Saved(saved, PipeOptions()), files, &restored).ok());
  EXPECT_EQ(restored.position.file, SequencePosition::kNoFile);
  // As when a checkpoint is written before the first element after the restore.
  SavedPosition again;
  ASSERT_TRUE(Restore(Saved(restored, files), files, &again).ok());
  EXPECT_EQ(again.position.records, 30U);
  EXPECT_EQ(again.position.file, SequencePosition::kNoFile);
}

TEST(SavedPositionTest, AWriterThatFailsIsTheResult) {
  const ChannelOptions options = FileOptions(Files(5));
  const size_t whole = Saved(InAFile(), options).size();
  for (size_t room = 0; room < whole; ++room) {
    Checkpoint checkpoint;
    Writer writer(&checkpoint, room);
    EXPECT_EQ(WritePosition(InAFile(), options, kPrefix, &writer).code(),
              absl::StatusCode::kResourceExhausted);
    EXPECT_EQ(checkpoint.size(), room);
  }
}

// What is refused.

TEST(SavedPositionTest, ACheckpointOfSomethingElse) {
  EXPECT_THAT(Refused({}, PipeOptions()), HasSubstr("another pipeline"));
  Checkpoint checkpoint = Saved({}, PipeOptions());
  for (const int64_t version : {-1, 0, 2, 4}) {
    At(checkpoint, "version") = version;
    EXPECT_THAT(Refused(checkpoint, PipeOptions()),
                HasSubstr("version " + std::to_string(version)));
  }
}

TEST(SavedPositionTest, APartThatIsMissingOrOfAnotherType) {
  for (const ChannelOptions& options : {PipeOptions(), FileOptions(Files(5))}) {
    const Checkpoint whole = Saved(InAFile(), options);
    for (const auto& [name, value] : whole) {
      // Without it, the position is one in a pipe.
      if (name.second == "file") continue;
      Checkpoint checkpoint = whole;
      checkpoint.erase(name);
      EXPECT_THAT(Refused(checkpoint, options), HasSubstr("cannot go on")) << name.second;
      if (std::holds_alternative<int64_t>(value)) {
        checkpoint[name] = "7";
      } else {
        checkpoint[name] = int64_t{7};
      }
      EXPECT_THAT(Refused(checkpoint, options), HasSubstr("cannot go on")) << name.second;
    }
  }
}

TEST(SavedPositionTest, APositionInAnotherDataset) {
  const Checkpoint checkpoint = Saved({}, PipeOptions());
  ChannelOptions other = PipeOptions();
  other.channel = "test";
  EXPECT_THAT(Refused(checkpoint, other), HasSubstr("channel 'train', and this one has 'test'"));
  other = PipeOptions();
  other.stream.format = RecordFormat::kTextLine;
  EXPECT_THAT(Refused(checkpoint, other), HasSubstr("'RecordIO', and this one has 'TextLine'"));
  other = PipeOptions();
  other.stream.attributes = {"image", "label"};
  EXPECT_THAT(Refused(checkpoint, other), HasSubstr("attributes '0', and this one has '2'"));
}

TEST(SavedPositionTest, CountsThatNoReaderCanHave) {
  ChannelOptions options = PipeOptions();
  options.stream.attributes = {"image", "label"};
  for (const std::string key : {"epochs", "records", "records_before"}) {
    Checkpoint checkpoint = Saved({}, options);
    for (const int64_t count : {int64_t{-1}, INT64_MIN, kMaxCount + 1, INT64_MAX}) {
      At(checkpoint, key) = count;
      EXPECT_THAT(Refused(checkpoint, options), HasSubstr(key + ": " + std::to_string(count)));
    }
    At(checkpoint, key) = kMaxCount;
    SavedPosition saved;
    EXPECT_TRUE(Restore(checkpoint, options, &saved).ok()) << key;
    // Half a line.
    At(checkpoint, key) = int64_t{3};
    EXPECT_EQ(Restore(checkpoint, options, &saved).ok(), key == "epochs") << key;
  }
}

TEST(SavedPositionTest, AFileThatIsNoLongerThatOne) {
  const Checkpoint checkpoint = Saved(InAFile(), FileOptions(Files(5)));
  FileList files = Files(2);
  EXPECT_THAT(Refused(checkpoint, FileOptions(files)), HasSubstr("and here are 2 files"));
  files = Files(5);
  files.files[2].size = 7;
  EXPECT_THAT(Refused(checkpoint, FileOptions(files)), HasSubstr("'part-2' of 7 bytes"));
  files = Files(5);
  files.files[2].path = "/data/train/another";
  EXPECT_THAT(Refused(checkpoint, FileOptions(files)), HasSubstr("'another' of 200 bytes"));
  files = Files(5);
  files.stride = 2;
  files.first = 1;
  EXPECT_THAT(Refused(checkpoint, FileOptions(files)), HasSubstr("another shard of files"));
  files.first = 0;
  EXPECT_THAT(Refused(checkpoint, FileOptions(files)), HasSubstr("not refused: OK"));
}

TEST(SavedPositionTest, APlaceInAFileThatCannotBe) {
  const ChannelOptions options = FileOptions(Files(5));
  const Checkpoint whole = Saved(InAFile(), options);
  for (const auto& [key, count] :
       {std::pair("file", int64_t{-1}), std::pair("file", INT64_MIN),
        std::pair("file_records", int64_t{-1}), std::pair("file_records", int64_t{31}),
        std::pair("file_records", INT64_MAX)}) {
    Checkpoint checkpoint = whole;
    At(checkpoint, key) = count;
    EXPECT_THAT(Refused(checkpoint, options), HasSubstr("is not valid")) << key << " " << count;
  }
}

TEST(SavedPositionTest, WhateverACheckpointHoldsThePositionIsOneOrIsRefused) {
  const ChannelOptions options = FileOptions(Files(5));
  const Checkpoint whole = Saved(InAFile(), options);
  std::vector<std::pair<std::string, std::string>> names;
  for (const auto& [name, value] : whole) names.push_back(name);
  const std::vector<int64_t> numbers = {INT64_MIN, -1, 0, 1, 2, 3, 4, 5, kMaxCount, INT64_MAX};
  Random random(2);
  int accepted = 0;
  for (int i = 0; i < 20'000; ++i) {
    Checkpoint checkpoint = whole;
    for (size_t changes = 1 + random.Below(3); changes > 0; --changes) {
      const auto& name = names[random.Below(names.size())];
      switch (random.Below(3)) {
        case 0:
          checkpoint[name] = numbers[random.Below(numbers.size())];
          break;
        case 1:
          checkpoint[name] = random.Bytes(random.Below(20));
          break;
        default:
          checkpoint.erase(name);
      }
    }
    SavedPosition saved;
    const absl::Status status = Restore(checkpoint, options, &saved);
    if (!status.ok()) {
      ASSERT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
      continue;
    }
    ++accepted;
    const SequencePosition& position = saved.position;
    ASSERT_LE(position.epochs, static_cast<uint64_t>(kMaxCount));
    ASSERT_LE(position.records, static_cast<uint64_t>(kMaxCount));
    ASSERT_LE(position.records_before, static_cast<uint64_t>(kMaxCount));
    if (position.file == SequencePosition::kNoFile) continue;
    ASSERT_LT(position.file, 5U);
    ASSERT_LE(position.file_records, position.records);
  }
  EXPECT_GT(accepted, 0);
}

}  // namespace
}  // namespace pipemode
