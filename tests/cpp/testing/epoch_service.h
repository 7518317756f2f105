// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_TESTS_TESTING_EPOCH_SERVICE_H_
#define PIPEMODE_TESTS_TESTING_EPOCH_SERVICE_H_

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <utility>

#include "core/base/error.h"
#include "core/io/cancel_token.h"
#include "core/io/wait.h"
#include "core/writer/fifo_channel_writer.h"

namespace pipemode::testing {

// A thread that plays the service for one channel: every epoch once, in order, whether it is read
// to its end or not. To be declared before the reader.
class EpochService {
 public:
  // `bytes` returns what an epoch sends. Nothing is there for `delay`.
  EpochService(const std::string& folder, const std::string& channel,
               std::function<std::string(uint64_t epoch)> bytes,
               std::chrono::milliseconds delay = std::chrono::milliseconds(0))
      : writer_(folder, channel, 0, FifoWriterOptions(), WaitContext{&cancel_, nullptr}),
        bytes_(std::move(bytes)),
        thread_([this, delay] {
          std::this_thread::sleep_for(delay);
          Run();
        }) {}
  EpochService(const EpochService&) = delete;
  EpochService& operator=(const EpochService&) = delete;
  ~EpochService() {
    cancel_.Cancel();
    thread_.join();
  }

 private:
  void Run() {
    try {
      for (uint64_t epoch = 0;; ++epoch) {
        const std::string bytes = bytes_(epoch);
        writer_.BeginEpoch();
        writer_.Write(bytes);
        std::filesystem::remove(writer_.path());
        writer_.EndEpoch();
      }
    } catch (const CancelledError&) {
    }
  }

  CancelToken cancel_;
  FifoChannelWriter writer_;
  const std::function<std::string(uint64_t)> bytes_;
  std::thread thread_;
};

}  // namespace pipemode::testing

#endif  // PIPEMODE_TESTS_TESTING_EPOCH_SERVICE_H_
