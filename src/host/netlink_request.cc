// SPDX-License-Identifier: Apache-2.0
#include "netlink_request.h"

#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <netlink/msg.h>

#include <stdexcept>

#include "netlink_values.h"

namespace teal::host {
namespace {

struct MessageFree {
  void operator()(nl_msg* m) const { nlmsg_free(m); }
};
using Message = std::unique_ptr<nl_msg, MessageFree>;

// Allocation failing inside libnl is no different from any other: the process is out of memory.
Message message(int type, int flags) {
  Message m(nlmsg_alloc_simple(type, flags));
  if (!m) throw std::bad_alloc();
  return m;
}

template <class T>
void append(const Message& m, T header) {
  if (nlmsg_append(m.get(), &header, sizeof(header), NLMSG_ALIGNTO) < 0) throw std::bad_alloc();
}

void attribute(const Message& m, int type, const void* data, size_t size) {
  if (nla_put(m.get(), type, static_cast<int>(size), data) < 0) throw std::bad_alloc();
}

void attribute(const Message& m, int type, const model::Address& a) {
  attribute(m, type, a.bytes.data(), a.bits() / 8);
}

uint8_t family_of(const model::Address& a) {
  return a.family == 4 ? AF_INET : AF_INET6;
}

int send_and_wait(nl_sock* socket, Message m) {
  return nl_send_sync(socket, m.release());
}

// noexcept: libnl's C frames lie between here and whoever could catch.
int take_route(nl_msg* m, void* out) noexcept {
  rtnl_route* parsed = nullptr;
  if (rtnl_route_parse(nlmsg_hdr(m), &parsed) < 0) return NL_SKIP;  // of a kind that libnl does not know
  if (auto route = route_of(parsed)) static_cast<std::vector<model::Route>*>(out)->push_back(*route);
  rtnl_route_put(parsed);
  return NL_OK;
}

int read_family(nl_sock* socket, uint8_t family, std::vector<model::Route>& out) {
  constexpr int attempts = 10;
  int error = 0;
  for (int i = 0; i < attempts; ++i) {
    const size_t before = out.size();
    Message m = message(RTM_GETROUTE, NLM_F_DUMP);
    rtmsg header{};
    header.rtm_family = family;
    append(m, header);
    error = nl_send_auto(socket, m.get());
    if (error < 0) return error;
    const std::unique_ptr<nl_cb, decltype(&nl_cb_put)> cb(nl_cb_alloc(NL_CB_DEFAULT), &nl_cb_put);
    if (!cb) throw std::bad_alloc();
    nl_cb_set(cb.get(), NL_CB_VALID, NL_CB_CUSTOM, take_route, &out);
    error = nl_recvmsgs(socket, cb.get());
    if (error != -NLE_DUMP_INTR) return error;
    out.resize(before);  // the table changed while it was told: anew, or something would be missing or there twice
  }
  return error;
}

}  // namespace

void fail(const std::string& what, int error) {
  throw std::runtime_error("netlink: " + what + ": " + nl_geterror(error));
}

Socket open_socket() {
  Socket s(nl_socket_alloc());
  if (!s) throw std::bad_alloc();
  return s;
}

Socket connected_socket() {
  Socket s = open_socket();
  if (const int error = nl_connect(s.get(), NETLINK_ROUTE); error < 0) fail("cannot open a socket", error);
  return s;
}

// Not libnl's route cache: it takes IPv6 routes that differ only in their device (fe80::/64 of each link) for one.
int read_routes(nl_sock* socket, std::vector<model::Route>& out) {
  out.clear();
  for (const uint8_t family : {AF_INET, AF_INET6})
    if (const int error = read_family(socket, family, out); error < 0) return error;
  sort_routes(out);
  return 0;
}

int request_resolve(nl_sock* socket, int ifindex, const model::Address& address) {
  Message m = message(RTM_NEWNEIGH, NLM_F_CREATE);
  ndmsg header{};
  header.ndm_family = family_of(address);
  header.ndm_ifindex = ifindex;
  header.ndm_state = NUD_NONE;
  header.ndm_flags = NTF_USE;  // neigh_event_send(): as if a packet were waiting
  append(m, header);
  attribute(m, NDA_DST, address);
  return send_and_wait(socket, std::move(m));
}

int request_link_up(nl_sock* socket, int ifindex, uint32_t mtu) {
  Message m = message(RTM_NEWLINK, 0);
  ifinfomsg header{};
  header.ifi_index = ifindex;
  header.ifi_flags = IFF_UP;
  header.ifi_change = IFF_UP;
  append(m, header);
  attribute(m, IFLA_MTU, &mtu, sizeof(mtu));
  return send_and_wait(socket, std::move(m));
}

int request_address(nl_sock* socket, int type, int ifindex, const model::Prefix& prefix) {
  Message m = message(type, type == RTM_NEWADDR ? NLM_F_CREATE | NLM_F_EXCL : 0);
  ifaddrmsg header{};
  header.ifa_family = family_of(prefix.address);
  header.ifa_prefixlen = prefix.length;
  header.ifa_index = static_cast<uint32_t>(ifindex);
  append(m, header);
  attribute(m, IFA_LOCAL, prefix.address);
  attribute(m, IFA_ADDRESS, prefix.address);
  if (type == RTM_NEWADDR && prefix.address.family == 6) {
    // Usable at once. A VIP is announced by several hosts on purpose, which duplicate detection would call an error.
    const uint32_t flags = IFA_F_NODAD;
    attribute(m, IFA_FLAGS, &flags, sizeof(flags));
  }
  return send_and_wait(socket, std::move(m));
}

}  // namespace teal::host
