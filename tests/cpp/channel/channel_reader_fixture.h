// SPDX-License-Identifier: Apache-2.0
//
// What all tests of ChannelReader share.
#ifndef PIPEMODE_TESTS_CHANNEL_CHANNEL_READER_FIXTURE_H_
#define PIPEMODE_TESTS_CHANNEL_CHANNEL_READER_FIXTURE_H_

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <utility>

#include "core/base/unique_fd.h"
#include "core/channel/channel_reader.h"
#include "core/io/cancel_token.h"
#include "core/io/wait.h"
#include "testing/environment.h"
#include "testing/fifo_server.h"
#include "testing/record_formats.h"
#include "testing/string_sink.h"
#include "testing/temp_dir.h"

namespace pipemode::testing {

inline Records ReadAllRecords(ChannelReader& reader) {
  Records records;
  StringSink sink;
  while (reader.Read(sink)) records.push_back(sink.record());
  return records;
}

// Does something in the moment in which a reader is about to block for the first time.
class BlockObserver : public WaitObserver {
 public:
  explicit BlockObserver(std::function<void()> on_block) : on_block_(std::move(on_block)) {}
  void OnBlock() override {
    std::exchange(on_block_, [] {})();
  }

 private:
  std::function<void()> on_block_;
};

// Joined even if the test ends by an exception.
class JoiningThread {
 public:
  explicit JoiningThread(std::function<void()> body) : thread_(std::move(body)) {}
  JoiningThread(const JoiningThread&) = delete;
  JoiningThread& operator=(const JoiningThread&) = delete;
  ~JoiningThread() { thread_.join(); }

 private:
  std::thread thread_;
};

// A folder for the FIFOs of channel "train" and its state.
class ChannelReaderTest : public ::testing::Test {
 protected:
  ChannelOptions Options() const {
    ChannelOptions options;
    options.channel = "train";
    options.pipe_dir = folder_.path();
    options.state_dir = state_dir_;
    options.stream = TfRecord().options();
    options.open_timeout = kPatience;
    options.read_timeout = kPatience;
    return options;
  }
  ChannelReader Reader() const { return ChannelReader(Options(), context_); }

  std::string FifoPath(uint64_t epoch) const { return folder_ / "train_" + std::to_string(epoch); }
  std::string Position(uint64_t epoch) const {
    return "channel 'train' epoch " + std::to_string(epoch) + " (" + FifoPath(epoch) + "): ";
  }
  // The number in the state file, or "" while there is none.
  std::string State() const {
    const std::string path = state_dir_ + "/.train-pipe_mode-state";
    return Exists(path) ? ReadFile(path) : "";
  }
  UniqueFd OpenWriter(uint64_t epoch) const {
    static const std::atomic<bool> never{false};
    return OpenForWriting(FifoPath(epoch), never);
  }

  const TempDir folder_;
  const std::string state_dir_ = folder_ / "state";
  CancelToken cancel_;
  const WaitContext context_{&cancel_};
};

}  // namespace pipemode::testing

#endif  // PIPEMODE_TESTS_CHANNEL_CHANNEL_READER_FIXTURE_H_
