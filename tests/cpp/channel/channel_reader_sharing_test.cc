// SPDX-License-Identifier: Apache-2.0
//
// Several readers of one channel.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "channel/channel_reader_fixture.h"
#include "core/base/error.h"
#include "core/channel/channel_reader.h"
#include "core/channel/pipe_state.h"
#include "core/io/cancel_token.h"
#include "core/writer/fifo_channel_writer.h"
#include "testing/child.h"
#include "testing/fifo_server.h"
#include "testing/record_formats.h"
#include "testing/string_sink.h"
#include "testing/temp_dir.h"

namespace pipemode {
namespace {

using ::pipemode::testing::BlockObserver;
using ::pipemode::testing::ChannelReaderTest;
using ::pipemode::testing::Child;
using ::pipemode::testing::Encode;
using ::pipemode::testing::FifoServer;
using ::pipemode::testing::MakeFifo;
using ::pipemode::testing::ReadAllRecords;
using ::pipemode::testing::Records;
using ::pipemode::testing::StringSink;
using ::pipemode::testing::TfRecord;
using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using ::testing::ThrowsMessage;

TEST_F(ChannelReaderTest, AnotherReaderOfTheChannelGetsTheNextEpoch) {
  MakeFifo(FifoPath(0));
  MakeFifo(FifoPath(1));
  FifoServer first_server(FifoPath(0), Encode(TfRecord(), {"zero", "more"}).bytes);
  FifoServer second_server(FifoPath(1), Encode(TfRecord(), {"one"}).bytes);
  ChannelReader first = Reader();
  StringSink sink;
  ASSERT_TRUE(first.Read(sink));
  ChannelReader second = Reader();
  EXPECT_EQ(ReadAllRecords(second), Records{"one"});
  ASSERT_TRUE(first.Read(sink));
  EXPECT_EQ(sink.record(), "more");
}

TEST_F(ChannelReaderTest, OneWaitsBehindTheOtherForTheSameFifo) {
  MakeFifo(FifoPath(0));
  const auto blocks = std::make_shared<std::atomic<int>>(0);
  CancelToken cancel_first;
  const auto wait_for = [&](const CancelToken& cancel) {
    BlockObserver observer([&] { ++*blocks; });
    ChannelReader reader(Options(), {&cancel, &observer});
    return ReadAllRecords(reader);
  };
  std::thread first([&] { EXPECT_THROW(wait_for(cancel_first), CancelledError); });
  while (*blocks < 1) std::this_thread::yield();
  Records got;
  std::thread second([&] { got = wait_for(cancel_); });
  while (*blocks < 2) std::this_thread::yield();
  // The one in front gives up; the other takes its place.
  cancel_first.Cancel();
  first.join();
  FifoServer server(FifoPath(0), Encode(TfRecord(), {"for the second"}).bytes);
  second.join();
  EXPECT_EQ(got, Records{"for the second"});
}

TEST_F(ChannelReaderTest, BehindAnotherWaiterTheDeadlineSaysSo) {
  MakeFifo(FifoPath(0));
  const PipeState state(folder_ / "another_state", folder_.path(), "train");
  const PipeState::Attempt waiter = state.TryClaim();
  ASSERT_TRUE(waiter.claim);
  ChannelOptions options = Options();
  options.open_timeout = milliseconds(50);
  ChannelReader reader(options, context_);
  StringSink sink;
  EXPECT_THAT([&] { reader.Read(sink); },
              ThrowsMessage<DeadlineExceededError>(
                  AllOf(StartsWith(Position(0)), HasSubstr("another reader waits"))));
}

TEST_F(ChannelReaderTest, AFifoThatAnotherFolderReadsIsRefused) {
  MakeFifo(FifoPath(0));
  const PipeState state(folder_ / "another_state", folder_.path(), "train");
  const PipeState::Attempt holder = state.TryClaim();
  ASSERT_TRUE(holder.claim);
  ASSERT_TRUE(state.TryMarkStarted(*holder.claim));
  ChannelReader reader = Reader();
  StringSink sink;
  EXPECT_THAT([&] { reader.Read(sink); },
              ThrowsMessage<FailedPreconditionError>(
                  AllOf(HasSubstr("channel 'train'"),
                        HasSubstr("read already, by process " + std::to_string(::getpid())))));
}

// Reads epochs until the one called "end". Returns the names of those read.
Records ReadEpochs(const ChannelOptions& options) {
  const CancelToken cancel;
  Records names;
  for (;;) {
    ChannelReader reader(options, {&cancel});
    const Records records = ReadAllRecords(reader);
    // Whole epochs, or somebody took a part of them.
    if (records.size() != 100) throw DataLossError("an epoch of " + std::to_string(records.size()));
    for (const std::string& record : records) {
      if (record != records[0]) throw DataLossError("a record of another epoch");
    }
    if (records[0] == "end") return names;
    names.push_back(records[0]);
  }
}

TEST_F(ChannelReaderTest, ManyReadersShareTheEpochs) {
  // Two processes with two threads each, and one writer for all.
  constexpr int kEpochs = 40;
  constexpr int kReaders = 4;
  std::vector<std::unique_ptr<Child>> children;
  for (int i = 0; i < kReaders / 2; ++i) {
    children.push_back(std::make_unique<Child>([this]() -> std::string {
      Records names[2];
      std::string error;
      std::thread other([&] {
        try {
          names[0] = ReadEpochs(Options());
        } catch (const PipeError& e) {
          error = e.what();
        }
      });
      names[1] = ReadEpochs(Options());
      other.join();
      std::string all = error;
      for (const Records& some : names) {
        for (const std::string& name : some) all += name + " ";
      }
      return all;
    }));
  }
  FifoChannelWriter writer(folder_.path(), "train", 0, {}, context_);
  for (int epoch = 0; epoch < kEpochs + kReaders; ++epoch) {
    const std::string name = epoch < kEpochs ? "epoch" + std::to_string(epoch) : "end";
    writer.BeginEpoch();
    EXPECT_TRUE(writer.Write(Encode(TfRecord(), Records(100, name)).bytes));
    writer.EndEpoch();
  }
  std::multiset<std::string> got;
  for (const auto& child : children) {
    std::istringstream names(child->Result());
    for (std::string name; names >> name;) got.insert(name);
  }
  std::multiset<std::string> expected;
  for (int epoch = 0; epoch < kEpochs; ++epoch) expected.insert("epoch" + std::to_string(epoch));
  EXPECT_EQ(got, expected);
}

}  // namespace
}  // namespace pipemode
