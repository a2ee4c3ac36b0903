// SPDX-License-Identifier: Apache-2.0
// What a service's configuration says of releases: rollout, preview, affinity, health. Plain values; read and checked
// whole with the rest of the file (model/config_file.h).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/address.h"
#include "model/rule.h"

namespace teal::model {

enum class FlowsAction : uint8_t { keep = 0, reset = 1 };
const char* to_string(FlowsAction v);

// A Prometheus query that must hold: its value `below` (or above) the threshold. Several series: every one of them.
struct PrometheusRule {
  std::string name;
  std::string url;    // of the server, "http://127.0.0.1:9090"
  std::string query;  // PromQL; "{{service}}", "{{pool}}" (the target pool) are filled in
  bool below = true;
  double threshold = 0;
  bool operator==(const PrometheusRule&) const = default;
};

enum class HookPoint : uint8_t {
  pre_start,
  pre_step,
  post_step,
  pre_promote,   // before the bake ends and the old pool drains
  post_promote,  // after it
  on_rollback,
  on_done,
};
const char* to_string(HookPoint v);

// Called at its point; the step waits for it. A non-zero exit, a status other than 2xx or a time-out stops the rollout
// (at on_rollback and on_done, which come too late for that, it is reported).
struct Hook {
  HookPoint point = HookPoint::pre_start;
  std::string name;
  std::vector<std::string> command;  // executable and arguments, no shell; or
  std::string url;                   // HTTP POST of the rollout's state as JSON
  uint32_t timeout_s = 30;           // 1 to 3,600
  bool operator==(const Hook&) const = default;
};

struct RolloutConfig {
  std::vector<uint32_t> steps = {65536};  // shares of new flows in 65,536ths, rising, the last one 65,536
  uint32_t hold_s = 60;                   // at each step but the last
  uint32_t bake_s = 600;                  // at 100 %, the old pool warm
  uint32_t drain_deadline_s = 1800;       // 0: none
  FlowsAction at_deadline = FlowsAction::keep;
  FlowsAction rollback_flows = FlowsAction::keep;  // of an automatic rollback: flows already on the new pool
  std::vector<Rule> rules;                         // empty: default_rules()
  uint32_t min_sample = 50;                        // flows begun on the judged pool, below which nothing is judged
  double confidence = 0.999;                       // of the significance test, 0.9 to 0.999999
  std::vector<PrometheusRule> prometheus;
  uint32_t prometheus_interval_s = 10;
  std::vector<Hook> hooks;
  bool operator==(const RolloutConfig&) const = default;
};

struct PreviewConfig {
  Address vip;                  // none: no preview VIP of its own (with port: the service's VIP)
  uint16_t port = 0;            // 0: the service's port (with vip)
  std::vector<Prefix> clients;  // who reaches the standby pool on the production VIP
  bool operator==(const PreviewConfig&) const = default;
};

struct AffinityConfig {
  bool by_client = false;    // false: none
  uint32_t timeout_s = 1800;  // 1 to 86,400
  uint8_t prefix4 = 32;      // clients of one prefix follow each other: 8 to 32
  uint8_t prefix6 = 128;     // 16 to 128
  bool operator==(const AffinityConfig&) const = default;
};

enum class CheckKind : uint8_t { none = 0, tcp, http, https };
const char* to_string(CheckKind v);

struct HealthConfig {
  CheckKind check = CheckKind::none;
  uint16_t port = 0;                            // 0: the backend's
  std::string path = "/";                       // HTTP(S): GET of it
  std::string host;                             // HTTP(S): Host header and TLS server name; empty: the address
  std::vector<uint16_t> expect_status = {200};  // HTTP(S)
  bool verify_certificate = false;              // HTTPS: against the system's authorities
  uint32_t interval_ms = 1000;                  // 100 to 3,600,000
  uint32_t timeout_ms = 1000;                   // at most the interval
  uint32_t rise = 2, fall = 3;                  // checks in a row, 1 to 100
  FlowsAction on_down = FlowsAction::keep;      // flows of a backend that went down
  uint32_t panic_percent = 0;                   // fewer healthy of a pool: all are used rather than none. 0: never
  bool operator==(const HealthConfig&) const = default;
};

}  // namespace teal::model
