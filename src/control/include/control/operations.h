// SPDX-License-Identifier: Apache-2.0
// What the control socket can ask for. The server (control/server.h) speaks HTTP and JSON and knows nothing of packets;
// whoever implements this interface (control/balancer.h) knows nothing of HTTP. All calls come from one thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "model/config.h"

namespace teal::control {

// A refusal, sent as application/problem+json (RFC 9457).
struct Problem {
  int status = 400;    // HTTP: 400 malformed, 404 unknown, 409 refused or generation moved on, 422 configuration, 503
  std::string code;    // stable word for programs, the last part of the problem's type: docs/errors.md lists them all
  std::string title;   // the same for people
  std::string detail;  // what was found and what was expected, one sentence
  std::vector<std::string> errors;  // more than one complaint (a configuration's), else empty
};

template <class T>
using Result = std::variant<T, Problem>;

struct Caller {  // SO_PEERCRED of the connection
  uint32_t pid = 0, uid = 0, gid = 0;
  std::string user;  // name of uid, or its number
};

struct BackendStatus {
  std::string id;       // name within its service: "ADDRESS:PORT" unless the configuration names it
  std::string address;  // "192.0.2.1:80", "[2001:db8::1]:80"
  uint16_t number = 0;  // in flow entries
  uint32_t weight = 0;
  std::string state;  // ready, drain, down, unhealthy (by its check); removed: no longer configured, kept for its flows
  std::string next_hop;             // ready, unresolved, no_route
  uint64_t flows = 0;               // live entries, by the last census
  uint64_t packets = 0, bytes = 0;  // sent to it since teald started
};

struct PoolStatus {
  std::vector<BackendStatus> backends;
  uint64_t flows = 0;      // live entries
  uint64_t half_open = 0;  // of those, handshake not complete
  uint64_t new_flows = 0;  // entered since teald started
  uint64_t pinned = 0;     // clients whose later connections affinity keeps on this pool
};

struct ServiceStatus {
  std::string name, vip, protocol, forward, group, split_by;
  uint16_t port = 0;
  std::string active;      // blue or green
  double green_share = 0;  // 0 to 1, of new flows
  uint64_t generation = 0;
  bool draining = false;  // the other pool still holds flows of the time before the last change
  bool retired = false;   // no longer configured, kept for its flows
  bool settled = false;   // connections under way need no look at the flow table (docs/decisions/0015)
  uint64_t untracked = 0, recovered = 0, flows_moved = 0;
  std::map<std::string, PoolStatus> pools;  // "blue", "green"
};

struct TableStatus {
  uint64_t capacity = 0;  // flows it is sized for
  uint64_t slots = 0;
  uint64_t entries = 0;        // by the last census
  uint64_t bytes = 0;          // of the mapping, all included
  double bytes_per_flow = 16;  // of one entry
  std::string memory, file;
  uint64_t census_age_ms = 0;
  uint64_t sweep_us = 0;  // time the last sweep took
};

struct PortStatus {
  std::string name, device, mac, driver;
  bool link_up = false;
  unsigned rx_queues = 0, tx_queues = 0;
  uint64_t rx_packets = 0, rx_bytes = 0, tx_packets = 0, tx_bytes = 0, rx_missed = 0;
};

struct WorkerStatus {
  unsigned id = 0, cpu = 0;
  uint64_t rx_packets = 0;
  uint64_t busy_ppm = 0;  // share of its time spent on packets, parts per million, over the last second
};

struct Status {
  std::string version, config_file;
  uint32_t pid = 0;
  uint64_t uptime_s = 0;
  uint64_t instance = 0;     // counted up at each start over the same table
  uint64_t flows_moved = 0;  // the ledger; must be 0
  TableStatus table;
  std::vector<PortStatus> ports;
  std::vector<WorkerStatus> workers;
};

struct CounterStatus {
  std::map<std::string, uint64_t> drops;   // by reason, every reason of teal/counters.h
  std::map<std::string, uint64_t> events;  // by name, every event of teal/counters.h
};

struct SwitchRequest {  // cutover
  std::string service;
  model::Pool to = model::Pool::green;
  std::optional<uint64_t> expect_generation;
  bool force = false;  // although untracked flows could be hurt, or no backend of `to` is ready
};

struct RollbackRequest {
  std::string service;
  bool reset_flows = false;  // flows: reset
  std::optional<uint64_t> expect_generation;
  bool force = false;
};

struct SwitchReply {
  std::string service, group;
  std::vector<std::string> services;  // all that changed with it: its group
  std::string active;
  uint64_t generation = 0;
  uint64_t adoption_ns = 0;    // from the store until every worker had adopted it
  std::string adopted_at;      // RFC 3339, UTC, nanoseconds: no later flow reaches the old pool
  bool changed = false;        // false: it stood so already (the call is idempotent)
  uint64_t flows_staying = 0;  // live flows on the pool that new flows just left
  uint64_t flows_reset = 0;    // marked for reset by a rollback that asked for it
};

struct BackendPatch {
  std::string service, backend;
  std::optional<uint32_t> weight;    // 0 to 65,535
  std::optional<std::string> state;  // ready, drain, down
};

struct BackendReply {
  BackendStatus backend;
  double slots_changed = 0;  // share of the pool's new flows that now go elsewhere, 0 to 1
};

struct ReloadReply {
  bool changed = false;
  std::vector<std::string> changes;  // one line each: "service web: backend 10.0.0.3:80 added to blue"
};

struct FlowQuery {
  std::string service, pool, backend, state;  // empty: any
  uint32_t limit = 100;                       // 1 to 100,000
};

struct FlowStatus {
  std::string service, pool, backend, state;  // state: syn, syn_ack, established, fin_client, ..., as teal/flow.h names
  std::string client;  // "ADDRESS:PORT"; for IPv6 flows the table keeps a hash only: "#" and its 12 hex digits
  uint32_t idle_s = 0;
  uint32_t generation = 0;  // the low 5 bits of the generation it was entered under
};

struct WhichReply {
  std::string service, client, pool, backend;
  std::string why;     // entry, preview, affinity, split, none
  std::string state;   // of the entry, if there is one
  std::string detail;  // one sentence for people
};

class Operations {
 public:
  virtual ~Operations() = default;
  virtual Status status() = 0;
  virtual std::vector<ServiceStatus> services() = 0;
  virtual Result<ServiceStatus> service(const std::string& name) = 0;
  virtual CounterStatus counters() = 0;
  virtual Result<SwitchReply> cutover(const SwitchRequest& request) = 0;
  virtual Result<SwitchReply> rollback(const RollbackRequest& request) = 0;
  virtual Result<BackendReply> patch_backend(const BackendPatch& patch) = 0;
  virtual Result<std::vector<FlowStatus>> flows(const FlowQuery& query) = 0;
  virtual Result<WhichReply> which(const std::string& service, const model::Endpoint& client) = 0;
  virtual Result<ReloadReply> reload() = 0;
};

}  // namespace teal::control
