/* SPDX-License-Identifier: Apache-2.0
 *
 * A backend's end of an IP-in-IP tunnel: takes the outer IPv4 or IPv6 header off and hands the inner packet to the
 * stack. Everything else passes. Needed because the test kernel has no ipip device.
 */
/* bpf/ needs linux/ before it. */
/* clang-format off */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
/* clang-format on */

SEC("xdp")
int decap(struct xdp_md* ctx) {
  void *data = (void*)(long)ctx->data, *end = (void*)(long)ctx->data_end;
  struct ethhdr *eth = data, saved;
  int outer;
  __u8 inner;

  if ((void*)(eth + 1) > end) return XDP_PASS;
  if (eth->h_proto == bpf_htons(ETH_P_IP)) {
    struct iphdr* ip = (void*)(eth + 1);
    if ((void*)(ip + 1) > end || ip->ihl != 5) return XDP_PASS;
    inner = ip->protocol;
    outer = sizeof(*ip);
  } else if (eth->h_proto == bpf_htons(ETH_P_IPV6)) {
    struct ipv6hdr* ip = (void*)(eth + 1);
    if ((void*)(ip + 1) > end) return XDP_PASS;
    inner = ip->nexthdr;
    outer = sizeof(*ip);
  } else {
    return XDP_PASS;
  }
  if (inner != 4 && inner != 41) return XDP_PASS;
  __builtin_memcpy(&saved, eth, sizeof(saved));
  saved.h_proto = inner == 4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
  if (bpf_xdp_adjust_head(ctx, outer)) return XDP_DROP;
  data = (void*)(long)ctx->data;
  end = (void*)(long)ctx->data_end;
  if (data + sizeof(saved) > end) return XDP_DROP;
  __builtin_memcpy(data, &saved, sizeof(saved));
  return XDP_PASS;
}

char license_name[] SEC("license") = "Dual BSD/GPL";
