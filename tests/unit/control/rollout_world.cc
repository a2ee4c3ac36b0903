// SPDX-License-Identifier: Apache-2.0
#include "rollout_world.h"

#include "control/problem_codes.h"

namespace teal::control {

FakeGroups::FakeGroups() {
  group.name = "front";
  group.services = {"web", "tls"};
  group.split.current = group.split.previous = teal_split_make(7, 0, 0, TEAL_BLUE);
  for (const char* service : {"web", "tls"})
    for (const int pool : {0, 1})
      for (const int n : {1, 2}) {
        const std::string address = "10.0." + std::to_string(pool) + "." + std::to_string(n) + ":80";
        group.pools[pool].backends.push_back({service, address, address, "ready", 10, true});
      }
  group.pools[0].flows = 500;
  group.config.steps = {6554, 32768, 65536};
  group.config.hold_s = 10;
  group.config.bake_s = 20;
  group.config.drain_deadline_s = 100;
}

std::optional<std::string> FakeGroups::group_of(const std::string& name) {
  if (name == "front" || name == "web" || name == "tls") return "front";
  return std::nullopt;
}

std::optional<GroupView> FakeGroups::view(const std::string& name) {
  if (name != "front" || !configured) return std::nullopt;
  return group;
}

GroupSight FakeGroups::see(const std::string&) {
  GroupSight sight;
  sight.split = group.split;
  sight.configured = configured;
  sight.half_open_ms = 10'000;
  for (const int pool : {0, 1}) {
    sight.flows[pool] = group.pools[pool].flows;
    sight.flows_left[pool] = left;
    sight.ready[pool] = configured;
    for (const char* service : {"web", "tls"}) {
      bool any = false;
      for (const auto& b : group.pools[pool].backends) any = any || (b.service == service && b.ready);
      sight.ready[pool] = sight.ready[pool] && any;
    }
  }
  return sight;
}

uint64_t FakeGroups::store(const std::string&, const teal_split& next) {
  group.split = next;
  stored.push_back(green());
  return 41000;
}

uint64_t FakeGroups::reset(const std::string&, model::Pool pool) {
  resets.push_back(pool);
  return 3;
}

Result<DrainReport> FakeGroups::drain_report(const std::string& service) {
  DrainReport report;
  report.service = service;
  report.flows = left.value_or(0);
  return report;
}

void FakeGroups::set_ready(model::Pool pool, bool ready) {
  for (auto& b : group.pools[static_cast<size_t>(pool)].backends) b.ready = ready;
}

std::string MemoryFiles::write(const std::string& path, std::string_view text) {
  writes++;
  if (full) return "cannot write " + path + ": disk is full";
  files[path] = text;
  return {};
}

std::string MemoryFiles::rename(const std::string& from, const std::string& to) {
  if (full) return "disk is full";
  files[to] = files[from];
  files.erase(from);
  return {};
}

std::string MemoryFiles::read(const std::string& path, std::optional<std::string>& text) {
  text.reset();
  if (files.contains(path)) text = files[path];
  return {};
}

RolloutsTest::RolloutsTest() : rollouts(make()) {}

std::unique_ptr<Rollouts> RolloutsTest::make() {
  RolloutWorld world{.groups = groups,
                     .files = files,
                     .events = events,
                     .directory = "/state",
                     .signals =
                         [this](uint16_t service, model::Pool pool, unsigned g) {
                           return counters[{service, static_cast<unsigned>(pool), g}];
                         },
                     .run_hook =
                         [this](const HookCall& call, const std::function<void(bool, const std::string&)>& done) {
                           hooks.push_back(std::string(model::to_string(call.hook.point)) + " " + call.hook.name);
                           EXPECT_EQ(Json::parse(call.json)["group"], "front");
                           const auto bad = failing_hooks.find(call.hook.name);
                           const bool ok = bad == failing_hooks.end();
                           if (hooks_answer) later.push_back([=, text = ok ? "" : bad->second] { done(ok, text); });
                         },
                     .query =
                         [this](const model::PrometheusRule&, const std::string&, const std::string&,
                                const std::function<void(rollout::Verdict, const std::string&)>& done) {
                           queries++;
                           later.push_back([this, done] { done(answer.first, answer.second); });
                         },
                     .audit = [this](const telemetry::AuditEntry& entry) { audited.push_back(entry); },
                     .now_ms = [this] { return now_ms; },
                     .wall_ms = [this] { return 1'700'000'000'000 + now_ms; },
                     .settled = [this] { return settled; }};
  auto made = std::make_unique<Rollouts>(std::move(world));
  made->load();
  return made;
}

void RolloutsTest::pass(double seconds) {
  for (int64_t left = static_cast<int64_t>(seconds * 1000); left > 0; left -= 20) {
    now_ms += 20;
    for (auto calls = std::exchange(later, {}); const auto& call : calls) call();
    rollouts->tick();
  }
}

void RolloutsTest::connect(uint64_t target, uint64_t bad, uint64_t other) {
  const auto generation = static_cast<unsigned>(teal_split_generation(groups.group.split.current) % 4);
  for (const unsigned pool : {0u, 1u}) {
    auto& c = counters[{1, pool, generation}];
    const uint64_t begun = pool == 1 ? target : other, refused = pool == 1 ? bad : 0;
    c.begun += begun;
    c.refused += refused;
    c.handshakes += begun - refused;
    c.handshake[2] += begun - refused;
  }
}

RolloutRequest RolloutsTest::request() const {
  RolloutRequest r;
  r.name = "web";
  r.caller.user = "ann";
  return r;
}

std::string RolloutsTest::code_of(const Result<RolloutStatus>& result) {
  const auto* problem = std::get_if<Problem>(&result);
  return problem != nullptr ? problem->code : "ok";
}

RolloutStatus RolloutsTest::begin(const RolloutRequest& r) {
  const auto result = rollouts->start(r);
  if (const auto* problem = std::get_if<Problem>(&result)) {
    ADD_FAILURE() << problem->code << ": " << problem->detail;
    return {};
  }
  return std::get<RolloutStatus>(result);
}

RolloutStatus RolloutsTest::status() {
  const auto result = rollouts->rollout("front");
  return std::holds_alternative<RolloutStatus>(result) ? std::get<RolloutStatus>(result) : RolloutStatus{};
}

}  // namespace teal::control
