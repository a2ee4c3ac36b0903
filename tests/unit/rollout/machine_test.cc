// SPDX-License-Identifier: Apache-2.0
// A rollout that is left to itself: steps, holds, bake, drain, done.
#include "rollout/machine.h"

#include "driver.h"

namespace {

using namespace teal::rollout;
using namespace teal::test;
using teal::model::FlowsAction;
using teal::model::Pool;

TEST(Machine, GoesThroughEveryPhaseInTheTimesOfThePlan) {
  Driver d;
  ASSERT_TRUE(d.start(three_steps()).accepted);
  EXPECT_EQ(d.state.phase, Phase::preview);
  EXPECT_TRUE(d.sets.empty());
  d.step();
  EXPECT_EQ(d.state.phase, Phase::shifting);
  EXPECT_EQ(d.share(), 655u);
  EXPECT_EQ(d.generation(), 2u);
  EXPECT_EQ(teal_split_active(d.split.current), TEAL_BLUE);
  d.run(9'900);
  EXPECT_EQ(d.share(), 655u);
  d.run(100);
  EXPECT_EQ(d.share(), 6554u);
  EXPECT_EQ(d.split.previous, d.sets[0].current);
  d.run(9'900);
  EXPECT_EQ(d.share(), 6554u);
  d.run(100);
  EXPECT_EQ(d.share(), all);
  EXPECT_EQ(d.state.phase, Phase::baking);
  EXPECT_EQ(teal_split_active(d.split.current), TEAL_GREEN);
  EXPECT_TRUE(teal_split_draining(d.split.current));
  EXPECT_EQ(d.generation(), 4u);
  d.run(29'900);
  EXPECT_EQ(d.state.phase, Phase::baking);
  d.run(100);
  EXPECT_EQ(d.state.phase, Phase::draining);
  d.flows_left = 3;
  d.run(1000);
  EXPECT_EQ(d.state.phase, Phase::draining);
  EXPECT_EQ(d.state.flows_left, 3u);
  EXPECT_EQ(d.drained, 0);
  d.flows_left = 0;
  d.step(100);
  EXPECT_EQ(d.state.phase, Phase::done);
  EXPECT_EQ(d.state.outcome, Outcome::done);
  EXPECT_FALSE(d.state.running());
  EXPECT_EQ(d.drained, 1);
  EXPECT_EQ(d.sets.size(), 3u);
  d.run(200'000);
  EXPECT_EQ(d.sets.size(), 3u);
}

TEST(Machine, TheNextRolloutGoesTheOtherWay) {
  Driver d;
  ASSERT_TRUE(d.start(three_steps()).accepted);
  bring_to(d, Phase::done);
  EXPECT_EQ(standby(d.split), Pool::blue);
  EXPECT_EQ(d.start(three_steps()).refusal, Refusal::already_active);
  Plan back = three_steps();
  back.to = standby(d.split);
  ASSERT_TRUE(d.start(back).accepted);
  EXPECT_EQ(d.state.id, 2u);
  d.step();
  EXPECT_EQ(teal_split_share(d.split.current), all - 655);
  EXPECT_EQ(teal_split_active(d.split.current), TEAL_GREEN);
  bring_to(d, Phase::done);
  EXPECT_EQ(teal_split_share(d.split.current), 0u);
  EXPECT_EQ(teal_split_active(d.split.current), TEAL_BLUE);
}

TEST(Machine, DeadlineKeepEndsWithWhatIsLeftCounted) {
  Driver d;
  ASSERT_TRUE(d.start(three_steps()).accepted);
  bring_to(d, Phase::draining);
  d.flows_left = 7;
  d.run(59'900);
  EXPECT_EQ(d.state.phase, Phase::draining);
  d.run(100);
  EXPECT_EQ(d.state.phase, Phase::done);
  EXPECT_EQ(d.state.flows_left, 7u);
  EXPECT_TRUE(d.resets.empty());
  EXPECT_EQ(d.drained, 0);  // those flows may still need the split before the last change
  EXPECT_TRUE(d.noted("keeps 7 flows"));
}

TEST(Machine, DeadlineResetResetsUntilNoneIsLeft) {
  Driver d;
  Plan plan = three_steps();
  plan.at_deadline = FlowsAction::reset;
  ASSERT_TRUE(d.start(plan).accepted);
  bring_to(d, Phase::draining);
  d.flows_left = 7;
  d.run(59'900);
  EXPECT_TRUE(d.resets.empty());
  d.run(100);
  EXPECT_EQ(d.resets, std::vector<Pool>{Pool::blue});
  d.run(5'000);  // no census since
  EXPECT_EQ(d.resets.size(), 1u);
  EXPECT_EQ(d.state.phase, Phase::draining);
  d.flows_left = 1;
  d.run(1'000);
  EXPECT_EQ(d.resets.size(), 2u);
  d.flows_left = 0;
  d.run(100);
  EXPECT_EQ(d.state.phase, Phase::done);
  EXPECT_EQ(d.drained, 1);
}

TEST(Machine, ClientsHeldByAffinityKeepItDrainingUntilTheDeadline) {
  Driver d;
  ASSERT_TRUE(d.start(three_steps()).accepted);
  bring_to(d, Phase::draining);
  EXPECT_TRUE(d.unpins.empty());
  d.flows_left = 0;
  d.pinned_left = 3;
  d.run(1'000);
  EXPECT_EQ(d.state.phase, Phase::draining);
  d.pinned_left = 0;
  d.run(100);
  EXPECT_EQ(d.state.phase, Phase::done);
  EXPECT_EQ(d.unpins, std::vector<Pool>{Pool::blue}) << "dormant";
}

TEST(Machine, WithoutADeadlineItDrainsAsLongAsItTakes) {
  Driver d;
  Plan plan = three_steps();
  plan.drain_deadline_s = 0;
  ASSERT_TRUE(d.start(plan).accepted);
  bring_to(d, Phase::draining);
  d.flows_left = 1;
  d.step(365ll * 24 * 3600 * 1000);
  EXPECT_EQ(d.state.phase, Phase::draining);
}

TEST(Machine, AZeroBeforeAWholeCensusIsNoZero) {
  Driver d;
  ASSERT_TRUE(d.start(three_steps()).accepted);
  bring_to(d, Phase::draining);
  d.run(50'000);
  EXPECT_EQ(d.state.phase, Phase::draining);
}

TEST(Machine, StaysInThePreviewUntilPromoted) {
  Driver d;
  Plan plan = three_steps();
  plan.stay_in_preview = true;
  ASSERT_TRUE(d.start(plan).accepted);
  d.run(100'000);
  EXPECT_EQ(d.state.phase, Phase::preview);
  EXPECT_TRUE(d.sets.empty());
  EXPECT_FALSE(progress(d.state).remaining_ms);
  ASSERT_TRUE(d.promote().accepted);
  EXPECT_EQ(d.share(), 655u);
}

TEST(Machine, ThePreviewWaitsForAReadyTarget) {
  Driver d;
  ASSERT_TRUE(d.start(three_steps()).accepted);
  d.target_ready = false;
  d.run(100'000);
  EXPECT_EQ(d.state.phase, Phase::preview);
  EXPECT_TRUE(d.sets.empty());
  d.target_ready = true;
  d.step();
  EXPECT_EQ(d.share(), 655u);
}

TEST(Machine, InsufficientWaitsAnotherHoldAndPauses) {
  Driver d;
  ASSERT_TRUE(d.start(three_steps()).accepted);
  d.step();
  d.signals = Verdict::insufficient;
  d.signals_text = "12 handshakes, expected 50";
  d.run(19'900);
  EXPECT_FALSE(d.state.paused());
  d.run(100);
  EXPECT_EQ(d.state.pause, Pause::too_few);
  EXPECT_NE(d.state.pause_reason.find("too few connections to judge: 12 handshakes"), std::string::npos);
  EXPECT_EQ(d.share(), 655u);
  ASSERT_TRUE(d.resume().accepted);
  d.run(9'900);
  EXPECT_FALSE(d.state.paused());
  d.run(100);
  EXPECT_EQ(d.state.pause, Pause::too_few);
  d.resume();
  d.signals = Verdict::pass;
  d.step(100);
  EXPECT_EQ(d.state.then, Then::wait);
  EXPECT_EQ(d.share(), 6554u);
}

TEST(Machine, AnEndedHoldTakesTheFirstPass) {
  Driver d;
  ASSERT_TRUE(d.start(three_steps()).accepted);
  d.step();
  d.signals = Verdict::insufficient;
  d.run(15'000);
  EXPECT_EQ(d.share(), 655u);
  d.signals = Verdict::pass;
  d.step(100);
  EXPECT_EQ(d.share(), 6554u);
}

TEST(Machine, WithoutAnAnswerOfPrometheusItPausesAndSaysSo) {
  Driver d;
  ASSERT_TRUE(d.start(three_steps()).accepted);
  d.step();
  d.prometheus = Verdict::insufficient;
  d.run(20'000);
  EXPECT_EQ(d.state.pause, Pause::too_few);
  EXPECT_NE(d.state.pause_reason.find("no answer of Prometheus"), std::string::npos);
}

TEST(Machine, APlanMayGoOnUnjudged) {
  Driver d;
  Plan plan = three_steps();
  plan.judge_nothing = true;
  ASSERT_TRUE(d.start(plan).accepted);
  d.step();
  d.signals = Verdict::insufficient;
  d.run(19'900);
  EXPECT_EQ(d.share(), 655u);
  d.run(100);
  EXPECT_EQ(d.share(), 6554u);
  EXPECT_TRUE(d.noted("as the plan says"));
}

TEST(Machine, AVerdictOfAnotherGenerationIsNotLookedAt) {
  for (const Verdict verdict : {Verdict::pass, Verdict::fail}) {
    Driver d;
    ASSERT_TRUE(d.start(three_steps()).accepted);
    d.step();
    Inputs in = d.inputs();
    in.now_ms += 15'000;
    in.signals = {verdict, "of the step before", d.state.generation - 1};
    d.carry_out(step(d.state, in));
    EXPECT_EQ(d.share(), 655u);
    EXPECT_EQ(d.state.phase, Phase::shifting);
  }
}

TEST(Machine, TimeWhilePausedDoesNotCount) {
  Driver d;
  ASSERT_TRUE(d.start(three_steps()).accepted);
  d.run(5'000);
  ASSERT_TRUE(d.pause().accepted);
  d.run(100'000);
  EXPECT_EQ(d.share(), 655u);
  ASSERT_TRUE(d.resume().accepted);
  d.run(4'900);
  EXPECT_EQ(d.share(), 655u);
  d.run(300);
  EXPECT_EQ(d.share(), 6554u);
}

TEST(Machine, AClockThatGoesBackwardsShortensNothing) {
  Driver d;
  ASSERT_TRUE(d.start(three_steps()).accepted);
  d.step();
  d.step(-500'000);
  d.run(9'900);
  EXPECT_EQ(d.share(), 655u);
  d.run(200);
  EXPECT_EQ(d.share(), 6554u);
}

TEST(Machine, WithoutADiskNothingMovesForward) {
  Driver d;
  ASSERT_TRUE(d.start(three_steps()).accepted);
  d.step();
  d.files.full = true;
  d.run(60'000);
  EXPECT_EQ(d.share(), 655u);
  EXPECT_EQ(d.sets.size(), 1u);
  d.files.full = false;
  d.step(100);
  EXPECT_EQ(d.share(), 6554u);
}

TEST(Machine, ProgressIsByPlannedTime) {
  Driver d;
  ASSERT_TRUE(d.start(three_steps()).accepted);
  EXPECT_DOUBLE_EQ(progress(d.state).done, 0);
  EXPECT_EQ(progress(d.state).remaining_ms, 50'000);
  d.step();
  d.run(10'000);
  EXPECT_DOUBLE_EQ(progress(d.state).done, 0.2);
  d.run(25'000);
  EXPECT_EQ(progress(d.state).remaining_ms, 15'000);
  bring_to(d, Phase::draining);
  EXPECT_DOUBLE_EQ(progress(d.state).done, 1);
}

TEST(Machine, TheHistoryKeepsTheNewest) {
  Driver d;
  ASSERT_TRUE(d.start(three_steps()).accepted);
  for (int i = 0; i < 150; i++) {
    d.pause();
    d.resume();
  }
  ASSERT_EQ(d.state.history.size(), State::max_history);
  EXPECT_NE(d.state.history.back().text.find("resumed"), std::string::npos);
  EXPECT_EQ(d.state.history.back().at_ms, 1'700'000'000'000 + d.now_ms);
}

}  // namespace
