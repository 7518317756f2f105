// SPDX-License-Identifier: Apache-2.0
//
// Each system call that feeding a channel makes fails, one after the other.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <ostream>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "core/base/error.h"
#include "core/base/unique_fd.h"
#include "core/io/cancel_token.h"
#include "core/writer/fifo_channel_writer.h"
#include "faults/process_usage.h"
#include "faults/syscall_faults.h"
#include "testing/environment.h"
#include "testing/temp_dir.h"

namespace pipemode {
namespace {

using ::pipemode::testing::ProcessUsage;
using ::pipemode::testing::ScopedSyscallFault;
using ::pipemode::testing::SyscallFault;
using ::pipemode::testing::TempDir;
using ::testing::HasSubstr;

struct WriterFaultCase {
  SyscallFault fault;
  std::optional<ErrorCode> code;  // none: nothing comes of it
};

void PrintTo(const WriterFaultCase& fault_case, std::ostream* out) {
  PrintTo(fault_case.fault, out);
}

std::vector<WriterFaultCase> AllWriterFaults() {
  return {
      {{"mkfifo", EACCES}, ErrorCode::kPermissionDenied},
      {{"mkfifo", ENOSPC}, ErrorCode::kResourceExhausted},
      {{"open", EINTR}, {}},
      {{"open", ENXIO}, {}},
      {{"open", EMFILE}, ErrorCode::kResourceExhausted},
      {{"open", EIO, true}, ErrorCode::kUnavailable},
      {{"ppoll", EINTR}, {}},
      {{"ppoll", ENOMEM}, ErrorCode::kResourceExhausted},
      {{"write", EINTR}, {}},
      {{"write", EAGAIN}, {}},
      {{"write", 0, true}, {}},
      {{"write", EIO}, ErrorCode::kUnavailable},
  };
}

// A thread that reads a FIFO, as soon as it is there, whoever writes to it.
class Drain {
 public:
  explicit Drain(const std::string& path) : thread_([this, path] { Run(path); }) {}
  Drain(const Drain&) = delete;
  Drain& operator=(const Drain&) = delete;
  ~Drain() {
    stop_ = true;
    thread_.join();
  }

  // Waits until so many bytes have come, and returns how many.
  size_t Wait(size_t bytes) const {
    const testing::Clock::time_point limit = testing::Clock::now() + testing::kPatience;
    while (bytes_ < bytes && testing::Clock::now() < limit) Sleep();
    return bytes_;
  }

 private:
  static void Sleep() { std::this_thread::sleep_for(std::chrono::microseconds(200)); }

  void Run(const std::string& path) {
    UniqueFd fd;
    char piece[4096];
    while (!stop_) {
      if (!fd) fd = UniqueFd(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
      const ssize_t count = fd ? ::read(fd.get(), piece, sizeof(piece)) : 0;
      if (count > 0) {
        bytes_ += static_cast<size_t>(count);
      } else {
        Sleep();
      }
    }
  }

  std::atomic<size_t> bytes_{0};
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

class WriterFaultsTest : public ::testing::TestWithParam<WriterFaultCase> {
 protected:
  static void Feed(const std::string& folder) {
    const CancelToken cancel;
    FifoWriterOptions options;
    options.chunk_bytes = 1000;
    FifoChannelWriter writer(folder, "train", 0, options, WaitContext{&cancel, nullptr});
    writer.BeginEpoch();
    EXPECT_TRUE(writer.Write(std::string(kEpochBytes, 'x')));
    writer.EndEpoch();
  }

  // Feeds an epoch with a fault, and, if that came to an error, again without one.
  static bool Run(uint64_t at) {
    SCOPED_TRACE(::testing::Message() << "call " << at);
    const TempDir folder;
    const Drain drain(folder / "train_0");
    bool struck = false;
    bool failed = false;
    {
      const ScopedSyscallFault fault(GetParam().fault, at);
      try {
        Feed(folder.path());
      } catch (const PipeError& error) {
        failed = true;
        EXPECT_EQ(error.code(), GetParam().code) << error.what();
        EXPECT_THAT(error.what(),
                    HasSubstr(std::generic_category().message(GetParam().fault.error_number)));
      }
      struck = fault.struck();
    }
    EXPECT_EQ(failed, struck && GetParam().code);
    if (failed) Feed(folder.path());
    EXPECT_GE(drain.Wait(kEpochBytes), kEpochBytes);
    return struck;
  }

  static constexpr size_t kEpochBytes = 5000;
};

INSTANTIATE_TEST_SUITE_P(AllCalls, WriterFaultsTest, ::testing::ValuesIn(AllWriterFaults()));

TEST_P(WriterFaultsTest, AtEveryCall) {
  Run(UINT64_MAX);  // whatever is made once and kept is made now
  const ProcessUsage before = ProcessUsage::Now();
  // The reader may come so early that there is nothing to wait for.
  bool first_struck = false;
  for (int i = 0; i < 50 && !first_struck && !HasFailure(); ++i) first_struck = Run(1);
  EXPECT_TRUE(first_struck || HasFailure()) << "there was no such call";
  EXPECT_EQ(ProcessUsage::Now(), before);
  uint64_t at = 2;
  // Waiting takes any number of calls.
  for (bool struck = true; struck && !HasFailure() && at < 50; ++at) {
    struck = Run(at);
    EXPECT_EQ(ProcessUsage::Now(), before) << "call " << at;
  }
}

}  // namespace
}  // namespace pipemode
