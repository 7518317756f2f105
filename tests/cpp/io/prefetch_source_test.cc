// SPDX-License-Identifier: Apache-2.0
#include "core/io/prefetch_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/io/cancel_token.h"
#include "core/io/fifo_source.h"
#include "testing/fake_source.h"
#include "testing/random.h"
#include "testing/temp_dir.h"

namespace pipemode {
namespace {

using ::pipemode::testing::FakeScript;
using ::pipemode::testing::MakeFifo;
using ::pipemode::testing::MakeSource;
using ::pipemode::testing::RandomBytes;
using ::pipemode::testing::ReadAll;
using ::pipemode::testing::TempDir;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

constexpr size_t kBudget = size_t{1} << 20;

class PrefetchSourceTest : public ::testing::Test {
 protected:
  std::unique_ptr<PrefetchSource> Make(const std::string& bytes, const FakeScript& script = {}) {
    return std::make_unique<PrefetchSource>(
        [bytes, script](const WaitContext&) { return MakeSource(bytes, script); }, kBudget,
        context_);
  }

  CancelToken cancel_;
  const WaitContext context_{&cancel_};
};

TEST_F(PrefetchSourceTest, GivesAllBytesInOrder) {
  const std::string bytes = RandomBytes(3'000'000, 1);
  for (const size_t chunk : {size_t{1} << 22, size_t{7777}}) {
    FakeScript script;
    script.chunks = {chunk};
    for (const size_t size : {size_t{1} << 20, size_t{1000}}) {
      const auto source = Make(bytes, script);
      EXPECT_EQ(ReadAll(*source, size), bytes);
      char byte;
      EXPECT_EQ(source->Read(&byte, 1), 0U);
    }
  }
  EXPECT_EQ(ReadAll(*Make("")), "");
}

TEST_F(PrefetchSourceTest, AnErrorComesBehindTheBytesBeforeIt) {
  const std::string bytes = RandomBytes(1'000'000, 2);
  FakeScript script;
  script.fail_at = 600'000;
  script.fail = [] { throw DataLossError("damaged"); };
  const auto source = Make(bytes, script);
  std::string read(600'000, '\0');
  for (size_t done = 0; done < read.size();) {
    done += source->Read(read.data() + done, read.size() - done);
  }
  EXPECT_EQ(read, bytes.substr(0, read.size()));
  char byte;
  EXPECT_THAT([&] { source->Read(&byte, 1); }, ThrowsMessage<DataLossError>(HasSubstr("damaged")));
  EXPECT_EQ(source->Read(&byte, 1), 0U);
}

TEST_F(PrefetchSourceTest, AnErrorInOpeningComesWhenTheSourceIsDue) {
  PrefetchSource source(
      [](const WaitContext&) -> std::unique_ptr<ByteSource> { throw IoError(ENOENT, "opening"); },
      kBudget, context_);
  char byte;
  EXPECT_THAT([&] { source.Read(&byte, 1); }, ThrowsMessage<IoError>(HasSubstr("opening")));
  EXPECT_EQ(source.Read(&byte, 1), 0U);
}

// Tells how much of an endless source has been read.
class CountingSource final : public ByteSource {
 public:
  explicit CountingSource(std::atomic<size_t>* bytes) : bytes_(*bytes) {}
  size_t Read(char* dst, size_t size) override {
    for (size_t i = 0; i < size; ++i) dst[i] = 'x';
    bytes_ += size;
    return size;
  }

 private:
  std::atomic<size_t>& bytes_;
};

TEST_F(PrefetchSourceTest, ReadsNoMoreAheadThanItsBudget) {
  std::atomic<size_t> bytes{0};
  PrefetchSource source(
      [&bytes](const WaitContext&) { return std::make_unique<CountingSource>(&bytes); }, kBudget,
      context_);
  while (bytes < kBudget) std::this_thread::yield();
  char byte;
  ASSERT_EQ(source.Read(&byte, 1), 1U);
  // What lies ready, the piece that is taken, and one that is read and has no room.
  EXPECT_LE(bytes, kBudget + (size_t{512} << 10));
  // And it is let go with its thread waiting for room.
}

TEST_F(PrefetchSourceTest, ACancelledReadLosesNothing) {
  const TempDir dir;
  MakeFifo(dir / "fifo");
  PrefetchSource source(
      [&dir](const WaitContext& context) {
        return std::make_unique<FifoSource>(FifoSource::Open(dir / "fifo"), "fifo", TimeLimit(30),
                                            context);
      },
      kBudget, context_);
  cancel_.Cancel();
  char byte;
  EXPECT_THROW(source.Read(&byte, 1), CancelledError);
  cancel_.Reset();
  std::thread writer([&dir] { testing::WriteFile(dir / "fifo", "bytes"); });
  EXPECT_EQ(ReadAll(source), "bytes");
  writer.join();
}

TEST_F(PrefetchSourceTest, IsLetGoWhileItsThreadWaitsForTheSource) {
  const TempDir dir;
  MakeFifo(dir / "fifo");  // nobody writes
  const auto begun = std::chrono::steady_clock::now();
  for (int i = 0; i < 20; ++i) {
    PrefetchSource source(
        [&dir](const WaitContext& context) {
          return std::make_unique<FifoSource>(FifoSource::Open(dir / "fifo"), "fifo", TimeLimit(30),
                                              context);
        },
        kBudget, context_);
    if (i % 2 != 0) std::this_thread::yield();
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(10));
}

TEST_F(PrefetchSourceTest, ManyAtOnce) {
  std::vector<std::unique_ptr<PrefetchSource>> sources;
  std::vector<std::string> expected;
  for (int i = 0; i < 20; ++i) {
    expected.push_back(RandomBytes(static_cast<size_t>(i) * 50'000, i));
    sources.push_back(Make(expected.back()));
  }
  for (size_t i = 0; i < sources.size(); i += 2) sources[i].reset();
  for (size_t i = 1; i < sources.size(); i += 2) EXPECT_EQ(ReadAll(*sources[i]), expected[i]);
}

}  // namespace
}  // namespace pipemode
