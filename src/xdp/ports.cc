// SPDX-License-Identifier: Apache-2.0
#include "ports.h"

#include <linux/ethtool.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <array>

#include "handles.h"
#include "links.h"
#include "xdp/socket.h"

namespace teal::xdp {
namespace {

std::string driver_of(const std::string& device) {
  const Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ethtool_drvinfo info{};
  info.cmd = ETHTOOL_GDRVINFO;
  ifreq request{};
  device.copy(request.ifr_name, IFNAMSIZ - 1);
  request.ifr_data = reinterpret_cast<char*>(&info);
  return ioctl(socket.get(), SIOCETHTOOL, &request) == 0 ? info.driver : "";
}

// The attribute's value as a T; all zero where the kernel's is shorter.
template <class T>
T value_of(const rtattr* attribute) {
  T value{};
  std::memcpy(&value, RTA_DATA(attribute), std::min<size_t>(sizeof(T), RTA_PAYLOAD(attribute)));
  return value;
}

void read_link(const nlmsghdr* message, PortState& state) {
  const auto* link = static_cast<const ifinfomsg*>(NLMSG_DATA(message));
  constexpr unsigned both = IFF_UP | IFF_RUNNING;
  state.link_up = (link->ifi_flags & both) == both;
  auto length = static_cast<unsigned>(IFLA_PAYLOAD(message));
  for (const rtattr* a = IFLA_RTA(link); RTA_OK(a, length); a = RTA_NEXT(a, length)) {
    if (a->rta_type == IFLA_NUM_TX_QUEUES) state.tx_queues = value_of<uint32_t>(a);
    if (a->rta_type != IFLA_STATS64) continue;
    const auto stats = value_of<rtnl_link_stats64>(a);
    state.rx_packets = stats.rx_packets;
    state.rx_bytes = stats.rx_bytes;
    state.tx_packets = stats.tx_packets;
    state.tx_bytes = stats.tx_bytes;
    state.rx_missed = stats.rx_dropped + stats.rx_missed_errors;
  }
}

// Asks for one interface. False when there is none.
bool ask_link(const Fd& netlink, const PortSpec& port, PortState& state) {
  struct {
    nlmsghdr header;
    ifinfomsg link;
  } request{};
  request.header.nlmsg_len = sizeof(request);
  request.header.nlmsg_type = RTM_GETLINK;
  request.header.nlmsg_flags = NLM_F_REQUEST;
  request.link.ifi_index = port.ifindex;
  if (send(netlink.get(), &request, sizeof(request), 0) != sizeof(request)) return false;
  alignas(nlmsghdr) std::array<char, 32768> answer;
  const ssize_t n = recv(netlink.get(), answer.data(), answer.size(), 0);
  const auto* message = reinterpret_cast<const nlmsghdr*>(answer.data());
  if (n < 0 || !NLMSG_OK(message, static_cast<size_t>(n)) || message->nlmsg_type != RTM_NEWLINK) return false;
  read_link(message, state);
  return true;
}

}  // namespace

std::vector<PortState> port_states(const std::vector<PortSpec>& ports, uint32_t program) {
  const Fd netlink(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  std::vector<PortState> states;
  for (const PortSpec& port : ports) {
    PortState state;
    state.number = port.number;
    state.name = port.name;
    state.device = port.device;
    state.driver = driver_of(port.device);
    state.mac = port.mac;
    const Attachment there = attached(port.ifindex);
    state.mode = program == 0 || there.program_id != program ? "none" : there.generic ? "generic" : "native";
    if (ask_link(netlink, port, state)) state.rx_queues = receive_queues(port.device);
    states.push_back(std::move(state));
  }
  return states;
}

}  // namespace teal::xdp
