// SPDX-License-Identifier: Apache-2.0
// host/netlink.h against a real kernel, in network namespaces made for the purpose.
#include "host/netlink.h"

#include <gtest/gtest.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <memory>
#include <sstream>

#include "net_namespace.h"

namespace teal::host {
namespace {

using model::Address;
using model::Prefix;
using model::Topology;
using std::chrono::milliseconds;

Address addr(const char* text) {
  return *Address::parse(text);
}
Prefix prefix(const char* text) {
  return *Prefix::parse(text);
}

class NetlinkTest : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root: makes network namespaces";
    net_ = std::make_unique<test::NetNamespaces>();
    test::run("ip addr add 10.7.0.1/24 dev near && ip addr add 2001:db8:7::1/64 dev near nodad");
    net_->far("ip addr add 10.7.0.2/24 dev far && ip addr add 2001:db8:7::2/64 dev far nodad");
    near_ = static_cast<int>(if_nametoindex("near"));
  }

  // Polls as teald does, only when the descriptor says so, until `met` holds of the topology.
  template <class F>
  static bool until(Netlink& netlink, F met, milliseconds limit = milliseconds(5000)) {
    const auto end = std::chrono::steady_clock::now() + limit;
    while (!met(netlink.topology())) {
      const auto left = std::chrono::duration_cast<milliseconds>(end - std::chrono::steady_clock::now());
      pollfd p{netlink.fd(), POLLIN, 0};
      if (left.count() <= 0 || ::poll(&p, 1, static_cast<int>(left.count())) == 0) return false;
      netlink.poll();
    }
    return true;
  }

  static const model::Link* link(const Topology& t, const std::string& name) {
    const auto it = std::ranges::find(t.links, name, &model::Link::name);
    return it == t.links.end() ? nullptr : &*it;
  }
  static const model::Route* route(const Topology& t, const char* to) {
    const auto it = std::ranges::find(t.routes, prefix(to), &model::Route::to);
    return it == t.routes.end() ? nullptr : &*it;
  }
  static const model::Neighbour* neighbour(const Topology& t, const char* address) {
    const auto it = std::ranges::find(t.neighbours, addr(address), &model::Neighbour::address);
    return it == t.neighbours.end() ? nullptr : &*it;
  }
  bool has_address(const Topology& t, const char* p) const {
    return std::ranges::count(t.addresses, model::LocalAddress{near_, prefix(p)}) == 1;
  }

  // Messages that the kernel could not deliver to a netlink socket. (Asking the socket itself would take the error
  // away.)
  static unsigned dropped(int fd) {
    struct stat self {};
    if (fstat(fd, &self) != 0) return 0;
    std::ifstream sockets("/proc/thread-self/net/netlink");
    for (std::string line; std::getline(sockets, line);) {
      std::istringstream in(line);
      std::vector<std::string> field{std::istream_iterator<std::string>(in), {}};  // sk ... Drops Inode
      if (field.size() == 10 && field[9] == std::to_string(self.st_ino))
        return static_cast<unsigned>(std::stoul(field[8]));
    }
    return 0;
  }

  std::unique_ptr<test::NetNamespaces> net_;
  int near_ = 0;
};

TEST_F(NetlinkTest, ReadsWhatIsThereAtTheStart) {
  test::run("ip link set near address 02:00:00:00:07:01 mtu 1400");
  test::run("ip route add 192.0.2.0/24 via 10.7.0.2 metric 50 src 10.7.0.1");
  test::run("ip -6 route add default via 2001:db8:7::2");
  test::run("ip neigh add 10.7.0.9 lladdr 02:00:00:00:07:09 dev near");
  test::run("ip neigh add 2001:db8:7::9 lladdr 02:00:00:00:07:0a dev near");
  const Topology t = Netlink().topology();

  const model::Link* l = link(t, "near");
  ASSERT_NE(l, nullptr);
  EXPECT_EQ(*l, (model::Link{.ifindex = near_, .name = "near", .mac = {2, 0, 0, 0, 7, 1}, .mtu = 1400, .up = true}));
  EXPECT_TRUE(has_address(t, "10.7.0.1/24"));
  EXPECT_TRUE(has_address(t, "2001:db8:7::1/64"));

  ASSERT_NE(route(t, "192.0.2.0/24"), nullptr);
  EXPECT_EQ(*route(t, "192.0.2.0/24"),
            (model::Route{prefix("192.0.2.0/24"), near_, addr("10.7.0.2"), addr("10.7.0.1"), 50}));
  ASSERT_NE(route(t, "::/0"), nullptr);
  EXPECT_EQ(*route(t, "::/0"), (model::Route{prefix("::/0"), near_, addr("2001:db8:7::2"), {}, 1024}));
  ASSERT_NE(route(t, "10.7.0.0/24"), nullptr) << "on-link";
  EXPECT_FALSE(route(t, "10.7.0.0/24")->gateway);

  ASSERT_NE(neighbour(t, "10.7.0.9"), nullptr);
  EXPECT_EQ(*neighbour(t, "10.7.0.9"), (model::Neighbour{near_, addr("10.7.0.9"), {2, 0, 0, 0, 7, 9}, true}));
  ASSERT_NE(neighbour(t, "2001:db8:7::9"), nullptr);
  EXPECT_EQ(neighbour(t, "2001:db8:7::9")->mac, (model::Mac{2, 0, 0, 0, 7, 10}));
}

TEST_F(NetlinkTest, RoutesAreOfTheMainTableAndSayWherePacketsGo) {
  test::run("ip route add 192.0.2.0/24 via 10.7.0.2 table 100");
  test::run("ip route add unreachable 198.51.100.0/24 && ip route add blackhole 198.51.101.0/24");
  test::run("ip route add prohibit 198.51.102.0/24 && ip -6 route add unreachable 2001:db8:dead::/48");
  test::run("ip route add throw 198.51.103.0/24");
  test::run("ip route add 203.0.113.0/24 nexthop via 10.7.0.2 nexthop via 10.7.0.3");
  test::run("ip route add 203.0.114.0/24 via inet6 2001:db8:7::2 dev near");
  test::run(
      "ip route add 203.0.113.128/25 via 10.7.0.4 metric 9 && ip route add 203.0.113.128/25 via 10.7.0.5 metric 3");
  test::run("ip route add 203.0.115.0/24 tos 0x10 via 10.7.0.2");
  const Topology t = Netlink().topology();

  EXPECT_EQ(route(t, "192.0.2.0/24"), nullptr) << "of another table";
  EXPECT_EQ(route(t, "10.7.0.1/32"), nullptr) << "local";
  EXPECT_EQ(route(t, "10.7.0.255/32"), nullptr) << "broadcast";
  EXPECT_EQ(route(t, "ff00::/8"), nullptr) << "multicast";
  EXPECT_EQ(route(t, "198.51.103.0/24"), nullptr) << "throw";
  EXPECT_EQ(route(t, "203.0.115.0/24"), nullptr) << "for one type of service";
  for (const char* p : {"198.51.100.0/24", "198.51.101.0/24", "198.51.102.0/24", "2001:db8:dead::/48"}) {
    ASSERT_NE(route(t, p), nullptr) << p;
    EXPECT_EQ(route(t, p)->ifindex, 0) << p;
  }
  ASSERT_NE(route(t, "203.0.113.0/24"), nullptr);
  EXPECT_EQ(route(t, "203.0.113.0/24")->gateway, addr("10.7.0.2")) << "the first next hop";
  ASSERT_NE(route(t, "203.0.114.0/24"), nullptr);
  EXPECT_EQ(route(t, "203.0.114.0/24")->gateway, addr("2001:db8:7::2")) << "RFC 8950";
  EXPECT_EQ(route(t, "203.0.113.128/25")->gateway, addr("10.7.0.5")) << "the lower metric stands first";
  EXPECT_TRUE(std::ranges::is_sorted(t.routes, std::ranges::greater{}, [](const auto& r) { return r.to.length; }));
}

TEST_F(NetlinkTest, VlanLinksNameTheirParent) {
  if (std::system("ip link add link near name probe type vlan id 1 2>/dev/null && ip link del probe") != 0)
    GTEST_SKIP() << "this kernel has no VLAN devices (netlink_values_test covers the reading of their attributes)";
  test::run("ip link add link near name outer type vlan protocol 802.1ad id 7");
  test::run("ip link add link outer name inner type vlan id 42 && ip link set outer up && ip link set inner up");
  const Topology t = Netlink().topology();
  const model::Link *outer = link(t, "outer"), *inner = link(t, "inner"), *near = link(t, "near");
  ASSERT_TRUE(outer != nullptr && inner != nullptr && near != nullptr);
  EXPECT_EQ(outer->parent, near_);
  EXPECT_EQ(outer->vlan, 7);
  EXPECT_TRUE(outer->qinq);
  EXPECT_EQ(inner->parent, outer->ifindex);
  EXPECT_EQ(inner->vlan, 42);
  EXPECT_FALSE(inner->qinq);
  EXPECT_EQ(near->parent, 0) << "a veth's peer is not its parent";
}

TEST_F(NetlinkTest, FollowsChangesLive) {
  Netlink n;
  EXPECT_FALSE(n.poll()) << "nothing has changed";

  test::run("ip addr add 10.7.1.1/32 dev near && ip addr add 2001:db8:7:1::1/128 dev near nodad");
  EXPECT_TRUE(until(
      n, [&](const Topology& t) { return has_address(t, "10.7.1.1/32") && has_address(t, "2001:db8:7:1::1/128"); }));
  test::run("ip addr del 10.7.1.1/32 dev near");
  EXPECT_TRUE(until(n, [&](const Topology& t) { return !has_address(t, "10.7.1.1/32"); }));

  test::run("ip route add 192.0.2.0/24 via 10.7.0.2");
  EXPECT_TRUE(until(n, [](const Topology& t) { return route(t, "192.0.2.0/24") != nullptr; }));
  test::run("ip route replace 192.0.2.0/24 via 10.7.0.3");
  EXPECT_TRUE(until(n, [](const Topology& t) { return route(t, "192.0.2.0/24")->gateway == addr("10.7.0.3"); }));
  test::run("ip route del 192.0.2.0/24");
  EXPECT_TRUE(until(n, [](const Topology& t) { return route(t, "192.0.2.0/24") == nullptr; }));

  test::run("ip neigh add 10.7.0.9 lladdr 02:00:00:00:07:09 dev near");
  EXPECT_TRUE(until(n, [](const Topology& t) { return neighbour(t, "10.7.0.9") != nullptr; }));
  test::run("ip neigh change 10.7.0.9 lladdr 02:00:00:00:07:aa dev near");
  EXPECT_TRUE(until(n, [](const Topology& t) { return neighbour(t, "10.7.0.9")->mac[5] == 0xaa; }));
  test::run("ip neigh del 10.7.0.9 dev near");
  EXPECT_TRUE(until(n, [](const Topology& t) {
    auto* e = neighbour(t, "10.7.0.9");
    return e == nullptr || !e->usable;
  }));

  test::run("ip link add late type veth peer name late2");
  EXPECT_TRUE(until(n, [](const Topology& t) { return link(t, "late") != nullptr; }));
  test::run("ip link del late");
  EXPECT_TRUE(until(n, [](const Topology& t) { return link(t, "late") == nullptr; }));
  EXPECT_EQ(n.topology(), Netlink().topology()) << "followed and read anew are the same";
}

// The kernel removes IPv4 routes without a message for each (without IPv6 here, whose routes do get theirs).
TEST_F(NetlinkTest, RoutesOfALinkThatGoesDownVanish) {
  test::run("sysctl -qw net.ipv6.conf.near.disable_ipv6=1 && ip route add 192.0.2.0/24 via 10.7.0.2");
  Netlink n;
  ASSERT_NE(route(n.topology(), "192.0.2.0/24"), nullptr);
  test::run("ip link set near down");
  EXPECT_TRUE(until(n, [](const Topology& t) { return route(t, "192.0.2.0/24") == nullptr && !link(t, "near")->up; }));
  EXPECT_EQ(n.topology(), Netlink().topology());
}

TEST_F(NetlinkTest, EqualIpv6RoutesOfSeveralLinksAreKeptApart) {
  Netlink n;
  test::run("ip link add one type veth peer name two && ip link set one up && ip link set two up");
  const auto count = [](const Topology& t) {
    return std::ranges::count(t.routes, prefix("fe80::/64"), &model::Route::to);
  };
  EXPECT_TRUE(until(n, [&](const Topology& t) { return count(t) == 3; }));
  test::run("ip link del one");
  EXPECT_TRUE(until(n, [&](const Topology& t) { return count(t) == 1; }));
  EXPECT_EQ(route(n.topology(), "fe80::/64")->ifindex, near_);
}

TEST_F(NetlinkTest, TheNextHopWithACarrierIsPreferred) {
  test::run("ip link add one type veth peer name two && ip link set one up && ip link set two up");
  test::run("ip addr add 10.8.0.1/24 dev one");
  test::run("ip route add 192.0.2.0/24 nexthop via 10.8.0.2 dev one nexthop via 10.7.0.2 dev near");
  Netlink n;
  ASSERT_EQ(route(n.topology(), "192.0.2.0/24")->gateway, addr("10.8.0.2"));
  test::run("ip link set two down");
  EXPECT_TRUE(until(n, [](const Topology& t) { return route(t, "192.0.2.0/24")->gateway == addr("10.7.0.2"); }));
}

TEST_F(NetlinkTest, ResolveMakesTheKernelAsk) {
  Netlink n;
  for (const char* peer : {"10.7.0.2", "2001:db8:7::2"}) {
    ASSERT_EQ(neighbour(n.topology(), peer), nullptr) << peer;
    n.resolve(near_, addr(peer));
    ASSERT_TRUE(until(n, [&](const Topology& t) {
      auto* e = neighbour(t, peer);
      return e != nullptr && e->usable;
    })) << peer;
    EXPECT_NE(neighbour(n.topology(), peer)->mac, model::Mac{}) << peer;
    n.resolve(near_, addr(peer));  // again: no harm
  }
  // The peer knows who asked: an ARP request and a neighbour solicitation did cross the wire.
  net_->far("ip neigh show 10.7.0.1 dev far | grep -q lladdr");
  net_->far("ip -6 neigh show dev far | grep -q lladdr");  // by near's link-local address, perhaps
}

TEST_F(NetlinkTest, ResolveOfANobodyEndsUnusable) {
  test::run("sysctl -qw net.ipv4.neigh.near.mcast_solicit=1 net.ipv4.neigh.near.retrans_time_ms=50");
  Netlink n;
  n.resolve(near_, addr("10.7.0.77"));
  ASSERT_TRUE(until(n, [](const Topology& t) { return neighbour(t, "10.7.0.77") != nullptr; })) << "FAILED is told";
  EXPECT_FALSE(neighbour(n.topology(), "10.7.0.77")->usable);
  EXPECT_EQ(neighbour(n.topology(), "10.7.0.77")->mac, model::Mac{});
  n.resolve(999999, addr("10.7.0.77"));  // no such interface: no error
}

TEST_F(NetlinkTest, ResolveLeavesStaticNeighboursAlone) {
  test::run("ip neigh add 10.7.0.9 lladdr 02:00:00:00:07:09 nud permanent dev near");
  test::run("ip neigh add 2001:db8:7::9 lladdr 02:00:00:00:07:09 nud permanent dev near");
  Netlink n;
  for (const char* peer : {"10.7.0.9", "2001:db8:7::9"}) {
    n.resolve(near_, addr(peer));
    test::run(std::string("ip neigh show ") + peer + " | grep -q 'lladdr 02:00:00:00:07:09 PERMANENT'");
  }
}

TEST_F(NetlinkTest, GroupAddressesAreNoNeighbours) {
  test::run("ip neigh add 224.0.0.5 lladdr 01:00:5e:00:00:05 nud noarp dev near");
  test::run(
      "ip neigh add 224.0.0.6 lladdr 02:00:00:00:07:06 dev near && ip neigh add 127.0.0.9 lladdr 02:00:00:00:07:06 dev "
      "near");
  test::run("ip neigh add ff02::5 lladdr 33:33:00:00:00:05 nud noarp dev near");
  test::run("ip neigh add 10.7.0.255 lladdr ff:ff:ff:ff:ff:ff nud noarp dev near");
  test::run(
      "ip neigh add 10.7.0.8 lladdr 02:00:00:00:07:08 nud noarp dev near && ip neigh add proxy 10.7.0.50 dev near");
  const Topology t = Netlink().topology();
  ASSERT_EQ(t.neighbours.size(), 1u);
  EXPECT_EQ(t.neighbours[0], (model::Neighbour{near_, addr("10.7.0.8"), {2, 0, 0, 0, 7, 8}, true}));
}

TEST_F(NetlinkTest, AddressesAreAddedAndRemovedOnce) {
  Netlink n;
  for (const char* p : {"10.7.5.5/32", "2001:db8:7:5::5/128", "10.9.0.1/24", "2001:db8:9::1/64"}) {
    n.add_address("near", prefix(p));
    n.add_address("near", prefix(p));
    EXPECT_TRUE(until(n, [&](const Topology& t) { return has_address(t, p); })) << p;
    n.remove_address("near", prefix(p));
    n.remove_address("near", prefix(p));
    EXPECT_TRUE(until(n, [&](const Topology& t) { return !has_address(t, p); })) << p;
  }
}

TEST_F(NetlinkTest, Ipv6AddressesAreUsableAtOnce) {
  test::run("sysctl -qw net.ipv6.conf.near.accept_dad=1");
  Netlink n;
  n.add_address("near", prefix("2001:db8:7:5::5/128"));
  test::run("ip -6 addr show dev near | grep -A1 2001:db8:7:5::5/128 | grep -q nodad");
  EXPECT_NE(std::system("ip -6 addr show dev near tentative | grep -q 2001:db8:7:5::5"), 0);
}

TEST_F(NetlinkTest, LinksComeUpWithTheirMtu) {
  test::run("ip link set near down");
  Netlink n;
  for (int i = 0; i < 2; ++i) n.link_up("near", 1300);
  EXPECT_TRUE(until(n, [](const Topology& t) { return link(t, "near")->up && link(t, "near")->mtu == 1300; }));
}

TEST_F(NetlinkTest, RefusalsNameWhatFailed) {
  Netlink n;
  const auto text = [](auto f) -> std::string {
    try {
      f();
    } catch (const std::runtime_error& e) {
      return e.what();
    }
    return "no error";
  };
  EXPECT_EQ(text([&] { n.link_up("nosuch", 1500); }), "netlink: no interface named \"nosuch\": No such device");
  EXPECT_NE(text([&] { n.link_up("near", 1); }).find("cannot bring near up with an MTU of 1: "), std::string::npos);
  test::run("sysctl -qw net.ipv6.conf.near.disable_ipv6=1");
  EXPECT_NE(
      text([&] { n.add_address("near", prefix("2001:db8::1/128")); }).find("cannot add 2001:db8::1/128 to near: "),
      std::string::npos);
}

// More changes than the socket holds, so that the kernel drops messages: what counts is then read again.
TEST_F(NetlinkTest, OverrunIsHealed) {
  Netlink n;
  const int small = 4096;
  ASSERT_EQ(setsockopt(n.fd(), SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
  test::run(
      "for i in $(seq 0 3) ; do for j in $(seq 1 250); do "
      "echo neigh replace 10.7.$i.$j lladdr 02:00:00:00:0$i:01 dev near; done; done | ip -batch -");
  test::run(
      "ip route add 192.0.2.0/24 via 10.7.0.2 && ip addr add 10.7.9.9/32 dev near && ip neigh del 10.7.0.200 dev near");

  ASSERT_GT(dropped(n.fd()), 0u) << "the test did not provoke an overrun";

  EXPECT_TRUE(n.poll());
  EXPECT_EQ(n.topology(), Netlink().topology());
  EXPECT_EQ(std::ranges::count(n.topology().neighbours, true, &model::Neighbour::usable), 999);
  EXPECT_TRUE(has_address(n.topology(), "10.7.9.9/32"));
  EXPECT_NE(route(n.topology(), "192.0.2.0/24"), nullptr);

  // And it goes on following.
  test::run("ip neigh replace 10.7.0.252 lladdr 02:00:00:00:00:02 dev near");
  EXPECT_TRUE(until(n, [](const Topology& t) { return neighbour(t, "10.7.0.252") != nullptr; }));
}

}  // namespace
}  // namespace teal::host
