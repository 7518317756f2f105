// SPDX-License-Identifier: Apache-2.0
//
// The strings of a tensor, to compare.
#ifndef PIPEMODE_TESTS_TF_TENSOR_RECORDS_H_
#define PIPEMODE_TESTS_TF_TENSOR_RECORDS_H_

#include <cstdint>

#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/platform/tstring.h"
#include "testing/record_formats.h"

namespace pipemode::testing {

inline Records RecordsOf(const tensorflow::Tensor& tensor) {
  Records records;
  const auto strings = tensor.flat<tensorflow::tstring>();
  for (int64_t i = 0; i < strings.size(); ++i) records.emplace_back(strings(i));
  return records;
}

}  // namespace pipemode::testing

#endif  // PIPEMODE_TESTS_TF_TENSOR_RECORDS_H_
