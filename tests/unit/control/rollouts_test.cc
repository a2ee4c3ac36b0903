// SPDX-License-Identifier: Apache-2.0
// The driver of rollouts over a fake balancer: what it does to splits, disk, audit and events, and when.
#include <gtest/gtest.h>

#include "rollout/switch.h"
#include "rollout_world.h"

namespace teal::control {
namespace {

using Shares = std::vector<double>;
constexpr double tenth = 6554 / 65536.0;

TEST_F(RolloutsTest, AGoodOneIsDoneStepByStep) {
  const auto started = begin(request());
  EXPECT_EQ(started.phase, "preview");
  EXPECT_EQ(started.to, "green");
  EXPECT_NE(started.message.find("is started: blue to green"), std::string::npos);
  pass(0.1);
  EXPECT_EQ(groups.stored, Shares({tenth}));
  EXPECT_EQ(status().step, 1u);
  EXPECT_EQ(status().generation, 8u);
  connect(1000, 0, 9000);
  EXPECT_EQ(status().signals[0].counts.begun, 1000u);
  EXPECT_EQ(status().signals[1].counts.begun, 9000u);
  pass(10);
  EXPECT_EQ(groups.stored, Shares({tenth, 0.5}));
  EXPECT_EQ(status().signals[0].counts.begun, 0u) << "each step is judged by its own flows";
  connect(1000, 0, 1000);
  pass(10);
  EXPECT_EQ(groups.stored, Shares({tenth, 0.5, 1}));
  EXPECT_EQ(status().phase, "baking");
  EXPECT_EQ(teal_split_active(groups.group.split.current), TEAL_GREEN);
  connect(1000, 0, 0);
  pass(19);
  EXPECT_EQ(status().phase, "baking");
  pass(1.5);
  EXPECT_EQ(status().phase, "draining");
  ASSERT_TRUE(status().drain);
  EXPECT_EQ(status().drain->begun_with, 500u);
  groups.left = 0;
  pass(0.5);
  EXPECT_EQ(status().phase, "done");
  EXPECT_EQ(status().outcome, "done");
  EXPECT_EQ(audited.size(), 3u) << "each change of the split that nobody asked for at that moment";
  EXPECT_EQ(audited[0].caller.user, "teald");
  EXPECT_EQ(audited[0].generation_before, 7u);
  EXPECT_EQ(audited[0].generation_after, 8u);
  EXPECT_NE(audited[0].body.find("\"started_by\":\"ann\""), std::string::npos);
  // The other way round with the same words.
  groups.left.reset();
  EXPECT_EQ(begin(request()).to, "blue");
  pass(0.1);
  EXPECT_NEAR(groups.stored.back(), 1 - tenth, 1e-9);
}

TEST_F(RolloutsTest, ABadOneIsTakenBackWithinATick) {
  begin(request());
  pass(0.1);
  connect(9, 9, 81);
  pass(1);
  EXPECT_EQ(groups.stored, Shares({tenth})) << "a handful of unlucky ones is no reason";
  connect(91, 91, 819);
  pass(0.04);
  EXPECT_EQ(groups.stored, Shares({tenth, 0}));
  pass(0.1);
  EXPECT_EQ(status().outcome, "rolled_back");
  EXPECT_TRUE(status().automatic);
  EXPECT_NE(status().reason.find("handshake_failure_ratio"), std::string::npos) << status().reason;
  EXPECT_NE(audited.back().body.find("handshake_failure_ratio"), std::string::npos) << audited.back().body;
  EXPECT_TRUE(groups.resets.empty());
}

TEST_F(RolloutsTest, FlowsOnTheBadPoolAreResetWhereConfigured) {
  groups.group.config.rollback_flows = model::FlowsAction::reset;
  begin(request());
  pass(0.1);
  connect(100, 100, 900);
  pass(0.1);
  EXPECT_EQ(groups.resets, std::vector<model::Pool>{model::Pool::green});
}

TEST_F(RolloutsTest, CountersOfAnOlderGenerationAreLeftAside) {
  // Generation 8's low bits have been in use: 4.
  counters[{1, 1, 0}].begun = counters[{1, 1, 0}].refused = 5000;
  begin(request());
  pass(5);
  EXPECT_EQ(groups.stored, Shares({tenth}));
  EXPECT_EQ(status().signals[0].counts.begun, 0u);
}

TEST_F(RolloutsTest, TooFewConnectionsPauseIt) {
  begin(request());
  pass(25);
  EXPECT_TRUE(status().paused);
  EXPECT_EQ(groups.stored, Shares({tenth}));
  EXPECT_EQ(code_of(rollouts->promote("web", false, {})), "ok");
  EXPECT_EQ(groups.stored, Shares({tenth, 0.5}));
}

TEST_F(RolloutsTest, NoFlipFlop) {
  begin(request());
  pass(0.1);
  connect(100, 100, 900);
  pass(0.1);
  EXPECT_EQ(code_of(rollouts->start(request())), "needs_again");
  RolloutRequest again = request();
  again.again = true;
  EXPECT_EQ(begin(again).phase, "preview");
  EXPECT_EQ(code_of(rollouts->abort("web", {}, false, {})), "ok");
  pass(0.1);
  EXPECT_EQ(code_of(rollouts->start(request())), "needs_again");
  groups.group.pools[1].backends[0].address = "10.0.1.9:80";
  EXPECT_EQ(begin(request()).phase, "preview") << "another green";
}

TEST_F(RolloutsTest, CommandsAnswerWhatTheyDid) {
  EXPECT_EQ(code_of(rollouts->rollout("web")), "no_rollout");
  EXPECT_EQ(code_of(rollouts->rollout("nix")), "unknown_group");
  EXPECT_EQ(code_of(rollouts->pause("nix", {})), "unknown_group");
  EXPECT_EQ(code_of(rollouts->pause("web", {})), "no_rollout");
  const auto nothing = rollouts->abort("web", {}, false, {});
  ASSERT_TRUE(std::holds_alternative<RolloutStatus>(nothing));
  EXPECT_NE(std::get<RolloutStatus>(nothing).message.find("nothing was changed"), std::string::npos);
  begin(request());
  pass(0.1);
  EXPECT_EQ(code_of(rollouts->pause("web", {})), "ok");
  pass(100);
  EXPECT_EQ(groups.stored.size(), 1u) << "time does not pass while it is paused";
  EXPECT_EQ(code_of(rollouts->resume("front", {})), "ok");
  EXPECT_EQ(code_of(rollouts->promote("tls", true, {})), "ok");
  EXPECT_EQ(groups.stored, Shares({tenth, 1}));
  EXPECT_TRUE(audited.size() <= 1) << "what was asked for is audited with the call";
  EXPECT_EQ(code_of(rollouts->abort("web", model::FlowsAction::reset, false, {})), "ok");
  EXPECT_EQ(groups.stored, Shares({tenth, 1, 0}));
  EXPECT_EQ(groups.resets.size(), 1u);
  pass(0.1);
  EXPECT_EQ(status().outcome, "aborted");
}

TEST_F(RolloutsTest, RisksAreRefusedByNameAndForcedByName) {
  const auto refused = [&](const RolloutRequest& r) { return code_of(rollouts->start(r)); };
  RolloutRequest forced = request();
  groups.group.untracked = "service 'web': 7 packets were forwarded without a table entry";
  EXPECT_EQ(refused(request()), "untracked_flows");
  forced.force = {"capacity"};
  EXPECT_EQ(refused(forced), "untracked_flows") << "another name forces nothing";
  forced.force = {"untracked_flows"};
  groups.set_ready(model::Pool::green, false);
  EXPECT_EQ(refused(forced), "no_ready_backend");
  groups.set_ready(model::Pool::green, true);
  groups.room = {1000, 950, 50};
  EXPECT_EQ(refused(forced), "capacity");
  const auto both = rollouts->start(request());
  EXPECT_EQ(std::get<Problem>(both).errors.size(), 2u) << "all of them are named";
  groups.room = {1000, 100, 900};
  EXPECT_EQ(groups.stored.size(), 0u);
  EXPECT_EQ(begin(forced).phase, "preview");
  EXPECT_EQ(refused(request()), "rollout_under_way");
}

TEST_F(RolloutsTest, AWeakTargetIsACapacityRisk) {
  for (int i = 3; i < 10; i++)
    groups.group.pools[0].backends.push_back({"web", std::to_string(i), std::to_string(i), "ready", 10, true});
  EXPECT_EQ(code_of(rollouts->start(request())), "capacity");
  groups.group.pools[0].flows = 0;
  EXPECT_EQ(code_of(rollouts->start(request())), "ok") << "without load nothing can be said against it";
}

TEST_F(RolloutsTest, ForcedOverAnotherThatOneGoesBackFirst) {
  begin(request());
  pass(0.1);
  RolloutRequest r = request();
  r.force = {"rollout_under_way"};
  EXPECT_EQ(begin(r).id, 2u);
  pass(0.1);
  EXPECT_EQ(groups.stored, Shares({tenth, 0, tenth}));
}

TEST_F(RolloutsTest, ARehearsalStartsNothing) {
  groups.group.config.hooks = {{.point = model::HookPoint::on_done, .name = "tell", .command = {"x"}, .url = {}},
                               {.point = model::HookPoint::pre_start, .name = "migrate", .command = {"x"}, .url = {}}};
  groups.group.pools[1].backends[0].ready = false;
  groups.group.pools[1].backends[0].state = "down";
  groups.group.untracked = "some";
  const auto result = rollouts->rehearse(request());
  ASSERT_TRUE(std::holds_alternative<Rehearsal>(result));
  const auto& r = std::get<Rehearsal>(result);
  EXPECT_EQ(r.steps.size(), 3u);
  EXPECT_NEAR(r.steps[1].moves, 0.5 - tenth, 1e-9);
  EXPECT_EQ(r.flows[0].stay, 500u);
  EXPECT_EQ(r.not_ready, std::vector<std::string>{"web: 10.0.1.1:80 (down)"});
  EXPECT_EQ(r.hooks, (std::vector<std::string>{"pre_start: migrate", "on_done: tell"}));
  EXPECT_FALSE(r.would_start);
  EXPECT_EQ(r.risks.at(0).name, "untracked_flows");
  EXPECT_TRUE(rollouts->rollouts().empty());
  EXPECT_EQ(files.writes, 0u);
}

TEST_F(RolloutsTest, NothingIsDoneBeforeItIsWrittenDown) {
  files.full = true;
  EXPECT_EQ(code_of(rollouts->start(request())), "not_persisted");
  pass(1);
  EXPECT_TRUE(groups.stored.empty());
  files.full = false;
  begin(request());
  pass(0.1);
  connect(1000, 0, 9000);
  files.full = true;
  pass(12);
  EXPECT_EQ(groups.stored, Shares({tenth})) << "the next step waits for the disk";
  files.full = false;
  pass(0.1);
  EXPECT_EQ(groups.stored, Shares({tenth, 0.5}));
}

TEST_F(RolloutsTest, ARollbackDoesNotWaitForADisk) {
  begin(request());
  pass(0.1);
  files.full = true;
  connect(100, 100, 900);
  pass(0.1);
  EXPECT_EQ(groups.stored, Shares({tenth, 0}));
  files.full = false;
  pass(2);
  restart();
  pass(0.1);
  EXPECT_EQ(status().outcome, "rolled_back") << "what could not be written then is written later";
}

TEST_F(RolloutsTest, ARestartedTealdGoesOnWhereItWas) {
  begin(request());
  pass(0.1);
  connect(1000, 0, 9000);
  pass(10);
  settled = false;
  restart();
  pass(30);
  EXPECT_EQ(groups.stored, Shares({tenth, 0.5})) << "health checks are waited for";
  EXPECT_EQ(code_of(rollouts->pause("web", {})), "not_ready");
  settled = true;
  pass(5);
  EXPECT_EQ(status().phase, "shifting");
  EXPECT_EQ(status().step, 2u);
  connect(1000, 0, 1000);
  pass(10);
  EXPECT_EQ(groups.stored, Shares({tenth, 0.5, 1}));
}

TEST_F(RolloutsTest, ADamagedStateIsPutAsideAndNotGuessedAt) {
  begin(request());
  pass(0.1);
  files.files["/state/front.json"].resize(100);
  restart();
  pass(60);
  EXPECT_EQ(groups.stored, Shares({tenth}));
  EXPECT_EQ(code_of(rollouts->rollout("web")), "no_rollout");
  EXPECT_TRUE(files.files.contains("/state/front.json.damaged"));
  EXPECT_EQ(code_of(rollouts->start(request())), "split_between");
}

TEST_F(RolloutsTest, AChangeByHandIsGuardedAndPauses) {
  EXPECT_FALSE(rollouts->guard("front"));
  begin(request());
  pass(0.1);
  ASSERT_TRUE(rollouts->guard("front"));
  EXPECT_EQ(rollouts->guard("front")->code, "rollout_under_way");
  const auto forced = rollout::cutover(groups.group.split, model::Pool::green);
  groups.group.split = forced.next;
  pass(0.1);
  EXPECT_TRUE(status().paused);
  connect(1000, 1000, 0);
  pass(30);
  EXPECT_EQ(groups.stored, Shares({tenth})) << "it never fights";
}

TEST_F(RolloutsTest, HooksRunInTheirPlacesOneAfterTheOther) {
  const auto hook = [](model::HookPoint point, const char* name) {
    return model::Hook{.point = point, .name = name, .command = {"x"}, .url = {}};
  };
  groups.group.config.hooks = {hook(model::HookPoint::pre_start, "a"), hook(model::HookPoint::pre_step, "c"),
                               hook(model::HookPoint::pre_start, "b")};
  pass(1.1);  // the configuration is read once a second
  hooks_answer = false;
  begin(request());
  pass(0.1);
  EXPECT_EQ(hooks, std::vector<std::string>{"pre_start a"});
  EXPECT_EQ(status().waiting_for, "a");
  EXPECT_TRUE(groups.stored.empty()) << "the step waits";
  rollouts->abort("web", {}, false, {});
  pass(0.1);
  hooks_answer = true;
  hooks.clear();
  failing_hooks["c"] = "exit code 3: no room";
  begin(request());
  pass(0.2);
  EXPECT_EQ(hooks, (std::vector<std::string>{"pre_start a", "pre_start b", "pre_step c"}));
  EXPECT_TRUE(status().paused);
  EXPECT_NE(status().reason.find("hook 'c': exit code 3: no room"), std::string::npos) << status().reason;
  EXPECT_TRUE(groups.stored.empty());
  failing_hooks.clear();
  rollouts->resume("web", {});
  pass(0.2);
  EXPECT_EQ(groups.stored, Shares({tenth}));
}

TEST_F(RolloutsTest, PrometheusHasItsWord) {
  model::PrometheusRule rule;
  rule.name = "errors";
  rule.query = "up{job=\"{{service}}\"}";
  groups.group.config.prometheus = {rule};
  groups.group.config.prometheus_interval_s = 5;
  pass(1.1);
  answer = {rollout::Verdict::insufficient, "errors: no series"};
  begin(request());
  pass(0.1);
  connect(1000, 0, 9000);
  pass(11);
  EXPECT_EQ(queries, 2 * 3u) << "for each service, every five seconds";
  EXPECT_EQ(groups.stored, Shares({tenth})) << "without an answer it does not go on";
  answer = {rollout::Verdict::fail, "errors: 7, expected below 1"};
  pass(6);
  EXPECT_EQ(groups.stored, Shares({tenth, 0}));
  EXPECT_NE(status().reason.find("errors: 7, expected below 1"), std::string::npos) << status().reason;
}

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

TEST_F(RolloutsTest, EventsTellWhatHappens) {
  begin(request());
  pass(2);
  unsigned signals = 0, told = 0;
  for (const Event& event : events.kept()) {
    const Json data = Json::parse(event.data);
    if (event.type == "signals") {
      signals++;
      EXPECT_EQ(data["groups"][0]["pools"]["blue"]["flows"], 500);
    } else {
      ASSERT_EQ(event.type, "rollout");
      told++;
      EXPECT_FALSE(data["text"].get<std::string>().empty());
      EXPECT_EQ(data["rollout"]["group"], "front");
    }
  }
  EXPECT_EQ(signals, 2u);
  EXPECT_GE(told, 2u);
}

TEST_F(RolloutsTest, AServiceThatIsNoLongerConfiguredStopsIt) {
  begin(request());
  pass(0.1);
  groups.configured = false;
  pass(20);
  EXPECT_NE(status().reason, "");
  EXPECT_LE(groups.stored.size(), 2u);
}

TEST_F(RolloutsTest, TheRestOfADrainIsForetold) {
  RolloutRequest r = request();
  r.steps = {65536};
  r.bake_s = 0;
  begin(r);
  pass(0.1);
  connect(1000, 0, 0);
  pass(1);
  ASSERT_EQ(status().phase, "draining");
  EXPECT_NEAR(static_cast<double>(status().eta_s.value_or(0)), 99, 1) << "the deadline";
  for (int i = 0; i < 20; i++) {
    groups.group.pools[0].flows = groups.group.pools[0].flows * 9 / 10;
    pass(1);
  }
  // 500 flows fall by a tenth a second.
  ASSERT_TRUE(status().drain->eta_s);
  EXPECT_NEAR(static_cast<double>(*status().drain->eta_s), 42, 8);
}

}  // namespace
}  // namespace teal::control
