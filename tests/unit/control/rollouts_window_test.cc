// SPDX-License-Identifier: Apache-2.0
// What the driver of rollouts gives the judge to look at, and how long it holds on to the pool that is left.
#include <gtest/gtest.h>

#include "rollout_world.h"

namespace teal::control {
namespace {

using Shares = std::vector<double>;
constexpr double tenth = 6554 / 65536.0;

TEST_F(RolloutsTest, AffinityIsIgnoredByTheSplitItself) {
  begin(request());
  pass(0.1);
  EXPECT_FALSE(groups.group.split.current & TEAL_SPLIT_IGNORE_AFFINITY);
  rollouts->abort("web", {}, false, {});
  EXPECT_TRUE(groups.group.split.current & TEAL_SPLIT_IGNORE_AFFINITY) << "nobody is held where it is bad";
  EXPECT_EQ(groups.unpinned, std::vector<model::Pool>{model::Pool::green});
  pass(0.1);
  RolloutRequest r = request();
  r.ignore_affinity = true;
  begin(r);
  pass(0.1);
  EXPECT_EQ(groups.stored.back(), tenth);
  EXPECT_TRUE(groups.group.split.current & TEAL_SPLIT_IGNORE_AFFINITY);
}

TEST_F(RolloutsTest, IdleFlowsAreKeptWhileItDrainsUntilTheDeadline) {
  RolloutRequest r = request();
  r.steps = {65536};
  r.bake_s = 0;
  begin(r);
  pass(0.1);
  connect(1000, 0, 0);
  pass(0.1);
  ASSERT_EQ(status().phase, "draining");
  using Kept = std::vector<std::pair<model::Pool, bool>>;
  EXPECT_EQ(groups.kept, (Kept{{model::Pool::blue, true}}));
  restart();
  pass(0.1);
  EXPECT_EQ(groups.kept, (Kept{{model::Pool::blue, true}, {model::Pool::blue, true}})) << "by the next teald too";
  pass(101);
  EXPECT_EQ(status().phase, "done");
  EXPECT_EQ(groups.kept.back(), (std::pair{model::Pool::blue, false}));
  EXPECT_EQ(groups.unpinned.back(), model::Pool::blue) << "dormant";
}

TEST_F(RolloutsTest, ThousandsOfGoodOnesDoNotHideAHundredBadOnes) {
  begin(request());
  pass(0.1);
  for (int i = 0; i < 40; i++) {
    connect(1000, 1, 9000);
    pass(0.1);
  }
  ASSERT_EQ(groups.stored, Shares({tenth}));
  connect(100, 100, 900);
  pass(0.02);
  EXPECT_EQ(groups.stored, Shares({tenth})) << "100 of 20,000 in two seconds are below any limit";
  pass(3);
  connect(120, 100, 900);
  pass(0.02);
  EXPECT_EQ(groups.stored, Shares({tenth, 0}));
  EXPECT_NE(status().reason.find("in the last 2 s: target.handshake_failure_ratio < 5 %"), std::string::npos)
      << status().reason;
}

TEST_F(RolloutsTest, AtAllOfTheTrafficTheOtherIsWhatItWasBefore) {
  groups.group.config.rules = {*model::parse_rule("target.handshake_failure_ratio < 2 x other").rule};
  RolloutRequest r = request();
  r.steps = {65536};
  begin(r);
  const auto generation = static_cast<unsigned>(teal_split_generation(groups.group.split.current) % 4);
  pass(1.1);  // baking already: the other has nothing in this window
  rollouts->abort("web", {}, false, {});
  pass(3);
  counters[{1, 0, generation}].begun += 1000;
  counters[{1, 0, generation}].handshakes += 1000;
  pass(3);
  begin(r);
  pass(0.1);
  connect(1000, 200, 0);
  pass(0.1);
  EXPECT_EQ(groups.stored.back(), 0) << "judged against the minute before";
  EXPECT_NE(status().reason.find("against 0 % (0 of 1000 flows)"), std::string::npos) << status().reason;
}

TEST_F(RolloutsTest, WhatTealdsAbsenceHurtIsNotHeldAgainstThePool) {
  begin(request());
  pass(0.1);
  restart();
  pass(0.1);
  auto& green = counters[{1, 1, static_cast<unsigned>(teal_split_generation(groups.group.split.current) % 4)}];
  connect(1000, 0, 0);
  green.syn_retransmits += 500;  // of flows that began before
  pass(1);
  EXPECT_EQ(groups.stored, Shares({tenth}));
  EXPECT_EQ(status().signals[0].counts.syn_retransmits, 0u);
  green.refused += 400;  // this has nothing to do with it
  pass(0.1);
  EXPECT_EQ(groups.stored, Shares({tenth, 0}));
}

TEST_F(RolloutsTest, WithoutATcpServicePacketsDoNotTell) {
  groups.judged_services = {};
  begin(request());
  pass(0.1);
  connect(1000, 900, 9000);
  pass(10);
  EXPECT_EQ(groups.stored, Shares({tenth, 0.5})) << "held for its time, and on";
}

}  // namespace
}  // namespace teal::control
