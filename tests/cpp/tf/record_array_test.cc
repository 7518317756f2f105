// SPDX-License-Identifier: Apache-2.0
#include "tf/record_array.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "faults/process_usage.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/platform/tstring.h"
#include "testing/environment.h"
#include "testing/random.h"
#include "testing/record_formats.h"
#include "tf/tensor_records.h"

namespace pipemode {
namespace {

using ::pipemode::testing::Random;
using ::pipemode::testing::Records;
using ::pipemode::testing::RecordsOf;
using ::pipemode::testing::ScopedAllocationFault;
using tensorflow::Tensor;
using tensorflow::tstring;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Longer than what a tstring holds without an allocation, and than what ScalarTensor copies.
constexpr size_t kAllocated = 100;
constexpr size_t kLarge = 10'000;

Records RecordsOf(RecordArray& array) {
  Records records;
  for (size_t i = 0; i < array.size(); ++i) records.emplace_back(array.data()[i]);
  return records;
}

const tstring* StringsOf(const Tensor& tensor) { return tensor.flat<tstring>().data(); }

TEST(RecordArrayTest, IsEmptyAtFirst) {
  RecordArray array;
  EXPECT_EQ(array.size(), 0U);
  EXPECT_EQ(array.bytes(), 0U);
  EXPECT_EQ(array.AllocatedBytes(), 0U);
}

TEST(RecordArrayTest, KeepsRecordsOfEverySizeWhileItGrows) {
  RecordArray array;
  Records expected;
  size_t bytes = 0;
  Random random(1);
  for (int i = 0; i < 5'000; ++i) {
    const std::string record = random.Bytes(random.Below(2 * kAllocated));
    if (random.OneIn(2)) {
      array.Append(record);
    } else {
      tstring moved(record);
      array.AppendSwapped(moved);
    }
    expected.push_back(record);
    bytes += record.size();
  }
  EXPECT_TRUE(RecordsOf(array) == expected);
  EXPECT_EQ(array.bytes(), bytes);
  EXPECT_GE(array.AllocatedBytes(), array.size() * sizeof(tstring));
  // As a tensor's memory has to be.
  EXPECT_EQ(reinterpret_cast<uintptr_t>(array.data()) % 64, 0U);
}

TEST(RecordArrayTest, ARecordThatIsSwappedInIsNotCopied) {
  RecordArray array;
  tstring record(std::string(kAllocated, 'a'));
  const char* const bytes = record.data();
  array.AppendSwapped(record);
  EXPECT_EQ(array.data()[0].data(), bytes);
  EXPECT_TRUE(record.empty());
  array.Clear();
  // Then the memory of the one before it comes back.
  tstring next(std::string(kAllocated, 'b'));
  array.AppendSwapped(next);
  EXPECT_EQ(next.data(), bytes);
  EXPECT_THAT(RecordsOf(array), ElementsAre(std::string(kAllocated, 'b')));
}

TEST(RecordArrayTest, TheLastRecordIsTakenAway) {
  RecordArray array;
  array.Append("first");
  array.Append("second");
  tstring record;
  array.RemoveLast(record);
  EXPECT_EQ(record, "second");
  EXPECT_THAT(RecordsOf(array), ElementsAre("first"));
  EXPECT_EQ(array.bytes(), 5U);
  array.Append("third");
  EXPECT_THAT(RecordsOf(array), ElementsAre("first", "third"));
}

TEST(RecordArrayTest, IsFilledAnewInTheSameMemory) {
  RecordArray array;
  const auto fill = [&array](char letter, size_t size) {
    for (int i = 0; i < 200; ++i) array.Append(std::string(size, letter));
    std::vector<const void*> memory = {array.data()};
    for (size_t i = 0; i < array.size(); ++i) memory.push_back(array.data()[i].data());
    return memory;
  };
  const std::vector<const void*> before = fill('a', kAllocated);
  const size_t allocated = array.AllocatedBytes();
  EXPECT_GE(allocated, 200 * (kAllocated + sizeof(tstring)));
  array.Clear();
  EXPECT_EQ(array.size(), 0U);
  EXPECT_EQ(array.bytes(), 0U);
  EXPECT_EQ(array.AllocatedBytes(), allocated);
  EXPECT_EQ(fill('b', kAllocated - 1), before);
  EXPECT_EQ(RecordsOf(array), Records(200, std::string(kAllocated - 1, 'b')));
  EXPECT_EQ(array.AllocatedBytes(), allocated);
}

// The pool.

TEST(RecordArrayPoolTest, AnArrayThatComesBackServesItsColumnAgain) {
  RecordArrayPool pool(0, 2);
  ASSERT_EQ(pool.columns(), 2U);
  std::shared_ptr<RecordArray> array = pool.Get(0);
  RecordArray* const used = array.get();
  array->Append("a record");
  array.reset();
  EXPECT_NE(pool.Get(1).get(), used);
  array = pool.Get(0);
  EXPECT_EQ(array.get(), used);
  EXPECT_EQ(array->size(), 0U);
  EXPECT_EQ(array->bytes(), 0U);
  EXPECT_NE(pool.Get(0).get(), used);
}

// How many of `count` arrays with memory are used again after they came back.
size_t UsedAgain(RecordArrayPool& pool, size_t count) {
  std::vector<std::shared_ptr<RecordArray>> arrays;
  for (size_t i = 0; i < count; ++i) {
    arrays.push_back(pool.Get(0));
    arrays.back()->Append(std::string(kLarge, 'x'));
  }
  arrays.clear();
  size_t used_again = 0;
  for (size_t i = 0; i < count; ++i) {
    arrays.push_back(pool.Get(0));
    if (arrays.back()->AllocatedBytes() > kLarge) ++used_again;
  }
  return used_again;
}

TEST(RecordArrayPoolTest, KeepsAsManyAsTheBudgetAllows) {
  RecordArrayPool small(0, 1);
  EXPECT_EQ(UsedAgain(small, 5), 2U);  // one is read while another is filled
  const size_t of_one = [] {
    RecordArray array;
    array.Append(std::string(kLarge, 'x'));
    return array.AllocatedBytes();
  }();
  RecordArrayPool medium(4 * of_one, 1);
  EXPECT_EQ(UsedAgain(medium, 5), 4U);
  // What was handed out no longer counts.
  EXPECT_EQ(UsedAgain(medium, 5), 4U);
  RecordArrayPool large(SIZE_MAX, 1);
  EXPECT_EQ(UsedAgain(large, 50), 50U);
}

TEST(RecordArrayPoolTest, ArraysOutliveThePool) {
  std::optional<RecordArrayPool> pool(std::in_place, SIZE_MAX, 1);
  const std::shared_ptr<RecordArray> array = pool->Get(0);
  array->Append("still there");
  pool.reset();
  EXPECT_THAT(RecordsOf(*array), ElementsAre("still there"));
}

TEST(RecordArrayPoolTest, ArraysComeBackFromAnyThread) {
  constexpr int kThreads = 4;
  RecordArrayPool pool(SIZE_MAX, 2);
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&pool, i] {
      for (int round = 0; round < 500; ++round) {
        const std::shared_ptr<RecordArray> array = pool.Get(static_cast<size_t>(i % 2));
        EXPECT_EQ(array->size(), 0U);
        array->Append(std::to_string(round));
        EXPECT_THAT(RecordsOf(*array), ElementsAre(std::to_string(round)));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(RecordArrayPoolTest, AnArrayThatCannotBeKeptIsFreed) {
  if (testing::kSanitized) GTEST_SKIP() << "sanitizers have their own operator new";
  RecordArrayPool pool(SIZE_MAX, 1);
  std::shared_ptr<RecordArray> array = pool.Get(0);
  array->Append(std::string(kLarge, 'x'));
  {
    const ScopedAllocationFault fault(1);
    array.reset();
    EXPECT_TRUE(fault.struck());
  }
  EXPECT_EQ(pool.Get(0)->AllocatedBytes(), 0U);
}

// Tables.

class RecordTableTest : public ::testing::Test {
 protected:
  void AppendAll(const Records& records) {
    for (const std::string& record : records) table_.Append(record);
  }

  RecordArrayPool pool_{SIZE_MAX, 2};
  RecordTable table_{&pool_};
};

TEST_F(RecordTableTest, IsEmptyAtFirst) {
  EXPECT_EQ(table_.rows(), 0U);
  EXPECT_EQ(table_.rest(), 0U);
  EXPECT_EQ(table_.bytes(), 0U);
  EXPECT_THAT(table_.columns(), IsEmpty());
  EXPECT_EQ(RowsOf(table_.columns()), 0U);
  table_.DropRest();
  table_.Clear();
  EXPECT_EQ(table_.rows(), 0U);
}

TEST_F(RecordTableTest, RecordsGoIntoOneColumnAfterTheOther) {
  AppendAll({"image 0", "0", "image 1", "1"});
  EXPECT_EQ(table_.rows(), 2U);
  EXPECT_EQ(table_.rest(), 0U);
  EXPECT_EQ(table_.bytes(), 16U);
  const RecordColumns rows = table_.TakeRows();
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_THAT(RecordsOf(*rows[0]), ElementsAre("image 0", "image 1"));
  EXPECT_THAT(RecordsOf(*rows[1]), ElementsAre("0", "1"));
  EXPECT_EQ(RowsOf(rows), 2U);
  EXPECT_EQ(BytesOf(rows), 16U);
  EXPECT_EQ(table_.rows(), 0U);
  EXPECT_EQ(table_.bytes(), 0U);
}

TEST_F(RecordTableTest, ARowThatIsNotCompleteStaysWhenTheOthersAreTaken) {
  AppendAll({"image 0", "0", "image 1"});
  EXPECT_EQ(table_.rows(), 1U);
  EXPECT_EQ(table_.rest(), 1U);
  const RecordColumns rows = table_.TakeRows();
  EXPECT_THAT(RecordsOf(*rows[0]), ElementsAre("image 0"));
  EXPECT_THAT(RecordsOf(*rows[1]), ElementsAre("0"));
  EXPECT_EQ(table_.rows(), 0U);
  EXPECT_EQ(table_.rest(), 1U);
  EXPECT_EQ(table_.bytes(), 7U);
  table_.Append("1");
  const RecordColumns next = table_.TakeRows();
  EXPECT_THAT(RecordsOf(*next[0]), ElementsAre("image 1"));
  EXPECT_THAT(RecordsOf(*next[1]), ElementsAre("1"));
}

TEST_F(RecordTableTest, ARowThatIsNotCompleteCanBeDropped) {
  AppendAll({"image 0", "0", "image 1"});
  table_.DropRest();
  EXPECT_EQ(table_.rest(), 0U);
  EXPECT_EQ(table_.bytes(), 8U);
  AppendAll({"image 2", "2"});
  const RecordColumns rows = table_.TakeRows();
  EXPECT_THAT(RecordsOf(*rows[0]), ElementsAre("image 0", "image 2"));
  EXPECT_THAT(RecordsOf(*rows[1]), ElementsAre("0", "2"));
}

TEST_F(RecordTableTest, ClearedItBeginsAtTheFirstColumn) {
  AppendAll({"image 0", "0", "image 1"});
  table_.Clear();
  EXPECT_EQ(table_.rows(), 0U);
  EXPECT_EQ(table_.rest(), 0U);
  EXPECT_EQ(table_.bytes(), 0U);
  AppendAll({"image 2", "2"});
  EXPECT_THAT(RecordsOf(*table_.columns()[0]), ElementsAre("image 2"));
}

TEST_F(RecordTableTest, WhateverIsTakenAndDroppedRowsStayWhole) {
  Random random(2);
  for (size_t columns = 1; columns <= 4; ++columns) {
    RecordArrayPool pool(1'000, columns);
    RecordTable table(&pool);
    // Record n is in column n % `columns`, unless the rest of its row was dropped.
    size_t next = 0;
    std::vector<Records> expected(columns);
    std::vector<Records> taken(columns);
    for (int step = 0; step < 20'000; ++step) {
      const std::string record = std::to_string(next) + std::string(random.Below(60), '.');
      if (random.OneIn(2)) {
        table.Append(record);
      } else {
        tstring moved(record);
        table.AppendSwapped(moved);
      }
      expected[next % columns].push_back(record);
      ++next;
      if (random.OneIn(50)) {
        for (; next % columns > 0; --next) expected[(next - 1) % columns].pop_back();
        table.DropRest();
      }
      if (random.OneIn(100) && table.rows() > 0) {
        const RecordColumns rows = table.TakeRows();
        ASSERT_EQ(rows.size(), columns);
        for (size_t column = 0; column < columns; ++column) {
          ASSERT_EQ(rows[column]->size(), RowsOf(rows));
          for (const std::string& own : RecordsOf(*rows[column])) taken[column].push_back(own);
        }
      }
      ASSERT_EQ(table.rest(), next % columns);
      ASSERT_EQ(table.rows(), next / columns - taken.back().size());
    }
    const RecordColumns& left = table.columns();
    for (size_t column = 0; column < left.size(); ++column) {
      for (const std::string& own : RecordsOf(*left[column])) taken[column].push_back(own);
    }
    EXPECT_TRUE(taken == expected) << columns << " columns";
  }
}

// Tensors.

TEST(VectorTensorTest, HoldsTheRecordsThemselves) {
  for (const size_t count : {1U, 63U, 64U, 65U, 3'000U}) {
    const auto array = std::make_shared<RecordArray>();
    for (size_t i = 0; i < count; ++i) array->Append(std::string(i % kAllocated, 'x'));
    const Tensor tensor = VectorTensor(array);
    EXPECT_EQ(tensor.dtype(), tensorflow::DT_STRING);
    ASSERT_EQ(tensor.dims(), 1);
    EXPECT_EQ(tensor.dim_size(0), static_cast<int64_t>(count));
    EXPECT_TRUE(tensor.IsAligned());
    EXPECT_EQ(StringsOf(tensor), array->data());
    EXPECT_TRUE(RecordsOf(tensor) == RecordsOf(*array));
  }
}

TEST(VectorTensorTest, OfNoRecordsIsEmpty) {
  const Tensor tensor = VectorTensor(std::make_shared<RecordArray>());
  ASSERT_EQ(tensor.dims(), 1);
  EXPECT_EQ(tensor.NumElements(), 0);
}

TEST(VectorTensorTest, TheArrayComesBackWithTheLastTensorThatSharesIt) {
  RecordArrayPool pool(SIZE_MAX, 1);
  std::shared_ptr<RecordArray> array = pool.Get(0);
  const RecordArray* const used = array.get();
  array->Append("first");
  array->Append("second");
  std::optional<Tensor> tensor = VectorTensor(std::move(array));
  std::optional<Tensor> slice = tensor->Slice(1, 2);
  tensor.reset();
  EXPECT_THAT(RecordsOf(*slice), ElementsAre("second"));
  EXPECT_NE(pool.Get(0).get(), used);
  slice.reset();
  EXPECT_EQ(pool.Get(0).get(), used);
}

TEST(ScalarTensorTest, HoldsOneRecordOfAnySize) {
  for (const size_t size :
       {size_t{0}, size_t{1}, kAllocated, size_t{4'095}, size_t{4'096}, kLarge}) {
    const std::string expected(size, 'x');
    tstring record(expected);
    const Tensor tensor = ScalarTensor(record);
    EXPECT_EQ(tensor.dtype(), tensorflow::DT_STRING);
    EXPECT_EQ(tensor.dims(), 0);
    EXPECT_TRUE(tensor.IsAligned());
    EXPECT_TRUE(tensor.scalar<tstring>()() == expected) << size;
  }
}

TEST(ScalarTensorTest, ASmallRecordLeavesItsMemoryToTheNext) {
  tstring record(std::string(kAllocated, 'x'));
  const char* const bytes = record.data();
  const Tensor tensor = ScalarTensor(record);
  EXPECT_NE(tensor.scalar<tstring>()().data(), bytes);
  EXPECT_EQ(record.data(), bytes);
}

TEST(ScalarTensorTest, ALargeRecordIsNotCopied) {
  tstring record(std::string(kLarge, 'x'));
  const char* const bytes = record.data();
  const Tensor tensor = ScalarTensor(record);
  EXPECT_EQ(tensor.scalar<tstring>()().data(), bytes);
}

}  // namespace
}  // namespace pipemode
