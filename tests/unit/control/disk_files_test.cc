// SPDX-License-Identifier: Apache-2.0
// The real file system under rollout/store.h, and the drain meter.
#include "control/disk_files.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "drain_meter.h"

namespace teal::control {
namespace {

class DiskFilesTest : public testing::Test {
 protected:
  DiskFilesTest() {
    char name[] = "/tmp/teal-files-XXXXXX";
    directory = mkdtemp(name);
  }
  ~DiskFilesTest() override { std::filesystem::remove_all(directory); }
  std::string directory;
  DiskFiles files;
};

TEST_F(DiskFilesTest, WhatIsWrittenIsRead) {
  const std::string path = directory + "/a";
  std::optional<std::string> text;
  EXPECT_EQ(files.read(path, text), "");
  EXPECT_FALSE(text) << "no such file is no error";
  EXPECT_EQ(files.write(path, "longer text"), "");
  EXPECT_EQ(files.write(path, "text"), "");
  EXPECT_EQ(files.fsync(path), "");
  EXPECT_EQ(files.rename(path, directory + "/b"), "");
  EXPECT_EQ(files.fsync(directory), "");
  EXPECT_EQ(files.read(directory + "/b", text), "");
  EXPECT_EQ(text, "text");
  struct stat st {};
  ASSERT_EQ(stat((directory + "/b").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
}

TEST_F(DiskFilesTest, ErrorsNameThePath) {
  std::optional<std::string> text;
  EXPECT_EQ(files.write("/nowhere/a", "x"), "cannot open /nowhere/a: No such file or directory");
  EXPECT_EQ(files.write("/dev/full", "x"), "cannot write /dev/full: No space left on device");
  EXPECT_EQ(files.fsync(directory + "/none"), "cannot open " + directory + "/none: No such file or directory");
  EXPECT_EQ(files.read(directory, text), "cannot read " + directory + ": Is a directory");
  EXPECT_NE(files.rename(directory + "/none", directory + "/b").find("cannot rename " + directory + "/none"),
            std::string::npos);
}

TEST_F(DiskFilesTest, AStateIsStoredAndLoaded) {
  rollout::Store store(files, directory + "/front.json");
  EXPECT_FALSE(store.load().state);
  rollout::State state;
  state.id = 5;
  state.group = "front";
  EXPECT_EQ(store.save(state), "");
  EXPECT_EQ(store.load().state->id, 5u);
}

TEST_F(DiskFilesTest, TheDirectoryIsMadeOrSaysWhyNot) {
  EXPECT_EQ(make_state_directory(directory + "/x/rollouts"), "");
  EXPECT_TRUE(std::filesystem::is_directory(directory + "/x/rollouts"));
  files.write(directory + "/file", "");
  EXPECT_NE(make_state_directory(directory + "/file/rollouts").find("cannot make directory"), std::string::npos);
  EXPECT_EQ(make_state_directory(directory + "/file"), "cannot make directory " + directory + "/file: Not a directory");
}

TEST(DrainMeter, ForetellsAnExponentialDecay) {
  DrainMeter meter;
  EXPECT_FALSE(meter.eta_s());
  for (int t = 0; t <= 30; t++) meter.count(t * 1000, static_cast<uint64_t>(100000 * std::exp(-t / 20.0)));
  // 22,313 are left; half a one when 20 s * ln(44,626) have passed.
  ASSERT_TRUE(meter.eta_s());
  EXPECT_NEAR(static_cast<double>(*meter.eta_s()), 214, 2);
}

TEST(DrainMeter, SaysNothingThatItCannotKnow) {
  DrainMeter meter;
  meter.count(0, 100);
  meter.count(1000, 50);
  EXPECT_FALSE(meter.eta_s()) << "too short";
  meter.begin();
  for (int t = 0; t < 60; t++) meter.count(t * 1000, 100);
  EXPECT_FALSE(meter.eta_s()) << "it does not decay";
  meter.count(61'000, 0);
  EXPECT_EQ(meter.eta_s(), 0u);
}

TEST(DrainMeter, ForgetsHowItWasLongAgo) {
  DrainMeter meter;
  for (int t = 0; t < 60; t++) meter.count(t * 1000, static_cast<uint64_t>(10000 - 100 * t));
  for (int t = 60; t < 240; t++) meter.count(t * 1000, 4000);
  EXPECT_FALSE(meter.eta_s());
}

}  // namespace
}  // namespace teal::control
