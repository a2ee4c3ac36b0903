// SPDX-License-Identifier: Apache-2.0
#include "fast_path.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <iostream>
#include <stdexcept>

#include "host/netlink.h"

namespace teal {
namespace {

// An AF_XDP socket as the dataplane knows it.
class SocketQueue final : public dataplane::RawQueue {
 public:
  explicit SocketQueue(std::shared_ptr<xdp::Socket> socket) : socket_(std::move(socket)) {}
  unsigned receive(unsigned max, Take take, void* context) override { return socket_->receive(max, take, context); }
  bool send(const dataplane::Segment* segments, unsigned count) override { return socket_->send(segments, count); }
  void flush() override { socket_->flush(); }
  [[nodiscard]] int awaited() const override { return socket_->unsent() ? -1 : socket_->fd(); }
  [[nodiscard]] uint64_t missed() const override { return socket_->missed(); }

 private:
  std::shared_ptr<xdp::Socket> socket_;
};

constexpr unsigned frame_beyond_mtu = 22;  // Ethernet header and two VLAN tags

}  // namespace

FastPath::FastPath(const model::Config& config, bool migrate)
    : config_(config),
      engine_({config.engine.bpf_pins, flow::Storage::bytes_for(config.engine.flows), TEAL_LAYOUT, migrate}) {
  find_interfaces();
}

void FastPath::find_interfaces() {
  host::Netlink netlink;
  const auto link_of = [&](const std::string& device) {
    const model::Topology topology = netlink.topology();
    const auto at = std::find_if(topology.links.begin(), topology.links.end(),
                                 [&](const model::Link& l) { return l.name == device; });
    return at == topology.links.end() ? std::nullopt : std::optional<model::Link>(*at);
  };
  for (uint16_t number = 0; number < config_.ports.size(); number++) {
    const model::PortConfig& port = config_.ports[number];
    if (port.engine != model::Engine::xdp) continue;
    const auto link = link_of(port.device);
    if (!link)
      throw std::runtime_error("port '" + port.name + "': no interface " + port.device +
                               " in the kernel, expected one (`ip link` lists them)");
    const auto mtu = static_cast<uint16_t>(port.mtu != 0 ? port.mtu : std::min(link->mtu, 65535u));
    // Before sockets and program: both are made for the MTU that they find.
    if (!link->up || link->mtu != mtu) netlink.link_up(port.device, mtu);
    ports_.push_back(
        {number, port.name, port.device, link->ifindex, link->mac, 0, port.mode == model::XdpMode::generic});
    mtus_.push_back(mtu);
  }
}

flow::Storage::Mapped FastPath::memory() const {
  const xdp::TableMemory table = engine_.table();
  return {table.base, table.bytes, "flow table " + config_.engine.bpf_pins + "/table", table.found};
}

void FastPath::begin_migration(flow::Storage& storage) {
  const auto old = engine_.old_table();
  if (!old) return;
  migration_.emplace(old->base, old->bytes, "flow table " + config_.engine.bpf_pins + "/table");
  migration_->begin(storage);
}

std::vector<dataplane::RawPort> FastPath::open_sockets() {
  std::vector<dataplane::RawPort> raw;
  for (size_t i = 0; i < ports_.size(); i++) {
    const xdp::PortSpec& port = ports_[i];
    dataplane::RawPort r{port.number, port.name, port.device, port.mac, port.ifindex, mtus_[i], {}};
    auto& sockets = sockets_.emplace_back();
    const unsigned queues = xdp::receive_queues(port.device);
    if (queues > TEAL_XDP_QUEUES)
      throw std::runtime_error("port '" + port.name + "' (" + port.device + "): " + std::to_string(queues) +
                               " receive queues, expected at most " + std::to_string(TEAL_XDP_QUEUES) +
                               " (ethtool -L)");
    xdp::Socket::Options options;
    options.largest_frame = mtus_[i] + frame_beyond_mtu;
    for (unsigned q = 0; q < queues; q++) {
      sockets.push_back(std::make_shared<xdp::Socket>(port.device, q, options));
      r.queues.push_back(std::make_shared<SocketQueue>(sockets.back()));
    }
    raw.push_back(std::move(r));
  }
  return raw;
}

void FastPath::load() {
  std::vector<uint16_t> others;
  for (uint16_t number = 0; number < config_.ports.size(); number++)
    if (config_.ports[number].engine == model::Engine::dpdk) others.push_back(number);
  engine_.load(ports_, others);
  for (size_t i = 0; i < ports_.size(); i++)
    for (uint32_t q = 0; q < sockets_[i].size(); q++) engine_.set_socket(ports_[i].number, q, sockets_[i][q]->fd());
}

void FastPath::carry_flows(flow::Storage& storage, flow::Table& table) {
  if (!migration_) return;
  const auto carried = migration_->copy(storage, table);
  spdlog::info("flow table: {} flows carried over from the one before, {} had no room", carried.entries, carried.lost);
}

void FastPath::finish_migration(flow::Storage& storage, flow::Table& table) {
  if (!migration_) return;
  const auto carried = migration_->copy(storage, table);
  spdlog::info("flow table: {} flows that began meanwhile carried over, {} had no room", carried.entries, carried.lost);
  migration_->end(storage);
  migration_.reset();
  engine_.drop_old_table();
}

void detach(const std::string& pins) {
  const std::vector<std::string> removed = xdp::Engine::detach(pins);
  for (const std::string& line : removed) std::cout << line << "\n";
  if (removed.empty()) std::cout << "nothing is pinned in " << pins << "\n";
}

}  // namespace teal
