// SPDX-License-Identifier: Apache-2.0
#include "host/netlink.h"

#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/cache.h>
#include <netlink/msg.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

#include "netlink_request.h"
#include "netlink_values.h"

namespace teal::host {
namespace {

struct ManagerFree {
  void operator()(nl_cache_mngr* m) const { nl_cache_mngr_free(m); }
};

// What has to be made anew. Each part is compared with what stood there before, so setting too much costs time only.
struct Dirty {
  bool links = true, addresses = true, routes = true, neighbours = true;
  bool caches = false;  // the kernel dropped messages: the caches themselves have to be read again
};

// Large enough for some ten thousand changes between two polls. Past net.core.rmem_max with CAP_NET_ADMIN only.
void enlarge_receive_buffer(int fd) {
  const int bytes = 8 << 20;
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) != 0)
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
}

int index_of(const std::string& name) {
  const unsigned index = if_nametoindex(name.c_str());
  if (index == 0) throw std::runtime_error("netlink: no interface named \"" + name + "\": " + std::strerror(errno));
  return static_cast<int>(index);
}

template <class T>
bool replace(T& now, T next) {
  if (now == next) return false;
  now = std::move(next);
  return true;
}

}  // namespace

struct Netlink::Impl {
  Socket events = open_socket();         // freed after the manager, which uses it
  Socket requests = connected_socket();  // for tables and changes
  std::unique_ptr<nl_cache_mngr, ManagerFree> manager;
  nl_cache *links = nullptr, *addresses = nullptr, *neighbours = nullptr;  // the manager's
  Dirty dirty;
  model::Topology topology;

  Impl();
  void take_events();
  bool reread_caches();
  bool rebuild();

  // Every message of the event socket passes here before the manager sees it.
  static int on_message(nl_msg* m, void* self) noexcept {
    Dirty& dirty = static_cast<Impl*>(self)->dirty;
    const nlmsghdr* header = nlmsg_hdr(m);
    switch (header->nlmsg_type) {
      case RTM_NEWROUTE:
      case RTM_DELROUTE:
        // The local table speaks up at each new address; only the main one matters here.
        if (nlmsg_valid_hdr(header, sizeof(rtmsg)) != 0 &&
            static_cast<const rtmsg*>(nlmsg_data(header))->rtm_table == RT_TABLE_MAIN)
          dirty.routes = true;
        break;
      case RTM_NEWLINK:
      case RTM_DELLINK:
        // IPv4 routes of a link that goes down, or loses its carrier, change without a message of their own; and
        // which neighbours are loopback's depends on the links.
        dirty.links = dirty.routes = dirty.neighbours = true;
        break;
      case RTM_NEWADDR:
      case RTM_DELADDR:
        dirty.addresses = dirty.routes = true;  // so do routes whose preferred source goes away
        break;
      case RTM_NEWNEIGH:
      case RTM_DELNEIGH:
        dirty.neighbours = true;
        break;
      default:
        break;
    }
    return NL_OK;
  }
};

Netlink::Impl::Impl() {
  nl_cache_mngr* made = nullptr;
  if (const int error = nl_cache_mngr_alloc(events.get(), NETLINK_ROUTE, 0, &made); error < 0)
    fail("cannot open a socket", error);
  manager.reset(made);
  enlarge_receive_buffer(nl_socket_get_fd(events.get()));
  if (const int error = nl_socket_modify_cb(events.get(), NL_CB_MSG_IN, NL_CB_CUSTOM, on_message, this); error < 0)
    fail("cannot set a callback", error);
  // Subscribed before anything is read, here and inside nl_cache_mngr_add: a change in between is seen twice, not
  // never.
  if (const int error = nl_socket_add_memberships(events.get(), RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE, RTNLGRP_NONE);
      error < 0)
    fail("cannot subscribe to routes", error);
  const auto follow = [&](const char* kind, nl_cache*& cache) {
    if (const int error = nl_cache_mngr_add(manager.get(), kind, nullptr, nullptr, &cache); error < 0)
      fail(std::string("cannot read ") + kind, error);
  };
  follow("route/link", links);
  follow("route/addr", addresses);
  follow("route/neigh", neighbours);
  rebuild();
  if (dirty.routes) throw std::runtime_error("netlink: cannot read the routing table");
}

// Reads until nothing is left. An error, of which the only likely one is an overrun (ENOBUFS), says that messages were
// lost. What is still queued then is older than the loss and has to be taken in first: it would spoil a new reading.
void Netlink::Impl::take_events() {
  constexpr int attempts = 64;  // a storm that overruns faster than this reads is met at the next poll
  for (int i = 0; i < attempts; ++i) {
    if (nl_cache_mngr_data_ready(manager.get()) >= 0) return;
    dirty = {.caches = true};
  }
}

bool Netlink::Impl::reread_caches() {
  for (nl_cache* cache : {links, addresses, neighbours})
    if (nl_cache_refill(requests.get(), cache) < 0) {
      requests = connected_socket();
      return false;
    }
  return true;
}

bool Netlink::Impl::rebuild() {
  bool changed = false;
  if (dirty.routes) {
    std::vector<model::Route> routes;
    if (read_routes(requests.get(), routes) >= 0) {
      changed |= replace(topology.routes, std::move(routes));
      dirty.routes = false;
    } else {
      requests = connected_socket();  // half an answer may be left in the old one; tried again at the next poll
    }
  }
  if (dirty.links) changed |= replace(topology.links, links_of(links));
  if (dirty.addresses) changed |= replace(topology.addresses, addresses_of(addresses));
  if (dirty.neighbours) changed |= replace(topology.neighbours, neighbours_of(neighbours, links));
  dirty.links = dirty.addresses = dirty.neighbours = false;
  return changed;
}

Netlink::Netlink() : impl_(std::make_unique<Impl>()) {}
Netlink::~Netlink() = default;

int Netlink::fd() const {
  return nl_socket_get_fd(impl_->events.get());
}

bool Netlink::poll() {
  impl_->take_events();
  if (impl_->dirty.caches) {
    // Until all of it has been read the topology stays what it was: old is better than half.
    if (!impl_->reread_caches()) return false;
    impl_->dirty.caches = false;
  }
  return impl_->rebuild();
}

model::Topology Netlink::topology() const {
  return impl_->topology;
}

// A refusal (the link went away, or is down) is no error here: the neighbour stays unusable, which the topology says.
// Since Linux 5.16 asking by NTF_USE takes a static entry's permanence, and with it its MAC address, away.
void Netlink::resolve(int ifindex, const model::Address& address) {
  if (is_static(impl_->neighbours, ifindex, address)) return;
  request_resolve(impl_->requests.get(), ifindex, address);
}

void Netlink::link_up(const std::string& name, uint32_t mtu) {
  const int error = request_link_up(impl_->requests.get(), index_of(name), mtu);
  if (error < 0) fail("cannot bring " + name + " up with an MTU of " + std::to_string(mtu), error);
}

void Netlink::add_address(const std::string& name, const model::Prefix& prefix) {
  const int error = request_address(impl_->requests.get(), RTM_NEWADDR, index_of(name), prefix);
  if (error < 0 && error != -NLE_EXIST) fail("cannot add " + prefix.str() + " to " + name, error);
}

void Netlink::remove_address(const std::string& name, const model::Prefix& prefix) {
  const int error = request_address(impl_->requests.get(), RTM_DELADDR, index_of(name), prefix);
  if (error < 0 && error != -NLE_NOADDR) fail("cannot remove " + prefix.str() + " from " + name, error);
}

}  // namespace teal::host
