// SPDX-License-Identifier: Apache-2.0
#include "dataplane/engine.h"

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_launch.h>
#include <rte_malloc.h>
#include <rte_ring_elem.h>

#include <chrono>
#include <filesystem>
#include <stdexcept>

#include "eal.h"
#include "port.h"
#include "worker.h"

namespace teal::dataplane {

struct Engine::Impl {
  model::Config config;
  flow::Storage& storage;
  std::vector<unsigned> cpus;
  std::vector<Port> ports;   // of engine dpdk
  std::vector<RawPort> raw;  // of engine xdp
  std::vector<std::unique_ptr<Worker>> workers;
  Pipeline::Shared shared;
  rte_mempool* receive_pool = nullptr;
  rte_rcu_qsbr* qsbr = nullptr;
  std::unique_ptr<const model::Snapshot> current;
  std::atomic<const model::View*> view{nullptr};
  std::atomic<bool> stop{false};
  bool running = false, stopped = false;

  Impl(const model::Config& c, flow::Storage& s, flow::Table& t, std::vector<RawPort> r)
      : config(c), storage(s), raw(std::move(r)) {
    shared.table = &t;
  }
  void check_raw() const;
  void make_pools();
  void make_workers();
  void wire(const Port& port, unsigned& next);
  void wire(const RawPort& port, unsigned& next);
  rte_ring* hand_over(const std::string& name, const Relay& owner, unsigned owner_id);

  // The ports in order of their numbers: calls one of the two for each.
  template <class Ethernet, class Raw>
  void each_port(Ethernet ethernet, Raw with_raw) const {
    for (uint16_t number = 0; number < config.ports.size(); number++) {
      for (const Port& p : ports)
        if (p.number == number) ethernet(p);
      for (const RawPort& p : raw)
        if (p.number == number) with_raw(p);
    }
  }
};

void Engine::Impl::check_raw() const {
  for (uint16_t number = 0; number < config.ports.size(); number++) {
    const model::PortConfig& port = config.ports[number];
    size_t found = 0;
    for (const RawPort& r : raw)
      if (r.number == number && r.name == port.name && !r.queues.empty()) found++;
    const size_t expected = port.engine == model::Engine::xdp ? 1 : 0;
    if (found != expected)
      throw std::runtime_error("port '" + port.name + "' (" + port.device + "): " + std::to_string(found) +
                               " raw ports with queues, expected " + std::to_string(expected));
  }
}

void Engine::Impl::make_pools() {
  unsigned largest = 1500;
  for (const auto& p : config.ports) largest = std::max<unsigned>(largest, p.mtu);
  const uint16_t room = static_cast<uint16_t>(std::max(2048u, (largest + 18 + 8 + 63) & ~63u) + RTE_PKTMBUF_HEADROOM);
  const uint64_t budget = static_cast<uint64_t>(config.engine.packet_memory_mib) << 20;
  // 24 MiB for our own packets, rings and tables; of the rest half for what is received, the other half for the
  // devices' rings and what the heap loses between pools.
  const unsigned count = static_cast<unsigned>((budget - (24ull << 20)) / 2 / (room + 256u));
  receive_pool = rte_pktmbuf_pool_create("teal_rx", count, 256, 0, room, SOCKET_ID_ANY);
  shared.pools.direct =
      rte_pktmbuf_pool_create("teal_own", std::min(4095u, count), 64, 0, 2048 + RTE_PKTMBUF_HEADROOM, SOCKET_ID_ANY);
  shared.pools.indirect = rte_pktmbuf_pool_create("teal_indirect", 8191, 64, 0, 0, SOCKET_ID_ANY);
  shared.wanted =
      rte_ring_create_elem("teal_wanted", sizeof(Pipeline::WantedNeighbour), 256, SOCKET_ID_ANY, RING_F_SC_DEQ);
  if (receive_pool == nullptr || shared.pools.direct == nullptr || shared.pools.indirect == nullptr ||
      shared.wanted == nullptr)
    throw std::runtime_error("too little memory for packet buffers: engine.packet_memory_mib is " +
                             std::to_string(config.engine.packet_memory_mib) + ", expected more");
}

static bool sends_chains(uint16_t ethdev) {
  rte_eth_dev_info info{};
  return rte_eth_dev_info_get(ethdev, &info) == 0 && (info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS) != 0;
}

// A ring by which workers without a queue of a port reach the one that owns it.
rte_ring* Engine::Impl::hand_over(const std::string& name, const Relay& owner, unsigned owner_id) {
  rte_ring* ring = rte_ring_create(name.c_str(), 1024, SOCKET_ID_ANY, RING_F_SC_DEQ);
  if (ring == nullptr) throw std::runtime_error("no memory for a ring between workers");
  Relay relay = owner;
  relay.ring = ring;
  workers[owner_id]->add(relay);
  return ring;
}

// Gives the port's queues, and its tap's, to workers; `next`: whose turn it is for ports with fewer queues than
// workers.
void Engine::Impl::wire(const Port& p, unsigned& next) {
  const auto n = static_cast<unsigned>(workers.size());
  for (uint16_t q = 0; q < p.rx_queues; q++)
    workers[p.rx_queues == n ? q : (next++) % n]->add(Receive{p.ethdev, q, p.number, false});
  for (uint16_t q = 0; q < p.tap_queues; q++) workers[q]->add(Receive{p.tap, q, p.number, true});
  const auto give = [&](uint16_t ethdev, uint16_t queues, bool tap) {
    rte_ring* ring = nullptr;
    if (queues < n)
      ring = hand_over((tap ? "teal_tap" : "teal_tx") + std::to_string(p.number), {nullptr, ethdev, 0, nullptr}, 0);
    for (unsigned w = 0; w < n; w++) {
      const Exit exit{ethdev, w < queues ? static_cast<int>(w) : -1, ring, sends_chains(ethdev), nullptr};
      if (tap)
        workers[w]->sink().set_tap(p.number, exit);
      else
        workers[w]->sink().set_port(p.number, exit);
    }
  };
  give(p.ethdev, p.tx_queues, false);
  give(p.tap, p.tap_queues, true);
}

// A worker sends by the first queue that it owns.
void Engine::Impl::wire(const RawPort& p, unsigned& next) {
  const auto n = static_cast<unsigned>(workers.size());
  std::vector<RawQueue*> first(n);
  unsigned owners = 0, owner_of_first = 0;
  for (unsigned q = 0; q < p.queues.size(); q++) {
    const unsigned w = p.queues.size() == n ? q : (next++) % n;
    workers[w]->add(RawReceive{p.queues[q].get(), p.number, receive_pool});
    if (q == 0) owner_of_first = w;
    if (first[w] != nullptr) continue;
    first[w] = p.queues[q].get();
    owners++;
  }
  rte_ring* ring = nullptr;
  if (owners < n)
    ring = hand_over("teal_tx" + std::to_string(p.number), {nullptr, 0, 0, p.queues[0].get()}, owner_of_first);
  for (unsigned w = 0; w < n; w++)
    workers[w]->sink().set_port(p.number, {Exit::none, first[w] != nullptr ? 0 : -1, ring, true, first[w]});
}

void Engine::Impl::make_workers() {
  const auto present = [&](uint16_t number, const model::Mac& mac) {
    shared.ports[number] = {mac, static_cast<uint8_t>(config.ports[number].vlan.size()), true};
  };
  each_port([&](const Port& p) { present(p.number, p.mac); }, [&](const RawPort& p) { present(p.number, p.mac); });
  for (unsigned w = 0; w < cpus.size(); w++)
    workers.push_back(std::make_unique<Worker>(w, shared, view, storage, qsbr,
                                               config.engine.idle == model::Idle::adaptive, config.ports));
  unsigned next = 0;
  each_port([&](const Port& p) { wire(p, next); }, [&](const RawPort& p) { wire(p, next); });
}

Engine::Engine(const model::Config& config, flow::Storage& storage, flow::Table& table, std::vector<RawPort> raw)
    : impl_(std::make_unique<Impl>(config, storage, table, std::move(raw))) {
  Impl& i = *impl_;
  i.check_raw();
  i.cpus = worker_cpus(config.engine);
  start_eal(config, i.cpus);
  i.shared.head = &storage.head();
  i.shared.splits = storage.splits();
  i.shared.settled = storage.settled();
  i.make_pools();
  try {
    for (uint16_t number = 0; number < config.ports.size(); number++)
      if (config.ports[number].engine == model::Engine::dpdk)
        i.ports.push_back(
            open_port(config.ports[number], number, static_cast<unsigned>(i.cpus.size()), i.receive_pool));
    const auto threads = static_cast<uint32_t>(i.cpus.size());
    i.qsbr =
        static_cast<rte_rcu_qsbr*>(rte_zmalloc("teal_qsbr", rte_rcu_qsbr_get_memsize(threads), RTE_CACHE_LINE_SIZE));
    if (i.qsbr == nullptr || rte_rcu_qsbr_init(i.qsbr, threads) != 0)
      throw std::runtime_error("no memory for the grace periods");
    i.make_workers();
  } catch (...) {
    for (auto& p : i.ports) close_port(p);
    throw;
  }
}

Engine::~Engine() {
  stop();
}

std::vector<model::PortBinding> Engine::bindings() const {
  std::vector<model::PortBinding> out;
  impl_->each_port(
      [&](const Port& p) {
        out.push_back({p.number, p.tap_ifindex, p.mac, p.config.mtu, p.config.vlan});
      },
      [&](const RawPort& p) {
        out.push_back({p.number, p.ifindex, p.mac, p.mtu, impl_->config.ports[p.number].vlan});
      });
  return out;
}

void Engine::publish(std::unique_ptr<const model::Snapshot> next) {
  Impl& i = *impl_;
  std::unique_ptr<const model::Snapshot> old = std::move(i.current);
  i.current = std::move(next);
  i.view.store(&i.current->view(), std::memory_order_release);
  if (!i.running) {
    i.running = true;
    for (unsigned w = 0; w < i.workers.size(); w++) {
      const auto entry = [](void* p) {
        auto* args = static_cast<std::pair<Impl*, unsigned>*>(p);
        const auto [impl, id] = *args;
        delete args;
        impl->workers[id]->run(impl->stop);
        return 0;
      };
      if (rte_eal_remote_launch(entry, new std::pair<Impl*, unsigned>(&i, w), w + 1) != 0)
        throw std::runtime_error("worker " + std::to_string(w) + " did not start");
    }
    return;
  }
  synchronize();
}

uint64_t Engine::synchronize() {
  const auto begin = std::chrono::steady_clock::now();
  if (impl_->running && !impl_->stopped) rte_rcu_qsbr_synchronize(impl_->qsbr, RTE_QSBR_THRID_INVALID);
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - begin).count());
}

const model::Snapshot* Engine::snapshot() const {
  return impl_->current.get();
}
uint32_t Engine::now() const {
  return impl_->storage.now();
}

Counters Engine::totals() const {
  Counters sum;
  for (const auto& w : impl_->workers) sum.add(w->counters());
  return sum;
}

void Engine::add_signals(uint16_t service, std::span<teal_signal_counts, 2 * TEAL_SIGNAL_GENERATIONS> sum) const {
  if (service >= TEAL_SERVICES) return;
  for (const auto& w : impl_->workers) {
    const teal_signal_counts* from = &w->counters().signals[service * Counters::signals_per_service];
    for (size_t i = 0; i < sum.size(); i++) {
      sum[i].begun += from[i].begun;
      sum[i].handshakes += from[i].handshakes;
      sum[i].syn_retransmits += from[i].syn_retransmits;
      sum[i].refused += from[i].refused;
      sum[i].early_resets += from[i].early_resets;
      sum[i].resets += from[i].resets;
      for (size_t b = 0; b < TEAL_HANDSHAKE_BUCKETS; b++) sum[i].handshake[b] += from[i].handshake[b];
    }
  }
}

std::vector<PortState> Engine::ports() const {
  std::vector<PortState> out;
  impl_->each_port([&](const Port& p) { out.push_back(describe(p)); },
                   [&](const RawPort& p) { out.push_back(describe(p)); });
  return out;
}

std::vector<WorkerState> Engine::workers() const {
  std::vector<WorkerState> out;
  for (unsigned w = 0; w < impl_->workers.size(); w++) {
    const Counters& c = impl_->workers[w]->counters();
    out.push_back({w, impl_->cpus[w], c.event[TEAL_EV_rx_packets], c.busy_cycles});
  }
  return out;
}

std::optional<model::Address> Engine::wanted_neighbour() {
  Pipeline::WantedNeighbour wanted;
  if (rte_ring_dequeue_elem(impl_->shared.wanted, &wanted, sizeof(wanted)) != 0) return std::nullopt;
  return model::Address::from_raw(wanted.family, wanted.address);
}

void Engine::stop() {
  Impl& i = *impl_;
  if (i.stopped) return;
  i.stop.store(true);
  if (i.running) rte_eal_mp_wait_lcore();
  i.stopped = true;
  i.workers.clear();
  for (auto& p : i.ports) close_port(p);
  const std::filesystem::path directory = rte_eal_get_runtime_dir();
  rte_eal_cleanup();
  std::error_code ignored;  // another teald of another namespace may use it
  std::filesystem::remove(directory, ignored);
}

}  // namespace teal::dataplane
