// SPDX-License-Identifier: Apache-2.0
#include "engines/ring_ports.h"

#include <rte_eal.h>
#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>

#include "dataplane/pipeline.h"
#include "engines/dpdk_engine.h"

namespace teal::tests {
namespace {

[[noreturn]] void fail(const std::string& what) {
  throw std::runtime_error(what);
}

rte_ring* ring(const std::string& name) {
  rte_ring* r = rte_ring_create(name.c_str(), 512, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
  if (r == nullptr) fail("no memory for ring " + name);
  return r;
}

RingDevice device(const std::string& name, rte_mempool* pool) {
  RingDevice d;
  d.in = ring(name + "_in");
  d.out = ring(name + "_out");
  const int made = rte_eth_from_rings(name.c_str(), &d.in, 1, &d.out, 1, 0);
  if (made < 0) fail("cannot make " + name);
  d.ethdev = static_cast<uint16_t>(made);
  rte_eth_conf conf{};
  if (rte_eth_dev_configure(d.ethdev, 1, 1, &conf) != 0 ||
      rte_eth_rx_queue_setup(d.ethdev, 0, 256, 0, nullptr, pool) != 0 ||
      rte_eth_tx_queue_setup(d.ethdev, 0, 256, 0, nullptr) != 0 || rte_eth_dev_start(d.ethdev) != 0)
    fail("cannot start " + name);
  return d;
}

}  // namespace

void start_dpdk() {
  std::vector<std::string> args{"teal-cases", "--no-huge",      "--no-shconf", "--no-pci", "-m",
                                "128",        "--no-telemetry", "-l",          "0",        "--log-level=*:error"};
  std::vector<char*> argv;
  for (auto& a : args) argv.push_back(a.data());
  argv.push_back(nullptr);
  if (rte_eal_init(static_cast<int>(args.size()), argv.data()) < 0) fail("DPDK did not start");
  ring_world();
}

RingWorld& ring_world() {
  static RingWorld world = [] {
    RingWorld w;
    w.packets = rte_pktmbuf_pool_create("packets", 2047, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, 0);
    w.direct = rte_pktmbuf_pool_create("direct", 1023, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, 0);
    w.indirect = rte_pktmbuf_pool_create("indirect", 1023, 0, 0, 0, 0);
    w.wanted = rte_ring_create_elem("wanted", sizeof(dataplane::Pipeline::WantedNeighbour), 64, SOCKET_ID_ANY, 0);
    if (!w.packets || !w.direct || !w.indirect || !w.wanted) fail("no memory for packet buffers");
    for (uint16_t i = 0; i < ring_ports; i++) {
      w.ports[i] = device("port" + std::to_string(i), w.packets);
      w.taps[i] = device("tap" + std::to_string(i), w.packets);
    }
    return w;
  }();
  return world;
}

rte_mbuf* to_mbuf(const Bytes& frame) {
  rte_mbuf* head = nullptr;
  size_t at = 0;
  do {
    rte_mbuf* m = rte_pktmbuf_alloc(ring_world().packets);
    if (m == nullptr) fail("no packet buffer is free");
    const size_t bytes = std::min<size_t>(frame.size() - at, rte_pktmbuf_tailroom(m));
    char* to = rte_pktmbuf_append(m, static_cast<uint16_t>(bytes));
    if (bytes > 0) std::memcpy(to, frame.data() + at, bytes);
    at += bytes;
    if (head == nullptr)
      head = m;
    else if (rte_pktmbuf_chain(head, m) != 0)
      fail("a frame of " + std::to_string(frame.size()) + " bytes takes too many buffers");
  } while (at < frame.size());
  return head;
}

std::vector<Bytes> take_all(rte_ring* ring) {
  std::vector<Bytes> out;
  void* object = nullptr;
  while (rte_ring_dequeue(ring, &object) == 0) {
    auto* m = static_cast<rte_mbuf*>(object);
    Bytes& frame = out.emplace_back();
    for (const rte_mbuf* s = m; s != nullptr; s = s->next) {
      const auto* p = rte_pktmbuf_mtod(s, const uint8_t*);
      frame.insert(frame.end(), p, p + s->data_len);
    }
    if (frame.size() != m->pkt_len) fail("a frame's segments do not add up to its length");
    rte_pktmbuf_free(m);
  }
  return out;
}

}  // namespace teal::tests
