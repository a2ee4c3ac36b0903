// SPDX-License-Identifier: Apache-2.0
#include "engines/dpdk_engine.h"

#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <stdexcept>

#include "dataplane/pipeline.h"
#include "engines/ring_ports.h"
#include "flow/registry.h"
#include "model/config_file.h"
#include "model/snapshot.h"
#include "rollout/switch.h"

namespace teal::tests {
namespace {

constexpr uint64_t start_s = 1000;  // the clock never reads 0: rate limits count from there

const char* const state_names[] = {
#define X(name) #name,
    TEAL_FLOW_STATES(X)
#undef X
};

class DpdkEngine final : public Engine {
 public:
  explicit DpdkEngine(uint64_t flows)
      : file_(std::filesystem::temp_directory_path() / ("teal-cases-" + std::to_string(getpid()))),
        storage_({file_.string(), false, flows}),
        table_(storage_.buckets(), storage_.head().buckets, storage_.locks(),
               static_cast<uint32_t>(storage_.head().instance)),
        registry_(storage_),
        sink_(counters_) {
    std::filesystem::remove(file_);  // the mapping lives on; nothing is left behind
  }

  void publish(const std::string& config, const World& world) override {
    auto read = model::parse_config(config, "case");
    if (!read.ok()) throw std::runtime_error(read.errors.front().str());
    config_ = std::move(read.config);
    world_ = world;
    if (world_.ports.size() > ring_ports)
      throw std::runtime_error("a case has at most " + std::to_string(ring_ports) + " ports");
    registry_.apply(config_.services);
    publish_view();
    if (!pipeline_) make_pipeline();
  }

  void cutover(const std::string& service, model::Pool to) override {
    commit(service, rollout::cutover(split_of(service), to));
  }

  void rollback(const std::string& service, bool reset) override {
    commit(service, rollout::rollback(split_of(service)));
    if (!reset) return;
    const uint16_t group = registry_.service(number_of(service)).group;
    const auto left = static_cast<uint8_t>(1 - teal_split_active(registry_.split(group).current));
    flow::Sweeper::visit(table_, [&](uint64_t key, uint64_t val, teal_bucket* b, int slot) {
      if (registry_.service(teal_key_service(key)).group == group && teal_val_pool(val) == left &&
          !teal_state_is_over(teal_val_state(val)))
        table_.set_state(storage_.head().secret, b, slot, key, TEAL_FLOW_reset);
      return true;
    });
  }

  void set_backend(const std::string& service, const std::string& backend, std::optional<uint32_t> weight,
                   std::optional<uint8_t> state) override {
    const uint16_t number = registry_.backend_number(number_of(service), backend);
    if (number == 0) throw std::runtime_error("no backend '" + backend + "' in service '" + service + "'");
    teal_backend_record& record = registry_.backend(number);
    if (weight) record.weight = *weight;
    if (state) record.state = *state;
    publish_view();
  }

  std::vector<Output> advance(uint64_t ms) override {
    ms_ += ms;
    pipeline_->housekeeping(snapshot_->view(), ticks(), tsc());
    sink_.flush();
    return collect();
  }

  std::vector<Output> run(uint16_t port, const std::vector<Bytes>& frames) override {
    const RingDevice& device = ring_world().ports.at(port);
    for (const Bytes& frame : frames)
      if (rte_ring_enqueue(device.in, to_mbuf(frame)) != 0) throw std::runtime_error("ring of port full");
    rte_mbuf* packets[dataplane::burst];
    while (const uint16_t n = rte_eth_rx_burst(device.ethdev, 0, packets, dataplane::burst)) {
      pipeline_->process(snapshot_->view(), packets, n, port, ticks(), tsc());
      sink_.flush();
    }
    return collect();
  }

  std::optional<FlowEntry> flow(const std::string& service, const model::Endpoint& client) const override {
    const uint16_t number = number_of(service);
    const teal_addr raw = client.address.raw();
    const teal_secret* secret = &storage_.head().secret;
    const teal_flow_key key = client.address.family == 4
                                  ? teal_flow_key4(secret, raw.v4, teal_swap16(client.port), number)
                                  : teal_flow_key6(secret, &raw, teal_swap16(client.port), number);
    uint64_t val = 0;
    if (table_.find(key, &val) == nullptr) return std::nullopt;
    return FlowEntry{storage_.backends()[teal_val_backend(val)].name,
                     model::to_string(static_cast<model::Pool>(teal_val_pool(val))), state_names[teal_val_state(val)],
                     teal_val_generation(val)};
  }

  std::map<std::string, uint64_t> counters() const override {
    std::map<std::string, uint64_t> out;
#define X(name, text) out["drop." #name] = counters_.drop[TEAL_DROP_##name];
    TEAL_DROP_REASONS(X)
#undef X
#define X(name, text) out[#name] = counters_.event[TEAL_EV_##name];
    TEAL_EVENTS(X)
#undef X
    return out;
  }

  uint64_t close_and_count_leaks() override {
    pipeline_.reset();
    const RingWorld& w = ring_world();
    return rte_mempool_in_use_count(w.packets) + rte_mempool_in_use_count(w.direct) +
           rte_mempool_in_use_count(w.indirect);
  }

 private:
  [[nodiscard]] uint32_t ticks() const {
    return static_cast<uint32_t>((start_s * 1000 + ms_) * TEAL_TICKS_PER_S / 1000);
  }
  [[nodiscard]] uint64_t tsc() const {
    return (start_s * 1000 + ms_) * (rte_get_tsc_hz() / 1000);
  }

  [[nodiscard]] uint16_t number_of(const std::string& service) const {
    const uint16_t number = registry_.service_number(service);
    if (number == 0) throw std::runtime_error("no service '" + service + "'");
    return number;
  }
  [[nodiscard]] const teal_split& split_of(const std::string& service) const {
    return registry_.split(registry_.service(number_of(service)).group);
  }

  void commit(const std::string& service, const rollout::SplitChange& change) {
    if (!change.changed) throw std::runtime_error("the split of '" + service + "' stands so already");
    teal_split& split = registry_.split(registry_.service(number_of(service)).group);
    TEAL_STORE(&split.previous, change.next.previous);
    TEAL_STORE(&split.current, change.next.current);
  }

  void publish_view() {
    model::SnapshotInput in;
    in.secret = storage_.head().secret;
    in.engine = config_.engine;
    in.topology = world_.topology;
    for (uint16_t i = 0; i < world_.ports.size(); i++)
      in.ports.push_back({i, world_.ports[i].ifindex, world_.ports[i].mac, world_.ports[i].mtu, world_.ports[i].vlan});
    for (uint16_t number : registry_.services()) {
      const teal_service_record& record = registry_.service(number);
      model::SnapshotService s;
      s.number = number;
      s.group = record.group;
      s.retired = record.retired != 0;
      const auto known = std::find_if(config_.services.begin(), config_.services.end(),
                                      [&](const auto& c) { return c.name == record.name; });
      if (known != config_.services.end() && !s.retired) s.config = *known;
      s.config.vip = model::Address::from_raw(record.family, record.vip);
      s.config.port = teal_swap16(record.port);
      s.config.protocol = static_cast<model::Protocol>(record.proto);
      s.config.forward = static_cast<model::Forward>(record.forward);
      in.services.push_back(std::move(s));
    }
    for (uint16_t number : registry_.backends()) {
      const teal_backend_record& record = registry_.backend(number);
      const bool takes_new = record.state == 0 && !record.removed;
      in.backends.push_back({number,
                             record.service,
                             record.pool,
                             {model::Address::from_raw(record.family, record.addr), teal_swap16(record.port)},
                             takes_new ? record.weight : 0});
    }
    snapshot_ = std::make_unique<const model::Snapshot>(in, maglev_);
  }

  void make_pipeline() {
    dataplane::Pipeline::Shared shared;
    shared.table = &table_;
    shared.head = &storage_.head();
    shared.splits = storage_.splits();
    RingWorld& w = ring_world();
    shared.pools = {w.direct, w.indirect};
    shared.wanted = w.wanted;
    for (uint16_t i = 0; i < world_.ports.size(); i++) {
      shared.ports[i] = {world_.ports[i].mac, static_cast<uint8_t>(world_.ports[i].vlan.size()), true};
      sink_.set_port(i, {w.ports[i].ethdev, 0, nullptr});
      sink_.set_tap(i, {w.taps[i].ethdev, 0, nullptr});
    }
    pipeline_ = std::make_unique<dataplane::Pipeline>(shared, counters_, sink_);
  }

  std::vector<Output> collect() {
    std::vector<Output> out;
    for (bool kernel : {false, true})
      for (uint16_t i = 0; i < ring_ports; i++)
        for (Bytes& frame : take_all((kernel ? ring_world().taps : ring_world().ports)[i].out))
          out.push_back({kernel, i, std::move(frame)});
    return out;
  }

  std::filesystem::path file_;
  flow::Storage storage_;
  flow::Table table_;
  flow::Registry registry_;
  model::Config config_;
  World world_;
  model::MaglevCache maglev_;
  std::unique_ptr<const model::Snapshot> snapshot_;
  dataplane::Counters counters_;
  dataplane::Sink sink_;
  std::unique_ptr<dataplane::Pipeline> pipeline_;
  uint64_t ms_ = 0;
};

}  // namespace

std::unique_ptr<Engine> make_dpdk_engine(uint64_t flows) {
  return std::make_unique<DpdkEngine>(flows);
}

}  // namespace teal::tests
