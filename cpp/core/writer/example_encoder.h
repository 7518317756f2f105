// SPDX-License-Identifier: Apache-2.0
//
// Columns of values as serialized tf.train.Example messages, without protobuf.
#ifndef PIPEMODE_CORE_WRITER_EXAMPLE_ENCODER_H_
#define PIPEMODE_CORE_WRITER_EXAMPLE_ENCODER_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace pipemode {

// `data` holds the strings one behind the other; string i is [offsets[i], offsets[i + 1]).
struct BytesValues {
  const char* data;
  const int64_t* offsets;
};

// The values of one feature in all rows. Row r has the values [row_splits[r], row_splits[r + 1]);
// where it has none the Example lacks the feature. All memory must outlive the encoder; the offsets
// are trusted.
struct FeatureColumn {
  std::string name;
  std::variant<const int64_t*, const float*, BytesValues> values;
  const int64_t* row_splits;
};

// Not safe for use by two threads at once.
class ExampleEncoder {
 public:
  explicit ExampleEncoder(std::vector<FeatureColumn> columns);

  // Appends the Example of `row` to `out`: its features in the order of the columns. After
  // bad_alloc `out` is as before.
  void Append(size_t row, std::string* out);

 private:
  struct Column {
    FeatureColumn source;
    std::string key;         // the field of the map's entry that holds the name
    uint64_t list_size = 0;  // of the row at hand: bytes of its values as they are serialized
  };

  std::vector<Column> columns_;
};

}  // namespace pipemode

#endif  // PIPEMODE_CORE_WRITER_EXAMPLE_ENCODER_H_
