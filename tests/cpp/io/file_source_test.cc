// SPDX-License-Identifier: Apache-2.0
#include "core/io/file_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>

#include "core/base/error.h"
#include "core/io/cancel_token.h"
#include "testing/fake_source.h"
#include "testing/random.h"
#include "testing/temp_dir.h"

namespace pipemode {
namespace {

using ::pipemode::testing::MakeFifo;
using ::pipemode::testing::RandomBytes;
using ::pipemode::testing::ReadAll;
using ::pipemode::testing::TempDir;
using ::pipemode::testing::WriteFile;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using ::testing::ThrowsMessage;

class FileSourceTest : public ::testing::Test {
 protected:
  FileSource Open(uint64_t size) { return FileSource(path_, size, context_); }

  void Append(const std::string& bytes) {
    std::ofstream(path_, std::ios::binary | std::ios::app) << bytes;
  }

  const TempDir folder_;
  const std::string path_ = folder_ / "file";
  CancelToken cancel_;
  WaitContext context_{&cancel_};
};

TEST_F(FileSourceTest, ReadsAllOfAFile) {
  for (const size_t size : {0, 1, 4095, 4096, 4097, 300'000, 5'000'000}) {
    const std::string bytes = RandomBytes(size, size);
    WriteFile(path_, bytes);
    for (const size_t at_once : {1, 100, 4096, 1 << 20}) {
      if (size / at_once > 100'000) continue;
      FileSource source = Open(size);
      EXPECT_TRUE(ReadAll(source, at_once) == bytes) << size << ", " << at_once;
      char byte;
      EXPECT_EQ(source.Read(&byte, 1), 0U);
    }
  }
}

TEST_F(FileSourceTest, ScattersAndNeverReadsBehindTheSize) {
  const std::string bytes = RandomBytes(100, 1);
  WriteFile(path_, bytes);
  testing::Random random(2);
  for (int round = 0; round < 1000; ++round) {
    FileSource source = Open(bytes.size());
    std::string all;
    char dst[60];
    char tail[60];
    while (true) {
      const size_t size = 1 + random.Below(sizeof(dst));
      const size_t tail_size = random.Below(sizeof(tail));
      const size_t count = source.ReadScattered(dst, size, tail, tail_size);
      if (count == 0) break;
      ASSERT_LE(count, size + tail_size);
      all.append(dst, std::min(count, size));
      if (count > size) all.append(tail, count - size);
    }
    ASSERT_EQ(all, bytes);
  }
}

TEST_F(FileSourceTest, AnotherSizeThanListedIsAnErrorAtOnce) {
  WriteFile(path_, "12345");
  for (const uint64_t size : {0, 1, 4, 6, 1000}) {
    EXPECT_THAT([&] { Open(size); },
                ThrowsMessage<DataLossError>(
                    StartsWith("the file has 5 bytes now, and had " + std::to_string(size))));
  }
}

TEST_F(FileSourceTest, WhatIsNoFileIsAnErrorAtOnce) {
  EXPECT_THAT([&] { Open(5); }, ThrowsMessage<IoError>(AllOf(HasSubstr("cannot open the file"),
                                                             HasSubstr("No such file"))));
  MakeFifo(path_);  // without a writer, it would block
  EXPECT_THAT([&] { Open(0); },
              ThrowsMessage<FailedPreconditionError>(HasSubstr("not a regular file")));
  std::filesystem::remove(path_);
  std::filesystem::create_directory(path_);
  EXPECT_THAT([&] { Open(0); },
              ThrowsMessage<FailedPreconditionError>(HasSubstr("not a regular file")));
}

TEST_F(FileSourceTest, ALinkIsFollowed) {
  WriteFile(folder_ / "other", "bytes");
  std::filesystem::create_symlink("other", path_);
  FileSource source = Open(5);
  EXPECT_EQ(ReadAll(source), "bytes");
}

TEST_F(FileSourceTest, AFileThatGrowsIsAnErrorBehindWhatWasListed) {
  for (const size_t read_before : {0, 2, 5}) {
    WriteFile(path_, "12345");
    FileSource source = Open(5);
    std::string bytes(read_before, '\0');
    if (read_before > 0) {
      ASSERT_EQ(source.Read(bytes.data(), read_before), read_before);
    }
    Append("6");
    char piece[20];
    if (read_before < 5) {
      const size_t count = source.Read(piece, sizeof(piece));
      bytes.append(piece, count);
    }
    EXPECT_EQ(bytes, "12345");
    EXPECT_THAT([&] { source.Read(piece, sizeof(piece)); },
                ThrowsMessage<DataLossError>(HasSubstr("the file has 6 bytes now")));
    EXPECT_EQ(source.Read(piece, sizeof(piece)), 0U);
  }
}

TEST_F(FileSourceTest, AFileThatShrinksIsAnErrorAndNotTheEnd) {
  const std::string bytes = RandomBytes(50, 3);
  for (size_t left = 0; left < bytes.size(); ++left) {
    for (size_t read_before = 0; read_before <= bytes.size(); read_before += 10) {
      WriteFile(path_, bytes);
      FileSource source = Open(bytes.size());
      std::string got(read_before, '\0');
      if (read_before > 0) {
        ASSERT_EQ(source.Read(got.data(), read_before), read_before);
      }
      ASSERT_EQ(::truncate(path_.c_str(), static_cast<off_t>(left)), 0);
      std::string message;
      char piece[100];
      try {
        while (const size_t count = source.Read(piece, 7)) got.append(piece, count);
      } catch (const DataLossError& error) {
        message = error.what();
      }
      EXPECT_EQ(got, bytes.substr(0, std::max(left, read_before)));
      EXPECT_THAT(message, StartsWith("the file has " + std::to_string(left) + " bytes now"));
      EXPECT_EQ(source.Read(piece, 7), 0U);
    }
  }
}

TEST_F(FileSourceTest, AFileThatIsReplacedOrRemovedIsReadAsItWas) {
  WriteFile(path_, "first");
  FileSource source = Open(5);
  std::filesystem::remove(path_);
  WriteFile(path_, "second");
  EXPECT_EQ(ReadAll(source), "first");
}

TEST_F(FileSourceTest, ACancelledCallLosesNothing) {
  const std::string bytes = RandomBytes(100, 4);
  WriteFile(path_, bytes);
  FileSource source = Open(bytes.size());
  std::string got;
  char piece[7];
  for (;;) {
    cancel_.Cancel();
    EXPECT_THAT([&] { source.Read(piece, sizeof(piece)); },
                ThrowsMessage<CancelledError>(HasSubstr("cancelled while reading a file")));
    cancel_.Reset();
    const size_t count = source.Read(piece, sizeof(piece));
    if (count == 0) break;
    got.append(piece, count);
  }
  EXPECT_EQ(got, bytes);
}

TEST_F(FileSourceTest, NoDescriptorStaysOpenAtTheEnd) {
  const auto descriptors = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
  };
  const auto before = descriptors();
  WriteFile(path_, "12345");
  FileSource good = Open(5);
  FileSource bad = Open(5);
  EXPECT_EQ(descriptors(), before + 2);
  EXPECT_EQ(ReadAll(good), "12345");
  EXPECT_EQ(descriptors(), before + 1);
  Append("6");
  EXPECT_THROW(ReadAll(bad), DataLossError);
  EXPECT_EQ(descriptors(), before);
}

// Asked to end the reading every kWaitTick, as where there is a signal.
class Ender final : public WaitObserver {
 public:
  void OnBlock() override { ++blocks; }
  void OnTick() override {
    ++ticks;
    if (ends) throw CancelledError("ended");
  }
  void OnWaited(std::chrono::steady_clock::duration time) override { waited += time; }

  bool ends = false;
  int blocks = 0;
  int ticks = 0;
  std::chrono::steady_clock::duration waited{0};
};

TEST_F(FileSourceTest, TheObserverIsAskedEveryTick) {
  WriteFile(path_, "12345");
  Ender observer;
  context_.observer = &observer;
  FileSource source = Open(5);
  char byte;
  ASSERT_EQ(source.Read(&byte, 1), 1U);
  EXPECT_GT(observer.waited.count(), 0);
  // No less than this: it may be asked now.
  std::this_thread::sleep_for(2 * kWaitTick);
  ASSERT_EQ(source.Read(&byte, 1), 1U);
  const int asked = observer.ticks;
  EXPECT_GE(asked, 1);
  EXPECT_EQ(observer.blocks, asked);
  observer.ends = true;
  std::this_thread::sleep_for(2 * kWaitTick);
  EXPECT_THROW(source.Read(&byte, 1), CancelledError);
  observer.ends = false;
  EXPECT_EQ(ReadAll(source), "345");
}

}  // namespace
}  // namespace pipemode
