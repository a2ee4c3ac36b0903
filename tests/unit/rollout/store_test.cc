// SPDX-License-Identifier: Apache-2.0
// The text that a rollout is kept as, and the file.
#include "rollout/store.h"

#include "driver.h"
#include "rollout/state_json.h"

namespace {

using namespace teal::rollout;
using namespace teal::test;
using teal::model::FlowsAction;
using teal::model::HookPoint;
using teal::model::Pool;

// Every field other than its default.
State full_state() {
  State s;
  s.id = 7;
  s.group = "web";
  s.services = {"web", "api"};
  s.plan = three_steps();
  s.plan.to = Pool::blue;
  s.plan.at_deadline = s.plan.rollback_flows = FlowsAction::reset;
  s.plan.stay_in_preview = s.plan.judge_nothing = s.plan.ignore_affinity = s.plan.force_unready = s.plan.again = true;
  s.plan.hooks = every_hook;
  s.phase = Phase::shifting;
  s.pause = Pause::other_down;
  s.pause_reason = "because \"of\" \n this";
  s.step = 1;
  s.elapsed_ms = 1234;
  s.started_at_ms = 1'700'000'000'000;
  s.ended_at_ms = 1'700'000'000'001;
  s.word_before = teal_split_make((1ull << 40) - 2, all, 1, 1);
  s.word = teal_split_make((1ull << 40) - 1, 58982, 1, 1);
  s.generation = (1ull << 40) - 1;
  s.hooks_due = {HookPoint::post_step, HookPoint::pre_step};
  s.hook_running = true;
  s.hook_call = 99;
  s.then = Then::take_step;
  s.then_step = 2;
  s.reset_due = Pool::blue;
  s.signals_verdict = "a";
  s.prometheus_verdict = "b";
  s.outcome = Outcome::rolled_back;
  s.automatic = true;
  s.reason = "c";
  s.flows_left = 0;
  s.failed_pool = Pool::green;
  s.failed_signature = "d";
  s.history = {{1, "first"}, {2, "second"}};
  return s;
}

void expect_error(const std::string& text, const std::string& part) {
  const Parsed parsed = from_text(text);
  EXPECT_FALSE(parsed.state);
  EXPECT_NE(parsed.error.find(part), std::string::npos) << parsed.error;
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

// The text with a right check: what a program with other ideas would have written.
std::string written_otherwise(const std::string& from, const std::string& to) {
  const std::string text = replaced(to_text(full_state()), from, to);
  const std::string error = from_text(text).error;
  const size_t at = error.find("expected \"");
  EXPECT_NE(at, std::string::npos) << error;
  const size_t check = text.find("\"check\":\"") + 9;
  return std::string(text).replace(check, 16, error.substr(at + 10, 16));
}

TEST(StateText, KeepsEveryField) {
  const State s = full_state();
  const Parsed parsed = from_text(to_text(s));
  ASSERT_TRUE(parsed.state) << parsed.error;
  const State& r = *parsed.state;
  EXPECT_EQ(to_text(r), to_text(s));
  EXPECT_EQ(r.plan, s.plan);
  EXPECT_EQ(r.services, s.services);
  EXPECT_EQ(r.word, s.word);
  EXPECT_EQ(r.word_before, s.word_before);
  EXPECT_EQ(r.pause_reason, s.pause_reason);
  EXPECT_EQ(r.history, s.history);
  EXPECT_EQ(r.hooks_due, s.hooks_due);
  EXPECT_EQ(r.flows_left, s.flows_left);
  EXPECT_EQ(r.reset_due, s.reset_due);
  EXPECT_EQ(r.failed_pool, s.failed_pool);
  EXPECT_TRUE(from_text(to_text(State{})).state);
}

TEST(StateText, EachFieldCounts) {
  // A field that is not written would make two different states one text.
  const std::string text = describe(State{});
  const State full = full_state();
  const std::vector<void (*)(State&, const State&)> fields = {
      [](State& a, const State& b) { a.id = b.id; },
      [](State& a, const State& b) { a.group = b.group; },
      [](State& a, const State& b) { a.services = b.services; },
      [](State& a, const State& b) { a.plan.to = b.plan.to; },
      [](State& a, const State& b) { a.plan.steps = b.plan.steps; },
      [](State& a, const State& b) { a.plan.hold_s = b.plan.hold_s; },
      [](State& a, const State& b) { a.plan.bake_s = b.plan.bake_s; },
      [](State& a, const State& b) { a.plan.drain_deadline_s = b.plan.drain_deadline_s; },
      [](State& a, const State& b) { a.plan.at_deadline = b.plan.at_deadline; },
      [](State& a, const State& b) { a.plan.rollback_flows = b.plan.rollback_flows; },
      [](State& a, const State& b) { a.plan.stay_in_preview = b.plan.stay_in_preview; },
      [](State& a, const State& b) { a.plan.judge_nothing = b.plan.judge_nothing; },
      [](State& a, const State& b) { a.plan.ignore_affinity = b.plan.ignore_affinity; },
      [](State& a, const State& b) { a.plan.force_unready = b.plan.force_unready; },
      [](State& a, const State& b) { a.plan.again = b.plan.again; },
      [](State& a, const State& b) { a.plan.hooks = b.plan.hooks; },
      [](State& a, const State& b) { a.plan.target_signature = b.plan.target_signature; },
      [](State& a, const State& b) { a.plan.started_by = b.plan.started_by; },
      [](State& a, const State& b) { a.phase = b.phase; },
      [](State& a, const State& b) { a.pause = b.pause; },
      [](State& a, const State& b) { a.pause_reason = b.pause_reason; },
      [](State& a, const State& b) { a.step = b.step; },
      [](State& a, const State& b) { a.elapsed_ms = b.elapsed_ms; },
      [](State& a, const State& b) { a.started_at_ms = b.started_at_ms; },
      [](State& a, const State& b) { a.ended_at_ms = b.ended_at_ms; },
      [](State& a, const State& b) { a.word_before = b.word_before; },
      [](State& a, const State& b) { a.word = b.word; },
      [](State& a, const State& b) { a.generation = b.generation; },
      [](State& a, const State& b) { a.hooks_due = b.hooks_due; },
      [](State& a, const State& b) { a.hook_running = b.hook_running; },
      [](State& a, const State& b) { a.hook_call = b.hook_call; },
      [](State& a, const State& b) { a.then = b.then; },
      [](State& a, const State& b) { a.then_step = b.then_step; },
      [](State& a, const State& b) { a.reset_due = b.reset_due; },
      [](State& a, const State& b) { a.signals_verdict = b.signals_verdict; },
      [](State& a, const State& b) { a.prometheus_verdict = b.prometheus_verdict; },
      [](State& a, const State& b) { a.outcome = b.outcome; },
      [](State& a, const State& b) { a.automatic = b.automatic; },
      [](State& a, const State& b) { a.reason = b.reason; },
      [](State& a, const State& b) { a.flows_left = b.flows_left; },
      [](State& a, const State& b) { a.failed_pool = b.failed_pool; },
      [](State& a, const State& b) { a.failed_signature = b.failed_signature; },
      [](State& a, const State& b) { a.history = b.history; },
  };
  for (size_t i = 0; i < fields.size(); i++) {
    State s;
    fields[i](s, full);
    EXPECT_NE(describe(s), text) << "field " << i;
  }
}

TEST(StateText, AnyBytesOfAHookAreKeptAsText) {
  State s = full_state();
  s.reason = "\xff\xfe broken \xc3";
  const Parsed parsed = from_text(to_text(s));
  ASSERT_TRUE(parsed.state) << parsed.error;
  EXPECT_NE(parsed.state->reason.find(" broken "), std::string::npos);
}

TEST(StateText, DamageIsAnErrorAndNeverAGuess) {
  const std::string text = to_text(full_state());
  for (size_t n = 0; n + 2 < text.size(); n++) ASSERT_FALSE(from_text(text.substr(0, n)).state) << n;
  // One bit anywhere: an error, or (in white space and the like) the same state.
  for (size_t i = 0; i < text.size() - 1; i++)
    for (int bit = 0; bit < 8; bit++) {
      std::string damaged = text;
      damaged[i] = static_cast<char>(damaged[i] ^ (1 << bit));
      const Parsed parsed = from_text(damaged);
      if (parsed.state) {
        ASSERT_EQ(to_text(*parsed.state), text) << "bit " << bit << " of byte " << i;
      }
    }
}

TEST(StateText, AnotherVersionIsRefused) {
  expect_error(replaced(to_text(full_state()), "\"version\":1", "\"version\":2"), "version: found 2, expected 1");
  expect_error(replaced(to_text(full_state()), "\"version\":1", "\"version\":\"1\""), "version");
  expect_error("{}", "version");
  expect_error("[]", "");
  expect_error("", "parse error");
  expect_error(replaced(to_text(full_state()), "\"elapsed_ms\":1234", "\"elapsed_ms\":1235"), "check: found");
}

TEST(StateText, WhatDoesNotFitIsRefused) {
  expect_error(written_otherwise("\"elapsed_ms\":1234,", ""), "elapsed_ms");
  expect_error(written_otherwise("\"elapsed_ms\":1234,", "\"elapsed_ms\":1234,\"new\":1,"), "does not write");
  expect_error(written_otherwise("\"elapsed_ms\":1234", "\"elapsed_ms\":-1"), "elapsed_ms: found -1");
  expect_error(written_otherwise("\"hold_s\":10", "\"hold_s\":-10"), "does not write");
  expect_error(written_otherwise("\"hold_s\":10", "\"hold_s\":\"10\""), "");
  expect_error(written_otherwise("\"phase\":\"shifting\"", "\"phase\":\"flying\""), "phase: found 'flying'");
  expect_error(written_otherwise("\"step\":1", "\"step\":3"), "step: found 3, expected -1 to 2");
  expect_error(written_otherwise("\"then_step\":2", "\"then_step\":-1"), "then_step: found -1");
  expect_error(written_otherwise("[655,6554,65536]", "[655,6554]"), "the last one");
  expect_error(written_otherwise("[\"post_step\",\"pre_step\"]", "[]"), "hook_running");
  expect_error(written_otherwise("\"generation\":1099511627775", "\"generation\":3"), "generation: found 3");
}

TEST(Store, NothingStoredIsNoError) {
  CutFiles files;
  Store store(files, "/rollouts/web.json");
  const Loaded loaded = store.load();
  EXPECT_FALSE(loaded.state);
  EXPECT_EQ(loaded.error, "");
}

TEST(Store, ErrorsNameTheFile) {
  CutFiles files;
  Store store(files, "/rollouts/web.json");
  files.full = true;
  EXPECT_EQ(store.save(full_state()), "/rollouts/web.json.new: No space left on device");
  files.full = false;
  ASSERT_EQ(store.save(full_state()), "");
  files.write("/rollouts/web.json", "{");
  const Loaded loaded = store.load();
  EXPECT_FALSE(loaded.state);
  EXPECT_EQ(loaded.error.substr(0, 20), "/rollouts/web.json: ");
}

TEST(Store, ACutAtAnyCallLeavesTheOldStateOrTheNew) {
  State old_state = full_state(), new_state = full_state();
  new_state.id = 8;
  for (int cut = 0; cut < 5; cut++)
    for (bool names : {false, true})
      for (auto bytes : {Remains::Bytes::none, Remains::Bytes::half, Remains::Bytes::all}) {
        CutFiles files;
        Store store(files, "/rollouts/web.json");
        ASSERT_EQ(store.save(old_state), "");
        files.calls_left = cut;
        bool saved = false;
        try {
          saved = store.save(new_state).empty();
        } catch (const PowerCut&) {
        }
        EXPECT_EQ(saved, cut >= 4);
        files.crash({names, bytes});
        const Loaded loaded = store.load();
        ASSERT_TRUE(loaded.state) << loaded.error << " cut at call " << cut;
        if (saved) {
          EXPECT_EQ(loaded.state->id, 8u);
        }
        EXPECT_EQ(to_text(*loaded.state), to_text(loaded.state->id == 8 ? new_state : old_state));
      }
}

}  // namespace
