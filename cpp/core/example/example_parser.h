// SPDX-License-Identifier: Apache-2.0
//
// The values of some features of serialized tf.train.Example messages, without protobuf.
#ifndef PIPEMODE_CORE_EXAMPLE_EXAMPLE_PARSER_H_
#define PIPEMODE_CORE_EXAMPLE_EXAMPLE_PARSER_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/example/value_list.h"

namespace pipemode {

enum class FeatureType { kBytes, kFloat, kInt64 };

// A feature with the same number of values in every Example; or, if it is a list, with any number
// of elements of so many values each.
struct FeatureSpec {
  std::string name;
  FeatureType type;
  size_t size;  // number of values
  bool is_list = false;
  // Of a list that occurs several times: whether the last counts even if it has no values at all,
  // as in TensorFlow those of sparse and ragged features in batches do.
  bool may_end_empty = false;
};

// The values of a list in all rows, one row after the other; of its three kinds the one of its
// type.
struct FeatureList {
  ValueList<float> floats;
  ValueList<int64_t> int64s;
  std::vector<std::string_view> bytes;  // within the Examples, or in the parser
  std::vector<size_t> ends;             // where the values of each row end

  // Forgets the values behind those of the rows that have ended.
  void DropRow();
};

// Where the values of a batch go that are not lists. Those of feature f in row r begin at r * size
// of its array. What it throws, ExampleParser::Parse throws.
class ExampleSink {
 public:
  virtual ~ExampleSink() = default;
  // The array of a feature of that type; asked for once, when the parser is made.
  virtual float* Floats(size_t feature) = 0;
  virtual int64_t* Int64s(size_t feature) = 0;
  virtual void PutBytes(size_t feature, size_t at, std::string_view value) = 0;
  // For a feature that `row` does not have. Returns false if it must have it.
  virtual bool PutDefault(size_t feature, size_t row) = 0;
};

// What is asked for. Does not change, and may be shared by threads.
class ExampleFeatures {
 public:
  // Throws InvalidArgumentError if two have one name or one has no values.
  explicit ExampleFeatures(std::vector<FeatureSpec> specs);
  ExampleFeatures(const ExampleFeatures&) = delete;
  ExampleFeatures& operator=(const ExampleFeatures&) = delete;

  static constexpr size_t kNone = SIZE_MAX;

  const std::vector<FeatureSpec>& specs() const noexcept { return specs_; }
  // The number of the feature called `name`; kNone if that is not asked for.
  size_t Find(std::string_view name) const;

 private:
  const std::vector<FeatureSpec> specs_;
  std::unordered_map<std::string_view, size_t> numbers_;  // the names are those in `specs_`
};

// Parses the Examples of one batch. Not safe for use by two threads at once.
//
// Examples of one source mostly have the same features in the same order, so each feature is first
// taken for the one that stood in its place in the Example before: that costs a comparison in place
// of a search.
//
// What is not asked for is passed over unseen, known or not. A feature that occurs several times,
// as in Examples that were concatenated, has the values of the last time; one without values counts
// as missing, but see FeatureSpec. A list that is missing is empty.
class ExampleParser {
 public:
  // Both must outlive the parser. One that is strict refuses what no known library writes and
  // TensorFlow reads in another way, or not at all; and some of what it reads.
  ExampleParser(const ExampleFeatures* features, ExampleSink* sink, bool is_strict = false);

  // Writes the values of `example` as the next row, the first of which is row 0. Throws
  // InvalidArgumentError that names the feature if one is missing, of another type, or has another
  // number of values; or if `example` is not a serialized Example. Then the next call writes that
  // row; part of it may be in the arrays of the sink.
  void Parse(std::string_view example);

  // The list of that number, for as long as the parser and the Examples live.
  const FeatureList& list(size_t feature) const { return lists_[feature]; }

 private:
  // What stood at one place of the Example before.
  struct Place {
    std::string name;
    size_t feature = ExampleFeatures::kNone;
    bool is_known = false;
  };

  void ParseRow(std::string_view example);
  void ForgetRow();
  void ParseFeatures(std::string_view features);
  void ParseEntry(std::string_view entry);
  size_t Recognize(std::string_view name);
  void ParseFeature(size_t feature, std::string_view bytes);
  size_t ParseValues(size_t feature, std::string_view bytes, size_t count);
  size_t ParseList(size_t feature, std::string_view bytes);
  void PutDefaults();

  const ExampleFeatures& features_;
  ExampleSink& sink_;
  const bool is_strict_;
  // Where the lists of numbers go; null for bytes.
  std::vector<float*> floats_;
  std::vector<int64_t*> int64s_;
  std::vector<FeatureList> lists_;    // by feature
  std::vector<size_t> list_numbers_;  // which features are lists
  std::deque<std::string> merged_;    // what came in pieces, and lists may point to
  std::vector<Place> places_;
  size_t place_ = 0;  // how many features of this Example came so far
  size_t row_ = 0;
  std::vector<size_t> seen_in_;  // by feature: one more than the last row that has it
  size_t found_ = 0;             // how many features this Example has, of those with a fixed size
};

}  // namespace pipemode

#endif  // PIPEMODE_CORE_EXAMPLE_EXAMPLE_PARSER_H_
