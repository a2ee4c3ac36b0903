// SPDX-License-Identifier: Apache-2.0
// What is asked of the kernel over one netlink socket: whole routing tables, and changes. One message, one answer.
#pragma once

#include <netlink/netlink.h>

#include <memory>
#include <string>
#include <vector>

#include "model/topology.h"

namespace teal::host {

struct SocketFree {
  void operator()(nl_sock* s) const { nl_socket_free(s); }
};
using Socket = std::unique_ptr<nl_sock, SocketFree>;

// Throws std::runtime_error "netlink: WHAT: the reason in libnl's words". `error` is libnl's, negative.
[[noreturn]] void fail(const std::string& what, int error);

Socket open_socket();       // not connected yet
Socket connected_socket();  // NETLINK_ROUTE, in the caller's network namespace

// The main table's routes of both families as they are now, sorted. 0, or libnl's error (the socket is then in an
// unknown state and wants replacing).
int read_routes(nl_sock* socket, std::vector<model::Route>& out);

// 0 or libnl's error (negative NLE_*).
int request_resolve(nl_sock* socket, int ifindex, const model::Address& address);
int request_link_up(nl_sock* socket, int ifindex, uint32_t mtu);
int request_address(nl_sock* socket, int type, int ifindex, const model::Prefix& prefix);  // RTM_NEWADDR, RTM_DELADDR

}  // namespace teal::host
