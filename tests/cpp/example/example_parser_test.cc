// SPDX-License-Identifier: Apache-2.0
#include "core/example/example_parser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/base/byte_order.h"
#include "core/base/error.h"

namespace pipemode {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::ThrowsMessage;

// Serialized messages, by hand: also such as no library writes.

std::string Varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes.push_back(static_cast<char>(value | 0x80));
  bytes.push_back(static_cast<char>(value));
  return bytes;
}

std::string Field(uint64_t number, std::string_view bytes) {
  return Varint(number << 3 | 2) + Varint(bytes.size()) + std::string(bytes);
}

std::string Fixed(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  std::string bytes(4, '\0');
  StoreLittleEndian32(bits, bytes.data());
  return bytes;
}

std::string Floats(const std::vector<float>& values) {
  std::string packed;
  for (const float value : values) packed += Fixed(value);
  return Field(2, Field(1, packed));
}

std::string Int64s(const std::vector<int64_t>& values) {
  std::string packed;
  for (const int64_t value : values) packed += Varint(static_cast<uint64_t>(value));
  return Field(3, Field(1, packed));
}

std::string Bytes(const std::vector<std::string>& values) {
  std::string list;
  for (const std::string& value : values) list += Field(1, value);
  return Field(1, list);
}

std::string Entry(std::string_view name, std::string_view feature) {
  return Field(1, Field(1, name) + Field(2, feature));
}

std::string Example(const std::vector<std::string>& entries) {
  std::string features;
  for (const std::string& entry : entries) features += entry;
  return Field(1, features);
}

// Keeps what is parsed.
class Values final : public ExampleSink {
 public:
  // Features with the numbers `optional` have a default.
  Values(const std::vector<FeatureSpec>& specs, size_t rows, std::set<size_t> optional)
      : optional_(std::move(optional)) {
    for (const FeatureSpec& spec : specs) {
      const size_t count = spec.size * rows;
      floats.emplace_back(spec.type == FeatureType::kFloat ? count : 0);
      int64s.emplace_back(spec.type == FeatureType::kInt64 ? count : 0);
      bytes.emplace_back(spec.type == FeatureType::kBytes ? count : 0);
    }
  }

  float* Floats(size_t feature) override { return floats[feature].data(); }
  int64_t* Int64s(size_t feature) override { return int64s[feature].data(); }
  void PutBytes(size_t feature, size_t at, std::string_view value) override {
    bytes[feature].at(at) = value;
  }
  bool PutDefault(size_t feature, size_t row) override {
    if (optional_.count(feature) == 0) return false;
    defaults.emplace_back(feature, row);
    return true;
  }

  std::vector<std::vector<float>> floats;
  std::vector<std::vector<int64_t>> int64s;
  std::vector<std::vector<std::string>> bytes;
  std::vector<std::pair<size_t, size_t>> defaults;

 private:
  const std::set<size_t> optional_;
};

constexpr auto kBytes = FeatureType::kBytes;
constexpr auto kFloat = FeatureType::kFloat;
constexpr auto kInt64 = FeatureType::kInt64;

Values Parse(const std::vector<FeatureSpec>& specs, const std::vector<std::string>& examples,
             const std::set<size_t>& optional = {}, bool is_strict = false) {
  const ExampleFeatures features(specs);
  Values values(specs, examples.size(), optional);
  ExampleParser parser(&features, &values, is_strict);
  // From memory that ends where the Example does, for AddressSanitizer.
  for (size_t row = 0; row < examples.size(); ++row) {
    const std::vector<char> exact(examples[row].begin(), examples[row].end());
    parser.Parse({exact.data(), exact.size()});
  }
  return values;
}

TEST(ExampleParserTest, ReadsEachTypeIntoItsRows) {
  const Values values =
      Parse({{"f", kFloat, 2}, {"i", kInt64, 1}, {"b", kBytes, 2}},
            {Example({Entry("b", Bytes({"one", ""})), Entry("f", Floats({0.5F, -1})),
                      Entry("i", Int64s({-1}))}),
             Example({Entry("i", Int64s({INT64_MAX})), Entry("b", Bytes({"3", "four"})),
                      Entry("f", Floats({2, 3}))})});
  EXPECT_THAT(values.floats[0], ElementsAre(0.5F, -1, 2, 3));
  EXPECT_THAT(values.int64s[1], ElementsAre(-1, INT64_MAX));
  EXPECT_THAT(values.bytes[2], ElementsAre("one", "", "3", "four"));
  EXPECT_THAT(values.defaults, IsEmpty());
}

TEST(ExampleParserTest, OrderAndStrangersMayChangeFromRowToRow) {
  const std::string a = Entry("a", Int64s({1}));
  const std::string b = Entry("b", Int64s({2}));
  const std::string stranger = Entry("stranger", Bytes({"?"}));
  const std::string longer = Entry("ab", Floats({1}));
  const Values values =
      Parse({{"a", kInt64, 1}, {"b", kInt64, 1}},
            {Example({a, b}), Example({b, a}), Example({stranger, a, longer, b}),
             Example({a, stranger, b}), Example({longer, longer, b, a, stranger})});
  EXPECT_THAT(values.int64s[0], ElementsAre(1, 1, 1, 1, 1));
  EXPECT_THAT(values.int64s[1], ElementsAre(2, 2, 2, 2, 2));
}

TEST(ExampleParserTest, WhatIsMissingHasItsDefault) {
  const std::string without_list = Entry("b", "");
  const Values values = Parse({{"a", kInt64, 1}, {"b", kInt64, 1}},
                              {Example({Entry("a", Int64s({1}))}),
                               Example({Entry("a", Int64s({1})), Entry("b", Int64s({2}))}),
                               Example({Entry("a", Int64s({1})), without_list})},
                              {1});
  EXPECT_THAT(values.defaults, ElementsAre(std::pair(1, 0), std::pair(1, 2)));
  EXPECT_EQ(values.int64s[1][1], 2);
}

TEST(ExampleParserTest, WhatIsMissingAndRequiredIsAnError) {
  for (const std::string& example : {std::string(), Example({}), Example({Entry("b", "")}),
                                     Example({Entry("a", Int64s({1}))})}) {
    EXPECT_THAT(([&] { Parse({{"b", kInt64, 1}}, {example}); }),
                ThrowsMessage<InvalidArgumentError>(
                    HasSubstr("feature 'b' is missing and has no default value")));
  }
}

TEST(ExampleParserTest, AFeatureOfTheRowBeforeDoesNotCount) {
  EXPECT_THROW(Parse({{"a", kInt64, 1}}, {Example({Entry("a", Int64s({1}))}), Example({})}),
               InvalidArgumentError);
}

TEST(ExampleParserTest, OtherTypesAndNumbersOfValuesAreErrors) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {Floats({1}), "feature 'a' holds float values, not int64"},
      {Bytes({"1"}), "feature 'a' holds bytes values, not int64"},
      {Int64s({}), "feature 'a' holds 0 values, not 2"},
      {Field(3, ""), "feature 'a' holds 0 values, not 2"},
      {Int64s({1}), "feature 'a' holds 1 values, not 2"},
      {Int64s({1, 2, 3}), "feature 'a' holds 3 values, not 2"},
  };
  for (const auto& [feature, message] : cases) {
    EXPECT_THAT(
        ([&, entry = Entry("a", feature)] { Parse({{"a", kInt64, 2}}, {Example({entry})}, {0}); }),
        ThrowsMessage<InvalidArgumentError>(HasSubstr(message)));
  }
  EXPECT_THROW(Parse({{"a", kFloat, 1}}, {Example({Entry("a", Floats({1, 2}))})}),
               InvalidArgumentError);
  EXPECT_THROW(Parse({{"a", kBytes, 1}}, {Example({Entry("a", Bytes({"1", "2"}))})}),
               InvalidArgumentError);
}

TEST(ExampleParserTest, TheLastOfSeveralCounts) {
  const std::string twice = Example({Entry("a", Int64s({1}))}) + Example({Entry("a", Int64s({2}))});
  const std::string then_empty = Example({Entry("a", Int64s({3})), Entry("a", "")});
  const Values values = Parse({{"a", kInt64, 1}}, {twice, then_empty});
  EXPECT_THAT(values.int64s[0], ElementsAre(2, 3));
}

// All that protobuf allows and no known library writes.
TEST(ExampleParserTest, ReadsOtherEncodings) {
  const std::string unpacked_ints = Field(3, "\x08" + Varint(1) + "\x08" + Varint(2));
  const std::string unpacked_floats = Field(2, "\x0d" + Fixed(1) + "\x0d" + Fixed(2));
  const std::string in_pieces = Int64s({1}) + Int64s({2});
  const std::string two_packs = Field(3, Field(1, Varint(1)) + Field(1, Varint(2)));
  const std::string unknown = Varint(9 << 3) + Varint(300) + Field(10, "?") + Varint(11 << 3 | 5) +
                              "1234" + Varint(12 << 3 | 1) + "12345678";
  const std::string value_first = Field(1, Field(2, Int64s({1, 2})) + Field(1, std::string("i")));
  const std::string value_in_pieces =
      Field(1, Field(2, Int64s({1})) + Field(1, std::string("i")) + Field(2, Int64s({2})));
  const std::string long_tag = std::string("\x8a\x00", 2) + Entry("i", Int64s({1, 2})).substr(1);
  for (const std::string& entry :
       {Entry("i", unpacked_ints), Entry("i", in_pieces), Entry("i", two_packs),
        Entry("i", unknown + Int64s({1, 2}) + unknown), value_first, value_in_pieces, long_tag}) {
    EXPECT_THAT(
        Parse({{"i", kInt64, 2}}, {unknown + Example({unknown, entry}) + unknown}).int64s[0],
        ElementsAre(1, 2));
  }
  EXPECT_THAT(Parse({{"f", kFloat, 2}}, {Example({Entry("f", unpacked_floats)})}).floats[0],
              ElementsAre(1, 2));
}

// TensorFlow reads some of them in another way.
TEST(ExampleParserTest, AStrictOneReadsWhatLibrariesWrite) {
  const auto parse = [](const std::string& entry) {
    return Parse({{"i", kInt64, 2}}, {Example({Entry("other", ""), entry})}, {}, true).int64s[0];
  };
  EXPECT_THAT(parse(Entry("i", Int64s({1, 2}))), ElementsAre(1, 2));
  EXPECT_THAT(parse(Entry("i", Field(3, "\x08" + Varint(1) + "\x08" + Varint(2)))),
              ElementsAre(1, 2));
  const std::string unknown = Field(10, "?");
  for (const std::string& entry :
       {Entry("i", Int64s({1}) + Int64s({2})),
        Entry("i", Field(3, Field(1, Varint(1)) + Field(1, Varint(2)))),
        Entry("i", Field(3, "\x08" + Varint(1) + Field(1, Varint(2)))),
        Entry("i", unknown + Int64s({1, 2})), Entry("i", Int64s({1, 2})) + unknown,
        Field(1, Field(2, Int64s({1, 2})) + Field(1, "i")),
        Field(1, Field(1, "i") + Field(2, Int64s({1})) + Field(2, Int64s({2}))),
        std::string("\x8a\x00", 2) + Entry("i", Int64s({1, 2})).substr(1)}) {
    EXPECT_THAT([&] { parse(entry); },
                ThrowsMessage<InvalidArgumentError>(HasSubstr("as libraries do")));
  }
}

TEST(ExampleParserTest, ANameMayBeEmptyOrLong) {
  const std::string name(1000, 'n');
  const Values values =
      Parse({{"", kInt64, 1}, {name, kInt64, 1}},
            {Example({Field(1, Field(2, Int64s({1}))), Entry(name, Int64s({2}))})});
  EXPECT_THAT(values.int64s[0], ElementsAre(1));
  EXPECT_THAT(values.int64s[1], ElementsAre(2));
}

// The only feature of the specs, a list, row by row.
template <typename Value>
std::vector<std::vector<Value>> Rows(FeatureSpec spec, const std::vector<std::string>& examples) {
  spec.is_list = true;
  const ExampleFeatures features({{"other", kInt64, 1}, spec});
  Values values(features.specs(), examples.size(), {0});
  ExampleParser parser(&features, &values);
  for (const std::string& example : examples) parser.Parse(example);
  const FeatureList& list = parser.list(1);
  EXPECT_EQ(list.ends.size(), examples.size());
  std::vector<std::vector<Value>> rows;
  size_t at = 0;
  for (const size_t end : list.ends) {
    std::vector<Value>& row = rows.emplace_back();
    for (; at < end; ++at) {
      if constexpr (std::is_same_v<Value, float>) {
        row.push_back(list.floats.data()[at]);
      } else if constexpr (std::is_same_v<Value, int64_t>) {
        row.push_back(list.int64s.data()[at]);
      } else {
        row.push_back(Value(list.bytes[at]));
      }
    }
  }
  EXPECT_EQ(list.floats.size() + list.int64s.size() + list.bytes.size(), at);
  return rows;
}

TEST(ExampleParserTest, AListHasAnyNumberOfValues) {
  EXPECT_THAT(
      Rows<float>({"f", kFloat, 1}, {Example({Entry("f", Floats({1, 2, 3}))}), Example({}),
                                     Example({Entry("f", Floats({4}))}),
                                     Example({Entry("f", Floats({}))}), Example({Entry("f", "")})}),
      ElementsAre(ElementsAre(1, 2, 3), IsEmpty(), ElementsAre(4), IsEmpty(), IsEmpty()));
  EXPECT_THAT(Rows<int64_t>({"i", kInt64, 1}, {Example({}), Example({Entry("i", Int64s({1}))}),
                                               Example({Entry("i", Int64s({INT64_MIN, 2, 3}))})}),
              ElementsAre(IsEmpty(), ElementsAre(1), ElementsAre(INT64_MIN, 2, 3)));
  EXPECT_THAT(
      Rows<std::string>({"b", kBytes, 1}, {Example({Entry("b", Bytes({"one", "", "three"}))}),
                                           Example({Entry("b", Bytes({"four"}))})}),
      ElementsAre(ElementsAre("one", "", "three"), ElementsAre("four")));
}

TEST(ExampleParserTest, AListGrowsFromRowToRow) {
  std::vector<std::string> examples;
  std::vector<std::vector<int64_t>> expected;
  for (int64_t row = 0; row < 200; ++row) {
    std::vector<int64_t>& values = expected.emplace_back();
    for (int64_t i = 0; i < row; ++i) values.push_back(row << (i % 50));
    examples.push_back(Example({Entry("i", Int64s(values))}));
  }
  EXPECT_EQ(Rows<int64_t>({"i", kInt64, 1}, examples), expected);
}

TEST(ExampleParserTest, TheLastOfSeveralListsCounts) {
  const std::string one = Example({Entry("b", Bytes({"before"}))});
  const std::string twice = Example({Entry("b", Bytes({"1", "2"})), Entry("b", Bytes({"3"}))});
  const std::string then_none = Example({Entry("b", Bytes({"4"})), Entry("b", "")});
  const std::string then_empty = Example({Entry("b", Bytes({"5"})), Entry("b", Bytes({}))});
  EXPECT_THAT(Rows<std::string>({"b", kBytes, 1}, {one, twice, then_none, then_empty, one}),
              ElementsAre(ElementsAre("before"), ElementsAre("3"), ElementsAre("4"), IsEmpty(),
                          ElementsAre("before")));
}

TEST(ExampleParserTest, TheLastMayBeEmptyIfSo) {
  const std::string then_none = Example({Entry("b", Bytes({"4"})), Entry("b", "")});
  const std::string none_first = Example({Entry("b", ""), Entry("b", Bytes({"5"}))});
  EXPECT_THAT(Rows<std::string>({"b", kBytes, 1, true, true}, {none_first, then_none, none_first}),
              ElementsAre(ElementsAre("5"), IsEmpty(), ElementsAre("5")));
}

TEST(ExampleParserTest, AListMayComeInOtherEncodings) {
  const std::string unpacked = Field(3, "\x08" + Varint(1) + "\x08" + Varint(2));
  const std::string two_packs = Field(3, Field(1, Varint(1)) + Field(1, Varint(2)));
  const std::string in_pieces =
      Field(1, Field(2, Int64s({1})) + Field(1, std::string("i")) + Field(2, Int64s({2})));
  for (const std::string& entry : {Entry("i", unpacked), Entry("i", two_packs), in_pieces,
                                   Entry("i", Int64s({1}) + Int64s({2}))}) {
    EXPECT_THAT(Rows<int64_t>({"i", kInt64, 1}, {Example({entry}), Example({entry})}),
                ElementsAre(ElementsAre(1, 2), ElementsAre(1, 2)));
  }
  EXPECT_THAT(Rows<float>({"f", kFloat, 1}, {Example({Entry("f", Field(2, "\x0d" + Fixed(1)))})}),
              ElementsAre(ElementsAre(1)));
  // Strings of an entry that has to be put together are still there after the next one.
  const auto pieces = [](const std::string& first, const std::string& second) {
    return Example({Field(
        1, Field(2, Bytes({first})) + Field(1, std::string("b")) + Field(2, Bytes({second})))});
  };
  EXPECT_THAT(Rows<std::string>({"b", kBytes, 1}, {pieces("1", "2"), pieces("3", "4")}),
              ElementsAre(ElementsAre("1", "2"), ElementsAre("3", "4")));
}

TEST(ExampleParserTest, AListOfElementsHasAllValuesOfTheLast) {
  EXPECT_THAT(Rows<int64_t>({"i", kInt64, 2}, {Example({Entry("i", Int64s({1, 2, 3, 4}))})}),
              ElementsAre(ElementsAre(1, 2, 3, 4)));
  EXPECT_THAT(([] { Rows<int64_t>({"i", kInt64, 2}, {Example({Entry("i", Int64s({1, 2, 3}))})}); }),
              ThrowsMessage<InvalidArgumentError>(
                  HasSubstr("feature 'i' holds 3 values, not a multiple of 2")));
}

TEST(ExampleParserTest, AListOfAnotherTypeIsAnError) {
  EXPECT_THAT(
      ([] { Rows<int64_t>({"i", kInt64, 1}, {Example({Entry("i", Floats({1}))})}); }),
      ThrowsMessage<InvalidArgumentError>(HasSubstr("feature 'i' holds float values, not int64")));
}

TEST(ExampleParserTest, ARefusedExampleLeavesNothingBehind) {
  const ExampleFeatures features({{"i", kInt64, 1}, {"list", kInt64, 1, true}});
  Values values(features.specs(), 2, {});
  ExampleParser parser(&features, &values);
  parser.Parse(Example({Entry("i", Int64s({1})), Entry("list", Int64s({1, 2}))}));
  EXPECT_THROW(parser.Parse(Example({Entry("list", Int64s({3})), Entry("i", Int64s({2})), "?"})),
               InvalidArgumentError);
  EXPECT_THROW(parser.Parse(Example({Entry("list", Int64s({4}))})), InvalidArgumentError);
  parser.Parse(Example({Entry("list", Int64s({5})), Entry("i", Int64s({6}))}));
  EXPECT_THAT(values.int64s[0], ElementsAre(1, 6));
  EXPECT_THAT(parser.list(1).ends, ElementsAre(2, 3));
  EXPECT_EQ(parser.list(1).int64s.data()[2], 5);
}

// Whatever is cut off or changed: an error or values, and no byte beyond the end is looked at.
TEST(ExampleParserTest, EachCutAndEachChangedByteIsReadOrRefused) {
  const std::string example =
      Example({Entry("f", Floats({1, 2})), Entry("stranger", Bytes({"?"})),
               Entry("b", Bytes({"x", "y"})), Entry("i", Int64s({INT64_MIN, 300}))});
  const std::vector<FeatureSpec> specs = {{"f", kFloat, 2}, {"b", kBytes, 2}, {"i", kInt64, 2}};
  size_t refused = 0;
  const auto parse = [&](const std::string& bytes) {
    try {
      Parse(specs, {bytes}, {0, 1, 2});
    } catch (const InvalidArgumentError&) {
      ++refused;
    }
  };
  for (size_t size = 1; size < example.size(); ++size) {
    EXPECT_THROW(Parse(specs, {example.substr(0, size)}, {0, 1, 2}), InvalidArgumentError) << size;
  }
  for (size_t at = 0; at < example.size(); ++at) {
    for (int byte = 0; byte < 256; ++byte) {
      std::string changed = example;
      changed[at] = static_cast<char>(byte);
      parse(changed);
    }
  }
  EXPECT_GT(refused, 1000U);
}

TEST(ExampleParserTest, RefusesWhatIsNoExample) {
  for (const std::string& bytes :
       {std::string("\x0a"),
        std::string("\x0a\x05"
                    "abc"),
        std::string(11, '\x80'), std::string("\x00\x00", 2), Field(1, "\x0b"),
        Varint(1ULL << 40 | 2) + Varint(0), Example({Entry("f", Field(2, Field(1, "123")))})}) {
    EXPECT_THAT(
        ([&] { Parse({{"f", kFloat, 1}}, {bytes}, {0}); }),
        ThrowsMessage<InvalidArgumentError>(HasSubstr("not a serialized tf.train.Example")));
  }
}

TEST(ExampleParserTest, ManyStrangersAreNoTrouble) {
  std::vector<std::string> entries;
  for (int i = 0; i < 10'000; ++i) entries.push_back(Entry(std::to_string(i), Int64s({i})));
  const std::string example = Example(entries);
  const Values values = Parse({{"9999", kInt64, 1}, {"17", kInt64, 1}}, {example, example});
  EXPECT_THAT(values.int64s[0], ElementsAre(9999, 9999));
  EXPECT_THAT(values.int64s[1], ElementsAre(17, 17));
}

TEST(ExampleFeaturesTest, RefusesWhatMakesNoSense) {
  EXPECT_THROW(ExampleFeatures({{"a", kInt64, 1}, {"a", kFloat, 1}}), InvalidArgumentError);
  EXPECT_THROW(ExampleFeatures({{"a", kInt64, 0}}), InvalidArgumentError);
}

}  // namespace
}  // namespace pipemode
