// SPDX-License-Identifier: Apache-2.0
#include "json.h"

namespace teal::control {
namespace {

Json pool_json(const PoolStatus& value) {
  Json backends = Json::array();
  for (const auto& backend : value.backends) backends.push_back(to_json(backend));
  return {{"flows", value.flows},
          {"half_open", value.half_open},
          {"new_flows", value.new_flows},
          {"pinned", value.pinned},
          {"backends", std::move(backends)}};
}

Json table_json(const TableStatus& value) {
  return {{"capacity", value.capacity},
          {"slots", value.slots},
          {"entries", value.entries},
          {"bytes", value.bytes},
          {"bytes_per_flow", value.bytes_per_flow},
          {"memory", value.memory},
          {"file", value.file},
          {"census_age_ms", value.census_age_ms},
          {"sweep_us", value.sweep_us}};
}

Json port_json(const PortStatus& value) {
  return {{"name", value.name},
          {"device", value.device},
          {"mac", value.mac},
          {"driver", value.driver},
          {"link_up", value.link_up},
          {"rx_queues", value.rx_queues},
          {"tx_queues", value.tx_queues},
          {"rx_packets", value.rx_packets},
          {"rx_bytes", value.rx_bytes},
          {"tx_packets", value.tx_packets},
          {"tx_bytes", value.tx_bytes},
          {"rx_missed", value.rx_missed}};
}

Json worker_json(const WorkerStatus& value) {
  return {{"id", value.id}, {"cpu", value.cpu}, {"rx_packets", value.rx_packets}, {"busy_ppm", value.busy_ppm}};
}

}  // namespace

Json to_json(const Problem& value) {
  Json json = {{"type", "https://teal.invalid/errors/" + value.code},
               {"title", value.title},
               {"status", value.status},
               {"detail", value.detail},
               {"code", value.code}};
  if (!value.errors.empty()) json["errors"] = value.errors;
  return json;
}

Json to_json(const BackendStatus& value) {
  return {{"id", value.id},         {"address", value.address}, {"number", value.number},
          {"weight", value.weight}, {"state", value.state},     {"next_hop", value.next_hop},
          {"flows", value.flows},   {"packets", value.packets}, {"bytes", value.bytes}};
}

Json to_json(const ServiceStatus& value) {
  Json pools = Json::object();
  for (const auto& [name, pool] : value.pools) pools[name] = pool_json(pool);
  return {{"name", value.name},
          {"vip", value.vip},
          {"port", value.port},
          {"protocol", value.protocol},
          {"forward", value.forward},
          {"group", value.group},
          {"split_by", value.split_by},
          {"active", value.active},
          {"green_share", value.green_share},
          {"generation", value.generation},
          {"draining", value.draining},
          {"settled", value.settled},
          {"retired", value.retired},
          {"untracked", value.untracked},
          {"recovered", value.recovered},
          {"flows_moved", value.flows_moved},
          {"pools", std::move(pools)}};
}

Json to_json(const Status& value) {
  Json ports = Json::array(), workers = Json::array();
  for (const auto& port : value.ports) ports.push_back(port_json(port));
  for (const auto& worker : value.workers) workers.push_back(worker_json(worker));
  return {{"version", value.version},         {"config_file", value.config_file}, {"pid", value.pid},
          {"uptime_s", value.uptime_s},       {"instance", value.instance},       {"flows_moved", value.flows_moved},
          {"table", table_json(value.table)}, {"ports", std::move(ports)},        {"workers", std::move(workers)}};
}

Json to_json(const CounterStatus& value) {
  // From pairs by hand: an empty map is an empty object, not an empty array.
  Json drops = Json::object(), events = Json::object();
  for (const auto& [name, count] : value.drops) drops[name] = count;
  for (const auto& [name, count] : value.events) events[name] = count;
  return {{"drops", std::move(drops)}, {"events", std::move(events)}};
}

Json to_json(const SwitchReply& value) {
  return {{"service", value.service},        {"group", value.group},           {"services", value.services},
          {"active", value.active},          {"generation", value.generation}, {"adoption_ns", value.adoption_ns},
          {"adopted_at", value.adopted_at},  {"changed", value.changed},       {"flows_staying", value.flows_staying},
          {"flows_reset", value.flows_reset}};
}

Json to_json(const BackendReply& value) {
  return {{"backend", to_json(value.backend)}, {"slots_changed", value.slots_changed}};
}

Json to_json(const ReloadReply& value) {
  return {{"changed", value.changed}, {"changes", value.changes}};
}

Json to_json(const FlowStatus& value) {
  return {{"service", value.service}, {"pool", value.pool},     {"backend", value.backend},      {"state", value.state},
          {"client", value.client},   {"idle_s", value.idle_s}, {"generation", value.generation}};
}

Json to_json(const WhichReply& value) {
  return {{"service", value.service}, {"client", value.client}, {"pool", value.pool},    {"backend", value.backend},
          {"why", value.why},         {"state", value.state},   {"detail", value.detail}};
}

std::string json_text(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace teal::control
