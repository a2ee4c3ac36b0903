// SPDX-License-Identifier: Apache-2.0
#include "port.h"

#include <net/if.h>
#include <rte_dev.h>
#include <rte_ethdev.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "eal.h"

namespace teal::dataplane {
namespace {

[[noreturn]] void fail(const model::PortConfig& config, const std::string& what) {
  throw std::runtime_error("port '" + config.name + "' (" + config.device + "): " + what);
}

void start(const model::PortConfig& config, uint16_t dev, uint16_t rx, uint16_t tx, uint16_t descriptors,
           rte_mempool* pool) {
  rte_eth_dev_info info{};
  rte_eth_dev_info_get(dev, &info);
  rte_eth_conf conf{};
  if (rx > 1 && info.flow_type_rss_offloads != 0) {
    conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
    conf.rx_adv_conf.rss_conf.rss_hf =
        info.flow_type_rss_offloads & (RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP);
  }
  // Fragments and big frames leave as chains of buffers.
  conf.txmode.offloads = info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
  if (const int e = rte_eth_dev_configure(dev, rx, tx, &conf); e != 0)
    fail(config,
         "cannot configure " + std::to_string(rx) + " RX and " + std::to_string(tx) + " TX queues: " + strerror(-e));
  uint16_t rx_descriptors = descriptors, tx_descriptors = descriptors;
  rte_eth_dev_adjust_nb_rx_tx_desc(dev, &rx_descriptors, &tx_descriptors);
  const int socket = rte_eth_dev_socket_id(dev);
  for (uint16_t q = 0; q < rx; q++)
    if (const int e = rte_eth_rx_queue_setup(dev, q, rx_descriptors, static_cast<unsigned>(socket), nullptr, pool);
        e != 0)
      fail(config, "cannot set up RX queue " + std::to_string(q) + ": " + strerror(-e));
  for (uint16_t q = 0; q < tx; q++)
    if (const int e = rte_eth_tx_queue_setup(dev, q, tx_descriptors, static_cast<unsigned>(socket), nullptr); e != 0)
      fail(config, "cannot set up TX queue " + std::to_string(q) + ": " + strerror(-e));
  if (const int e = rte_eth_dev_start(dev); e != 0) fail(config, std::string("cannot start: ") + strerror(-e));
}

// Link and carrier, by the kernel.
bool interface_runs(const std::string& name) {
  ifreq r{};
  std::memcpy(r.ifr_name, name.data(), std::min<size_t>(name.size(), IFNAMSIZ - 1));
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  const bool ok = ioctl(fd, SIOCGIFFLAGS, &r) == 0 && (r.ifr_flags & IFF_UP) != 0 && (r.ifr_flags & IFF_RUNNING) != 0;
  close(fd);
  return ok;
}

}  // namespace

Port open_port(const model::PortConfig& config, uint16_t number, unsigned workers, rte_mempool* pool) {
  Port port;
  port.config = config;
  port.number = number;
  if (rte_eth_dev_get_port_by_name(device_name(config.device).c_str(), &port.ethdev) != 0) {
    if (is_pci(config.device))
      fail(config, "no such device, expected a NIC bound to vfio-pci (dpdk-devbind.py --status)");
    fail(config, "no such device, expected a DPDK vdev whose interface exists");
  }
  rte_eth_dev_info info{};
  if (rte_eth_dev_info_get(port.ethdev, &info) != 0) fail(config, "does not tell what it is");
  port.driver = info.driver_name;
  port.rx_queues = static_cast<uint16_t>(std::min<unsigned>(workers, info.max_rx_queues));
  port.tx_queues = static_cast<uint16_t>(std::min<unsigned>(workers, info.max_tx_queues));
  rte_ether_addr mac;
  rte_eth_macaddr_get(port.ethdev, &mac);
  std::memcpy(port.mac.data(), mac.addr_bytes, 6);
  if (config.mtu != 1500) {
    if (const int e = rte_eth_dev_set_mtu(port.ethdev, config.mtu); e != 0 && e != -ENOTSUP)
      fail(config, "takes no MTU of " + std::to_string(config.mtu) + ": " + strerror(-e));
  }
  start(config, port.ethdev, port.rx_queues, port.tx_queues, 1024, pool);
  rte_eth_allmulticast_enable(port.ethdev);  // ND and routing protocols are multicast; who cannot, receives all anyway

  // The tap has the port's MAC address, so that the kernel answers ARP and ND with it.
  if (if_nametoindex(config.name.c_str()) != 0)
    fail(config, "an interface of that name exists already, expected a free one for the tap");
  const std::string vdev = "net_tap" + std::to_string(number);
  const std::string args = "iface=" + config.name + ",mac=" + model::mac_str(port.mac);
  if (rte_eal_hotplug_add("vdev", vdev.c_str(), args.c_str()) != 0 ||
      rte_eth_dev_get_port_by_name(vdev.c_str(), &port.tap) != 0)
    fail(config, "cannot make its tap, expected /dev/net/tun and CAP_NET_ADMIN");
  rte_eth_dev_info_get(port.tap, &info);
  port.tap_queues = static_cast<uint16_t>(std::min<unsigned>({workers, info.max_rx_queues, info.max_tx_queues}));
  start(config, port.tap, port.tap_queues, port.tap_queues, 512, pool);
  port.tap_ifindex = static_cast<int>(if_nametoindex(config.name.c_str()));
  if (port.tap_ifindex == 0) fail(config, "its tap did not appear in the kernel");
  return port;
}

void close_port(Port& port) {
  if (port.tap != 0xffff) {
    rte_eth_dev_stop(port.tap);
    rte_eth_dev_close(port.tap);
  }
  rte_eth_dev_stop(port.ethdev);
  rte_eth_dev_close(port.ethdev);
}

PortState describe(const Port& p) {
  PortState s{p.config.name, p.config.device, p.driver, p.mac, false, p.rx_queues, p.tx_queues, 0, 0, 0, 0, 0};
  rte_eth_link link{};
  if (rte_eth_link_get_nowait(p.ethdev, &link) == 0) s.link_up = link.link_status == RTE_ETH_LINK_UP;
  rte_eth_stats st{};
  if (rte_eth_stats_get(p.ethdev, &st) == 0) {
    s.rx_packets = st.ipackets;
    s.rx_bytes = st.ibytes;
    s.tx_packets = st.opackets;
    s.tx_bytes = st.obytes;
    s.rx_missed = st.imissed + st.rx_nombuf;
  }
  return s;
}

PortState describe(const RawPort& p) {
  const auto queues = static_cast<unsigned>(p.queues.size());
  PortState s{p.name, p.device, "af_xdp", p.mac, interface_runs(p.device), queues, queues, 0, 0, 0, 0, 0};
  for (const auto& q : p.queues) {
    s.rx_packets += q->counts.rx_packets;
    s.rx_bytes += q->counts.rx_bytes;
    s.tx_packets += q->counts.tx_packets;
    s.tx_bytes += q->counts.tx_bytes;
    s.rx_missed += q->missed();
  }
  return s;
}

}  // namespace teal::dataplane
