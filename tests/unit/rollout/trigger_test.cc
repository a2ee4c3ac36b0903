// SPDX-License-Identifier: Apache-2.0
// Each trigger of an automatic rollback, in each state of a rollout.
#include "driver.h"

namespace {

using namespace teal::rollout;
using namespace teal::test;
using teal::model::FlowsAction;
using teal::model::Pool;

struct Trigger {
  const char* name;
  void (*pull)(Driver&);
};
const Trigger triggers[] = {
    {"signals",
     [](Driver& d) {
       d.signals = Verdict::fail;
       d.signals_text = "31 % of 200 handshakes failed";
     }},
    {"prometheus", [](Driver& d) { d.prometheus = Verdict::fail; }},
    {"target_down", [](Driver& d) { d.target_ready = false; }},
};

void expect_rolled_back(Driver& d, const std::string& what) {
  EXPECT_EQ(d.state.outcome, Outcome::rolled_back) << what;
  EXPECT_TRUE(d.state.automatic) << what;
  EXPECT_EQ(d.share(), 0u) << what;
  EXPECT_EQ(teal_split_active(d.split.current), TEAL_BLUE) << what;
  EXPECT_TRUE(d.split.current & TEAL_SPLIT_ROLLED_BACK) << what;
  d.step(100);
  EXPECT_EQ(d.state.phase, Phase::idle) << what;
  EXPECT_FALSE(d.state.running()) << what;
}

TEST(Trigger, RollsBackAtOnceFromEveryStepAndTheBake) {
  for (const Trigger& trigger : triggers)
    for (int step = 0; step < 3; step++)
      for (bool paused : {false, true}) {
        Driver d;
        d.start(three_steps());
        d.step();
        d.run(step * 10'000 + 500);
        ASSERT_EQ(d.state.step, step);
        if (paused) d.pause();
        const uint64_t generation = d.generation();
        trigger.pull(d);
        d.step(1);
        const std::string what = std::string(trigger.name) + " at step " + std::to_string(step);
        EXPECT_EQ(d.generation(), generation + 1) << what;
        expect_rolled_back(d, what);
        EXPECT_EQ(d.sets.size(), static_cast<size_t>(step) + 2) << what;
      }
}

TEST(Trigger, DoesNothingInThePreviewWhileDrainingOrWhenDone) {
  for (const Trigger& trigger : triggers)
    for (Phase phase : {Phase::preview, Phase::draining, Phase::done}) {
      Driver d;
      Plan plan = three_steps();
      plan.stay_in_preview = phase == Phase::preview;
      d.start(plan);
      bring_to(d, phase);
      const size_t sets = d.sets.size();
      trigger.pull(d);
      d.run(1'000);
      EXPECT_EQ(d.state.phase, phase) << trigger.name << " in " << to_string(phase);
      EXPECT_EQ(d.sets.size(), sets) << trigger.name;
      EXPECT_FALSE(d.state.paused()) << trigger.name;
    }
}

TEST(Trigger, DoesNothingToASplitThatSomebodyElseChanged) {
  for (const Trigger& trigger : triggers) {
    Driver d;
    d.start(three_steps());
    d.step();
    d.split = cutover(d.split, Pool::green).next;
    trigger.pull(d);
    d.run(60'000);
    EXPECT_EQ(d.state.pause, Pause::foreign) << trigger.name;
    EXPECT_EQ(d.share(), all) << trigger.name;
    EXPECT_EQ(d.sets.size(), 1u) << trigger.name;
  }
}

TEST(Trigger, OntoADeadPoolItPausesAndGoesAheadWhenThatIsReady) {
  for (const Trigger& trigger : triggers) {
    Driver d;
    d.start(three_steps());
    d.step();
    d.other_ready = false;
    trigger.pull(d);
    d.run(60'000);
    EXPECT_EQ(d.state.pause, Pause::other_down) << trigger.name;
    EXPECT_NE(d.state.pause_reason.find("no backend of blue is ready either"), std::string::npos);
    EXPECT_EQ(d.share(), 655u) << trigger.name;
    EXPECT_EQ(d.sets.size(), 1u) << trigger.name;
    d.other_ready = true;
    d.step(100);
    expect_rolled_back(d, trigger.name);
  }
}

TEST(Trigger, ResetsFlowsOnTheTargetWhenThePlanSaysSo) {
  for (auto flows : {FlowsAction::keep, FlowsAction::reset}) {
    Driver d;
    Plan plan = three_steps();
    plan.rollback_flows = flows;
    d.start(plan);
    d.step();
    d.signals = Verdict::fail;
    d.run(1'000);
    EXPECT_EQ(d.resets, flows == FlowsAction::reset ? std::vector<Pool>{Pool::green} : std::vector<Pool>{});
    expect_rolled_back(d, "reset");
  }
}

TEST(Trigger, AForcedStartGoesOnWithAnUnreadyTarget) {
  Driver d;
  d.target_ready = false;
  EXPECT_EQ(d.start(three_steps()).refusal, Refusal::target_not_ready);
  Plan plan = three_steps();
  plan.force_unready = true;
  ASSERT_TRUE(d.start(plan).accepted);
  d.run(10'100);
  EXPECT_EQ(d.share(), 6554u);
  d.signals = Verdict::fail;
  d.step();
  expect_rolled_back(d, "forced");
}

TEST(Trigger, RollsBackWithoutADisk) {
  Driver d;
  d.start(three_steps());
  d.step();
  d.files.full = true;
  d.signals = Verdict::fail;
  d.step(100);
  expect_rolled_back(d, "disk full");
  // What is on the disk is the step before: a restart finds a split that it does not know.
  ASSERT_TRUE(d.restart());
  EXPECT_EQ(d.state.pause, Pause::foreign);
  EXPECT_EQ(d.share(), 0u);
}

TEST(Trigger, NoFlipFlopWithoutAgainOrAChangedTarget) {
  Driver d;
  d.start(three_steps());
  d.step();
  d.signals = Verdict::fail;
  d.run(200);
  d.signals = Verdict::pass;
  ASSERT_FALSE(d.state.running());
  const Reply reply = d.start(three_steps());
  EXPECT_EQ(reply.refusal, Refusal::needs_again);
  EXPECT_NE(reply.text.find("was rolled back automatically"), std::string::npos);
  Plan again = three_steps();
  again.again = true;
  ASSERT_TRUE(d.start(again).accepted);
  d.abort();
  d.run(200);
  EXPECT_EQ(d.start(three_steps()).refusal, Refusal::needs_again);  // the abort proved nothing
  ASSERT_TRUE(d.restart());
  EXPECT_EQ(d.start(three_steps()).refusal, Refusal::needs_again);
  Plan other = three_steps();
  other.target_signature = "b";
  ASSERT_TRUE(d.start(other).accepted);
  bring_to(d, Phase::done);
  EXPECT_FALSE(d.state.failed_pool);
}

TEST(Trigger, ARollbackByHandNeedsNoAgain) {
  Driver d;
  d.start(three_steps());
  d.step();
  ASSERT_TRUE(d.rollback().accepted);
  d.step();
  EXPECT_TRUE(d.start(three_steps()).accepted);
}

TEST(Trigger, AnObstaclePausesAndIsNotForgotten) {
  for (Phase phase : {Phase::preview, Phase::shifting, Phase::baking, Phase::draining}) {
    Driver d;
    Plan plan = three_steps();
    plan.stay_in_preview = phase == Phase::preview;
    d.start(plan);
    bring_to(d, phase);
    const size_t sets = d.sets.size();
    d.obstacle = "service 'api' is no longer configured";
    d.run(300'000);
    EXPECT_EQ(d.state.pause, Pause::obstacle);
    EXPECT_EQ(d.state.pause_reason, d.obstacle);
    EXPECT_EQ(d.state.phase, phase);
    EXPECT_EQ(d.sets.size(), sets);
    d.resume();
    d.step(100);
    EXPECT_EQ(d.state.pause, Pause::obstacle);
    d.obstacle.clear();
    ASSERT_TRUE(d.resume().accepted);
    d.step(100);
    EXPECT_FALSE(d.state.paused());
  }
}

}  // namespace
