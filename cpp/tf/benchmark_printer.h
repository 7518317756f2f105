// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_TF_BENCHMARK_PRINTER_H_
#define PIPEMODE_TF_BENCHMARK_PRINTER_H_

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace pipemode {

// Prints the numbers that tools made for the predecessor look for in a job's log: the same lines,
// on stdout.
class BenchmarkPrinter {
 public:
  // Prints totals on destruction if `totals` and anything was read for, and the last record's
  // numbers every `records_interval` records if that is positive.
  BenchmarkPrinter(bool totals, int64_t records_interval);
  BenchmarkPrinter(const BenchmarkPrinter&) = delete;
  BenchmarkPrinter& operator=(const BenchmarkPrinter&) = delete;
  ~BenchmarkPrinter();

  // Whether to measure at all.
  bool enabled() const noexcept { return totals_ || records_interval_ > 0; }

  // A read that took `read_time` found `records` records of `bytes` bytes together; at the end,
  // none.
  void OnRead(std::chrono::nanoseconds read_time, size_t records, size_t bytes);

 private:
  const bool totals_;
  const int64_t records_interval_;
  bool used_ = false;
  std::chrono::nanoseconds read_time_{0};
  uint64_t bytes_ = 0;
  size_t records_ = 0;
};

}  // namespace pipemode

#endif  // PIPEMODE_TF_BENCHMARK_PRINTER_H_
