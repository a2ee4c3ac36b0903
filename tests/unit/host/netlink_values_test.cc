// SPDX-License-Identifier: Apache-2.0
// The room's inside, where a kernel that has the devices in question cannot be counted on.

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/if.h>
#include <linux/if_ether.h>
#include <netlink/route/link.h>
#include <netlink/route/link/vlan.h>

#include <memory>

#include "netlink_values.h"

namespace teal::host {
namespace {

class LinksOf : public testing::Test {
 protected:
  LinksOf() { nl_cache_alloc_name("route/link", &cache_); }
  ~LinksOf() override { nl_cache_free(cache_); }

  rtnl_link* add(rtnl_link* link, int ifindex, const char* name, unsigned flags) {
    rtnl_link_set_ifindex(link, ifindex);
    rtnl_link_set_name(link, name);
    rtnl_link_set_mtu(link, 1500);
    rtnl_link_set_flags(link, flags);
    nl_cache_add(cache_, reinterpret_cast<nl_object*>(link));
    rtnl_link_put(link);  // the cache holds it from here on
    return link;
  }
  nl_cache* cache_ = nullptr;
};

TEST_F(LinksOf, VlanLinksNameTheirParentAndTag) {
  rtnl_link* inner = rtnl_link_vlan_alloc();
  rtnl_link_set_link(inner, 8);
  rtnl_link_vlan_set_id(inner, 42);
  add(inner, 9, "inner", IFF_UP | IFF_RUNNING);
  rtnl_link* outer = rtnl_link_vlan_alloc();
  rtnl_link_set_link(outer, 7);
  rtnl_link_vlan_set_id(outer, 4094);
  rtnl_link_vlan_set_protocol(outer, htons(ETH_P_8021AD));
  add(outer, 8, "outer", IFF_UP);

  const std::vector<model::Link> expected = {
      {.ifindex = 8, .name = "outer", .mtu = 1500, .up = false, .parent = 7, .vlan = 4094, .qinq = true},
      {.ifindex = 9, .name = "inner", .mtu = 1500, .up = true, .parent = 8, .vlan = 42, .qinq = false}};
  EXPECT_EQ(links_of(cache_), expected) << "sorted by ifindex, whatever the order of the cache";
}

TEST_F(LinksOf, ABridgePortIsListedOnce) {
  add(rtnl_link_alloc(), 7, "port", IFF_UP | IFF_RUNNING);
  rtnl_link* bridge_side = rtnl_link_alloc();
  rtnl_link_set_family(bridge_side, AF_BRIDGE);
  add(bridge_side, 7, "port", IFF_UP);
  ASSERT_EQ(links_of(cache_).size(), 1u);
  EXPECT_TRUE(links_of(cache_)[0].up);
}

}  // namespace
}  // namespace teal::host
