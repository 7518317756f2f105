// SPDX-License-Identifier: Apache-2.0
//
// What the op's threads do with each other, for ThreadSanitizer above all, under which Python
// cannot load the op.
#include "tf/read_ahead.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/channel/channel_stats.h"
#include "core/io/cancel_token.h"
#include "core/io/wait.h"
#include "faults/process_usage.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/platform/tstring.h"
#include "testing/deflate.h"
#include "testing/environment.h"
#include "testing/epoch_service.h"
#include "testing/file_list.h"
#include "testing/random.h"
#include "testing/record_formats.h"
#include "testing/temp_dir.h"
#include "tf/element_reader.h"

namespace pipemode {
namespace {

using ::pipemode::testing::EpochService;
using ::pipemode::testing::kPatience;
using ::pipemode::testing::Random;
using ::pipemode::testing::Records;
using ::pipemode::testing::ScopedAllocationFault;
using ::pipemode::testing::TempDir;
using ::pipemode::testing::WriteFile;
using std::chrono::microseconds;
using tensorflow::tstring;

constexpr uint64_t kEpochs = 20;

Records RecordsOf(uint64_t epoch) {
  Records records;
  for (int i = 0; i < 700; ++i) {  // more than go through the queue at once
    records.push_back(std::to_string(epoch) + " " + std::to_string(i));
  }
  records.emplace_back(200'000, 'x');
  return records;
}

std::string BytesOf(uint64_t epoch) {
  return testing::Encode(testing::AllFormats().front(), RecordsOf(epoch)).bytes;
}

class ReadAheadTest : public ::testing::TestWithParam<int64_t> {
 protected:
  ElementOptions Options(int64_t epochs) const {
    ElementOptions options;
    options.channel.channel = "train";
    options.channel.pipe_dir = folder_.path();
    options.channel.state_dir = folder_ / "state";
    options.channel.stream.format = RecordFormat::kTfRecord;
    options.channel.open_timeout = options.channel.read_timeout = kPatience;
    options.epochs = epochs;
    options.batch_size = GetParam();
    return options;
  }

  // Appends the records of the next element. Returns false at the end.
  static bool Read(ReadAhead& reader, const CancelToken& cancel, Records* records) {
    WaitObserver observer;
    const std::optional<Element> element = reader.Next({&cancel, &observer});
    if (!element) return false;
    const auto strings = element->tensors.front().flat<tstring>();
    for (int64_t i = 0; i < strings.size(); ++i) records->emplace_back(strings(i));
    return true;
  }

  const TempDir folder_;
  ReaderCounters counters_;
};

INSTANTIATE_TEST_SUITE_P(ScalarsAndBatches, ReadAheadTest, ::testing::Values(0, 1, 64));

TEST_P(ReadAheadTest, EveryRecordInOrder) {
  const EpochService service(folder_.path(), "train", BytesOf);
  ReadAhead reader(Options(kEpochs), size_t{1} << 20, &counters_);
  // As channel_stats() does.
  std::atomic<bool> stop{false};
  std::thread onlooker([&] {
    while (!stop) {
      const ChannelStats stats = counters_.Get();
      EXPECT_LE(stats.queued_bytes, size_t{16} << 20);
      std::this_thread::sleep_for(microseconds(100));
    }
  });
  const CancelToken cancel;
  Records read;
  while (Read(reader, cancel, &read)) {
  }
  stop = true;
  onlooker.join();
  Records expected;
  for (uint64_t epoch = 0; epoch < kEpochs; ++epoch) {
    const Records records = RecordsOf(epoch);
    expected.insert(expected.end(), records.begin(), records.end());
  }
  EXPECT_TRUE(read == expected);
}

TEST_P(ReadAheadTest, CancelledCallsLoseNothing) {
  const EpochService service(folder_.path(), "train", BytesOf);
  ReadAhead reader(Options(4), size_t{1} << 12, &counters_);
  CancelToken cancel;
  std::atomic<bool> stop{false};
  std::thread canceller([&] {
    Random random(1);
    while (!stop) {
      cancel.Cancel();
      std::this_thread::sleep_for(microseconds(random.Below(300)));
    }
  });
  Records read;
  for (;;) {
    try {
      if (!Read(reader, cancel, &read)) break;
    } catch (const CancelledError&) {
      cancel.Reset();
    }
  }
  stop = true;
  canceller.join();
  EXPECT_EQ(read.size(), 4 * RecordsOf(0).size());
}

TEST_P(ReadAheadTest, MayBeDroppedAtAnyMoment) {
  const EpochService service(folder_.path(), "train", BytesOf);
  Random random(2);
  uint64_t epochs = 0;
  for (int i = 0; i < 30; ++i) {
    ReadAhead reader(Options(1), size_t{1} << random.Below(20), &counters_);
    const CancelToken cancel;
    Records read;
    for (uint64_t left = random.Below(900); left > 0; --left) {
      if (!Read(reader, cancel, &read)) break;
    }
    if (read.empty()) continue;
    // Each has an epoch of its own, and the beginning of it.
    Records expected = RecordsOf(epochs++);
    expected.resize(read.size());
    ASSERT_TRUE(read == expected);
    std::this_thread::sleep_for(microseconds(random.Below(2000)));
  }
}

TEST_P(ReadAheadTest, TwoOfOneChannelShareItsEpochs) {
  const EpochService service(folder_.path(), "train", BytesOf);
  std::atomic<uint64_t> records{0};
  const auto read = [&] {
    ReaderCounters counters;
    ReadAhead reader(Options(kEpochs / 2), size_t{1} << 16, &counters);
    const CancelToken cancel;
    Records own;
    while (Read(reader, cancel, &own)) {
    }
    records += own.size();
  };
  std::thread other(read);
  read();
  other.join();
  EXPECT_EQ(records, kEpochs * RecordsOf(0).size());
}

TEST_P(ReadAheadTest, TensorsGoBackFromAnyThread) {
  // Arrays that are used again, while the reader is dropped.
  const EpochService service(folder_.path(), "train", BytesOf);
  auto reader = std::make_unique<ReadAhead>(Options(2), size_t{1} << 20, &counters_);
  const CancelToken cancel;
  WaitObserver observer;
  std::vector<Element> elements;
  while (std::optional<Element> element = reader->Next({&cancel, &observer})) {
    elements.push_back(std::move(*element));
    if (elements.size() < 50) continue;
    std::thread([dropped = std::move(elements)]() mutable { dropped.clear(); }).detach();
    elements.clear();
  }
  std::thread dropper([&] { elements.clear(); });
  reader.reset();
  dropper.join();
}

TEST_P(ReadAheadTest, NoRecordIsLeftOutWhereMemoryRunsOut) {
  if (testing::kSanitized) GTEST_SKIP() << "sanitizers have their own operator new";
  constexpr uint64_t kFiles = 3;
  std::vector<Records> epochs;
  for (uint64_t epoch = 0; epoch < kFiles; ++epoch) {
    epochs.push_back(RecordsOf(epoch));
    WriteFile(folder_ / "train_" + std::to_string(epoch),
              testing::Encode(testing::AllFormats().front(), epochs.back()).bytes);
  }
  bool struck = true;
  for (uint64_t at = 1; struck && !HasFailure(); ++at) {
    SCOPED_TRACE(::testing::Message() << "allocation " << at);
    std::filesystem::remove_all(folder_ / "state");
    const CancelToken cancel;
    ElementReader reader(Options(2), 0, {&cancel, nullptr}, &counters_);
    Records read;
    read.reserve(kFiles * epochs.front().size());  // the reader's allocations are to fail, not ours
    const auto read_next = [&] {
      const std::optional<Element> element = reader.Next();
      if (!element) return false;
      const auto strings = element->tensors.front().flat<tstring>();
      for (int64_t i = 0; i < strings.size(); ++i) read.emplace_back(strings(i));
      return true;
    };
    {
      const ScopedAllocationFault fault(at);
      try {
        read_next();
        read_next();
      } catch (const std::bad_alloc&) {
      }
      struck = fault.struck();
    }
    while (read_next()) {
    }
    // Each record is the one behind the last, or the first of a later epoch.
    uint64_t epoch = 0;
    size_t next = 0;
    for (const std::string& record : read) {
      while (epoch < kFiles && (next == epochs[epoch].size() || record != epochs[epoch][next])) {
        ++epoch;
        next = 0;
      }
      ASSERT_LT(epoch, kFiles) << record.substr(0, 20);
      ++next;
    }
    EXPECT_EQ(next, epochs[epoch].size());
  }
}

// Files in the place of pipes.

constexpr size_t kFiles = 5;

class ReadAheadOfFilesTest : public ReadAheadTest {
 protected:
  ReadAheadOfFilesTest() {
    for (uint64_t file = 0; file < kFiles; ++file) {
      records_.push_back(file == 2 ? Records{} : RecordsOf(file));
      all_.insert(all_.end(), records_.back().begin(), records_.back().end());
      const std::string bytes =
          testing::Encode(testing::AllFormats().front(), records_.back()).bytes;
      contents_.push_back(file % 2 == 0 ? bytes : testing::Gzip(bytes));
    }
    list_ = testing::MakeFileList(folder_.path(), contents_);
  }

  ElementOptions FileOptions(int64_t epochs) const {
    ElementOptions options = Options(epochs);
    options.channel.pipe_dir = options.channel.state_dir = "";
    options.channel.stream.compression = Compression::kAuto;
    options.channel.files = std::make_shared<const FileList>(list_);
    return options;
  }

  std::vector<Records> records_;  // of each file
  Records all_;
  std::vector<std::string> contents_;
  FileList list_;
};

INSTANTIATE_TEST_SUITE_P(ScalarsAndBatches, ReadAheadOfFilesTest, ::testing::Values(0, 1, 64));

TEST_P(ReadAheadOfFilesTest, EveryRecordInOrder) {
  for (const size_t budget : {size_t{1} << 10, size_t{1} << 20}) {
    ReaderCounters counters;
    ReadAhead reader(FileOptions(3), budget, &counters);
    const CancelToken cancel;
    Records read;
    while (Read(reader, cancel, &read)) {
    }
    Records expected;
    for (int epoch = 0; epoch < 3; ++epoch) {
      expected.insert(expected.end(), all_.begin(), all_.end());
    }
    EXPECT_TRUE(read == expected);
    EXPECT_EQ(counters.Get().epochs, 3U);
  }
}

TEST_P(ReadAheadOfFilesTest, EachElementSaysWhereToGoOn) {
  Shard shard;
  for (shard.count = 1; shard.count <= 3; ++shard.count) {
    shard.index = shard.count - 1;
    ElementOptions options = FileOptions(2);
    options.shard = shard;
    std::vector<Records> elements;
    std::vector<SequencePosition> positions;
    const CancelToken cancel;
    WaitObserver observer;
    {
      ReadAhead reader(options, size_t{1} << 20, &counters_);
      while (const std::optional<Element> element = reader.Next({&cancel, &observer})) {
        const auto strings = element->tensors.front().flat<tstring>();
        elements.emplace_back();
        for (int64_t i = 0; i < strings.size(); ++i) elements.back().emplace_back(strings(i));
        positions.push_back(element->position);
        // The file and what is in front of it are as the position says.
        const SequencePosition& position = positions.back();
        size_t before = 0;
        for (uint64_t file = 0; file < position.file; ++file) before += records_[file].size();
        ASSERT_EQ(position.records, before + position.file_records);
        ASSERT_LE(position.file_records, records_[position.file].size());
      }
    }
    Random random(6);
    for (size_t at = 0; at + 1 < elements.size();
         at += 1 + random.Below(1 + elements.size() / 40)) {
      ElementReader reader(options, 0, {&cancel, nullptr}, &counters_);
      reader.Resume(positions[at]);
      const std::optional<Element> element = reader.Next();
      ASSERT_TRUE(element);
      const auto strings = element->tensors.front().flat<tstring>();
      Records next;
      for (int64_t i = 0; i < strings.size(); ++i) next.emplace_back(strings(i));
      ASSERT_EQ(next, elements[at + 1]) << "behind element " << at << " of " << elements.size();
    }
  }
}

TEST_P(ReadAheadOfFilesTest, AnErrorComesWhereItBelongsAndTheNextFileAfterIt) {
  std::filesystem::resize_file(list_.files[1].path, contents_[1].size() / 2);
  ReadAhead reader(FileOptions(1), size_t{1} << 20, &counters_);
  const CancelToken cancel;
  Records read;
  int errors = 0;
  for (bool more = true; more;) {
    try {
      more = Read(reader, cancel, &read);
    } catch (const DataLossError& error) {
      ++errors;
      EXPECT_NE(std::string(error.what()).find(list_.files[1].path), std::string::npos);
      // A batch waits for more than the first file has.
      EXPECT_TRUE(GetParam() > 1 || read == records_[0]);
    }
  }
  EXPECT_EQ(errors, 1);
  Records expected = records_[0];
  for (size_t file = 2; file < kFiles; ++file) {
    expected.insert(expected.end(), records_[file].begin(), records_[file].end());
  }
  EXPECT_TRUE(read == expected);
}

TEST_P(ReadAheadOfFilesTest, MayBeDroppedAtAnyMoment) {
  Random random(7);
  for (int i = 0; i < 30; ++i) {
    ReadAhead reader(FileOptions(-1), size_t{1} << random.Below(20), &counters_);
    const CancelToken cancel;
    Records read;
    for (uint64_t left = random.Below(900); left > 0; --left) {
      if (!Read(reader, cancel, &read)) break;
    }
    for (size_t at = 0; at < read.size(); ++at) ASSERT_TRUE(read[at] == all_[at % all_.size()]);
  }
}

TEST_P(ReadAheadOfFilesTest, CancelledCallsLoseNothing) {
  ReadAhead reader(FileOptions(4), size_t{1} << 12, &counters_);
  CancelToken cancel;
  std::atomic<bool> stop{false};
  std::thread canceller([&] {
    Random random(1);
    while (!stop) {
      cancel.Cancel();
      std::this_thread::sleep_for(microseconds(random.Below(300)));
    }
  });
  Records read;
  for (;;) {
    try {
      if (!Read(reader, cancel, &read)) break;
    } catch (const CancelledError&) {
      cancel.Reset();
    }
  }
  stop = true;
  canceller.join();
  EXPECT_EQ(read.size(), 4 * all_.size());
}

TEST_P(ReadAheadOfFilesTest, NoRecordIsLeftOutWhereMemoryRunsOut) {
  if (testing::kSanitized) GTEST_SKIP() << "sanitizers have their own operator new";
  bool struck = true;
  for (uint64_t at = 1; struck && !HasFailure(); ++at) {
    SCOPED_TRACE(::testing::Message() << "allocation " << at);
    const CancelToken cancel;
    ElementReader reader(FileOptions(1), 0, {&cancel, nullptr}, &counters_);
    Records read;
    read.reserve(all_.size());
    bool failed = false;
    const auto read_next = [&] {
      const std::optional<Element> element = reader.Next();
      if (!element) return false;
      const auto strings = element->tensors.front().flat<tstring>();
      for (int64_t i = 0; i < strings.size(); ++i) read.emplace_back(strings(i));
      return true;
    };
    {
      const ScopedAllocationFault fault(at);
      try {
        read_next();
        read_next();
      } catch (const std::bad_alloc&) {
        failed = true;
      }
      struck = fault.struck();
    }
    while (read_next()) {
    }
    // Of each file the beginning; all of it unless memory ran out.
    auto next = read.begin();
    for (const Records& records : records_) {
      for (size_t i = 0; i < records.size(); ++i, ++next) {
        if (next != read.end() && *next == records[i]) continue;
        ASSERT_TRUE(failed);
        break;
      }
    }
    ASSERT_TRUE(next == read.end()) << next->substr(0, 20);
  }
}

}  // namespace
}  // namespace pipemode
