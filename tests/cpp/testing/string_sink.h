// SPDX-License-Identifier: Apache-2.0
#ifndef PIPEMODE_TESTS_TESTING_STRING_SINK_H_
#define PIPEMODE_TESTS_TESTING_STRING_SINK_H_

#include <algorithm>
#include <cstddef>
#include <string>

#include "core/format/record_reader.h"

namespace pipemode::testing {

// Collects one record after the other and notes how much memory was asked for.
class StringSink final : public RecordSink {
 public:
  char* Resize(size_t size) override {
    ++resizes_;
    largest_ = std::max(largest_, size);
    // New bytes are not zeros: a reader that leaves some of them unwritten shall be noticed.
    record_.resize(size, '\xA5');
    return record_.data();
  }

  const std::string& record() const { return record_; }
  size_t resizes() const { return resizes_; }
  size_t largest() const { return largest_; }

 private:
  std::string record_;
  size_t resizes_ = 0;
  size_t largest_ = 0;
};

}  // namespace pipemode::testing

#endif  // PIPEMODE_TESTS_TESTING_STRING_SINK_H_
