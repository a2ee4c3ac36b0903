// SPDX-License-Identifier: Apache-2.0
// Runs every case of tests/cases through both engines and compares whole frames, entries and counters: dpdk/* with what
// the case expects; xdp/* with what it expects and, step by step, with the DPDK engine beside it. settled-dpdk/* and
// settled-xdp/* are the same cases where, whenever frames come in, everything has settled that may (teal/settled.h):
// nothing that a case expects may change by it.
// Usage: teal-cases [--gtest_filter=...]; TEAL_CASES_DIR names another directory of cases, TEAL_CASES_SEED a secret.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <random>
#include <sstream>

#include "cases/agreement.h"
#include "cases/case_file.h"
#include "cases/invariants.h"
#include "engines/dpdk_engine.h"
#include "engines/xdp_engine.h"

namespace teal::tests {
namespace {

using nlohmann::json;

std::vector<Case>& all_cases() {
  static std::vector<Case> cases;
  return cases;
}

std::string& no_xdp() {
  static std::string why;  // empty: the XDP engine runs here
  return why;
}

std::string place_of(const Output& o) {
  return (o.kernel ? "kernel " : "port ") + std::to_string(o.port);
}

uint64_t draw_seed() {
  const char* given = std::getenv("TEAL_CASES_SEED");
  return given != nullptr ? std::stoull(given) : std::random_device()();
}

struct How {
  bool settled, xdp;
};

// What was settled outlives its time-out by two minutes (and longer where no walk came by): a case in which the sweeper
// comes so late and something is gone afterwards may speak of that, and is left out.
bool expects_the_end(const Case& c) {
  const auto timeout_of = [](const json& world) {
    const auto config = json::parse(world.at("config").get<std::string>());
    return config.value("/engine/timeouts/established_s"_json_pointer, uint64_t{3600}) * 1000;
  };
  uint64_t timeout = timeout_of(c.head), passed = 0;
  bool begun = false, late = false;
  for (const json& step : c.steps) {
    if (step.contains("publish")) timeout = std::min(timeout, timeout_of(step["publish"]));
    begun |= step.contains("send");
    if (!begun) continue;
    passed += step.value("advance_ms", uint64_t{0}) + step.value("advance_ticks", uint64_t{0}) * 1000 / 4096;
    late |= step.contains("sweep") && passed > timeout;
    if (late && step.contains("flow") && step["flow"].value("none", false)) return true;
  }
  return false;
}

// Connections settle when their backend has sent data, which few cases' have: it is taken for granted unless a case
// looks at what it tells of a reset.
bool looks_at_data(const Case& c) {
  return std::any_of(c.steps.begin(), c.steps.end(), [](const json& step) { return step.contains("signals"); });
}

class Runner {
 public:
  Runner(const Case& c, How how) : case_(c), settled_(how.settled), seed_(c.head.value("seed", draw_seed())) {
    const uint64_t flows = c.head.value("flows", uint64_t{1024});
    engine_ = make_dpdk_engine(flows, secret_of(seed_));
    if (!how.xdp) return;
    beside_ = std::move(engine_);
    engine_ = make_xdp_engine(flows, secret_of(seed_), world_of(c.head).ports);
  }

  void run() {
    SCOPED_TRACE("TEAL_CASES_SEED=" + std::to_string(seed_));
    engine_->publish(case_.head.at("config"), world_of(case_.head));
    if (beside_) beside_->publish(case_.head.at("config"), world_of(case_.head));
    for (size_t i = 0; i < case_.steps.size(); i++) {
      const json& step = case_.steps[i];
      std::ostringstream where;
      where << case_.file << ":" << case_.line + static_cast<int>(i) + 1 << ": " << step.value("note", "");
      SCOPED_TRACE(where.str());
      do_step(step);
      if (testing::Test::HasFailure()) break;
    }
    EXPECT_EQ(engine_->counters().at("flows_moved"), 0u) << "the ledger";
    if (beside_)
      beside_->close_and_count_leaks();  // both draw on one store of buffers: the second one's count is of both
    EXPECT_EQ(engine_->close_and_count_leaks(), 0u) << "packet buffers that nobody freed";
  }

 private:
  void do_step(const json& step) {
    if (step.contains("flow")) return check_flow(step["flow"]);
    if (step.contains("affinity")) return check_affinity(step["affinity"]);
    if (step.contains("signals")) return check_signals(step["signals"]);
    if (step.contains("totals")) return check_totals(step["totals"]);
    for (uint64_t i = step.value("times", uint64_t{1}); i > 0 && !testing::Test::HasFailure(); i--) {
      do_once(step);
      if (step.contains("apart_ticks")) do_once({{"advance_ticks", step["apart_ticks"]}});
    }
  }

  void do_once(const json& step) {
    if (settled_ && step.contains("send"))
      for (Engine* e : {engine_.get(), beside_.get()})
        if (e != nullptr) e->settle(!looks_at_data_);
    const auto before = engine_->counters();
    const std::vector<Output> got = play(*engine_, step);
    if (beside_) {
      EXPECT_EQ(disagreement("dpdk", *beside_, play(*beside_, step), "xdp", *engine_, got), "") << "the engines differ";
    }
    if (case_.head.value("agree", false)) return;  // nothing else is expected
    compare(step, got, !step.value("unsound", false));
    counted(step, before);
  }

  // Events since the case began: [least, most].
  void check_totals(const json& want) {
    const auto counters = engine_->counters();
    for (const auto& [name, range] : want.items()) {
      if (!may_name(name)) continue;
      ASSERT_TRUE(counters.contains(name)) << "no such event: " << name;
      EXPECT_GE(counters.at(name), range[0].get<uint64_t>()) << name;
      EXPECT_LE(counters.at(name), range[1].get<uint64_t>()) << name;
    }
  }

  // Where all settles that may, more packets go without the table than a case says.
  [[nodiscard]] bool may_name(const std::string& event) const { return !settled_ || event != "settled"; }

  void check_flow(const json& want) {
    const auto client = model::Endpoint::parse(want.at("client").get<std::string>());
    ASSERT_TRUE(client) << want;
    check_entry(want, engine_->flow(want.at("service"), *client));
  }

  // A client's prefix, and how many such entries there are in all.
  void check_affinity(const json& want) {
    if (want.contains("entries")) {
      EXPECT_EQ(engine_->affinity_entries(), want["entries"].get<uint64_t>()) << "affinity entries";
    }
    if (!want.contains("client")) return;
    const auto client = model::Address::parse(want["client"].get<std::string>());
    ASSERT_TRUE(client) << want;
    const auto got = engine_->affinity(want.at("service"), *client);
    if (got) {
      EXPECT_EQ(got->state, "affinity");
      EXPECT_EQ(got->backend, "") << "an affinity is to a pool";
    }
    check_entry(want, got);
  }

  // All signals of a service since the case began: what is not named is 0.
  void check_signals(const json& want) {
    const Counts counts = engine_->counts();
    const size_t service = engine_->number_of(want.at("service"));
    json of = want.at("of");
    for (size_t i = 0; i < signals_per_service; i++) {
      json expected = of.value(signal_place(i), json::object());
      of.erase(signal_place(i));
      for (const auto& [name, is] : named_signals(counts, service, i)) {
        EXPECT_EQ(is, expected.value(name, uint64_t{0})) << "signal " << name << " of " << signal_place(i);
        expected.erase(name);
      }
      EXPECT_TRUE(expected.empty()) << "no such signals: " << expected;
    }
    EXPECT_TRUE(of.empty()) << "no such pools and generations: " << of;
  }

  void check_entry(const json& want, const std::optional<FlowEntry>& got) {
    if (want.value("none", false)) {
      EXPECT_FALSE(got) << "an entry stands on " << got->backend << " in state " << got->state;
      return;
    }
    ASSERT_TRUE(got) << "no entry of " << want;
    for (const auto& [key, is] :
         {std::pair<std::string, std::string>{"state", got->state}, {"pool", got->pool}, {"backend", got->backend}})
      if (want.contains(key)) {
        EXPECT_EQ(is, want[key].get<std::string>()) << key << " of the entry";
      }
    if (want.contains("generation")) {
      EXPECT_EQ(got->generation, want["generation"].get<uint64_t>());
    }
  }

  // Every drop must be announced by its step; events are compared where the step names them.
  void counted(const json& step, const std::map<std::string, uint64_t>& before) {
    const json drops = step.value("drop", json::object());
    const json events = step.value("events", json::object());
    const json at_least = step.value("events_min", json::object());
    for (const auto& [name, value] : engine_->counters()) {
      const uint64_t more = value - before.at(name);
      if (name.starts_with("drop.")) {
        EXPECT_EQ(more, drops.value(name.substr(5), uint64_t{0})) << name;
      }
      if (events.contains(name) && may_name(name)) {
        EXPECT_EQ(more, events[name].get<uint64_t>()) << "event " << name;
      }
      if (at_least.contains(name)) {
        EXPECT_GE(more, at_least[name].get<uint64_t>()) << "event " << name;
      }
    }
    for (const json* list : {&events, &at_least})
      for (const auto& [name, unused] : list->items()) EXPECT_TRUE(before.contains(name)) << "no such event: " << name;
    for (const auto& [name, unused] : drops.items())
      EXPECT_TRUE(before.contains("drop." + name)) << "no such drop: " << name;
  }

  void compare(const json& step, const std::vector<Output>& got, bool sound) {
    const json want = step.value("expect", json::array());
    for (size_t i = 0; i < std::max(got.size(), want.size()); i++) {
      if (i >= got.size()) {
        ADD_FAILURE() << "missing: " << want[i].at("to") << " "
                      << want[i].value("hex", want[i].value("any", json()).dump());
        continue;
      }
      if (i >= want.size()) {
        ADD_FAILURE() << "not expected: " << place_of(got[i]) << " " << hex_of(got[i].frame);
        continue;
      }
      EXPECT_EQ(place_of(got[i]), want[i].at("to").get<std::string>()) << "frame " << i;
      frame(want[i], got[i].frame);
      if (sound) {
        EXPECT_EQ(wrong_checksum(got[i].frame), "") << place_of(got[i]) << " " << hex_of(got[i].frame);
      }
    }
  }

  // "any": the frame by name of who may get it; "bind" remembers who did, "same" and "other" hold a later frame to it.
  void frame(const json& want, const Bytes& got) {
    if (!want.contains("any")) return bytes(want, bytes_of(want.at("hex")), got);
    for (const auto& [who, hex] : want["any"].items()) {
      if (differing(want, bytes_of(hex), got) != npos) continue;
      if (want.contains("bind")) bound_[want["bind"]] = who;
      if (want.contains("same")) {
        EXPECT_EQ(who, bound_[want["same"]]) << "the flow moved";
      }
      if (want.contains("other")) {
        EXPECT_NE(who, bound_[want["other"]]) << "must differ";
      }
      return;
    }
    ADD_FAILURE() << "none of the possible frames: got " << hex_of(got) << "\nexpected one of " << want["any"].dump(1);
  }

  static constexpr size_t npos = ~size_t{0};
  static bool masked(const json& want, size_t at) {
    if (want.contains("mask"))
      for (const auto& m : want["mask"])
        if (at >= m[0].get<size_t>() && at < m[0].get<size_t>() + m[1].get<size_t>()) return true;
    return false;
  }
  static size_t differing(const json& want, const Bytes& a, const Bytes& b) {
    for (size_t i = 0; i < std::max(a.size(), b.size()); i++)
      if (i >= a.size() || i >= b.size() || (a[i] != b[i] && !masked(want, i))) return i;
    return npos;
  }

  void bytes(const json& want, const Bytes& a, const Bytes& b) {
    const size_t at = differing(want, a, b);
    if (at != npos)
      ADD_FAILURE() << "differs at byte " << at << " (lengths " << b.size() << ", expected " << a.size()
                    << ")\n     got " << hex_of(b) << "\nexpected " << hex_of(a) << "\n         "
                    << std::string(at * 2, ' ') << "^^";
    // Fields that no golden can know (identifications) may still have to be alike, or to differ, among frames.
    if (want.contains("mask") && b.size() == a.size())
      for (const auto& m : want["mask"]) {
        if (m.size() < 3) continue;
        const Bytes field(b.begin() + m[0].get<long>(), b.begin() + m[0].get<long>() + m[1].get<long>());
        const auto [known, fresh] = fields_.emplace(m[2].get<std::string>(), field);
        EXPECT_EQ(hex_of(known->second), hex_of(field)) << "field '" << m[2] << "' must be the same in all its frames";
      }
  }

  const Case& case_;
  bool settled_, looks_at_data_ = looks_at_data(case_);
  uint64_t seed_;
  std::unique_ptr<Engine> engine_, beside_;
  std::map<std::string, std::string> bound_;
  std::map<std::string, Bytes> fields_;
};

class CaseTest : public testing::Test {
 public:
  CaseTest(const Case& c, How how) : case_(c), how_(how) {}
  void TestBody() override {
    if (how_.xdp && !no_xdp().empty()) GTEST_SKIP() << no_xdp();
    try {
      Runner(case_, how_).run();
    } catch (const std::exception& e) {
      FAIL() << case_.file << ":" << case_.line << ": " << e.what();
    }
  }

 private:
  const Case& case_;
  How how_;
};

void add_test(const Case& c, How how) {
  if (how.settled && expects_the_end(c)) return;
  const auto slash = c.name.find('/');
  const std::string suite = std::string(how.settled ? "settled-" : "") + (how.xdp ? "xdp/" : "dpdk/");
  testing::RegisterTest((suite + c.name.substr(0, slash)).c_str(),
                        slash == std::string::npos ? "case" : c.name.substr(slash + 1).c_str(), nullptr, nullptr,
                        c.file.c_str(), c.line, [&c, how]() -> testing::Test* { return new CaseTest(c, how); });
}

}  // namespace
}  // namespace teal::tests

int main(int argc, char** argv) {
  using namespace teal::tests;
  testing::InitGoogleTest(&argc, argv);
  const char* directory = std::getenv("TEAL_CASES_DIR");
  try {
    all_cases() = read_cases(directory != nullptr ? directory : TEAL_CASES);
    no_xdp() = start_xdp();
    start_dpdk();
  } catch (const std::exception& e) {
    std::cerr << "teal-cases: " << e.what() << '\n';
    return 1;
  }
  if (all_cases().empty()) {
    std::cerr << "teal-cases: no cases found\n";
    return 1;
  }
  if (!no_xdp().empty()) std::cerr << "teal-cases: SKIPPED: no case runs through the XDP engine: " << no_xdp() << '\n';
  for (const How how : {How{false, false}, How{true, false}, How{false, true}, How{true, true}})
    for (const Case& c : all_cases()) add_test(c, how);
  const int result = RUN_ALL_TESTS();
  stop_xdp();
  return result;
}
