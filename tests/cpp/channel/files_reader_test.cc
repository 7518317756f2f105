// SPDX-License-Identifier: Apache-2.0
#include "core/channel/files_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/format/record_stream.h"
#include "core/io/cancel_token.h"
#include "testing/deflate.h"
#include "testing/environment.h"
#include "testing/fake_source.h"
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
using ::pipemode::testing::Gzip;
using ::pipemode::testing::MakeFifo;
using ::pipemode::testing::MakeFileList;
using ::pipemode::testing::MakeFiles;
using ::pipemode::testing::MakeSource;
using ::pipemode::testing::Random;
using ::pipemode::testing::RecordIo;
using ::pipemode::testing::Records;
using ::pipemode::testing::StringSink;
using ::pipemode::testing::TempDir;
using ::pipemode::testing::TfRecord;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

// A record, or an error and its message.
struct RecordOrError {
  std::string record;
  std::string error;

  bool operator==(const RecordOrError& other) const {
    return record == other.record && error == other.error;
  }
};

void PrintTo(const RecordOrError& event, std::ostream* out) {
  *out << (event.error.empty() ? "record " + ::testing::PrintToString(event.record.substr(0, 60))
                               : "error " + event.error);
}

using Events = std::vector<RecordOrError>;

// How the records are asked for.
enum class Method { kRead, kSkip, kTakeBuffered };

// All that comes until the end, by whatever reads.
template <typename Reader>
Events ReadEvents(Reader& reader, Method method = Method::kRead) {
  constexpr size_t kMaxEvents = 10'000;  // a reader that never ends shall be noticed
  Events events;
  StringSink sink;
  std::vector<std::string_view> views;
  while (events.size() < kMaxEvents) {
    try {
      if (method == Method::kTakeBuffered) {
        views.clear();
        reader.TakeBuffered(1 + events.size() % 3, &views);
        for (const std::string_view view : views) events.push_back({std::string(view), ""});
      }
      if (method == Method::kSkip && events.size() % 2 == 1) {
        if (!reader.Skip()) return events;
        events.push_back({"skipped", ""});
      } else {
        if (!reader.Read(sink)) return events;
        events.push_back({sink.record(), ""});
      }
    } catch (const PipeError& error) {
      events.push_back({"", error.what()});
    }
  }
  ADD_FAILURE() << "it does not end";
  return events;
}

Records RecordsOf(const Events& events) {
  Records records;
  for (const RecordOrError& event : events) {
    if (event.error.empty()) records.push_back(event.record);
  }
  return records;
}

std::vector<std::string> ErrorsOf(const Events& events) {
  std::vector<std::string> errors;
  for (const RecordOrError& event : events) {
    if (!event.error.empty()) errors.push_back(event.error);
  }
  return errors;
}

class FilesReaderTest : public ::testing::Test {
 protected:
  std::unique_ptr<FilesReader> Open(std::shared_ptr<const FileList> files,
                                    const StreamOptions& options) {
    const uint64_t first = files->first;
    return std::make_unique<FilesReader>("train", std::move(files), options, context_, first);
  }

  Events Read(std::shared_ptr<const FileList> files, const StreamOptions& options,
              Method method = Method::kRead) {
    const std::unique_ptr<FilesReader> reader = Open(std::move(files), options);
    Events events = ReadEvents(*reader, method);
    StringSink sink;
    EXPECT_FALSE(reader->Read(sink));
    EXPECT_FALSE(reader->Skip());
    return events;
  }

  Events Read(const std::vector<std::string>& contents, const StreamOptions& options,
              Method method = Method::kRead) {
    return Read(MakeFiles(folder_.path(), contents), options, method);
  }

  std::string Path(size_t file) const { return folder_ / "file-" + std::to_string(file); }

  // What messages about a file begin with.
  std::string Where(size_t file) const { return "channel 'train' file '" + Path(file) + "': "; }

  const TempDir folder_;
  CancelToken cancel_;
  WaitContext context_{&cancel_};
};

// Each file by itself.

// The records and errors of `contents`, each read alone, in order. `where` is what messages about a
// file begin with.
Events EachAlone(const std::vector<std::string>& contents, const StreamOptions& options,
                 const std::function<std::string(size_t)>& where) {
  Events all;
  StreamCarry carry;
  for (size_t file = 0; file < contents.size(); ++file) {
    RecordStream stream(MakeSource(contents[file]), options, &carry, size_t{1} << 16);
    for (RecordOrError& event : ReadEvents(stream)) {
      if (!event.error.empty()) event.error.insert(0, where(file));
      all.push_back(std::move(event));
    }
  }
  return all;
}

std::string WithoutAdvice(std::string message) {
  return message.substr(0, message.find("; if this file is not data of the channel"));
}

// A file of some kind: whole, cut, damaged, compressed, empty, or nothing that fits. Not so large
// that the size of a buffer tells when a wrong checksum shows.
std::string RandomFile(const FormatCase& format, Random& random) {
  Records records;
  for (size_t count = random.Below(4); count > 0; --count) {
    const size_t size = random.OneIn(10) ? 15'000 + random.Below(6'000) : random.Below(40);
    records.push_back(testing::RandomRecord(format, size, random));
  }
  std::string bytes = Encode(format, records).bytes;
  if (random.OneIn(3)) bytes = Gzip(bytes);
  switch (random.Below(6)) {
    case 0:
      bytes.resize(random.Below(bytes.size() + 1));
      break;
    case 1:
      if (!bytes.empty()) {
        char& byte = bytes[random.Below(bytes.size())];
        byte = static_cast<char>(byte ^ (1 << random.Below(8)));
      }
      break;
    case 2:
      bytes += random.Bytes(random.Below(20));
      break;
    default:
      break;
  }
  return bytes;
}

class FilesReaderFormatTest : public FilesReaderTest,
                              public ::testing::WithParamInterface<FormatCase> {};

INSTANTIATE_TEST_SUITE_P(Formats, FilesReaderFormatTest, ::testing::ValuesIn(AllFormats()),
                         [](const auto& suite) { return suite.param.name; });

TEST_P(FilesReaderFormatTest, GivesWhatEachFileGivesAlone) {
  Random random(1);
  const int rounds = testing::kSanitized ? 40 : 150;
  for (int round = 0; round < rounds; ++round) {
    std::vector<std::string> contents(random.Below(6));
    for (std::string& content : contents) content = RandomFile(GetParam(), random);
    StreamOptions options = GetParam().options();
    options.compression = random.OneIn(4) ? Compression::kNone : Compression::kAuto;
    options.max_corrupted_records_to_skip = random.Below(3);
    for (const Method method : {Method::kRead, Method::kSkip, Method::kTakeBuffered}) {
      Events events = Read(contents, options, method);
      for (RecordOrError& event : events) event.error = WithoutAdvice(event.error);
      Events expected = EachAlone(contents, options, [this](size_t file) { return Where(file); });
      for (size_t i = 1; method == Method::kSkip && i < expected.size(); i += 2) {
        if (expected[i].error.empty()) expected[i].record = "skipped";
      }
      ASSERT_EQ(events, expected) << "round " << round;
    }
  }
}

TEST_P(FilesReaderFormatTest, ACutFileIsAnErrorAndTheOthersAreWhole) {
  const Records records = {"one", "two", "three", "four"};
  const testing::Encoded whole = Encode(GetParam(), records);
  // By every number of bytes; among them exactly as many as the next file has.
  for (size_t left = 0; left <= whole.bytes.size(); ++left) {
    const std::string cut = whole.bytes.substr(0, left);
    const std::string next =
        Encode(GetParam(), {std::string(whole.bytes.size() - left, 'n')}).bytes;
    for (const std::string& last : {whole.bytes, next, whole.bytes.substr(left)}) {
      const Events events = Read({whole.bytes, cut, last}, GetParam().options());
      const Events expected = EachAlone({whole.bytes, cut, last}, GetParam().options(),
                                        [this](size_t file) { return Where(file); });
      ASSERT_EQ(events.size(), expected.size()) << left;
      for (size_t i = 0; i < events.size(); ++i) {
        ASSERT_EQ(events[i].record, expected[i].record) << left;
        ASSERT_THAT(events[i].error, StartsWith(expected[i].error)) << left;
      }
    }
  }
}

// What issue 14 saw: the end of a cut file was taken from the next one.
TEST_F(FilesReaderTest, NoRecordIsMadeOfTwoFiles) {
  const auto records = [](const std::string& name) {
    Records five;
    for (int i = 0; i < 5; ++i) five.push_back(name + std::to_string(i) + std::string(40, '.'));
    return five;
  };
  const testing::Encoded first = Encode(RecordIo(), records("first"));
  const testing::Encoded middle = Encode(RecordIo(), records("middle"));
  const testing::Encoded last = Encode(RecordIo(), {"last0"});
  ASSERT_LT(last.bytes.size(), 40U);
  for (const size_t cut : {size_t{10}, size_t{30}, last.bytes.size()}) {
    const size_t left = middle.bytes.size() - cut;
    const Events events =
        Read({first.bytes, middle.bytes.substr(0, left), last.bytes}, RecordIo().options());
    Records expected = records("first");
    for (int i = 0; i < 4; ++i) expected.push_back(records("middle")[static_cast<size_t>(i)]);
    expected.emplace_back("last0");
    EXPECT_EQ(RecordsOf(events), expected) << cut;
    EXPECT_THAT(ErrorsOf(events),
                ElementsAre(AllOf(StartsWith(Where(1) + "record 4 at byte " +
                                             std::to_string(middle.ends[3]) + ": "),
                                  HasSubstr("the stream ends inside a RecordIO part"))))
        << cut;
    EXPECT_EQ(events[9].record, "");  // the error comes where the record is missing
  }
}

TEST_F(FilesReaderTest, ALastLineNeedsNoNewline) {
  StreamOptions options;
  options.format = RecordFormat::kTextLine;
  EXPECT_EQ(Read({"h,x\n1,a", "h,x\n2,b", "", "\n", "3,c"}, options),
            (Events{{"h,x", ""}, {"1,a", ""}, {"h,x", ""}, {"2,b", ""}, {"", ""}, {"3,c", ""}}));
  options.text = {1, false, false};
  EXPECT_THAT(RecordsOf(Read({"h,x\n1,a", "h,x\n2,b"}, options)), ElementsAre("1,a", "2,b"));
}

TEST_F(FilesReaderTest, ACutTfRecordFileEndsInsideARecord) {
  const std::string bytes = Encode(TfRecord(), {"one", "two"}).bytes;
  StreamOptions options = TfRecord().options();
  options.max_corrupted_records_to_skip = 5;
  const Events events = Read({bytes.substr(0, bytes.size() - 3), bytes}, options);
  EXPECT_THAT(RecordsOf(events), ElementsAre("one", "one", "two"));
  EXPECT_THAT(ErrorsOf(events), ElementsAre(HasSubstr("the stream ends inside a record")));
}

TEST_F(FilesReaderTest, EachFileIsCompressedOrNot) {
  StreamOptions options = TfRecord().options();
  options.compression = Compression::kAuto;
  const std::string one = Encode(TfRecord(), {"1", "2"}).bytes;
  const std::string two = Encode(TfRecord(), {"3"}).bytes;
  EXPECT_THAT(RecordsOf(Read({one, Gzip(two), Gzip(one) + Gzip(two), Gzip(""), "", two}, options)),
              ElementsAre("1", "2", "3", "1", "2", "3", "3"));
  // Padding behind a member is as much an error as it is alone.
  const Events events = Read({one, Gzip(one) + std::string(8, '\0'), two}, options);
  EXPECT_THAT(RecordsOf(events), ElementsAre("1", "2", "1", "2", "3"));
  EXPECT_THAT(ErrorsOf(events), ElementsAre(AllOf(StartsWith(Where(1)), HasSubstr("garbage"))));
  options.compression = Compression::kNone;
  EXPECT_THAT(ErrorsOf(Read({one, Gzip(two)}, options)),
              ElementsAre(AllOf(StartsWith(Where(1) + "record 0 at byte 0: "),
                                HasSubstr("pass compression_type='GZIP'"))));
}

TEST_F(FilesReaderTest, FilesMayBeEmpty) {
  const std::string bytes = Encode(TfRecord(), {"a", "b"}).bytes;
  for (const std::vector<std::string>& contents : std::vector<std::vector<std::string>>{
           {"", bytes},
           {bytes, ""},
           {"", "", bytes, "", ""},
           {bytes.substr(0, bytes.size() / 2), "", bytes.substr(bytes.size() / 2)}}) {
    for (const Compression compression : {Compression::kNone, Compression::kAuto}) {
      StreamOptions options = TfRecord().options();
      options.compression = compression;
      EXPECT_EQ(Read(contents, options), (Events{{"a", ""}, {"b", ""}}));
    }
  }
  EXPECT_THAT(Read({"", "", ""}, TfRecord().options()), IsEmpty());
}

TEST_F(FilesReaderTest, ThereMayBeNone) {
  for (const bool repeated_header : {false, true}) {
    StreamOptions options;
    options.format = RecordFormat::kTextLine;
    options.text = {1, repeated_header, false};
    const auto reader = Open(std::make_shared<const FileList>(), options);
    EXPECT_FALSE(reader->has_begun());
    EXPECT_THAT(ReadEvents(*reader), IsEmpty());
    EXPECT_TRUE(reader->has_begun());
  }
}

TEST_F(FilesReaderTest, AFileMayBeOneRecord) {
  StreamOptions options;
  options.is_one_record = true;
  const std::string large(300'000, 'x');
  EXPECT_EQ(RecordsOf(Read({"a", "", large, RecordIo().name}, options)),
            (Records{"a", "", large, RecordIo().name}));
}

TEST_F(FilesReaderTest, TellsWhichFileARecordIsOf) {
  const std::string two = Encode(TfRecord(), {"a", "b"}).bytes;
  const auto reader = Open(MakeFiles(folder_.path(), {"", two, "", two.substr(0, 17), "", ""}),
                           TfRecord().options());
  StringSink sink;
  for (const uint64_t file : {1, 1, 3}) {
    ASSERT_TRUE(reader->Read(sink));
    EXPECT_EQ(reader->file(), file);
  }
  EXPECT_FALSE(reader->Read(sink));
}

TEST_F(FilesReaderTest, TakesBufferedRecordsOfOneFileOnly) {
  const auto reader = Open(MakeFiles(folder_.path(), {Encode(TfRecord(), {"a", "b", "c"}).bytes,
                                                      Encode(TfRecord(), {"d", "e"}).bytes}),
                           TfRecord().options());
  std::vector<std::string_view> views;
  reader->TakeBuffered(10, &views);
  EXPECT_THAT(views, IsEmpty());  // nothing is open yet
  ASSERT_TRUE(reader->Skip());
  reader->TakeBuffered(10, &views);
  EXPECT_THAT(views, ElementsAre("b", "c"));
  EXPECT_EQ(reader->file(), 0U);
  views.clear();
  reader->TakeBuffered(10, &views);
  EXPECT_THAT(views, IsEmpty());
  ASSERT_TRUE(reader->Skip());
  reader->TakeBuffered(10, &views);
  EXPECT_THAT(views, ElementsAre("e"));
  EXPECT_EQ(reader->file(), 1U);
  EXPECT_FALSE(reader->Skip());
}

TEST_F(FilesReaderTest, ClosedItIsAtItsEndAndHoldsNothing) {
  const auto descriptors = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
  };
  const std::string bytes = Encode(TfRecord(), {"a", "b"}).bytes;
  const auto files = MakeFiles(folder_.path(), {bytes, bytes, bytes});
  const auto before = descriptors();
  {
    const auto reader = Open(files, TfRecord().options());
    StringSink sink;
    ASSERT_TRUE(reader->Read(sink));
    EXPECT_GT(descriptors(), before);
    reader->Close();
    EXPECT_EQ(descriptors(), before);
    EXPECT_THAT(ReadEvents(*reader), IsEmpty());
    std::vector<std::string_view> views;
    reader->TakeBuffered(10, &views);
    EXPECT_THAT(views, IsEmpty());
  }
  {
    const auto reader = Open(files, TfRecord().options());
    StringSink sink;
    ASSERT_TRUE(reader->Read(sink));
  }
  EXPECT_EQ(descriptors(), before);
  Read(files, TfRecord().options());
  EXPECT_EQ(descriptors(), before);
}

// Files that are not what was listed.

class FilesReaderChangeTest : public FilesReaderTest {
 protected:
  // Reads three files of which the middle one is changed at some moment: 0: before anything is
  // read, 1: while the first one is read, 2: while it is read itself, 3: when all of it is read.
  Events ReadChanged(int moment, const std::function<void()>& change) {
    const FileList list =
        MakeFileList(folder_.path(), {Bytes({"a", "b"}), Bytes({"c", "d", "e"}), Bytes({"f"})});
    const auto reader = Open(std::make_shared<const FileList>(list), TfRecord().options());
    Events events;
    StringSink sink;
    for (int read = std::vector<int>{0, 1, 3, 5}[static_cast<size_t>(moment)]; read > 0; --read) {
      EXPECT_TRUE(reader->Read(sink));
      events.push_back({sink.record(), ""});
    }
    change();
    for (RecordOrError& event : ReadEvents(*reader)) events.push_back(std::move(event));
    std::filesystem::remove_all(Path(1));
    return events;
  }

  static std::string Bytes(const Records& records) { return Encode(TfRecord(), records).bytes; }

  static const Records& Others() {
    static const Records others = {"a", "b", "f"};
    return others;
  }
};

TEST_F(FilesReaderChangeTest, OneThatGrewIsAnError) {
  for (const int moment : {0, 1, 2, 3}) {
    const Events events = ReadChanged(moment, [this] {
      std::ofstream(Path(1), std::ios::binary | std::ios::app) << Bytes({"new"});
    });
    EXPECT_THAT(ErrorsOf(events),
                ElementsAre(AllOf(StartsWith(Where(1)), HasSubstr("the file has 70 bytes now, and "
                                                                  "had 51"))))
        << moment;
    EXPECT_EQ(events.back(), (RecordOrError{"f", ""}));
    // All of it that was listed may come, or nothing.
    EXPECT_THAT(RecordsOf(events),
                ::testing::AnyOf(Others(), Records{"a", "b", "c", "d", "e", "f"}));
  }
}

TEST_F(FilesReaderChangeTest, OneThatShrankIsAnErrorAlsoAtTheEndOfARecord) {
  for (const int moment : {0, 1}) {
    for (uint64_t left = 0; left < 51; ++left) {
      const Events events =
          ReadChanged(moment, [&] { std::filesystem::resize_file(Path(1), left); });
      EXPECT_THAT(ErrorsOf(events), ElementsAre(StartsWith(Where(1)))) << moment << ", " << left;
      // Some of its records may have come before that.
      const Records records = RecordsOf(events);
      Records expected = {"a", "b", "c", "d", "e", "f"};
      ASSERT_GE(records.size(), 3U);
      ASSERT_LE(records.size(), expected.size());
      expected.erase(expected.begin() + static_cast<std::ptrdiff_t>(records.size()) - 1,
                     expected.end() - 1);
      EXPECT_EQ(records, expected) << moment << ", " << left;
    }
  }
}

TEST_F(FilesReaderChangeTest, OneThatIsGoneIsAnErrorAtOnce) {
  const Events events = ReadChanged(0, [this] { std::filesystem::remove(Path(1)); });
  EXPECT_EQ(RecordsOf(events), Others());
  EXPECT_THAT(ErrorsOf(events), ElementsAre(AllOf(StartsWith(Where(1)), HasSubstr("No such file"),
                                                  Not(HasSubstr("files=")))));
  EXPECT_FALSE(events[2].error.empty());
}

TEST_F(FilesReaderChangeTest, OneThatIsNoFileAnyMoreIsAnErrorAtOnce) {
  for (const bool is_fifo : {false, true}) {
    const Events events = ReadChanged(0, [this, is_fifo] {
      std::filesystem::remove(Path(1));
      if (is_fifo) {
        MakeFifo(Path(1));
      } else {
        std::filesystem::create_directory(Path(1));
      }
    });
    EXPECT_EQ(RecordsOf(events), Others());
    EXPECT_THAT(ErrorsOf(events),
                ElementsAre(AllOf(StartsWith(Where(1)), HasSubstr("not a regular file"))));
  }
}

TEST_F(FilesReaderChangeTest, AllOfThemMayBeBad) {
  const FileList list = MakeFileList(folder_.path(), {"1", "2", "3"});
  for (const FileList::File& file : list.files) std::filesystem::remove(file.path);
  const Events events = Read(std::make_shared<const FileList>(list), TfRecord().options());
  EXPECT_THAT(events, ::testing::SizeIs(3));
  for (size_t file = 0; file < 3; ++file) EXPECT_THAT(events[file].error, StartsWith(Where(file)));
}

// Messages.

TEST_F(FilesReaderTest, RecordAndByteAreThoseInTheFile) {
  const testing::Encoded encoded = Encode(TfRecord(), {"one", "two", "three"});
  const std::string cut = encoded.bytes.substr(0, encoded.bytes.size() - 1);
  for (const Compression compression : {Compression::kNone, Compression::kAuto}) {
    StreamOptions options = TfRecord().options();
    options.compression = compression;
    const std::string second = compression == Compression::kAuto ? Gzip(cut) : cut;
    const Events events = Read({encoded.bytes, second, cut}, options);
    const std::string record = "record 2 at byte " + std::to_string(encoded.ends[1]) + ": ";
    EXPECT_THAT(ErrorsOf(events),
                ElementsAre(StartsWith(Where(1) + record), StartsWith(Where(2) + record)));
  }
}

TEST_F(FilesReaderTest, SaysHowToChooseFilesWhereOneIsNoData) {
  const std::string bytes = Encode(TfRecord(), {"one", "two"}).bytes;
  const std::string json = "{\"records\": 2, \"shape\": [28, 28]}";
  EXPECT_THAT(ErrorsOf(Read({json, bytes}, TfRecord().options())),
              ElementsAre(AllOf(StartsWith(Where(0)), HasSubstr("record_format='TextLine'"),
                                HasSubstr("files='*.tfrecord'"))));
  // Not of what has given records, nor of the only one.
  EXPECT_THAT(ErrorsOf(Read({bytes + json, bytes}, TfRecord().options())),
              ElementsAre(Not(HasSubstr("files="))));
  EXPECT_THAT(ErrorsOf(Read({json}, TfRecord().options())), ElementsAre(Not(HasSubstr("files="))));
}

// From file to file.

// TFRecords of which those that end in '!' have a wrong payload CRC.
std::string WithCorrupt(const Records& records) {
  testing::Encoded encoded = Encode(TfRecord(), records);
  for (size_t i = 0; i < records.size(); ++i) {
    if (records[i].back() != '!') continue;
    char& byte = encoded.bytes[encoded.ends[i] - 1];
    byte = static_cast<char>(byte ^ 1);
  }
  return encoded.bytes;
}

TEST_F(FilesReaderTest, CorruptRecordsInARowAreCountedAcrossFiles) {
  StreamOptions options = TfRecord().options();
  options.max_corrupted_records_to_skip = 2;
  const std::vector<std::string> contents = {WithCorrupt({"a", "b!", "c!"}), "",
                                             WithCorrupt({"d!", "e", "f!"}),
                                             WithCorrupt({"g!", "h", "i!"})};
  const auto reader = Open(MakeFiles(folder_.path(), contents), options);
  const Events events = ReadEvents(*reader);
  EXPECT_THAT(RecordsOf(events), ElementsAre("a", "e", "h"));
  EXPECT_THAT(ErrorsOf(events), ElementsAre(AllOf(StartsWith(Where(2) + "record 0 at byte 0: "),
                                                  HasSubstr("payload CRC mismatch"))));
  EXPECT_EQ(reader->corrupted_records(), 6U);
}

TEST_F(FilesReaderTest, AfterACorruptRecordTheSameFileGoesOn) {
  const auto reader =
      Open(MakeFiles(folder_.path(), {WithCorrupt({"a!", "b"}), WithCorrupt({"c", "d!"}), "cut"}),
           TfRecord().options());
  const Events events = ReadEvents(*reader);
  EXPECT_THAT(RecordsOf(events), ElementsAre("b", "c"));
  EXPECT_THAT(ErrorsOf(events), ElementsAre(StartsWith(Where(0)), StartsWith(Where(1) + "record 1"),
                                            StartsWith(Where(2))));
  EXPECT_EQ(reader->corrupted_records(), 2U);
}

// Headers.

constexpr char kMark[] = "\xef\xbb\xbf";

class FilesReaderHeaderTest : public FilesReaderTest {
 protected:
  Records Lines(const std::vector<std::string>& contents, uint64_t header_lines, bool repeated,
                Method method = Method::kRead) {
    StreamOptions options;
    options.format = RecordFormat::kTextLine;
    options.compression = Compression::kAuto;
    options.text = {header_lines, repeated, true};
    const Events events = Read(contents, options, method);
    EXPECT_THAT(ErrorsOf(events), IsEmpty());
    return RecordsOf(events);
  }
};

TEST_F(FilesReaderHeaderTest, SoManyLinesOfEachFileAreDropped) {
  EXPECT_THAT(Lines({"h\n1\n", "h\r\n2", "", "other\n3\n", "h"}, 1, false),
              ElementsAre("1", "2", "3"));
  EXPECT_THAT(Lines({"h\ni\n1\n", "h\ni\n2", "h\n", "a\nb\nc\n"}, 2, false),
              ElementsAre("1", "2", "c"));
}

TEST_F(FilesReaderHeaderTest, ARepeatedOneIsDroppedInEachFileThatHasIt) {
  for (const Method method : {Method::kRead, Method::kTakeBuffered}) {
    for (const std::string first : {"", kMark}) {
      for (const std::string other : {"", kMark}) {
        for (const std::string end : {"\n", "\r\n"}) {
          const std::string h1 = first + "h,x" + end;
          const std::string h2 = other + "h,x" + end;
          EXPECT_THAT(Lines({h1 + "1\n", h2 + "2", h2 + "3\n", h2}, 1, true, method),
                      ElementsAre("1", "2", "3"));
          // Files without a header lose no line.
          EXPECT_THAT(Lines({h1 + "1\n", "2\n3\n", h2 + "4\n" + h2 + "5"}, 1, true, method),
                      ElementsAre("1", "2", "3", "4", "5"));
          const std::string i = "i" + end;
          EXPECT_THAT(Lines({h1 + i + "1\n", h2 + i + "2", "3\n" + h2 + i + "4"}, 2, true, method),
                      ElementsAre("1", "2", "3", "4"));
          // Half of it is data.
          EXPECT_EQ(Lines({h1 + i + "1\n", h2 + "2\n", i + "3", h2}, 2, true, method),
                    (Records{"1", other + "h,x", "2", "i", "3", other + "h,x"}));
        }
      }
    }
  }
}

TEST_F(FilesReaderHeaderTest, AByteOrderMarkBelongsToAHeaderOnly) {
  EXPECT_EQ(Lines({std::string("h\n") + kMark + "1\n", std::string(kMark) + "2\n"}, 1, true),
            (Records{std::string(kMark) + "1", std::string(kMark) + "2"}));
  // Only in front of the first line of it.
  EXPECT_EQ(Lines({"h\ni\n1\n", std::string("h\n") + kMark + "i\n2\n"}, 2, true),
            (Records{"1", "h", std::string(kMark) + "i", "2"}));
}

TEST_F(FilesReaderHeaderTest, TheFirstLinesOfTheEpochTellIt) {
  // An empty first file, compressed or not; and one with fewer lines than the header has.
  EXPECT_THAT(Lines({"", "h\n1\n", "h\n2\n"}, 1, true), ElementsAre("1", "2"));
  EXPECT_THAT(Lines({Gzip(""), Gzip("h\n1\n"), "h\n2\n"}, 1, true), ElementsAre("1", "2"));
  EXPECT_THAT(Lines({"h\n", "i\n1\n", "h\ni\n2\n"}, 2, true), ElementsAre("1", "2"));
  EXPECT_THAT(Lines({std::string(kMark) + "h", "", "i\n1\n", "h\ni\n2\n"}, 2, true),
              ElementsAre("1", "2"));
  EXPECT_THAT(Lines({"h", "", "h"}, 1, true), IsEmpty());
  EXPECT_THAT(Lines({"h"}, 2, true), IsEmpty());
}

TEST_F(FilesReaderHeaderTest, AHeaderDoesNotGoOnFromFileToFile) {
  EXPECT_THAT(Lines({"h\ni\n1\n", "2\nh\n", "i\n3\n"}, 2, true),
              ElementsAre("1", "2", "h", "i", "3"));
}

TEST_F(FilesReaderHeaderTest, AFileThatFailsInTheHeaderTellsNothingOfIt) {
  StreamOptions options;
  options.format = RecordFormat::kTextLine;
  options.compression = Compression::kAuto;
  options.text = {2, true, false};
  // Not compressed, so that its first line comes before the error.
  const std::string whole = Gzip("h\ni\n1\n", 0);
  const std::string cut = whole.substr(0, whole.find("h\n") + 2);
  const std::vector<std::string> contents = {cut, "h\ni\n2\n", "h\ni\n3\n"};
  for (const uint64_t first : {0, 1}) {
    FileList list = MakeFileList(folder_.path(), contents);
    list.first = first;
    const Events events = Read(std::make_shared<const FileList>(list), options);
    EXPECT_THAT(ErrorsOf(events), ElementsAre(StartsWith(Where(0)))) << first;
    EXPECT_THAT(RecordsOf(events), ElementsAre("2", "3")) << first;
  }
}

// Shards of files.

class FilesReaderShardTest : public FilesReaderTest {
 protected:
  // The events of each shard of `list`.
  std::vector<Events> ReadShards(FileList list, uint64_t stride, const StreamOptions& options) {
    list.stride = stride;
    std::vector<Events> shards;
    for (list.first = 0; list.first < stride; ++list.first) {
      shards.push_back(Read(std::make_shared<const FileList>(list), options));
    }
    return shards;
  }
};

TEST_F(FilesReaderShardTest, HasEveryNthFile) {
  std::vector<std::string> contents;
  for (int i = 0; i < 7; ++i) {
    contents.push_back(Encode(TfRecord(), {std::to_string(i), std::to_string(i) + "b"}).bytes);
  }
  for (uint64_t stride = 1; stride <= 9; ++stride) {
    const std::vector<Events> shards =
        ReadShards(MakeFileList(folder_.path(), contents), stride, TfRecord().options());
    for (uint64_t first = 0; first < stride; ++first) {
      Records expected;
      for (uint64_t file = first; file < contents.size(); file += stride) {
        expected.push_back(std::to_string(file));
        expected.push_back(std::to_string(file) + "b");
      }
      EXPECT_EQ(RecordsOf(shards[first]), expected) << first << " of " << stride;
    }
  }
}

// The lines of all shards together are those of all files, whoever has the header.
TEST_F(FilesReaderShardTest, AllKnowTheSameHeader) {
  const std::vector<std::vector<std::string>> cases = {
      {"h\ni\n1\n", "h\ni\n2\n", "3\n", "h\ni\n4\n", "5"},
      {"", "h\ni\n1\n", "h\ni\n2\n", "3\nh\ni\n", "h\ni\n4\n"},
      {"", "", "", "h\ni\n1\n", "h\ni\n2\n"},
      {"h", "i\n1\n", "2\n3\n", "h\ni\n4\n", "5\n"},
      {"", "h\n", "", "i\n1\n2\n", "3\n4\n", "h\ni\n5"},
      {"h\n", "", "", "", "", "i\n1\n"},
      {Gzip("h\ni\n1\n"), "2\n", Gzip("h\ni\n3\n")},
      {"h"},
      {""},
  };
  for (const uint64_t header_lines : {1, 2}) {
    for (const std::vector<std::string>& contents : cases) {
      SCOPED_TRACE(::testing::PrintToString(contents));
      StreamOptions options;
      options.format = RecordFormat::kTextLine;
      options.compression = Compression::kAuto;
      options.text = {header_lines, true, false};
      Records expected = RecordsOf(Read(contents, options));
      std::sort(expected.begin(), expected.end());
      for (uint64_t stride = 2; stride <= 6; ++stride) {
        Records all;
        for (const Events& events :
             ReadShards(MakeFileList(folder_.path(), contents), stride, options)) {
          EXPECT_THAT(ErrorsOf(events), IsEmpty());
          for (const std::string& record : RecordsOf(events)) all.push_back(record);
        }
        std::sort(all.begin(), all.end());
        EXPECT_EQ(all, expected) << stride << " shards, header of " << header_lines;
      }
    }
  }
}

TEST_F(FilesReaderShardTest, AFileThatShouldTellTheHeaderMayBeBad) {
  StreamOptions options;
  options.format = RecordFormat::kTextLine;
  options.text = {1, true, false};
  const std::vector<std::string> contents = {"h\n1\n", "h\n2\n", "h\n3\n", "h\n4\n"};
  FileList list = MakeFileList(folder_.path(), contents);
  std::filesystem::remove(Path(0));
  list.stride = 2;
  list.first = 1;
  const Events events = Read(std::make_shared<const FileList>(list), options);
  EXPECT_THAT(ErrorsOf(events), ElementsAre(StartsWith(Where(0))));
  EXPECT_THAT(RecordsOf(events), ElementsAre("2", "4"));
  EXPECT_FALSE(events.front().error.empty());
}

// Calls that are interrupted.

// Cancels what reads after every so many reads.
class Canceller final : public WaitObserver {
 public:
  explicit Canceller(int reads) : reads_(reads) {}

  void OnWaited(std::chrono::steady_clock::duration /*time*/) override {
    if (++read_ % reads_ == 0) cancel.Cancel();
  }

  CancelToken cancel;

 private:
  const int reads_;
  int read_ = 0;
};

TEST_F(FilesReaderTest, CancelledCallsLoseNothing) {
  const std::string header = "h\ni\n";
  std::vector<std::string> contents = {"h\n", "i\n"};
  Records expected;
  for (int file = 0; file < 4; ++file) {
    std::string content = header;
    for (int line = 0; line < 300; ++line) {
      expected.push_back(std::to_string(file) + " " + std::to_string(line) + std::string(500, 'x'));
      content += expected.back() + "\n";
    }
    contents.push_back(file % 2 == 0 ? content : Gzip(content));
  }
  for (const auto& [first, parallel_reads] :
       std::vector<std::pair<uint64_t, uint64_t>>{{0, 1}, {1, 1}, {2, 1}, {0, 0}, {0, 2}, {2, 5}}) {
    // To learn the header of files before is done in one go, or again.
    Canceller observer(first == 0 ? 1 : 3);
    context_ = {&observer.cancel, &observer};
    StreamOptions options;
    options.format = RecordFormat::kTextLine;
    options.compression = Compression::kAuto;
    options.text = {2, true, false};
    FileList files = MakeFileList(folder_.path(), contents);
    files.parallel_reads = parallel_reads;
    FilesReader reader("train", std::make_shared<const FileList>(std::move(files)), options,
                       context_, first);
    Records records;
    StringSink sink;
    int cancelled = 0;
    for (;;) {
      try {
        if (!reader.Read(sink)) break;
        records.push_back(sink.record());
      } catch (const CancelledError& error) {
        EXPECT_THAT(error.what(), StartsWith("channel 'train' file '"));
        observer.cancel.Reset();
        ASSERT_LT(++cancelled, 1000);
      }
    }
    EXPECT_TRUE(records == expected) << first << " " << parallel_reads;
    // What threads read ahead is not cancelled.
    if (parallel_reads == 1) {
      EXPECT_GE(cancelled, first == 0 ? 6 : 1);
    }
  }
}

TEST_F(FilesReaderTest, AsksBeforeItReadsAFurtherFile) {
  const std::string bytes = Encode(TfRecord(), {"a"}).bytes;
  int asked = 0;
  FilesReader reader("train", MakeFiles(folder_.path(), {bytes, bytes, "", bytes}),
                     TfRecord().options(), context_, 0, [&asked] {
                       if (++asked == 2) throw CancelledError("not now");
                     });
  StringSink sink;
  ASSERT_TRUE(reader.Read(sink));
  EXPECT_EQ(asked, 0);
  ASSERT_TRUE(reader.Read(sink));
  EXPECT_EQ(asked, 1);
  EXPECT_THROW(reader.Read(sink), CancelledError);
  EXPECT_EQ(asked, 2);
  ASSERT_TRUE(reader.Read(sink));
  EXPECT_EQ(reader.file(), 3U);
  EXPECT_EQ(asked, 4);
  EXPECT_FALSE(reader.Read(sink));
}

}  // namespace
}  // namespace pipemode
