// SPDX-License-Identifier: Apache-2.0
// Hooks: called in their places, waited for, and what their failure does.
#include "driver.h"

namespace {

using namespace teal::rollout;
using namespace teal::test;
using teal::model::HookPoint;

Plan hooked() {
  Plan plan = three_steps();
  plan.hooks = every_hook;
  return plan;
}

// Steps until a hook runs that has not returned yet.
void until_hook(Driver& d) {
  for (int i = 0; i < 2000 && !d.state.hook_running && d.state.running(); i++) {
    if (d.state.phase == Phase::draining) d.flows_left = 0;
    d.step(100);
  }
}

TEST(Hook, AllAreCalledInTheirPlaces) {
  Driver d;
  d.start(hooked());
  std::string order;
  for (until_hook(d); d.state.hook_running; until_hook(d)) {
    order += std::string(teal::model::to_string(d.hooks.back().point)) + " at " + std::to_string(d.share()) + " " +
             to_string(d.state.phase) + "\n";
    d.hook_returns(true);
  }
  EXPECT_EQ(order,
            "pre_start at 0 preview\n"
            "pre_step at 0 preview\n"
            "post_step at 655 shifting\n"
            "pre_step at 655 shifting\n"
            "post_step at 6554 shifting\n"
            "pre_step at 6554 shifting\n"
            "post_step at 65536 baking\n"
            "pre_promote at 65536 baking\n"
            "post_promote at 65536 draining\n"
            "on_done at 65536 done\n");
  EXPECT_FALSE(d.state.running());
  EXPECT_EQ(d.state.outcome, Outcome::done);
}

TEST(Hook, OnRollbackIsCalledAfterTheStore) {
  Driver d;
  Plan plan = three_steps();
  plan.hooks = {HookPoint::on_rollback};
  d.start(plan);
  d.step();
  d.signals = Verdict::fail;
  d.step();
  EXPECT_EQ(d.share(), 0u);
  d.step();
  ASSERT_TRUE(d.state.hook_running);
  EXPECT_EQ(d.hooks.back().point, HookPoint::on_rollback);
  d.run(5'000);
  EXPECT_EQ(d.state.phase, Phase::rolling_back);
  d.hook_returns(false);  // too late to stop anything: reported
  EXPECT_TRUE(d.noted("hook on_rollback failed: exit code 1"));
  EXPECT_EQ(d.state.phase, Phase::idle);
  EXPECT_EQ(d.state.outcome, Outcome::rolled_back);
}

// Each of the nine calls before the end stops it; the share stays where it was.
TEST(Hook, AFailureAtAnyPointPauses) {
  for (int fails = 0; fails < 9; fails++) {
    Driver d;
    d.start(hooked());
    until_hook(d);
    for (int i = 0; i < fails; i++) {
      d.hook_returns(true);
      until_hook(d);
    }
    const uint32_t share = d.share();
    const size_t calls = d.hooks.size();
    d.hook_returns(false, "table locked");
    ASSERT_EQ(d.state.pause, Pause::hook) << fails;
    EXPECT_NE(d.state.pause_reason.find("failed: table locked"), std::string::npos);
    d.run(300'000);
    EXPECT_EQ(d.share(), share) << fails;
    EXPECT_EQ(d.hooks.size(), calls) << fails;
    // Called again by resume.
    ASSERT_TRUE(d.resume().accepted);
    d.step();
    ASSERT_EQ(d.hooks.size(), calls + 1);
    EXPECT_EQ(d.hooks[calls].point, d.hooks[calls - 1].point);
    EXPECT_EQ(d.hooks[calls].call, d.hooks[calls - 1].call + 1);
    d.hook_returns(true);
    EXPECT_FALSE(d.state.paused());
  }
}

TEST(Hook, AFailureOfOnDoneIsReported) {
  Driver d;
  Plan plan = three_steps();
  plan.hooks = {HookPoint::on_done};
  d.start(plan);
  bring_to(d, Phase::done);
  EXPECT_TRUE(d.state.running());
  d.step();
  d.hook_returns(false);
  EXPECT_FALSE(d.state.running());
  EXPECT_FALSE(d.state.paused());
  EXPECT_EQ(d.state.outcome, Outcome::done);
  EXPECT_TRUE(d.noted("hook on_done failed"));
}

TEST(Hook, TheStepWaitsHoweverLong) {
  Driver d;
  Plan plan = three_steps();
  plan.hooks = {HookPoint::pre_step};
  d.start(plan);
  d.run(3'600'000);
  EXPECT_EQ(d.share(), 0u);
  EXPECT_EQ(d.hooks.size(), 1u);
  d.hook_returns(true);
  EXPECT_EQ(d.share(), 655u);
}

TEST(Hook, TheResultOfAnotherCallIsNotLookedAt) {
  Driver d;
  Plan plan = three_steps();
  plan.hooks = {HookPoint::pre_step};
  d.start(plan);
  d.run(200);
  d.hook = HookResult{d.state.hook_call - 1, true, ""};
  d.run(1'000);
  EXPECT_EQ(d.share(), 0u);
  EXPECT_TRUE(d.state.hook_running);
}

TEST(Hook, BadSignalsDoNotWaitForOne) {
  Driver d;
  Plan plan = three_steps();
  plan.hooks = {HookPoint::post_step};
  d.start(plan);
  d.run(10'500);
  ASSERT_TRUE(d.state.hook_running);
  const uint64_t call = d.state.hook_call;
  d.signals = Verdict::fail;
  d.step();
  EXPECT_EQ(d.share(), 0u);
  d.run(300);
  EXPECT_EQ(d.state.phase, Phase::idle);
  d.hook = HookResult{call, true, ""};  // returns too late
  d.run(300);
  EXPECT_EQ(d.state.phase, Phase::idle);
  EXPECT_EQ(d.state.outcome, Outcome::rolled_back);
  EXPECT_EQ(d.sets.size(), 2u);
}

TEST(Hook, PromoteGoesOnWithoutTheFailedOne) {
  Driver d;
  Plan plan = three_steps();
  plan.hooks = {HookPoint::pre_step};
  d.start(plan);
  d.run(200);
  d.hook_returns(false);
  const Reply reply = d.promote();
  ASSERT_TRUE(reply.accepted);
  EXPECT_NE(reply.text.find("without hook pre_step"), std::string::npos);
  EXPECT_EQ(d.share(), 655u);
  EXPECT_FALSE(d.state.paused());
}

TEST(Hook, PromoteToTheEndWaitsForItsHook) {
  Driver d;
  Plan plan = three_steps();
  plan.hooks = {HookPoint::pre_step};
  d.start(plan);
  d.run(200);
  d.hook_returns(true);
  ASSERT_EQ(d.share(), 655u);
  ASSERT_TRUE(d.promote(true).accepted);
  d.run(1'000);
  EXPECT_EQ(d.share(), 655u);
  d.hook_returns(true);
  EXPECT_EQ(d.share(), all);
  EXPECT_EQ(d.state.phase, Phase::baking);
}

TEST(Hook, OneThatReturnsWhilePausedIsNotLost) {
  Driver d;
  Plan plan = three_steps();
  plan.hooks = {HookPoint::pre_step};
  d.start(plan);
  d.run(200);
  d.pause();
  d.hook_returns(true);
  d.run(1'000);
  EXPECT_EQ(d.share(), 0u);
  d.resume();
  d.step();
  EXPECT_EQ(d.share(), 655u);
  EXPECT_EQ(d.hooks.size(), 1u);
}

TEST(Hook, OutputIsKeptShort) {
  Driver d;
  Plan plan = three_steps();
  plan.hooks = {HookPoint::pre_start};
  d.start(plan);
  d.run(200);
  d.hook_returns(false, std::string(1 << 20, 'x'));
  EXPECT_EQ(d.state.pause, Pause::hook);
  EXPECT_LE(d.state.pause_reason.size(), State::max_text + 3);
  EXPECT_LE(d.state.history.back().text.size(), State::max_text + 3);
}

}  // namespace
