/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
 *
 * A packet on its way, and the ways out: dropped, left to a worker, to the kernel, out of a port.
 */
#ifndef TEAL_BPF_SEND_H
#define TEAL_BPF_SEND_H

#include "newcomer.h"
#include "teal/rewrite.h"

/* One packet on its way. Everything is inlined: the members live in registers and on the stack. */
struct teal_trip {
  struct xdp_md *ctx;
  struct teal_xdp_view *view;
  struct teal_xdp_cpu *cpu;
  uint32_t half;
  uint32_t now;
  uint32_t port;      /* it came in by */
  uint32_t frame_len; /* bytes, all fragments of a scattered frame */
  struct teal_pkt pkt;
  uint32_t family, proto; /* pkt's, in one register each: the verifier remembers what was found out about them */
  struct teal_addr client; /* as the table knows it */
  struct teal_flow_key key;
  uint32_t service;
  const struct teal_endpoint_ref *ref; /* of replies: whose they are. Not its members: the stack is short */
};

/* Bytes of an untagged frame at most, or of a tagged one, where the MTU is Ethernet's. A longer one may lie in several
 * buffers, of which `data` and `end` show the first: its length is asked for. (With headers split off a shorter one may, too:
 * then bytes behind the IP packet are missed, which are nobody's.) */
#define TEAL_FRAME_USUAL 1522

TEAL_INLINE int teal_drop(struct teal_trip *t, uint32_t reason) {
  if (reason < TEAL_DROP_COUNT) t->cpu->drop[reason]++;
  return XDP_DROP;
}

TEAL_INLINE void teal_event(struct teal_trip *t, uint32_t event) { t->cpu->event[event]++; }

/* Leaves the packet, which must be as it came, to a worker. Without one (teald is away) it is lost, and counted. */
TEAL_INLINE int teal_punt(struct teal_trip *t) {
  uint32_t queue = t->ctx->rx_queue_index;
  if (queue < TEAL_XDP_QUEUES && t->port < TEAL_XDP_PORTS &&
      bpf_redirect_map(&teal_xsks, t->port * TEAL_XDP_QUEUES + queue, 0) == XDP_REDIRECT) {
    teal_event(t, TEAL_EV_punted);
    return XDP_REDIRECT;
  }
  return teal_drop(t, TEAL_DROP_punt_lost);
}

/* What teald says of an engine's port. */
TEAL_INLINE const struct teal_xdp_port *teal_port_at(uint32_t port) {
  return &teal_published.control.ports[port & (TEAL_XDP_PORTS - 1)];
}

/* To the kernel, without the VLAN tags that the port's configuration says are its. */
TEAL_INLINE int teal_kernel(struct teal_trip *t) {
  const struct teal_xdp_port *port = teal_port_at(t->port);
  uint32_t tags = port->tags;
  teal_event(t, TEAL_EV_to_kernel);
  if (TEAL_LIKELY(tags == 0) || t->pkt.tags < tags) return XDP_PASS;
  uint8_t *data = (uint8_t *)(long)t->ctx->data, *end = (uint8_t *)(long)t->ctx->data_end;
  uint8_t macs[12];
  if (data + 22 > end) return XDP_PASS;
  TEAL_COPY(macs, data, 12);
  if (tags == 1)
    TEAL_COPY(data + 4, macs, 12);
  else
    TEAL_COPY(data + 8, macs, 12);
  if (bpf_xdp_adjust_head(t->ctx, tags == 1 ? 4 : 8) != 0) return teal_drop(t, TEAL_DROP_no_room);
  return XDP_PASS;
}

/* Out by `hop`, whose Ethernet header has been written. */
TEAL_INLINE int teal_leave(struct teal_trip *t, const struct teal_hop *hop, uint32_t len) {
  t->cpu->event[TEAL_EV_tx_packets]++;
  t->cpu->event[TEAL_EV_tx_bytes] += len;
  if (TEAL_LIKELY(hop->port == t->port)) return XDP_TX;
  const struct teal_xdp_port *port = teal_port_at(hop->port);
  return (int)bpf_redirect(port->ifindex, 0);
}

/* Whether this program can send by the hop, or a worker must. */
TEAL_INLINE int teal_ours_to_send(struct teal_trip *t, const struct teal_hop *hop) {
  if (TEAL_LIKELY(hop->port == t->port)) return 1;
  const struct teal_xdp_port *port = teal_port_at(hop->port);
  return port->kind == TEAL_PORT_XDP;
}

/* The headers of a packet without IP options: 1 and pointers that the verifier knows to be readable and writable. */
TEAL_INLINE int teal_headers(struct teal_trip *t, uint8_t **ip, uint8_t **l4) {
  uint8_t *data = (uint8_t *)(long)t->ctx->data, *end = (uint8_t *)(long)t->ctx->data_end;
  uint64_t l3 = t->pkt.l3;
  TEAL_KEEP(l3);
  if (l3 > 22) return 0;
  *ip = data + l3;
  TEAL_KEEP(*ip);
  *l4 = *ip + (t->family == 4 ? sizeof(struct teal_ipv4) : sizeof(struct teal_ipv6));
  /* Both compared for equality: that a protocol is not TCP would not tell the verifier that it is UDP. */
  if (t->proto == TEAL_PROTO_TCP) return *l4 + sizeof(struct teal_tcp) <= end;
  if (t->proto == TEAL_PROTO_UDP) return *l4 + sizeof(struct teal_udp) <= end;
  return 0;
}

/* Ethernet header of `hop` in front of the IP header, and away. The IP packet is as it is to leave. */
TEAL_INLINE int teal_send(struct teal_trip *t, const struct teal_hop *hop) {
  uint32_t front = teal_eth_len(hop);
  uint16_t type = t->family == 4 ? TEAL_ETH_IPV4 : TEAL_ETH_IPV6;
  if (TEAL_UNLIKELY(front != t->pkt.l3) && bpf_xdp_adjust_head(t->ctx, (int)t->pkt.l3 - (int)front) != 0)
    return teal_drop(t, TEAL_DROP_no_room);
  uint8_t *data = (uint8_t *)(long)t->ctx->data, *end = (uint8_t *)(long)t->ctx->data_end;
  if (data + 22 > end) return teal_drop(t, TEAL_DROP_truncated);
  teal_write_eth(data, hop, type);
  return teal_leave(t, hop, t->frame_len - t->pkt.l3 + front);
}

/* The same through a tunnel. */
TEAL_INLINE int teal_send_tunnel(struct teal_trip *t, const struct teal_backend *b, uint8_t traffic_class) {
  const struct teal_hop *hop = &b->hop;
  uint32_t outer = b->family == 4 ? sizeof(struct teal_ipv4) : sizeof(struct teal_ipv6);
  uint64_t front = teal_eth_len(hop);
  TEAL_KEEP(front);
  /* Ethernet padding must not travel inside the tunnel. */
  uint32_t excess = t->frame_len - t->pkt.l3 - t->pkt.l3_len;
  if (TEAL_UNLIKELY(excess != 0) && bpf_xdp_adjust_tail(t->ctx, -(int)excess) != 0)
    return teal_drop(t, TEAL_DROP_no_room);
  if (bpf_xdp_adjust_head(t->ctx, (int)t->pkt.l3 - (int)(front + outer)) != 0) return teal_drop(t, TEAL_DROP_no_room);
  uint8_t *data = (uint8_t *)(long)t->ctx->data, *end = (uint8_t *)(long)t->ctx->data_end;
  if (front > 22) return XDP_ABORTED;
  uint8_t *ip = data + front;
  TEAL_KEEP(ip);
  if (data + 22 > end || ip + sizeof(struct teal_ipv6) > end) return teal_drop(t, TEAL_DROP_truncated);
  teal_write_tunnel(ip, b, t->family, traffic_class, t->pkt.l3_len);
  teal_write_eth(data, hop, b->family == 4 ? TEAL_ETH_IPV4 : TEAL_ETH_IPV6);
  return teal_leave(t, hop, t->pkt.l3_len + outer + front);
}

#endif
