// SPDX-License-Identifier: Apache-2.0
#include "fake_operations.h"

#include <algorithm>
#include <stdexcept>

#include "control/problem_codes.h"

namespace teal::control {
namespace {

BackendStatus backend(const std::string& address, uint16_t number, uint64_t flows) {
  return {.id = address,
          .address = address,
          .number = number,
          .weight = 10,
          .state = "ready",
          .next_hop = "ready",
          .flows = flows,
          .packets = flows * 100,
          .bytes = flows * 60000};
}

ServiceStatus service_of(const std::string& name, const std::string& vip, uint16_t port, const std::string& group) {
  ServiceStatus s;
  s.name = name;
  s.vip = vip;
  s.port = port;
  s.protocol = "tcp";
  s.forward = "nat";
  s.group = group;
  s.split_by = "client";
  s.active = "blue";
  s.generation = 7;
  s.recovered = 3;
  s.pools["blue"] = {{backend("10.0.0.1:80", 1, 1234567), backend("10.0.0.2:80", 2, 20)}, 1234587, 87, 2000000, 31};
  s.pools["green"] = {{backend("[2001:db8::1]:80", 3, 0)}, 0, 0, 0};
  return s;
}

// Refusals that a test asks for by the name of the service.
void ask_for_trouble(const std::string& service) {
  if (service == "broken") throw std::runtime_error("the fake is broken, as asked");
}

Problem refusal(const std::string& service) {
  for (const auto& info : problem_list())
    if (service == std::string("problem-") + info.code)
      return {info.status, info.code, info.title, "the fake refuses, as asked", {"first reason", "second reason"}};
  return make_problem(ProblemCode::unknown_service,
                      "found the service \"" + service + "\", expected one of web, web-tls, dns");
}

}  // namespace

FakeOperations::FakeOperations()
    : services_{service_of("web", "192.0.2.10", 80, "front"), service_of("web-tls", "192.0.2.10", 443, "front"),
                service_of("dns", "2001:db8:1::53", 53, "dns")} {}

Status FakeOperations::status() {
  Status s;
  s.version = "1.2.3";
  s.config_file = "/etc/teal/teal.yaml";
  s.pid = 4242;
  s.uptime_s = 93784;
  s.instance = 2;
  s.table = {4194304, 8388608, 1234607, 134217728, 16, "hugepages", "/dev/hugepages/teal/flows", 250, 1500};
  s.ports = {{"edge", "0000:3b:00.0", "02:00:00:00:00:01", "net_ixgbe", true, 2, 2, 9000000, 540000000, 8999999,
              539999999, 1}};
  s.workers = {{0, 2, 9000000, 250000}};
  return s;
}

std::vector<ServiceStatus> FakeOperations::services() {
  return services_;
}

Result<ServiceStatus> FakeOperations::service(const std::string& name) {
  ask_for_trouble(name);
  const auto found = std::find_if(services_.begin(), services_.end(), [&](const auto& s) { return s.name == name; });
  if (found == services_.end()) return refusal(name);
  return *found;
}

CounterStatus FakeOperations::counters() {
  return {{{"truncated", 5}, {"no_route", 0}, {"tx_full", 1234567}}, {{"rx_packets", 9000000}, {"flows_moved", 0}}};
}

Result<SwitchReply> FakeOperations::change(const std::string& name, const std::string& to,
                                           std::optional<uint64_t> expected) {
  const auto before = service(name);
  if (const auto* problem = std::get_if<Problem>(&before)) return *problem;
  const auto& status = std::get<ServiceStatus>(before);
  if (expected && *expected != status.generation)
    return make_problem(ProblemCode::generation_moved, "found generation " + std::to_string(status.generation) +
                                                           ", expected " + std::to_string(*expected));
  SwitchReply reply;
  reply.service = name;
  reply.group = status.group;
  reply.active = to;
  reply.changed = status.active != to;
  reply.generation = status.generation + (reply.changed ? 1 : 0);
  reply.adoption_ns = 41250;
  reply.adopted_at = "2026-11-23T09:48:20.123456789Z";
  reply.flows_staying = status.pools.at(status.active).flows;
  for (auto& s : services_) {
    if (s.group != reply.group) continue;
    reply.services.push_back(s.name);
    s.active = to;
    s.green_share = to == "green" ? 1 : 0;
    s.draining = reply.changed;
    s.generation = reply.generation;
  }
  return reply;
}

Result<SwitchReply> FakeOperations::cutover(const SwitchRequest& request) {
  last_cutover = request;
  return change(request.service, request.to == model::Pool::green ? "green" : "blue", request.expect_generation);
}

Result<SwitchReply> FakeOperations::rollback(const RollbackRequest& request) {
  last_rollback = request;
  auto reply = change(request.service, "blue", request.expect_generation);
  if (auto* done = std::get_if<SwitchReply>(&reply); done != nullptr && request.reset_flows) done->flows_reset = 12;
  return reply;
}

Result<BackendReply> FakeOperations::patch_backend(const BackendPatch& patch) {
  last_patch = patch;
  const auto found = service(patch.service);
  if (const auto* problem = std::get_if<Problem>(&found)) return *problem;
  for (const auto& [name, pool] : std::get<ServiceStatus>(found).pools) {
    for (auto backend : pool.backends) {
      if (backend.id != patch.backend) continue;
      backend.weight = patch.weight.value_or(backend.weight);
      backend.state = patch.state.value_or(backend.state);
      return BackendReply{backend, 0.25};
    }
  }
  return make_problem(ProblemCode::unknown_backend,
                      "found the backend \"" + patch.backend + "\", expected one of " + patch.service);
}

Result<std::vector<FlowStatus>> FakeOperations::flows(const FlowQuery& query) {
  last_query = query;
  if (!query.service.empty()) {
    const auto found = service(query.service);
    if (const auto* problem = std::get_if<Problem>(&found)) return *problem;
  }
  std::vector<FlowStatus> all = {
      {"web", "blue", "10.0.0.1:80", "established", "198.51.100.7:40000", 3, 7},
      {"web", "green", "[2001:db8::1]:80", "syn", "#0123456789ab", 0, 8},
  };
  std::erase_if(all, [&](const auto& f) { return !query.pool.empty() && f.pool != query.pool; });
  if (all.size() > query.limit) all.resize(query.limit);
  return all;
}

Result<WhichReply> FakeOperations::which(const std::string& name, const model::Endpoint& client) {
  last_client = client.str();
  const auto found = service(name);
  if (const auto* problem = std::get_if<Problem>(&found)) return *problem;
  return WhichReply{name,
                    last_client,
                    "blue",
                    "10.0.0.1:80",
                    "entry",
                    "established",
                    "The flow has an entry: it stays on 10.0.0.1:80 until it ends."};
}

Result<ReloadReply> FakeOperations::reload() {
  if (refuse_reload)
    return make_problem(ProblemCode::bad_configuration, "found 2 errors in /etc/teal/teal.yaml, expected none",
                        {"teal.yaml:3:5: first", "teal.yaml:9:1: second"});
  return ReloadReply{true, {"service web: backend 10.0.0.3:80 added to blue"}};
}

}  // namespace teal::control
