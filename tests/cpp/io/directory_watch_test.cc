// SPDX-License-Identifier: Apache-2.0
#include "core/io/directory_watch.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string>

#include "testing/temp_dir.h"

namespace pipemode {
namespace {

using ::pipemode::testing::MakeFifo;
using ::pipemode::testing::TempDir;
using ::pipemode::testing::WriteFile;

// inotify is told before the call that made the change returns, so there is nothing to wait for.
bool IsReadable(const DirectoryWatch& watch) {
  pollfd polled{watch.fd(), POLLIN, 0};
  return ::poll(&polled, 1, 0) == 1;
}

TEST(DirectoryWatchTest, TellsOfWhatAppears) {
  const TempDir folder;
  DirectoryWatch watch(folder.path());
  ASSERT_GE(watch.fd(), 0);
  EXPECT_FALSE(IsReadable(watch));

  MakeFifo(folder / "fifo");
  EXPECT_TRUE(IsReadable(watch));
  watch.Drain();
  EXPECT_FALSE(IsReadable(watch));

  WriteFile(folder / "file", "");
  EXPECT_TRUE(IsReadable(watch));
  watch.Drain();

  ASSERT_EQ(::symlink("fifo", (folder / "link").c_str()), 0);
  EXPECT_TRUE(IsReadable(watch));
  watch.Drain();

  const TempDir elsewhere;
  MakeFifo(elsewhere / "moved");
  ASSERT_EQ(::rename((elsewhere / "moved").c_str(), (folder / "moved").c_str()), 0);
  EXPECT_TRUE(IsReadable(watch));
}

TEST(DirectoryWatchTest, IsQuietAboutEverythingElse) {
  const TempDir folder;
  WriteFile(folder / "file", "");
  DirectoryWatch watch(folder.path());
  WriteFile(folder / "file", "more");
  const UniqueFd fd(::open((folder / "file").c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_EQ(::unlink((folder / "file").c_str()), 0);
  EXPECT_FALSE(IsReadable(watch));
}

TEST(DirectoryWatchTest, DrainsAnyNumberOfEvents) {
  const TempDir folder;
  DirectoryWatch watch(folder.path());
  for (int i = 0; i < 500; ++i) WriteFile(folder / ("file" + std::to_string(i)), "");
  watch.Drain();
  EXPECT_FALSE(IsReadable(watch));
}

TEST(DirectoryWatchTest, WhatCannotBeWatchedIsNoError) {
  const TempDir folder;
  WriteFile(folder / "file", "");
  for (const std::string& path : {folder / "missing", folder / "file", std::string()}) {
    DirectoryWatch watch(path);
    EXPECT_EQ(watch.fd(), -1) << path;
    watch.Drain();
  }
}

TEST(DirectoryWatchTest, SurvivesTheEndOfItsFolder) {
  auto folder = std::make_unique<TempDir>();
  DirectoryWatch watch(folder->path());
  folder.reset();
  watch.Drain();
  EXPECT_FALSE(IsReadable(watch));
}

}  // namespace
}  // namespace pipemode
