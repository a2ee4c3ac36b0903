// SPDX-License-Identifier: Apache-2.0
#include "releases.h"

#include <spdlog/spdlog.h>

#include <chrono>
#include <stdexcept>

#include "model/preview.h"

namespace teal {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds query_timeout{5'000};
constexpr milliseconds longest_wait{10'000};  // for first results of health checks, after a start

template <class Clock>
int64_t ms() {
  return std::chrono::duration_cast<milliseconds>(Clock::now().time_since_epoch()).count();
}

std::string directory_for(const std::string& state_dir) {
  const std::string path = state_dir + "/rollouts";
  if (const std::string error = control::make_state_directory(path); !error.empty())
    throw std::runtime_error("control.state_dir: " + error);
  return path;
}

health::HookContext context_of(const control::HookCall& call) {
  return {call.group, call.phase, call.step, call.share, call.from, call.to, call.json};
}

rollout::Verdict verdict_of(health::Judgement judgement) {
  return judgement == health::Judgement::pass   ? rollout::Verdict::pass
         : judgement == health::Judgement::fail ? rollout::Verdict::fail
                                                : rollout::Verdict::insufficient;
}

}  // namespace

ReleaseWork::ReleaseWork(boost::asio::io_context& context, const model::Config& config, control::Balancer& balancer,
                         telemetry::Audit& audit)
    : balancer_(balancer),
      hooks_(context),
      prometheus_(context),
      checker_(context,
               [this](const health::Change& change) {
                 spdlog::info("service {}: backend {} is {}: {}", change.service, change.backend,
                              health::to_string(change.state), change.reason);
                 balancer_.set_health(change.service, change.backend, change.state == health::State::down);
               }),
      rollouts_(world(config.control.state_dir, audit)) {
  balancer_.on_switch([this](const std::string& group) { return rollouts_.guard(group); });
  follow(config);
  rollouts_.load();
}

control::RolloutWorld ReleaseWork::world(const std::string& state_dir, telemetry::Audit& audit) {
  return {
      .groups = balancer_,
      .files = files_,
      .events = events_,
      .directory = directory_for(state_dir),
      .signals = [this](uint16_t service, model::Pool pool,
                        unsigned generation) { return balancer_.signals(service, pool, generation); },
      .run_hook =
          [this](const control::HookCall& call, const std::function<void(bool, const std::string&)>& done) {
            hooks_.run(call.hook, context_of(call), [done](const health::HookResult& result) {
              done(result.ok, result.output.empty() ? result.error : result.error + ": " + result.output);
            });
          },
      .query =
          [this](const model::PrometheusRule& rule, const std::string& service, const std::string& pool,
                 const std::function<void(rollout::Verdict, const std::string&)>& done) {
            prometheus_.query(rule.url, health::fill_in(rule.query, service, pool), query_timeout,
                              [done, rule](const health::QueryResult& result) {
                                const auto verdict = health::judge(rule, result);
                                done(verdict_of(verdict.judgement), verdict.text);
                              });
          },
      .audit =
          [&audit](const telemetry::AuditEntry& entry) {
            if (const std::string error = audit.append(entry); !error.empty())
              spdlog::error("audit: {}; not recorded: {} {}", error, entry.path, entry.body);
          },
      .now_ms = ms<std::chrono::steady_clock>,
      .wall_ms = ms<std::chrono::system_clock>,
      .settled = [this] { return settled(); },
  };
}

// The checks of teald's first configuration have all said something, or have had their time.
bool ReleaseWork::settled() {
  if (settled_) return true;
  settled_ = true;
  if (std::chrono::steady_clock::now() - begin_ >= longest_wait) return true;
  for (const auto& target : checker_.status().targets) settled_ = settled_ && target.state != health::State::unknown;
  return settled_;
}

void ReleaseWork::follow(const model::Config& config) {
  std::vector<health::Target> targets;
  for (const auto& service : config.services) {
    if (model::previewed_name(service.name)) continue;  // its backends are those of its service
    for (const auto& pool : service.pools)
      for (const auto& backend : pool)
        targets.push_back({service.name, backend.name, backend.endpoint, service.health});
  }
  checker_.set_targets(targets);
}

}  // namespace teal
