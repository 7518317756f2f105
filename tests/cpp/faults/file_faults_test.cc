// SPDX-License-Identifier: Apache-2.0
//
// Each system call that reading the files of a channel makes fails once, or from then on; a file
// changes between any two of them; and each allocation fails.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <ostream>
#include <string>
#include <system_error>
#include <vector>

#include "core/base/error.h"
#include "core/channel/epoch_sequence.h"
#include "core/io/cancel_token.h"
#include "faults/process_usage.h"
#include "faults/syscall_faults.h"
#include "testing/deflate.h"
#include "testing/environment.h"
#include "testing/file_list.h"
#include "testing/record_formats.h"
#include "testing/string_sink.h"
#include "testing/temp_dir.h"

namespace pipemode {
namespace {

using ::pipemode::testing::AllFormats;
using ::pipemode::testing::Encode;
using ::pipemode::testing::FormatCase;
using ::pipemode::testing::Gzip;
using ::pipemode::testing::MakeFileList;
using ::pipemode::testing::ProcessUsage;
using ::pipemode::testing::Records;
using ::pipemode::testing::ScopedAllocationFault;
using ::pipemode::testing::ScopedSyscallFault;
using ::pipemode::testing::ScopedSyscallHook;
using ::pipemode::testing::StringSink;
using ::pipemode::testing::SyscallFault;
using ::pipemode::testing::TempDir;
using ::pipemode::testing::WriteFile;
using ::testing::AnyOf;
using ::testing::HasSubstr;

struct Failure {
  ErrorCode code;
  std::string message;
};

// What comes of an epoch when each error is passed over.
struct FileOutcome {
  Records records;
  std::vector<Failure> failures;
  int out_of_memory = 0;
};

// Files of some kind, and what each of them holds.
struct Data {
  StreamOptions stream;
  std::vector<Records> records;
  std::vector<std::string> contents;
};

// Short records, and some that are read past the buffer.
Data TfRecordData() {
  const FormatCase format = AllFormats()[0];
  Data data;
  data.stream = format.options();
  data.stream.compression = Compression::kAuto;
  for (int file = 0; file < 4; ++file) {
    const std::string name = "file " + std::to_string(file);
    data.records.push_back({name, std::string(100, 's'), name + " middle",
                            std::string(70'000, static_cast<char>('a' + file)), name + " ends"});
    const std::string bytes = Encode(format, data.records.back()).bytes;
    data.contents.push_back(file % 2 == 0 ? bytes : Gzip(bytes));
  }
  data.records.emplace_back();
  data.contents.emplace_back();
  return data;
}

// The header of each file is no record.
Data TextData() {
  Data data;
  data.stream.format = RecordFormat::kTextLine;
  data.stream.compression = Compression::kAuto;
  data.stream.text = {2, true, false};
  for (int file = 0; file < 4; ++file) {
    const std::string name = std::to_string(file);
    data.records.push_back({name + ",a", name + std::string(30'000, ','), name + ",b"});
    std::string bytes = "h\ni\n";
    for (const std::string& record : data.records.back()) bytes += record + "\n";
    data.contents.push_back(file % 2 == 0 ? bytes : Gzip(bytes));
  }
  return data;
}

class FileFaults {
 public:
  // Reads from the file number `first` on; the header is that of the first one.
  explicit FileFaults(const Data& data, uint64_t first = 0) : data_(data), first_(first) {
    options_.channel = "train";
    options_.stream = data.stream;
    FileList list = MakeFileList(folder_.path(), data.contents);
    list.first = first;
    list.parallel_reads = 1;  // a fault is of the thread that reads
    options_.files = std::make_shared<const FileList>(list);
  }

  const std::string& Path(size_t file) const { return options_.files->files[file].path; }
  const ChannelOptions& options() const { return options_; }
  size_t files() const { return data_.contents.size(); }

  void Restore(size_t file) const {
    std::filesystem::remove_all(Path(file));
    WriteFile(Path(file), data_.contents[file]);
  }

  // Appends what an epoch gives.
  static void ReadEpoch(EpochSequence& sequence, FileOutcome* outcome) {
    StringSink sink;
    for (int calls = 0; calls < 1000; ++calls) {
      try {
        if (!sequence.Read(sink)) return;
        Keep(sink.record(), &outcome->records);
      } catch (const PipeError& error) {
        outcome->failures.push_back({error.code(), error.what()});
      } catch (const std::bad_alloc&) {
        ++outcome->out_of_memory;
      }
    }
    ADD_FAILURE() << "it does not end";
  }

  // Checks that what came of each file is its beginning, and all of it unless there was an error
  // that names the file, or no memory; of which one there may be a `limit`.
  void Check(const FileOutcome& outcome, size_t limit = SIZE_MAX) const {
    auto next = outcome.records.begin();
    size_t cut = 0;
    for (size_t file = first_; file < files(); ++file) {
      size_t come = 0;
      for (const std::string& record : data_.records[file]) {
        if (next == outcome.records.end() || *next != record) break;
        ++come;
        ++next;
      }
      if (come == data_.records[file].size()) continue;
      ++cut;
      if (outcome.out_of_memory > 0) continue;
      const bool is_named = Names(outcome, file) || (first_ > 0 && Names(outcome, 0));
      EXPECT_TRUE(is_named) << "file " << file << " ends after " << come << " records, and "
                            << (outcome.failures.empty() ? "no error"
                                                         : outcome.failures.front().message);
    }
    EXPECT_TRUE(next == outcome.records.end()) << "a wrong record: " << next->substr(0, 60);
    EXPECT_LE(cut, limit);
    EXPECT_TRUE(cut == 0 || outcome.out_of_memory > 0 || !outcome.failures.empty());
  }

 private:
  // The reader's allocations are to fail, not ours.
  static void Keep(const std::string& record, Records* records) {
    try {
      records->push_back(record);
    } catch (const std::bad_alloc&) {
      records->push_back(record);
    }
  }

  bool Names(const FileOutcome& outcome, size_t file) const {
    for (const Failure& failure : outcome.failures) {
      if (failure.message.find("file '" + Path(file) + "'") != std::string::npos) return true;
    }
    return false;
  }

  const TempDir folder_;
  const Data data_;
  const uint64_t first_;
  ChannelOptions options_;
};

struct FileFaultCase {
  SyscallFault fault;
  std::optional<ErrorCode> code;  // of the error; none: every record arrives
};

void PrintTo(const FileFaultCase& fault_case, std::ostream* out) { PrintTo(fault_case.fault, out); }

class FileFaultsTest : public ::testing::TestWithParam<FileFaultCase> {};

INSTANTIATE_TEST_SUITE_P(
    AllCalls, FileFaultsTest,
    ::testing::Values(FileFaultCase{{"open", EINTR}, {}},
                      FileFaultCase{{"open", EMFILE}, ErrorCode::kResourceExhausted},
                      FileFaultCase{{"open", EMFILE, true}, ErrorCode::kResourceExhausted},
                      FileFaultCase{{"open", ENFILE, true}, ErrorCode::kResourceExhausted},
                      FileFaultCase{{"open", ENOENT}, ErrorCode::kNotFound},
                      FileFaultCase{{"open", ENOENT, true}, ErrorCode::kNotFound},
                      FileFaultCase{{"open", EACCES, true}, ErrorCode::kPermissionDenied},
                      FileFaultCase{{"open", EIO}, ErrorCode::kUnavailable},
                      FileFaultCase{{"fstat", EIO}, ErrorCode::kUnavailable},
                      FileFaultCase{{"fstat", EIO, true}, ErrorCode::kUnavailable},
                      FileFaultCase{{"fstat", ENOMEM}, ErrorCode::kResourceExhausted},
                      FileFaultCase{{"posix_fadvise", ESPIPE, true}, {}},
                      FileFaultCase{{"posix_fadvise", EINVAL}, {}},
                      FileFaultCase{{"preadv", EINTR}, {}}, FileFaultCase{{"preadv", 0, false}, {}},
                      FileFaultCase{{"preadv", EIO}, ErrorCode::kUnavailable},
                      FileFaultCase{{"preadv", EIO, true}, ErrorCode::kUnavailable},
                      FileFaultCase{{"preadv", EAGAIN}, ErrorCode::kInternal},
                      FileFaultCase{{"preadv", EISDIR}, ErrorCode::kFailedPrecondition},
                      FileFaultCase{{"preadv", ENOMEM, true}, ErrorCode::kResourceExhausted}));

// Reads one epoch with faults, then another one without. Returns whether the fault struck.
bool ReadTwice(const FileFaults& files, const FileFaultCase& param, uint64_t at) {
  SCOPED_TRACE(::testing::Message() << "call " << at);
  const CancelToken cancel;
  FileOutcome outcome;
  bool struck = false;
  {
    EpochSequence sequence(files.options(), 1, WaitContext{&cancel, nullptr});
    const ScopedSyscallFault fault(param.fault, at);
    FileFaults::ReadEpoch(sequence, &outcome);
    struck = fault.struck();
  }
  files.Check(outcome, param.code ? SIZE_MAX : 0);
  // Not each call is worth an error: a file that cannot be opened early is opened when it is due.
  for (const Failure& failure : outcome.failures) {
    EXPECT_EQ(failure.code, param.code) << failure.message;
    EXPECT_THAT(failure.message,
                HasSubstr(std::generic_category().message(param.fault.error_number)));
  }
  EXPECT_TRUE(param.fault.lasting || outcome.failures.size() <= 1);
  FileOutcome next;
  EpochSequence sequence(files.options(), 1, WaitContext{&cancel, nullptr});
  FileFaults::ReadEpoch(sequence, &next);
  files.Check(next, 0);
  EXPECT_TRUE(next.failures.empty());
  return struck;
}

TEST_P(FileFaultsTest, AtEveryCall) {
  for (const uint64_t first : {0, 1}) {
    for (const Data& data : {TfRecordData(), TextData()}) {
      const FileFaults files(data, first);
      // Whatever is made once and kept is made now.
      ReadTwice(files, GetParam(), UINT64_MAX);
      const ProcessUsage before = ProcessUsage::Now();
      bool struck = true;
      uint64_t at = 1;
      for (; struck && !HasFailure() && at < 200; ++at) {
        struck = ReadTwice(files, GetParam(), at);
        EXPECT_EQ(ProcessUsage::Now(), before) << "call " << at;
      }
      EXPECT_GT(at, 4U) << "there were no such calls";
      EXPECT_FALSE(struck);
    }
  }
}

// One byte at a time from some call on: the large records would take minutes.
TEST(FileShortReadsTest, EveryRecordComesByteByByte) {
  const FormatCase format = AllFormats()[0];
  Data data;
  data.stream = format.options();
  data.stream.compression = Compression::kAuto;
  data.records = {{"a", "", "b"}, {}, {std::string(100, 'c')}, {"d"}};
  for (size_t file = 0; file < data.records.size(); ++file) {
    const std::string bytes = Encode(format, data.records[file]).bytes;
    data.contents.push_back(file % 2 == 0 ? bytes : Gzip(bytes));
  }
  const FileFaults files(data);
  bool struck = true;
  for (uint64_t at = 1; struck && !::testing::Test::HasFailure(); ++at) {
    struck = ReadTwice(files, {{"preadv", 0, true}, {}}, at);
  }
}

// Somebody else changes a file between two calls.

struct Change {
  std::string name;
  std::function<void(const std::string& path)> change;
};

void PrintTo(const Change& change, std::ostream* out) { *out << change.name; }

class FileChangesTest : public ::testing::TestWithParam<Change> {};

INSTANTIATE_TEST_SUITE_P(
    AllKinds, FileChangesTest,
    ::testing::Values(
        Change{"Empty", [](const std::string& path) { std::filesystem::resize_file(path, 0); }},
        Change{"ShorterByOne",
               [](const std::string& path) {
                 std::filesystem::resize_file(path, std::filesystem::file_size(path) - 1);
               }},
        Change{"Half",
               [](const std::string& path) {
                 std::filesystem::resize_file(path, std::filesystem::file_size(path) / 2);
               }},
        // Where a record ends, in those that are not compressed.
        Change{"OneRecord",
               [](const std::string& path) { std::filesystem::resize_file(path, 22); }},
        Change{"Longer",
               [](const std::string& path) {
                 std::ofstream(path, std::ios::binary | std::ios::app) << "more";
               }},
        Change{"Gone", [](const std::string& path) { std::filesystem::remove(path); }},
        Change{"Folder",
               [](const std::string& path) {
                 std::filesystem::remove(path);
                 std::filesystem::create_directory(path);
               }},
        Change{"Fifo",
               [](const std::string& path) {
                 std::filesystem::remove(path);
                 testing::MakeFifo(path);
               }}),
    [](const auto& suite) { return suite.param.name; });

TEST_P(FileChangesTest, BetweenAnyTwoCalls) {
  for (const Data& data : {TfRecordData(), TextData()}) {
    const FileFaults files(data);
    for (size_t file = 0; file < 4; ++file) {
      bool done = true;
      uint64_t at = 1;
      for (; done && !HasFailure(); ++at) {
        SCOPED_TRACE(::testing::Message() << "file " << file << ", call " << at);
        const CancelToken cancel;
        EpochSequence sequence(files.options(), 1, WaitContext{&cancel, nullptr});
        FileOutcome outcome;
        {
          const ScopedSyscallHook hook(
              [&] {
                GetParam().change(files.Path(file));
                return true;
              },
              at);
          FileFaults::ReadEpoch(sequence, &outcome);
          done = hook.done();
        }
        files.Restore(file);
        files.Check(outcome, 1);
        EXPECT_LE(outcome.failures.size(), 1U);
        for (const Failure& failure : outcome.failures) {
          EXPECT_THAT(failure.message, HasSubstr("file '" + files.Path(file) + "'"));
          EXPECT_THAT(failure.message,
                      AnyOf(HasSubstr("when it was listed"), HasSubstr("No such file"),
                            HasSubstr("not a regular file")));
        }
      }
      EXPECT_GT(at, 10U);
    }
  }
}

// Memory that cannot be had.

TEST(FileMemoryTest, EachAllocationMayFail) {
  if (testing::kSanitized) GTEST_SKIP() << "sanitizers have their own operator new";
  for (const uint64_t first : {0, 2}) {
    for (const Data& data : {TfRecordData(), TextData()}) {
      const FileFaults files(data, first);
      // The first runs are for whatever is made once and kept.
      std::optional<ProcessUsage> before;
      bool struck = true;
      uint64_t at = 1;
      for (; struck && !::testing::Test::HasFailure(); ++at) {
        SCOPED_TRACE(::testing::Message() << "allocation " << at << ", first file " << first);
        {
          const CancelToken cancel;
          EpochSequence sequence(files.options(), 1, WaitContext{&cancel, nullptr});
          FileOutcome outcome;
          outcome.records.reserve(100);
          {
            const ScopedAllocationFault fault(at);
            FileFaults::ReadEpoch(sequence, &outcome);
            struck = fault.struck();
          }
          files.Check(outcome, 1);
          EXPECT_TRUE(outcome.failures.empty());
          EXPECT_LE(outcome.out_of_memory, 1);
        }
        const ProcessUsage usage = ProcessUsage::Now();
        if (at == 2) before = usage;
        EXPECT_EQ(usage, before.value_or(usage));
      }
      EXPECT_GT(at, 20U);
    }
  }
}

}  // namespace
}  // namespace pipemode
