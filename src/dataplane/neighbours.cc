// SPDX-License-Identifier: Apache-2.0
// Packets that wait for the kernel: to be taken by it, or for it to resolve a next hop. Beside these wait packets that
// need a key's lock which somebody holds who has no CPU just now.
#include <rte_cycles.h>

#include <cstring>

#include "dataplane/pipeline.h"

namespace teal::dataplane {

// Gives a frame to the kernel through the port's tap, without the VLAN tags that the port's configuration says are its.
void Pipeline::kernel(rte_mbuf* m, const teal_pkt& pkt) {
  const uint8_t tags = shared_.ports[port_].tags;
  if (tags != 0 && pkt.tags >= tags) {
    uint8_t* data = rte_pktmbuf_mtod(m, uint8_t*);
    std::memmove(data + 4 * tags, data, 12);
    rte_pktmbuf_adj(m, static_cast<uint16_t>(4 * tags));
  }
  m->ol_flags = 0;
  sink_.to_kernel(port_, m);
}

// Whether the packet's client is the host itself.
bool Pipeline::is_local(const Item& item) const {
  const uint64_t key = teal_match_key(&secret_, item.pkt.family, &item.client, 0, 0, TEAL_MATCH_LOCAL);
  return teal_match_find(view_->match, view_->match_mask, &secret_, key) != 0;
}

// A packet whose next hop is not to be had, now or at all.
void Pipeline::unready(Item& item, const teal_hop& hop, uint8_t family, const teal_addr& destination) {
  if (hop.state == TEAL_HOP_UNRESOLVED) return hold(item, family, destination);
  sink_.drop(item.m, TEAL_DROP_no_route);
}

// Keeps the packet, unchanged, until housekeeping() runs it through all stages again. False: that has been done for
// 500 ms, or too many wait.
bool Pipeline::keep(const Item& item) {
  if (held_count_ == held_.size() || (retry_deadline_ != 0 && tsc_ > retry_deadline_)) return false;
  held_[held_count_++] = {item.m, port_, retry_deadline_ != 0 ? retry_deadline_ : tsc_ + rte_get_tsc_hz() / 2};
  return true;
}

// Until the next hop is known.
void Pipeline::hold(Item& item, uint8_t family, const teal_addr& destination) {
  if (!keep(item)) return sink_.drop(item.m, TEAL_DROP_no_neighbour);
  if (retry_deadline_ != 0) return;
  counters_.event[TEAL_EV_neighbour_held]++;
  WantedNeighbour wanted{destination, family, {}};
  if (shared_.wanted != nullptr)
    rte_ring_enqueue_elem(shared_.wanted, &wanted, sizeof(wanted));  // full: others ask already
}

// Until the lock of its key is free; without an entry its flow could move at the next cutover. (Not what was put
// together from fragments, which a second time nobody would know.)
bool Pipeline::hold_for_lock(const Item& item) {
  if (retry_deadline_ == 0) counters_.event[TEAL_EV_lock_busy]++;
  return !item.whole && keep(item);
}

void Pipeline::housekeeping(const model::View& view, uint32_t now, uint64_t tsc) {
  rte_ip_frag_table_del_expired_entries(fragments_, death_row_, tsc);
  counters_.drop[TEAL_DROP_fragment_timeout] += death_row_->cnt;
  rte_ip_frag_free_death_row(death_row_, 0);
  const unsigned n = held_count_;
  if (n == 0) return;
  std::array<Held, 256> again = held_;
  held_count_ = 0;
  for (unsigned i = 0; i < n; i++) {
    retry_deadline_ = again[i].deadline_tsc;
    process(view, &again[i].m, 1, again[i].port, now, tsc);
  }
  retry_deadline_ = 0;
}

// How backends see a client that is a backend itself: an address of the hairpin prefix that carries its number, so
// that their replies come back through teal instead of going to their neighbour (or to themselves) directly.
bool Pipeline::hairpin_seen(uint8_t family, const teal_addr& client, teal_addr* seen) const {
  const uint64_t key = teal_match_key(&secret_, family, &client, 0, 0, TEAL_MATCH_BACKEND_ADDRESS);
  const uint32_t number = teal_match_find(view_->match, view_->match_mask, &secret_, key);
  if (number == 0 || !teal_addr_equal(&view_->backends[number].addr, &client)) return false;
  *seen = family == 4 ? view_->hairpin4 : view_->hairpin6;
  uint32_t& last = family == 4 ? seen->words[0] : seen->words[3];
  last |= teal_swap32(number);
  return true;
}

bool Pipeline::hairpin_client(uint8_t family, const teal_addr& seen, teal_addr* client) const {
  if (!in_hairpin_net(family, seen)) return false;
  const uint32_t number = family == 4 ? teal_swap32(seen.v4) & ~view_->hairpin_mask4
                                      : teal_swap32(seen.words[3] ^ view_->hairpin6.words[3]);
  if (number == 0 || number >= view_->backend_count || view_->backends[number].family != family) return false;
  *client = view_->backends[number].addr;
  return true;
}

}  // namespace teal::dataplane
