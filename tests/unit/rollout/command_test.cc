// SPDX-License-Identifier: Apache-2.0
// What is asked for by hand, in each state, and what becomes of a split that somebody else changed.
#include "driver.h"

namespace {

using namespace teal::rollout;
using namespace teal::test;
using teal::model::FlowsAction;
using teal::model::Pool;

TEST(Command, AStartIsRefusedWithAReason) {
  Driver d;
  Plan plan = three_steps();
  plan.to = Pool::blue;
  EXPECT_EQ(d.start(plan).refusal, Refusal::already_active);
  d.obstacle = "packets were forwarded without an entry";
  EXPECT_EQ(d.start(three_steps()).text, d.obstacle);
  d.obstacle.clear();
  d.split = move_share(d.split, Pool::green, 655).next;
  const Reply between = d.start(three_steps());
  EXPECT_EQ(between.refusal, Refusal::split_between);
  EXPECT_EQ(between.text.substr(0, 38), "0.9995 % of new flows go to green now,");
  d.split = cutover(d.split, Pool::blue).next;
  ASSERT_TRUE(d.start(three_steps()).accepted);
  const Reply second = d.start(three_steps());
  EXPECT_EQ(second.refusal, Refusal::under_way);
  EXPECT_EQ(second.text, "rollout 1 of web is preview, expected none under way");
  EXPECT_EQ(d.state.id, 1u);
}

TEST(Command, AStartThatIsNotStoredDidNotHappen) {
  Driver d;
  d.files.full = true;
  d.start(three_steps());
  EXPECT_EQ(d.state.id, 0u);
  EXPECT_FALSE(d.state.running());
}

TEST(Command, PlansAreChecked) {
  const auto wrong = [](std::vector<uint32_t> steps) {
    Plan plan;
    plan.steps = std::move(steps);
    return complaint(plan);
  };
  EXPECT_EQ(wrong({all}), "");
  EXPECT_EQ(wrong({655, 6554, all}), "");
  EXPECT_NE(wrong({}).find("none found"), std::string::npos);
  EXPECT_NE(wrong({655}).find("the last one"), std::string::npos);
  EXPECT_NE(wrong({0, all}).find("at place 1"), std::string::npos);
  EXPECT_NE(wrong({6554, 6554, all}).find("at place 2"), std::string::npos);
  EXPECT_NE(wrong({6554, 655, all}).find("at place 2"), std::string::npos);
  EXPECT_NE(wrong({all, all + 1}).find("at place 2"), std::string::npos);
  Driver d;
  Plan plan = three_steps();
  plan.steps = {655};
  EXPECT_EQ(d.start(plan).refusal, Refusal::bad_plan);
}

TEST(Command, PromoteTakesTheNextStepOrAll) {
  Driver d;
  d.start(three_steps());
  d.step();
  d.signals = Verdict::insufficient;
  EXPECT_TRUE(d.promote().accepted);
  EXPECT_EQ(d.share(), 6554u);
  EXPECT_EQ(d.generation(), 3u);
  EXPECT_TRUE(d.promote().accepted);
  EXPECT_EQ(d.share(), all);
  EXPECT_EQ(d.state.phase, Phase::baking);
  EXPECT_TRUE(d.promote().accepted);
  EXPECT_EQ(d.state.phase, Phase::draining);
  EXPECT_EQ(d.promote().refusal, Refusal::wrong_phase);
  EXPECT_EQ(d.generation(), 4u);

  Driver at_once;
  at_once.start(three_steps());
  EXPECT_TRUE(at_once.promote(true).accepted);
  EXPECT_EQ(at_once.share(), all);
  EXPECT_EQ(at_once.generation(), 2u);
  EXPECT_EQ(at_once.state.phase, Phase::baking);
}

TEST(Command, PromoteOfAPausedOneGoesOn) {
  Driver d;
  d.start(three_steps());
  d.step();
  d.pause();
  EXPECT_TRUE(d.promote().accepted);
  EXPECT_FALSE(d.state.paused());
  EXPECT_EQ(d.share(), 6554u);
}

TEST(Command, PromoteOntoADeadTargetIsRefused) {
  Driver d;
  Plan plan = three_steps();
  plan.stay_in_preview = true;
  d.start(plan);
  d.target_ready = false;
  EXPECT_EQ(d.promote().refusal, Refusal::target_not_ready);
  EXPECT_EQ(d.state.phase, Phase::preview);
}

TEST(Command, PauseAndResumeInEachPhase) {
  for (Phase phase : {Phase::preview, Phase::shifting, Phase::baking, Phase::draining}) {
    Driver d;
    Plan plan = three_steps();
    plan.stay_in_preview = phase == Phase::preview;
    d.start(plan);
    bring_to(d, phase);
    EXPECT_TRUE(d.pause().changed);
    EXPECT_FALSE(d.pause().changed);
    EXPECT_EQ(d.state.pause, Pause::by_hand);
    d.flows_left = 0;
    const size_t sets = d.sets.size();
    d.run(300'000);
    EXPECT_EQ(d.state.phase, phase);
    EXPECT_EQ(d.sets.size(), sets);
    EXPECT_TRUE(d.resume().changed);
    EXPECT_FALSE(d.resume().changed);
    d.step(100);
    if (phase == Phase::draining) {
      EXPECT_EQ(d.state.phase, Phase::done);
    }
  }
}

TEST(Command, NothingRuns) {
  Driver d;
  EXPECT_EQ(d.pause().refusal, Refusal::not_running);
  EXPECT_EQ(d.resume().refusal, Refusal::not_running);
  EXPECT_EQ(d.promote().refusal, Refusal::not_running);
  EXPECT_EQ(d.rollback().refusal, Refusal::not_running);
  const Reply reply = d.abort();
  EXPECT_TRUE(reply.accepted);
  EXPECT_FALSE(reply.changed);
  EXPECT_EQ(reply.text, "no rollout is running: nothing was changed, all new flows go on going to blue");
  d.start(three_steps());
  bring_to(d, Phase::done);
  EXPECT_EQ(d.pause().text, "rollout 1 of web is over (done), there is none to pause");
}

TEST(Command, AnAbortInThePreviewChangesNothingAndSaysSo) {
  Driver d;
  Plan plan = three_steps();
  plan.stay_in_preview = true;
  d.start(plan);
  d.step();
  const teal_split before = d.split;
  d.other_ready = false;
  const Reply reply = d.abort();
  ASSERT_TRUE(reply.accepted);
  EXPECT_EQ(reply.text, "aborted by ann in the preview: nothing was changed, 100 % of new flows go to blue");
  EXPECT_EQ(d.state.outcome, Outcome::aborted);
  EXPECT_FALSE(d.state.running());
  EXPECT_EQ(d.split.current, before.current);
}

TEST(Command, AnAbortThatIsOnlyADecisionIsStoredOrDidNotHappen) {
  Driver d;
  Plan plan = three_steps();
  plan.stay_in_preview = true;
  d.start(plan);
  d.files.full = true;
  d.abort();
  EXPECT_EQ(d.state.phase, Phase::preview);
  d.files.full = false;
  d.promote();
  d.split = cutover(d.split, Pool::blue).next;
  d.step();
  d.files.full = true;
  d.abort();  // the split is whole on blue already
  EXPECT_EQ(d.state.phase, Phase::shifting);
}

TEST(Command, BackFromEveryPhaseInOneStore) {
  for (bool abort : {false, true})
    for (bool paused : {false, true})
      for (Phase phase : {Phase::shifting, Phase::baking, Phase::draining})
        for (auto flows : {FlowsAction::keep, FlowsAction::reset}) {
          Driver d;
          Plan plan = three_steps();
          if (abort) plan.rollback_flows = flows;
          d.start(plan);
          bring_to(d, phase);
          if (paused) d.pause();
          const uint64_t generation = d.generation();
          const Reply reply = abort ? d.abort() : d.rollback(false, flows);
          ASSERT_TRUE(reply.accepted) << reply.text;
          EXPECT_EQ(d.share(), 0u);
          EXPECT_EQ(teal_split_active(d.split.current), TEAL_BLUE);
          EXPECT_EQ(d.generation(), generation + 1);
          EXPECT_EQ(d.resets.size(), flows == FlowsAction::reset ? 1u : 0u);
          EXPECT_FALSE(d.rollback().changed);  // it is under way
          d.step(100);
          d.step(100);
          EXPECT_EQ(d.state.phase, Phase::idle);
          EXPECT_EQ(d.state.outcome, abort ? Outcome::aborted : Outcome::rolled_back);
          EXPECT_FALSE(d.state.automatic);
          EXPECT_EQ(d.generation(), generation + 1);
        }
}

TEST(Command, ARollbackOntoADeadPoolNeedsForceAndIsLoud) {
  Driver d;
  d.start(three_steps());
  d.step();
  d.other_ready = false;
  const Reply refused = d.rollback();
  EXPECT_EQ(refused.refusal, Refusal::other_not_ready);
  EXPECT_EQ(d.share(), 655u);
  EXPECT_EQ(d.state.phase, Phase::shifting);
  const Reply forced = d.rollback(true);
  ASSERT_TRUE(forced.accepted);
  EXPECT_NE(forced.text.find("WHICH HAS NO READY BACKEND"), std::string::npos);
  EXPECT_EQ(d.share(), 0u);
  EXPECT_TRUE(d.noted("no backend of blue is ready: new flows will fail"));
}

TEST(Command, RollingBackCannotBePausedOrPromoted) {
  Driver d;
  d.start(three_steps());
  d.step();
  d.rollback();
  EXPECT_EQ(d.pause().refusal, Refusal::wrong_phase);
  EXPECT_EQ(d.promote().refusal, Refusal::wrong_phase);
}

// ---- somebody else changes the split

TEST(Foreign, PausesInEachPhaseAndTouchesNothing) {
  for (Phase phase : {Phase::preview, Phase::shifting, Phase::baking, Phase::draining}) {
    Driver d;
    Plan plan = three_steps();
    plan.stay_in_preview = phase == Phase::preview;
    d.start(plan);
    bring_to(d, phase);
    const size_t sets = d.sets.size();
    d.split = move_share(d.split, Pool::green, 20'000).next;
    d.flows_left = 0;
    d.run(300'000);
    EXPECT_EQ(d.state.pause, Pause::foreign);
    EXPECT_EQ(d.state.phase, phase);
    EXPECT_EQ(d.sets.size(), sets);
    EXPECT_EQ(d.share(), 20'000u);
    EXPECT_EQ(d.promote().refusal, phase == Phase::draining ? Refusal::wrong_phase : Refusal::foreign);
    EXPECT_EQ(d.share(), 20'000u);
  }
}

TEST(Foreign, TheReasonNamesBoth) {
  Driver d;
  d.start(three_steps());
  d.step();
  d.split = cutover(d.split, Pool::green).next;
  d.step();
  EXPECT_EQ(d.state.pause_reason,
            "the split is at generation 3 with 100 % of new flows to green, expected generation 2 with 0.9995 % of new "
            "flows to green: somebody else changed it");
}

TEST(Foreign, TheSameShareUnderAnotherGenerationIsForeign) {
  Driver d;
  d.start(three_steps());
  d.step();
  const uint64_t w = d.split.current;
  d.split.current = teal_split_make(teal_split_generation(w) + 2, teal_split_share(w), 1, teal_split_active(w));
  d.step();
  EXPECT_EQ(d.state.pause, Pause::foreign);
}

TEST(Foreign, TheDrainingBitIsNot) {
  Driver d;
  d.start(three_steps());
  d.step();
  d.split.current = drained(d.split.current);
  d.run(1'000);
  EXPECT_FALSE(d.state.paused());
}

TEST(Foreign, ResumeGoesOnFromTheSplitAsItStands) {
  struct Case {
    uint32_t share;
    Phase phase;
    int step;
    uint32_t next;
  };
  for (const Case& c :
       {Case{0, Phase::shifting, -1, 655}, Case{700, Phase::shifting, 0, 6554}, Case{6554, Phase::shifting, 1, all},
        Case{60'000, Phase::shifting, 1, all}, Case{all, Phase::baking, 2, all}}) {
    Driver d;
    d.start(three_steps());
    bring_to(d, Phase::baking);
    d.split = move_share(d.split, Pool::green, 5).next;
    d.split = move_share(d.split, Pool::green, c.share).next;
    EXPECT_EQ(d.resume().refusal, Refusal::foreign);  // nobody has seen it yet
    d.step();
    const Reply reply = d.resume();
    ASSERT_TRUE(reply.accepted) << reply.text;
    EXPECT_EQ(d.state.phase, c.phase) << c.share;
    EXPECT_EQ(d.state.step, c.step) << c.share;
    EXPECT_EQ(d.share(), c.share);
    if (c.share != 0) {
      d.run(9'900);
      EXPECT_EQ(d.share(), c.share);
    }
    d.run(200);
    EXPECT_EQ(d.share(), c.next);
    bring_to(d, Phase::done);
  }
}

TEST(Foreign, BackMakesTheOldPoolWhole) {
  for (uint32_t share : {0u, 20'000u, all}) {
    Driver d;
    d.start(three_steps());
    d.step();
    d.split = move_share(d.split, Pool::green, share).next;
    d.step();
    const uint64_t generation = d.generation();
    ASSERT_TRUE(d.abort().accepted);
    EXPECT_EQ(d.share(), 0u);
    EXPECT_EQ(d.generation(), generation + (share != 0)) << "it stood so already";
    d.step();
    EXPECT_EQ(d.state.outcome, Outcome::aborted);
  }
}

TEST(Foreign, ARollbackThatIsUndoneByHandPausesAndResumeRepeatsIt) {
  Driver d;
  Plan plan = three_steps();
  plan.hooks = {teal::model::HookPoint::on_rollback};
  d.start(plan);
  d.step();
  d.rollback();
  d.step();
  d.split = cutover(d.split, Pool::green).next;
  d.step();
  EXPECT_EQ(d.state.pause, Pause::foreign);
  d.hook_returns(true);
  EXPECT_EQ(d.state.phase, Phase::rolling_back);
  EXPECT_EQ(d.share(), all);
  ASSERT_TRUE(d.resume().accepted);
  EXPECT_EQ(d.share(), 0u);
  d.step();
  d.step();
  EXPECT_EQ(d.state.phase, Phase::idle);
}

TEST(Foreign, AfterDoneTheSplitIsAnybodys) {
  Driver d;
  Plan plan = three_steps();
  plan.hooks = {teal::model::HookPoint::on_done};
  d.start(plan);
  bring_to(d, Phase::done);
  d.split = rollback(d.split).next;
  d.step();
  EXPECT_FALSE(d.state.paused());
  EXPECT_TRUE(d.state.hook_running);
}

}  // namespace
