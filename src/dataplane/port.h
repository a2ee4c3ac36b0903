// SPDX-License-Identifier: Apache-2.0
// A port: an Ethernet device of DPDK and the tap that is its face in the kernel.
#pragma once

#include <rte_mempool.h>

#include <cstdint>
#include <string>

#include "dataplane/engine.h"
#include "dataplane/raw_port.h"
#include "model/config.h"

namespace teal::dataplane {

struct Port {
  model::PortConfig config;
  uint16_t number = 0;  // teal's
  uint16_t ethdev = 0;
  uint16_t tap = 0xffff;  // ethdev of the tap
  int tap_ifindex = 0;
  uint16_t rx_queues = 0, tx_queues = 0, tap_queues = 0;
  model::Mac mac{};
  std::string driver;
};

// Configures and starts device and tap for `workers`. Throws std::runtime_error naming the port.
Port open_port(const model::PortConfig& config, uint16_t number, unsigned workers, rte_mempool* pool);
void close_port(Port& port);

// What the device, or the interface and the sockets, say now.
PortState describe(const Port& port);
PortState describe(const RawPort& port);

}  // namespace teal::dataplane
