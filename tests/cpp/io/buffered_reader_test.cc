// SPDX-License-Identifier: Apache-2.0
#include "core/io/buffered_reader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>

#include "core/base/error.h"
#include "testing/fake_source.h"
#include "testing/random.h"

namespace pipemode {
namespace {

using ::pipemode::testing::FakeScript;
using ::pipemode::testing::FakeSource;
using ::pipemode::testing::MakeSource;
using ::pipemode::testing::Random;
using ::pipemode::testing::RandomBytes;

TEST(BufferedReaderTest, AnEmptySourceGivesNothing) {
  BufferedReader reader(MakeSource(""), 8);
  EXPECT_TRUE(reader.Fill(0));
  EXPECT_FALSE(reader.Fill(1));
  EXPECT_FALSE(reader.Fill(8));
  EXPECT_EQ(reader.buffered(), "");
  char byte;
  EXPECT_EQ(reader.ReadInto(&byte, 1), 0U);
  EXPECT_EQ(reader.position(), 0U);
}

TEST(BufferedReaderTest, NothingIsReadBeforeItIsNeeded) {
  auto source = MakeSource("abc");
  const FakeSource& fake = *source;
  BufferedReader reader(std::move(source), 8);
  EXPECT_TRUE(reader.Fill(0));
  EXPECT_EQ(fake.reads(), 0U);
}

TEST(BufferedReaderTest, FillsAsFarAsItCanInOneRead) {
  auto source = MakeSource("0123456789");
  const FakeSource& fake = *source;
  BufferedReader reader(std::move(source), 8);
  EXPECT_TRUE(reader.Fill(1));
  EXPECT_EQ(reader.buffered(), "01234567");
  EXPECT_TRUE(reader.Fill(8));
  EXPECT_EQ(fake.reads(), 1U);
}

TEST(BufferedReaderTest, TheRestMovesToTheFront) {
  BufferedReader reader(MakeSource("0123456789abcdef"), 8);
  ASSERT_TRUE(reader.Fill(8));
  reader.Consume(5);
  EXPECT_EQ(reader.buffered(), "567");
  ASSERT_TRUE(reader.Fill(8));
  EXPECT_EQ(reader.buffered(), "56789abc");
  EXPECT_EQ(reader.position(), 5U);
}

TEST(BufferedReaderTest, FillAtTheEndLeavesWhatThereIs) {
  BufferedReader reader(MakeSource("01234", 2), 8);
  EXPECT_FALSE(reader.Fill(6));
  EXPECT_EQ(reader.buffered(), "01234");
  EXPECT_TRUE(reader.Fill(5));
  EXPECT_FALSE(reader.Fill(6));
}

TEST(BufferedReaderTest, ReadIntoTakesTheBufferFirst) {
  auto source = MakeSource("0123456789abcdef", 6);
  const FakeSource& fake = *source;
  BufferedReader reader(std::move(source), 8);
  ASSERT_TRUE(reader.Fill(4));
  reader.Consume(2);
  char dst[16];
  EXPECT_EQ(reader.ReadInto(dst, 3), 3U);
  EXPECT_EQ(std::string(dst, 3), "234");
  EXPECT_EQ(fake.position(), 6U);
  EXPECT_EQ(reader.ReadInto(dst, 7), 7U);
  EXPECT_EQ(std::string(dst, 7), "56789ab");
  EXPECT_EQ(reader.position(), 12U);
  // Past the buffer: nothing was read that was not asked for.
  EXPECT_EQ(fake.position(), 12U);
  EXPECT_EQ(reader.buffered(), "");
  EXPECT_EQ(reader.ReadInto(dst, 16), 4U);
  EXPECT_EQ(std::string(dst, 4), "cdef");
  EXPECT_EQ(reader.position(), 16U);
}

TEST(BufferedReaderTest, LargeReadsGoStraightToTheirDestination) {
  const std::string bytes = RandomBytes(100'000, 1);
  auto source = MakeSource(bytes);
  const FakeSource& fake = *source;
  BufferedReader reader(std::move(source), 1000);
  ASSERT_TRUE(reader.Fill(10));
  std::string dst(bytes.size(), '\0');
  EXPECT_EQ(reader.ReadInto(dst.data(), dst.size()), dst.size());
  EXPECT_TRUE(dst == bytes);
  EXPECT_EQ(fake.reads(), 2U);
}

TEST(BufferedReaderTest, WhatComesBehindALargeReadIsBuffered) {
  FakeScript script;
  script.scatters = true;
  script.chunks = {6};
  auto source = MakeSource("0123456789abcdef", script);
  const FakeSource& fake = *source;
  BufferedReader reader(std::move(source), 8);
  ASSERT_TRUE(reader.Fill(2));
  reader.Consume(4);
  char dst[10];
  EXPECT_EQ(reader.ReadInto(dst, 6), 6U);
  EXPECT_EQ(std::string(dst, 6), "456789");
  EXPECT_EQ(reader.buffered(), "ab");
  EXPECT_EQ(reader.position(), 10U);
  EXPECT_EQ(fake.reads(), 2U);
  EXPECT_EQ(reader.ReadInto(dst, 10), 6U);
  EXPECT_EQ(std::string(dst, 6), "abcdef");
  EXPECT_EQ(reader.buffered(), "");
}

TEST(BufferedReaderTest, AnyMixOfCallsGivesTheBytesInOrder) {
  const std::string bytes = RandomBytes(1'500, 2);
  Random random(3);
  for (int round = 0; round < 200; ++round) {
    const size_t capacity = 1 + random.Below(50);
    FakeScript script;
    script.chunks = {1 + random.Below(60), 1 + random.Below(60), 1 + random.Below(7)};
    script.cancel_each = round % 3 == 0;
    script.scatters = random.OneIn(2);
    BufferedReader reader(MakeSource(bytes, script), capacity);
    std::string got;
    bool ended = false;
    while (!ended) {
      const size_t size = 1 + random.Below(capacity);
      try {
        if (random.OneIn(2) || script.cancel_each) {
          ended = !reader.Fill(size);
          const size_t count = std::min(size, reader.buffered().size());
          got.append(reader.buffered().substr(0, count));
          reader.Consume(count);
          ended = ended && reader.buffered().empty();
        } else {
          char dst[60];
          const size_t count = reader.ReadInto(dst, size);
          got.append(dst, count);
          ended = count < size;
        }
      } catch (const CancelledError&) {
      }
      ASSERT_EQ(reader.position(), got.size());
    }
    ASSERT_TRUE(got == bytes) << "round " << round;
  }
}

TEST(BufferedReaderTest, ErrorsLeaveWhatIsBuffered) {
  FakeScript script;
  script.fail_at = 3;
  BufferedReader reader(MakeSource("0123456789", script), 8);
  EXPECT_THROW(reader.Fill(5), CancelledError);
  EXPECT_EQ(reader.buffered(), "012");
  EXPECT_EQ(reader.position(), 0U);
  EXPECT_TRUE(reader.Fill(5));
  EXPECT_EQ(reader.buffered(), "01234567");
}

}  // namespace
}  // namespace pipemode
