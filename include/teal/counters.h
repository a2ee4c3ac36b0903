/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
 *
 * Every outcome has a name and a counter. The lists below are the only place where they are written: enum, JSON,
 * Prometheus labels and documentation come from them. Append, never reorder: numbers are part of the shared layout.
 */
#ifndef TEAL_COUNTERS_H
#define TEAL_COUNTERS_H

#include "teal/types.h"

/* Why a packet was dropped: X(name, what it means). */
#define TEAL_DROP_REASONS(X)                                                                             \
  X(truncated, "frame ends before its headers do, or before the length they state")                      \
  X(too_many_tags, "more than two VLAN tags")                                                             \
  X(bad_ip_header, "IP version, header length or total length is impossible")                            \
  X(bad_tcp_header, "TCP data offset below 5 words or past the segment")                                 \
  X(bad_tcp_flags, "SYN together with FIN or RST")                                                       \
  X(bad_udp_header, "UDP length below 8 or past the datagram")                                           \
  X(too_many_extensions, "more IPv6 extension headers than the bound of 8")                              \
  X(bad_icmp_quote, "ICMP error whose quoted packet is cut short or impossible")                         \
  X(bad_fragment, "fragment of impossible offset or length, or an overfull reassembly")                  \
  X(fragment_timeout, "datagram whose fragments did not all come in time")                               \
  X(martian_source, "source address that no client can have")                                            \
  X(not_our_mac, "unicast frame for another machine's MAC address")                                      \
  X(no_backend, "no backend of the chosen pool takes new flows")                                          \
  X(ttl_expired, "TTL or hop limit would reach zero")                                                    \
  X(too_big, "larger than the next hop's MTU; the sender was told unless over the rate limit")           \
  X(no_route, "the kernel has no route to the next hop")                                                 \
  X(no_neighbour, "the next hop's MAC address was not resolved in time")                                 \
  X(reply_mismatch, "reply of a backend for a flow that another backend holds")                          \
  X(reply_clash, "new flow whose replies could not be told from those of another service's flow")        \
  X(no_room, "no head-room or buffer to build the outgoing packet")                                      \
  X(tx_full, "the transmit queue took no more")                                                          \
  X(tap_full, "the kernel's tap took no more")                                                           \
  X(reset_flow, "packet of a flow that the operator reset; both ends were sent RST")                     \
  X(no_tap, "not a service's packet, and the port has no tap to the kernel")                             \
  X(icmp_unmatched, "ICMP error that quotes no flow of the service it is addressed to")                  \
  X(punt_lost, "packet that the XDP program leaves to a worker, and no worker takes (teald is away)")

/* What else happened: X(name, what it counts). */
#define TEAL_EVENTS(X)                                                                                   \
  X(rx_packets, "packets received")                                                                      \
  X(rx_bytes, "bytes received")                                                                          \
  X(tx_packets, "packets sent")                                                                          \
  X(tx_bytes, "bytes sent")                                                                              \
  X(to_kernel, "packets given to the kernel through a tap")                                              \
  X(from_kernel, "packets taken from the kernel through a tap")                                          \
  X(forwarded, "packets of services forwarded to a backend")                                             \
  X(replies, "packets of backends forwarded to a client (NAT)")                                          \
  X(icmp_errors, "ICMP errors about our flows, forwarded")                                               \
  X(fragments, "fragments of services' datagrams taken in for reassembly")                               \
  X(reassembled, "datagrams put together from fragments")                                                \
  X(icmp_sent, "Fragmentation Needed and Packet Too Big sent to clients")                                \
  X(icmp_suppressed, "of those, held back by the rate limit")                                            \
  X(rst_sent, "RST segments sent for flows that the operator reset")                                     \
  X(flows_new, "flows entered into the table")                                                           \
  X(flows_recovered, "flows entered from a packet that does not begin one")                              \
  X(flows_untracked, "packets forwarded without an entry because the table had no room")                 \
  X(flows_evicted, "half-open entries that gave way to a new one")                                       \
  X(flows_displaced, "entries moved to their other bucket to make room")                                 \
  X(flows_expired, "entries removed by the sweeper after their timeout")                                 \
  X(flows_moved, "live flows whose backend changed: the ledger, which must read 0")                      \
  X(lock_busy, "packets held because the lock of their flow's key stayed taken")                         \
  X(reply_untracked, "replies translated without an entry")                                              \
  X(neighbour_held, "packets held while the kernel resolved a next hop")                                 \
  X(hairpin, "packets of clients that are backends themselves")                                          \
  X(mss_clamped, "SYN segments whose MSS option was lowered")                                            \
  X(punted, "packets that the XDP program gave to a worker: fragments, options, errors, too big, unresolved") \
  X(settled, "packets of connections under way that needed no look at the flow table")

enum teal_drop {
#define X(name, text) TEAL_DROP_##name,
  TEAL_DROP_REASONS(X)
#undef X
      TEAL_DROP_COUNT
};

enum teal_event {
#define X(name, text) TEAL_EV_##name,
  TEAL_EVENTS(X)
#undef X
      TEAL_EV_COUNT
};

/* Of a service and of a backend: counted by each worker and by each CPU's program, read by the control thread. A service's
 * packets are those of its backends. */
struct teal_service_counts {
  uint64_t new_flows[2]; /* entered, by pool */
  uint64_t untracked;
  uint64_t recovered;
  uint64_t moved; /* the ledger */
  uint64_t unused[3];
};
struct teal_backend_counts {
  uint64_t packets, bytes; /* to it */
};

#endif
