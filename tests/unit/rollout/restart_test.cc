// SPDX-License-Identifier: Apache-2.0
// A restart of teald at any point of a rollout.
#include "driver.h"
#include "rollout/state_json.h"

namespace {

using namespace teal::rollout;
using namespace teal::test;
using teal::model::FlowsAction;
using teal::model::HookPoint;
using teal::model::Pool;

TEST(Restart, EachPhaseGoesOnWhereItWas) {
  for (Phase phase : {Phase::preview, Phase::shifting, Phase::baking, Phase::draining}) {
    Driver d;
    Plan plan = three_steps();
    plan.stay_in_preview = phase == Phase::preview;
    d.start(plan);
    bring_to(d, phase);
    const size_t sets = d.sets.size();
    ASSERT_TRUE(d.restart());
    EXPECT_EQ(d.state.phase, phase);
    EXPECT_FALSE(d.state.paused()) << d.state.pause_reason;
    d.step(100);
    EXPECT_EQ(d.state.phase, phase);
    EXPECT_EQ(d.sets.size(), sets);
    if (phase == Phase::preview) d.promote();
    bring_to(d, Phase::done);
    EXPECT_EQ(d.sets.size(), 3u);
    EXPECT_EQ(d.generation(), 4u);
  }
}

TEST(Restart, TheTimeAwayDoesNotCountAndLittleIsRepeated) {
  Driver d;
  d.start(three_steps());
  d.run(8'000);
  ASSERT_TRUE(d.restart());
  d.step(100);
  EXPECT_EQ(d.share(), 655u);
  EXPECT_GE(d.state.elapsed_ms, 3'000);
  EXPECT_LE(d.state.elapsed_ms, 8'200);
}

TEST(Restart, APausedOneStaysPaused) {
  Driver d;
  d.start(three_steps());
  d.step();
  d.pause();
  ASSERT_TRUE(d.restart());
  d.run(100'000);
  EXPECT_EQ(d.state.pause, Pause::by_hand);
  EXPECT_EQ(d.share(), 655u);
  d.resume();
  d.run(10'100);
  EXPECT_EQ(d.share(), 6554u);
}

TEST(Restart, AfterTheEndNothingIsResumed) {
  Driver d;
  d.start(three_steps());
  bring_to(d, Phase::done);
  d.split = rollback(d.split).next;
  ASSERT_TRUE(d.restart());
  d.run(1'000);
  EXPECT_EQ(d.state.phase, Phase::done);
  EXPECT_FALSE(d.state.paused());
  EXPECT_EQ(d.sets.size(), 3u);
}

TEST(Restart, ASplitThatIsNeitherBeforeNorAfterPauses) {
  Driver d;
  d.start(three_steps());
  d.step();
  d.split = {teal_split_make(1, 0, 0, 0), teal_split_make(1, 0, 0, 0)};  // before: the table was lost before the step
  ASSERT_TRUE(d.restart());
  EXPECT_FALSE(d.state.paused());
  d.step();
  EXPECT_EQ(d.share(), 655u);
  d.run(10'100);
  ASSERT_EQ(d.share(), 6554u);
  d.split = {teal_split_make(1, 0, 0, 0), teal_split_make(1, 0, 0, 0)};  // two steps before: somebody else
  ASSERT_TRUE(d.restart());
  EXPECT_EQ(d.state.pause, Pause::foreign);
  d.run(100'000);
  EXPECT_EQ(d.share(), 0u);
}

TEST(Restart, AHookThatRanThenPausesBecauseItsEndIsUnknown) {
  Driver d;
  Plan plan = three_steps();
  plan.hooks = {HookPoint::pre_step};
  d.start(plan);
  d.run(300);
  ASSERT_TRUE(d.state.hook_running);
  ASSERT_TRUE(d.restart());
  EXPECT_EQ(d.state.pause, Pause::hook);
  EXPECT_NE(d.state.pause_reason.find("how it ended is not known"), std::string::npos);
  d.run(10'000);
  EXPECT_EQ(d.share(), 0u);
  d.resume();
  d.step();
  EXPECT_EQ(d.hooks.size(), 2u);
  d.hook_returns(true);
  EXPECT_EQ(d.share(), 655u);
}

TEST(Restart, AHookOfTheWayBackIsOnlyReported) {
  Driver d;
  Plan plan = three_steps();
  plan.hooks = {HookPoint::on_rollback};
  d.start(plan);
  d.step();
  d.rollback();
  d.step();
  ASSERT_TRUE(d.state.hook_running);
  ASSERT_TRUE(d.restart());
  EXPECT_TRUE(d.noted("how it ended is not known"));
  d.step();
  EXPECT_EQ(d.state.phase, Phase::idle);
  EXPECT_EQ(d.state.outcome, Outcome::rolled_back);
}

// An announced step that was cut off, and a world that has changed since.
Driver cut_before_the_second_step() {
  Driver d;
  d.start(three_steps());
  d.run(10'000);
  d.files.calls_left = 4;  // saved, not yet stored
  try {
    d.run(500);
    ADD_FAILURE() << "not cut";
  } catch (const PowerCut&) {
  }
  EXPECT_EQ(d.share(), 655u);
  return d;
}

TEST(Restart, AnAnnouncedStepIsMade) {
  Driver d = cut_before_the_second_step();
  ASSERT_TRUE(d.restart());
  EXPECT_EQ(d.state.step, 1);
  EXPECT_EQ(d.pause().refusal, Refusal::change_pending);
  EXPECT_EQ(d.promote().refusal, Refusal::change_pending);
  d.step();
  EXPECT_EQ(d.share(), 6554u);
  EXPECT_EQ(d.generation(), 3u);
  EXPECT_EQ(d.split.previous, d.sets[0].current);
}

TEST(Restart, AnAnnouncedStepOntoADeadTargetGoesBackInstead) {
  Driver d = cut_before_the_second_step();
  ASSERT_TRUE(d.restart());
  d.target_ready = false;
  d.step();
  EXPECT_EQ(d.share(), 0u);
  EXPECT_EQ(d.generation(), 3u);
  EXPECT_EQ(d.state.outcome, Outcome::rolled_back);
}

TEST(Restart, AnAnnouncedStepWaitsForAnObstacle) {
  Driver d = cut_before_the_second_step();
  ASSERT_TRUE(d.restart());
  d.obstacle = "untracked flows";
  d.run(1'000);
  EXPECT_EQ(d.state.pause, Pause::obstacle);
  EXPECT_EQ(d.share(), 655u);
  d.obstacle.clear();
  d.run(1'000);
  EXPECT_EQ(d.share(), 655u);
  d.resume();
  d.step();
  EXPECT_EQ(d.share(), 6554u);
}

TEST(Restart, AnAnnouncedStepMayBeTakenBackByHand) {
  Driver d = cut_before_the_second_step();
  ASSERT_TRUE(d.restart());
  ASSERT_TRUE(d.abort().accepted);
  EXPECT_EQ(d.share(), 0u);
  EXPECT_EQ(d.generation(), 3u);
  d.step();
  EXPECT_EQ(d.state.outcome, Outcome::aborted);
}

TEST(Restart, ARollbackWhoseActsWereLostIsRepeatedWhole) {
  Driver d;
  d.start(three_steps());
  d.step();
  d.state = rollback(d.state, d.inputs(), {FlowsAction::reset, false, "ann"}).turn.state;  // and nothing was done
  d.step();
  EXPECT_EQ(d.share(), 0u);
  d.step();
  EXPECT_EQ(d.resets, std::vector<Pool>{Pool::green});
  d.run(300);
  EXPECT_EQ(d.state.phase, Phase::idle);
  EXPECT_EQ(d.resets.size(), 1u);
}

// The power is cut at every call of a whole rollout, each way that a disk may look afterwards: what is loaded is the
// state before the cut call or after it, and the rollout goes on to its end.
enum class Way { forward, back };

void play(Driver& d, Way way) {
  for (int i = 0; i < 1500 && d.state.running(); i++) {
    if (way == Way::back && d.state.phase == Phase::baking) d.signals = Verdict::fail;
    if (d.state.phase == Phase::draining && i % 3 == 0) d.flows_left = 0;
    d.step(100);
  }
}

void cut_everywhere(Way way) {
  Plan plan = three_steps();
  plan.rollback_flows = FlowsAction::reset;
  for (bool names : {false, true})
    for (auto bytes : {Remains::Bytes::none, Remains::Bytes::half, Remains::Bytes::all}) {
      int cut = 0;
      for (bool reached = true; reached; cut++) {
        Driver d;
        d.start(plan);
        ASSERT_EQ(d.state.id, 1u);
        d.files.calls_left = cut;
        reached = false;
        try {
          play(d, way);
        } catch (const PowerCut&) {
          reached = true;
        }
        const uint32_t share = d.share();
        ASSERT_TRUE(d.restart({names, bytes}));
        ASSERT_FALSE(d.state.paused()) << d.state.pause_reason << " cut at " << cut;
        ASSERT_EQ(d.share(), share) << "resuming itself changes nothing";
        play(d, way);
        if (way == Way::forward) {
          ASSERT_EQ(d.state.phase, Phase::done) << cut << d.state.pause_reason;
          ASSERT_EQ(d.share(), all);
          ASSERT_EQ(d.generation(), 4u) << cut;
          ASSERT_TRUE(d.resets.empty());
        } else {
          ASSERT_EQ(d.state.phase, Phase::idle) << cut << d.state.pause_reason;
          ASSERT_EQ(d.state.outcome, Outcome::rolled_back);
          ASSERT_EQ(d.share(), 0u);
          ASSERT_EQ(d.generation(), 5u) << cut;
          ASSERT_FALSE(d.resets.empty()) << "cut at " << cut;
        }
      }
      EXPECT_GT(cut, 30);
    }
}

TEST(Restart, PowerCutAtEveryCallOnTheWayForward) {
  cut_everywhere(Way::forward);
}
TEST(Restart, PowerCutAtEveryCallOfARollback) {
  cut_everywhere(Way::back);
}

}  // namespace
