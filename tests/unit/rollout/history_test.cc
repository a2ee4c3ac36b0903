// SPDX-License-Identifier: Apache-2.0
// 10,000 random lives of a group: commands, verdicts, hooks, power cuts, full disks and other people, under the eyes of
// a referee. A failure names its seed: run it alone with --gtest_filter=History.* and TEAL_SEED.
#include <cstdlib>
#include <random>

#include "referee.h"

namespace {

using namespace teal::rollout;
using namespace teal::test;
using teal::model::FlowsAction;
using teal::model::HookPoint;
using teal::model::Pool;

struct Seen {  // so that a test that reaches nothing fails
  std::map<std::string, int> count;
  void operator()(const std::string& what) { count[what]++; }
};

class Life {
 public:
  Life(uint32_t seed, Seen& seen) : random_(seed), seen_(seen) {}

  std::string live() {
    for (int i = 0; i < 80 && referee_.violation.empty(); i++) {
      try {
        event();
      } catch (const PowerCut&) {
        restart();
      }
      d_.notes.clear();
    }
    return referee_.violation;
  }

 private:
  int below(int n) { return static_cast<int>(random_() % static_cast<uint32_t>(n)); }
  bool chance(int percent) { return below(100) < percent; }

  void event() {
    const int what = below(100);
    if (what < 45) return pass_time();
    if (what < 53) return judge(d_.signals);
    if (what < 56) return judge(d_.prometheus);
    if (what < 70) return hook_returns();
    if (what < 75) return census();
    if (what < 79) return readiness();
    if (what < 88) return command();
    if (what < 90) return somebody_else();
    if (what < 92) return void(d_.split.current = drained(d_.split.current));
    if (what < 93) return void(d_.files.full = chance(40));
    if (what < 94) return void(d_.obstacle = chance(30) ? "untracked flows" : "");
    if (what < 96) return void(d_.files.calls_left = below(12));  // the power will be cut
    if (what < 97) return restart();
    start();
  }

  void pass_time() {
    static constexpr int64_t times[] = {0, 100, 100, 100, 1'000, 5'000, 11'000, 31'000};
    const int64_t ms = times[below(8)];
    referee_.time_passes(ms);
    d_.now_ms += ms;
    step();
  }
  void step() {
    referee_.origin = Origin::step;
    const Pause before = d_.state.pause;
    const size_t sets = d_.sets.size();
    const uint64_t word = d_.state.word;
    d_.step();
    if (d_.sets.size() != sets && d_.state.word == word) seen_("an announced change is made after a restart");
    if (d_.state.pause != before) seen_(std::string("paused: ") + to_string(d_.state.pause));
    note_end();
  }
  void note_end() {
    if (d_.state.running() || d_.state.id == counted_) return;
    counted_ = d_.state.id;
    seen_(std::string("ended: ") + to_string(d_.state.outcome) + (d_.state.automatic ? " automatically" : ""));
  }
  void judge(Verdict& verdict) {
    const int v = below(100);
    verdict = v < 70 ? Verdict::pass : v < 90 ? Verdict::insufficient : Verdict::fail;
    step();
  }
  void hook_returns() {
    if (!d_.state.hook_running) return pass_time();
    const bool ok = chance(85);
    if (ok) referee_.hook_succeeds(d_.state.hooks_due.front());
    d_.hook = HookResult{d_.state.hook_call - (chance(5) ? 1 : 0), ok, "output"};
    step();
    d_.hook.reset();
  }
  void census() {
    d_.flows_left = chance(40) ? 0 : below(1000);
    if (d_.state.phase == Phase::draining) step();
    d_.flows_left.reset();
  }
  void readiness() {
    (chance(50) ? d_.target_ready : d_.other_ready) = chance(75);
    step();
  }
  void somebody_else() {
    const int what = below(3);
    const SplitChange change = what == 0   ? cutover(d_.split, chance(50) ? Pool::green : Pool::blue)
                               : what == 1 ? rollback(d_.split)
                                           : move_share(d_.split, Pool::green, static_cast<uint32_t>(below(65537)));
    if (!change.changed) return;
    d_.split = change.next;
    // After a restart somebody may do by hand just what was announced: that is as well.
    const bool watched =
        d_.state.running() && d_.state.phase != Phase::done && !same_word(d_.split.current, d_.state.word);
    if (watched) referee_.foreign = true;
    step();
    if (watched && d_.state.pause != Pause::foreign && referee_.violation.empty())
      referee_.violation = "somebody else's change was not seen";
  }
  void command() {
    const State before = d_.state;
    Reply reply;
    const BackRequest back{chance(30) ? std::optional(FlowsAction::reset) : std::nullopt, chance(30), "ann"};
    const int what = below(12);
    if (what < 2) {
      referee_.origin = Origin::pause;
      reply = d_.pause();
    } else if (what < 8) {
      referee_.origin = Origin::resume;
      reply = d_.resume();
    } else if (what < 10) {
      const bool all = chance(30);
      referee_.origin = all ? Origin::promote_all : Origin::promote;
      reply = d_.promote(all);
    } else {
      referee_.origin = Origin::back;
      reply = d_.take(what == 10 ? abort(d_.state, d_.inputs(), back) : rollback(d_.state, d_.inputs(), back));
    }
    if (!reply.accepted && describe(reply.turn.state) != describe(before))
      referee_.violation = "a refusal that changes";
    if (!reply.accepted && reply.text.empty()) referee_.violation = "a refusal without a reason";
    note_end();
  }
  void start() {
    if (d_.state.running() && chance(90)) return pass_time();
    Plan plan = three_steps();
    plan.to = chance(95) ? standby(d_.split) : other(standby(d_.split));
    if (chance(30)) plan.steps = {all};
    plan.bake_s = chance(50) ? 0 : 30;
    if (chance(20)) plan.hold_s = 0;
    plan.drain_deadline_s = chance(50) ? 0 : 20;
    if (chance(50)) plan.at_deadline = FlowsAction::reset;
    if (chance(50)) plan.rollback_flows = FlowsAction::reset;
    plan.stay_in_preview = chance(20);
    plan.judge_nothing = chance(20);
    plan.force_unready = chance(20);
    plan.again = chance(70);
    for (HookPoint p : every_hook)
      if (chance(15)) plan.hooks.push_back(p);
    // A start goes from a whole pool, as people would make it.
    if (chance(80) && !d_.state.running()) d_.split = whole(d_.split, teal::model::other(plan.to));
    referee_.origin = Origin::start;
    const Reply reply = d_.start(plan);
    seen_(reply.accepted ? "started" : "refused to start");
  }
  static teal_split whole(const teal_split& split, Pool pool) {
    const SplitChange change = cutover(split, pool);
    return change.changed ? change.next : split;
  }
  static Pool other(Pool p) { return teal::model::other(p); }

  void restart() {
    seen_("restarted");
    const std::string safe = d_.safe, tried = d_.files.written;
    const bool over = !d_.state.running();
    const uint64_t id = d_.state.id;
    d_.files.full = false;
    const size_t sets = d_.sets.size();
    referee_.origin = Origin::restart;
    const auto result = d_.restart({chance(50), static_cast<Remains::Bytes>(below(3))}, below(1'000'000));
    if (!result) referee_.violation = result.message();
    const std::string phase = std::string("\"phase\":\"") + to_string(d_.state.phase) + "\"";
    if (d_.state.id != 0 && safe.find(phase) == std::string::npos && tried.find(phase) == std::string::npos)
      referee_.violation = "a restart changes the phase";
    if (over && d_.state.id == id && d_.state.running() && !d_.state.paused() &&
        d_.state.phase != Phase::rolling_back && d_.state.phase != Phase::done)
      referee_.violation = "an ended rollout comes back";
    if (d_.sets.size() != sets) referee_.violation = "a restart stores before anybody has looked";
    referee_.foreign = d_.state.pause == Pause::foreign;
    if (!referee_.foreign && d_.state.running() && !same_word(d_.split.current, d_.state.word) &&
        !same_word(d_.split.current, d_.state.word_before) && d_.state.phase != Phase::done)
      referee_.violation = "a strange split is not seen";
  }

  std::mt19937 random_;
  Seen& seen_;
  Driver d_;
  Referee referee_{d_};
  uint64_t counted_ = 0;
};

// Under ASan a life takes ten times as long, and what it looks for there a tenth of them shows as well.
#ifdef __SANITIZE_ADDRESS__
constexpr uint32_t lives = 1'000;
#else
constexpr uint32_t lives = 10'000;
#endif

TEST(History, RandomLives) {
  Seen seen;
  const char* one = std::getenv("TEAL_SEED");
  const uint32_t first = one ? static_cast<uint32_t>(std::atoi(one)) : 1, last = one ? first : lives;
  for (uint32_t seed = first; seed <= last; seed++) {
    const std::string violation = Life(seed, seen).live();
    ASSERT_EQ(violation, "") << "TEAL_SEED=" << seed;
  }
  if (one) return;
  for (const auto& [what, count] : seen.count) std::printf("%7d %s\n", count, what.c_str());
  for (const char* what :
       {"ended: done", "ended: rolled_back", "ended: rolled_back automatically", "ended: aborted", "paused: too_few",
        "paused: hook", "paused: foreign", "paused: other_down", "paused: obstacle", "restarted", "started",
        "refused to start", "an announced change is made after a restart"})
    EXPECT_GE(seen.count[what], lives / 100) << what;
}

}  // namespace
