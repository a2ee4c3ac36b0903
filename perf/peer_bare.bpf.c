/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
 *
 * The least that an XDP program in teal's place could do, as a peer of the `peers` part: NAT between one VIP and one
 * server, both known when it is compiled, without a service to match, a table, a route or a count.
 *
 *   VIP, SERVER          IPv4 addresses, four bytes in braces as on the wire
 *   TO_SERVER, TO_CLIENT destination and source MAC address of what leaves that way, twelve bytes in braces
 *   INNER, OUTER         interface numbers, towards the server and the client
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "teal/rewrite.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* TCP over IPv4 without options whose address on `side` is `from`: it becomes `to`, and leaves by `ifindex`. */
TEAL_INLINE int bare_nat(struct xdp_md *ctx, int side, const uint8_t *from, const uint8_t *to, const uint8_t *macs,
                         uint32_t ifindex) {
  uint8_t *data = (uint8_t *)(long)ctx->data, *end = (uint8_t *)(long)ctx->data_end;
  if (data + sizeof(struct teal_eth) + sizeof(struct teal_ipv4) + sizeof(struct teal_tcp) > end) return XDP_PASS;
  struct teal_eth *eth = (struct teal_eth *)data;
  struct teal_ipv4 *ip = (struct teal_ipv4 *)(eth + 1);
  if (eth->type != teal_swap16(TEAL_ETH_IPV4) || ip->version_ihl != 0x45 || ip->proto != TEAL_PROTO_TCP) return XDP_PASS;
  struct teal_addr old = {0}, addr = {0};
  TEAL_COPY(&old, from, 4);
  TEAL_COPY(&addr, to, 4);
  if ((side == TEAL_SIDE_DST ? ip->dst : ip->src) != old.v4) return XDP_PASS;
  teal_nat_address((uint8_t *)ip, (uint8_t *)(ip + 1), 4, TEAL_PROTO_TCP, side, &addr);
  if (!teal_hop_down((uint8_t *)ip, 4)) return XDP_DROP;
  TEAL_COPY(data, macs, 12);
  return (int)bpf_redirect(ifindex, 0);
}

SEC("xdp.frags/outer")
int bare_to_server(struct xdp_md *ctx) {
  static const uint8_t vip[] = VIP, server[] = SERVER, macs[] = TO_SERVER;
  return bare_nat(ctx, TEAL_SIDE_DST, vip, server, macs, INNER);
}

SEC("xdp.frags/inner")
int bare_to_client(struct xdp_md *ctx) {
  static const uint8_t vip[] = VIP, server[] = SERVER, macs[] = TO_CLIENT;
  return bare_nat(ctx, TEAL_SIDE_SRC, server, vip, macs, OUTER);
}
