// SPDX-License-Identifier: Apache-2.0
#include "tf/benchmark_printer.h"

#include <iostream>
#include <sstream>

namespace pipemode {
namespace {

template <typename Value>
void Print(const char* label, Value value) {
  // One write a line: iterators of several channels print at the same time.
  std::ostringstream line;
  line << "PipeModeDatasetOp::Dataset::Iterator " << label << ": " << value << '\n';
  std::cout << line.str() << std::flush;
}

}  // namespace

BenchmarkPrinter::BenchmarkPrinter(bool totals, int64_t records_interval)
    : totals_(totals), records_interval_(records_interval) {}

BenchmarkPrinter::~BenchmarkPrinter() {
  // tf.data's repeat makes one iterator more than it reads.
  if (!totals_ || !used_) return;
  const double seconds = std::chrono::duration<double>(read_time_).count();
  const double gigabytes = static_cast<double>(bytes_) / (1 << 30);
  Print("total read_time_ms",
        std::chrono::duration_cast<std::chrono::milliseconds>(read_time_).count());
  Print("total read_bytes", bytes_);
  Print("total read_GB/s", seconds > 0 ? gigabytes / seconds : 0.0);
}

void BenchmarkPrinter::OnRead(std::chrono::nanoseconds read_time, size_t records, size_t bytes) {
  used_ = true;
  read_time_ += read_time;
  bytes_ += bytes;
  const size_t before = records_;
  records_ += records;
  if (records_interval_ <= 0) return;
  const auto interval = static_cast<size_t>(records_interval_);
  if (records_ / interval == before / interval) return;
  Print("records", records_);
  Print("records read_time_ns", read_time.count());
  Print("records read_bytes", bytes);
}

}  // namespace pipemode
