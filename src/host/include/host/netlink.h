// SPDX-License-Identifier: Apache-2.0
// The kernel's links, addresses, routes and neighbours, read once and then followed live through libnl-3.
// Not on the packet path: runs on a control thread. Namespaces: everything is that of the calling process.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "model/topology.h"

namespace teal::host {

class Netlink {
 public:
  // Opens the sockets and fills the caches. Throws std::runtime_error with a plain sentence when it cannot.
  Netlink();
  ~Netlink();
  Netlink(const Netlink&) = delete;
  Netlink& operator=(const Netlink&) = delete;

  // File descriptor that becomes readable when the kernel has said something.
  [[nodiscard]] int fd() const;

  // Takes in what the kernel has said, without waiting. True when the topology changed. Overruns are healed by reading
  // all anew.
  bool poll();

  [[nodiscard]] model::Topology topology() const;

  // Asks the kernel to resolve `address` on `ifindex` now (RTM_NEWNEIGH with NTF_USE), as if it had a packet for it.
  void resolve(int ifindex, const model::Address& address);

  // Interface settings, for the ports' taps. All throw std::runtime_error naming what failed. Idempotent.
  void link_up(const std::string& name, uint32_t mtu);
  void add_address(const std::string& name, const model::Prefix& prefix);     // IPv6 without DAD
  void remove_address(const std::string& name, const model::Prefix& prefix);  // absent: no error

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace teal::host
