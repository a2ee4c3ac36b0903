// SPDX-License-Identifier: Apache-2.0
// Runs every case of tests/cases through an engine and compares whole frames, entries and counters.
// Usage: teal-cases [--gtest_filter=...]; TEAL_CASES_DIR names another directory of cases.
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <sstream>

#include "cases/case_file.h"
#include "cases/invariants.h"
#include "engines/dpdk_engine.h"

namespace teal::tests {
namespace {

using nlohmann::json;

std::vector<Case>& all_cases() {
  static std::vector<Case> cases;
  return cases;
}

std::string place_of(const Output& o) {
  return (o.kernel ? "kernel " : "port ") + std::to_string(o.port);
}

class Runner {
 public:
  explicit Runner(const Case& c) : case_(c), engine_(make_dpdk_engine(c.head.value("flows", uint64_t{1024}))) {}

  void run() {
    engine_->publish(case_.head.at("config"), world_of(case_.head));
    for (size_t i = 0; i < case_.steps.size(); i++) {
      const json& step = case_.steps[i];
      std::ostringstream where;
      where << case_.file << ":" << case_.line + static_cast<int>(i) + 1 << ": " << step.value("note", "");
      SCOPED_TRACE(where.str());
      const auto before = engine_->counters();
      do_step(step);
      counted(step, before);
      if (testing::Test::HasFailure()) break;
    }
    EXPECT_EQ(engine_->counters().at("flows_moved"), 0u) << "the ledger";
    EXPECT_EQ(engine_->close_and_count_leaks(), 0u) << "packet buffers that nobody freed";
  }

 private:
  void do_step(const json& step) {
    if (step.contains("send")) {
      std::vector<Bytes> frames;
      bool sound = !step.value("unsound", false);
      for (const auto& hex : step["send"]) frames.push_back(bytes_of(hex));
      compare(step, engine_->run(step.at("port"), frames), sound);
    } else if (step.contains("advance_ms")) {
      compare(step, engine_->advance(step["advance_ms"]), true);
    } else if (step.contains("publish")) {
      engine_->publish(step["publish"].at("config"), world_of(step["publish"]));
    } else if (step.contains("cutover")) {
      engine_->cutover(step["cutover"], step.at("to") == "green" ? model::Pool::green : model::Pool::blue);
    } else if (step.contains("rollback")) {
      engine_->rollback(step["rollback"], step.at("flows") == "reset");
    } else if (step.contains("backend")) {
      std::optional<uint32_t> weight;
      std::optional<uint8_t> state;
      if (step.contains("weight")) weight = step["weight"];
      if (step.contains("state")) state = step["state"] == "ready" ? 0 : step["state"] == "drain" ? 1 : 2;
      engine_->set_backend(step.at("service"), step["backend"], weight, state);
    } else if (step.contains("flow")) {
      check_flow(step["flow"]);
    } else {
      FAIL() << "a step of no known kind";
    }
  }

  void check_flow(const json& want) {
    const auto client = model::Endpoint::parse(want.at("client").get<std::string>());
    ASSERT_TRUE(client) << want;
    const auto got = engine_->flow(want.at("service"), *client);
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
      if (events.contains(name)) {
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
  std::unique_ptr<Engine> engine_;
  std::map<std::string, std::string> bound_;
  std::map<std::string, Bytes> fields_;
};

class CaseTest : public testing::Test {
 public:
  explicit CaseTest(const Case& c) : case_(c) {}
  void TestBody() override {
    try {
      Runner(case_).run();
    } catch (const std::exception& e) {
      FAIL() << case_.file << ":" << case_.line << ": " << e.what();
    }
  }

 private:
  const Case& case_;
};

}  // namespace
}  // namespace teal::tests

int main(int argc, char** argv) {
  using namespace teal::tests;
  testing::InitGoogleTest(&argc, argv);
  const char* directory = std::getenv("TEAL_CASES_DIR");
  try {
    all_cases() = read_cases(directory != nullptr ? directory : TEAL_CASES);
    start_dpdk();
  } catch (const std::exception& e) {
    std::cerr << "teal-cases: " << e.what() << '\n';
    return 1;
  }
  if (all_cases().empty()) {
    std::cerr << "teal-cases: no cases found\n";
    return 1;
  }
  for (const Case& c : all_cases()) {
    const auto slash = c.name.find('/');
    testing::RegisterTest(c.name.substr(0, slash).c_str(),
                          slash == std::string::npos ? "case" : c.name.substr(slash + 1).c_str(), nullptr, nullptr,
                          c.file.c_str(), c.line, [&c]() -> testing::Test* { return new CaseTest(c); });
  }
  return RUN_ALL_TESTS();
}
