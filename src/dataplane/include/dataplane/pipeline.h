// SPDX-License-Identifier: Apache-2.0
// The five stages over a burst: parse, match service, find flow, decide, rewrite. One object a worker; nothing in it is
// shared but the flow table, the splits and the published view.
#pragma once

#include <rte_ip_frag.h>
#include <rte_mbuf.h>
#include <rte_prefetch.h>

#include <array>
#include <cstdint>
#include <cstring>

#include "dataplane/counters.h"
#include "dataplane/sink.h"
#include "flow/table.h"
#include "model/snapshot.h"
#include "teal/affinity.h"
#include "teal/parse.h"
#include "teal/quote.h"
#include "teal/rewrite.h"
#include "teal/under_way.h"

namespace teal::dataplane {

inline constexpr unsigned burst = 32;

// What an engine's port is, for the packet path.
struct PortInfo {
  std::array<uint8_t, 6> mac{};
  uint8_t tags = 0;  // VLAN tags that its traffic carries, taken off towards the kernel
  bool present = false;
};

struct Pools {
  rte_mempool* direct = nullptr;    // packets of our own making
  rte_mempool* indirect = nullptr;  // bodies of fragments
};

class Pipeline {
 public:
  struct Shared {
    flow::Table* table = nullptr;
    const teal_head* head = nullptr;
    const teal_split* splits = nullptr;
    const uint32_t* settled = nullptr;  // by group, as teal/settled.h has it
    std::array<PortInfo, max_ports> ports{};
    Pools pools;
    rte_ring* wanted = nullptr;  // of WantedNeighbour, to the control thread
  };
  struct WantedNeighbour {
    teal_addr address;
    uint8_t family;
    uint8_t unused[7];
  };
  static_assert(sizeof(WantedNeighbour) == 24);

  Pipeline(const Shared& shared, Counters& counters, Sink& sink);
  ~Pipeline();
  Pipeline(const Pipeline&) = delete;
  Pipeline& operator=(const Pipeline&) = delete;

  // Takes `count` (at most `burst`) frames received on `port`. `now`: ticks; `tsc`: for reassembly and rate limits.
  // Returns the bytes of the frames.
  uint64_t process(const model::View& view, rte_mbuf** packets, unsigned count, uint16_t port, uint32_t now,
                   uint64_t tsc);

  // Once a millisecond or so: held packets are tried again, reassembly times out.
  void housekeeping(const model::View& view, uint32_t now, uint64_t tsc);
  [[nodiscard]] bool idle() const { return held_count_ == 0; }

 private:
  struct Item {  // filled as the stages go; a burst of them is not worth clearing
    rte_mbuf* m;
    uint8_t* data;            // its frame
    const uint16_t* decided;  // the Maglev slot by which it may go without the table; nullptr: the table must be asked
    teal_flow_key key;
    uint32_t first;   // number of the key's first bucket
    uint32_t second;  // and of its second, of who may go without the table
    uint16_t service;
    uint16_t backend;   // of replies: by endpoint
    uint16_t direct;    // the backend, where the packet changes no entry; 0: consider() it
    uint8_t under_way;  // its family, where teal_is_under_way() knew it; 0: the long way
    uint8_t dir;
    bool steady;         // neither SYN, FIN nor RST: the entry may be left as it is. Where `under_way` too, `pkt`,
                         // `client`, `hairpin` and `whole` are not filled
    teal_nat_sums sums;  // of replies under way
    uint32_t endpoint;   // of replies
    bool special;        // of replies: the client is in the filter `special` of the view
    bool hairpin;        // of replies: the client is a backend itself, the packet's destination is how it was seen
    bool whole;          // put together from fragments: leaves in fragments again if need be
    teal_addr client;    // as the table knows it (a hairpin client: its own address)
    teal_pkt pkt;
  };

  // under_way.cc: a burst, and the short way in it
  Item* gather(rte_mbuf** packets, unsigned count, Item* end, uint64_t* bytes);
  template <uint8_t family>
  [[gnu::always_inline]] bool match_under_way(Item& item) const;
  bool take_in(rte_mbuf* m, Item& item);
  template <uint8_t family>
  [[gnu::always_inline]] bool take_under_way(Item& item, uint32_t len);
  template <uint8_t family>
  bool begin(Item& item);
  template <uint8_t family>
  void fill(Item& item) const;
  [[nodiscard]] uint16_t resolve(const Item& item);
  uint16_t late(const Item& item);
  void fetch(const Item& item) const;
  uint16_t refresh(const Item& item) const;
  void depart(Item* item, Item* end);
  template <uint8_t family, uint8_t outer>
  [[gnu::always_inline]] uint32_t encapsulate_under_way(rte_mbuf* m, uint8_t* ip, uint32_t start,
                                                        const teal_backend& to, uint32_t l3_len);
  template <uint8_t family, bool any>
  [[gnu::always_inline]] bool to_backend_under_way(Item& item);
  template <uint8_t family, bool any>
  [[gnu::always_inline]] bool to_client_under_way(Item& item);
  bool is_backend(const Item& item) const;  // its client
  void take_long_way(Item& item);
  void forward(Item& item, const teal_service& service, uint16_t number);
  void answer(Item& item, const teal_service& service, const teal_hop& hop);

  // pipeline.cc: the long way
  bool other(Item& item);
  bool classify(Item& item);
  template <uint8_t family>
  [[gnu::always_inline]] bool match(Item& item, const uint8_t* ip);
  void not_ordinary(Item& item);
  void balance(Item& item);
  void rewrite(Item& item, const teal_service& service, uint16_t number);
  void reply(Item& item, const teal_service& service, const teal_hop& hop);
  void leave(Item& item, const teal_hop& hop, const teal_backend* tunnel);
  void encapsulate(rte_mbuf* m, uint16_t l3, uint8_t family, const teal_hop& hop, const teal_backend& to);
  // the same for other files
  void emit(Item& item, const teal_hop& hop, const teal_backend* tunnel);
  void send_frame(rte_mbuf* m, uint16_t l3, uint8_t family, const teal_hop& hop, const teal_backend* tunnel);

  // consider.cc: packets that change an entry, or have none
  void consider(Item& item);
  void to_backend(Item& item, uint64_t* slot, uint64_t val);
  void to_client(Item& item, uint64_t* slot, uint64_t val);
  bool is_local(const Item& item) const;  // its client is the host itself
  void touch(uint64_t* slot, uint64_t val, const Item& item, const teal_service& service);
  void move_on(uint64_t* slot, uint64_t val, const Item& item, const teal_service& service);

  // newcomer.cc
  void newcomer(Item& item, const teal_service& service, enum teal_action action, uint64_t val);
  void pin(const Item& item, const teal_service& service, uint64_t flow);
  uint8_t pool_of(const Item& item, const teal_service& service, uint64_t word, uint8_t pool) const;
  uint16_t choose(const Item& item, const teal_service& service, enum teal_action action, uint8_t* pool,
                  uint64_t* generation);
  bool clashes(const Item& item, const teal_service& service, uint16_t backend);
  bool enter(Item& item, const teal_service& service, enum teal_action action, uint64_t old, uint64_t* val);
  bool find_reply(Item& item, uint64_t** slot, uint64_t* val);

  // slow_path.cc: ICMP errors and fragments
  void icmp_error(Item& item);
  void fragment(Item& item);
  bool concerns_us(const Item& item) const;
  static void cut_to(rte_mbuf* m, uint32_t length);
  void emit_fragments(Item& item, const teal_hop& hop, const teal_backend* tunnel, uint32_t limit);

  // answers.cc: packets of our own making
  void too_big(Item& item, uint32_t mtu);
  void reset_both(Item& item, const teal_service& service, uint16_t backend);
  void bounce(rte_mbuf* m, const Item& item);

  // neighbours.cc
  void unready(Item& item, const teal_hop& hop, uint8_t family, const teal_addr& destination);
  bool keep(const Item& item);
  void hold(Item& item, uint8_t family, const teal_addr& destination);
  bool hold_for_lock(const Item& item);
  void kernel(rte_mbuf* m, const teal_pkt& pkt);

  // `data`: where `pkt` begins; `end`: of what may be read.
  void clamp(const Item& item, const teal_service& service, uint8_t* data, const uint8_t* end) {
    if (TEAL_LIKELY(!(item.pkt.tcp_flags & TEAL_TCP_SYN)) || service.mss_clamp == 0) return;
    counters_.event[TEAL_EV_mss_clamped] +=
        static_cast<uint64_t>(teal_clamp_mss(data + item.pkt.l4, end, service.mss_clamp));
  }
  // The packet must be looked up: gather() fetches its bucket.
  [[gnu::always_inline]] void await_table(Item& item) {
    item.decided = nullptr;
    awaits_ = true;
  }
  // Of a packet with no SYN, FIN or RST: `decided`, where its cells may spare it the table. They, and the slot that
  // decides then, are fetched. (A group's word is 0 to 2: nobody but teald writes it.)
  [[gnu::always_inline]] void seek_settled(Item& item) {
    const model::Settling& settling = view_->settling[item.service];
    const uint16_t* maglev = settling.maglev[TEAL_LOAD(&shared_.settled[settling.group])];
    if (maglev == nullptr || TEAL_UNLIKELY(teal_goes_long(item.key.hash, now_))) return await_table(item);
    item.decided = &maglev[teal_maglev_slot(&secret_, item.key.hash, 0, model::maglev_slots)];
    item.second = teal_bucket_other(item.key.hash, item.first, table_.bucket_count());
    rte_prefetch0(item.decided);
    rte_prefetch0(table_.cell_word(item.first));
    rte_prefetch0(table_.cell_word(item.second));
  }
  // `special`: the client may have a route of his own.
  [[nodiscard]] const teal_hop& client_hop(uint8_t family, const teal_addr& client, bool special) const {
    const uint32_t quick = teal_route_quick(&view_->route_default, family, &client, special);
    if (TEAL_LIKELY(quick != 0)) return view_->hops[quick];
    const teal_route_lengths& lengths = view_->route_lengths;
    return view_->hops[teal_route_find(view_->routes, view_->route_mask, &lengths, &secret_, family, &client, 0,
                                       teal_route_first(&lengths, family, special))];
  }
  [[nodiscard]] const teal_hop& client_hop(const Item& item) const {
    return client_hop(item.pkt.family, item.client, item.special);
  }
  // Of the IP packet at `ip`.
  template <uint8_t family>
  static teal_addr address_at(const uint8_t* ip, int side) {
    teal_addr a{};
    if (family == 4)
      std::memcpy(&a, ip + (side == TEAL_SIDE_SRC ? 12 : 16), 4);
    else
      std::memcpy(&a, ip + (side == TEAL_SIDE_SRC ? 8 : 24), 16);
    return a;
  }
  template <uint8_t family>
  static bool in_filter(const uint64_t* filter, const teal_addr& a) {
    return teal_in_filter_folded(filter, family == 4 ? a.v4 : teal_addr_folded(&a)) != 0;
  }
  static teal_addr address_of(const uint8_t* data, const teal_pkt& pkt, int side) {
    const uint8_t* ip = data + pkt.l3;
    return TEAL_LIKELY(pkt.family == 4) ? address_at<4>(ip, side) : address_at<6>(ip, side);
  }
  [[nodiscard]] bool is_for_us(const uint8_t* frame) const {
    return ((teal_load64(frame) ^ like_->ipv4.value[0]) << 16) == 0;  // six bytes, little-endian
  }
  [[nodiscard]] bool in_hairpin_net(uint8_t family, const teal_addr& a) const {
    return teal_in_hairpin_net(family, &a, &view_->hairpin4, view_->hairpin_mask4, &view_->hairpin6);
  }
  bool hairpin_seen(uint8_t family, const teal_addr& client, teal_addr* seen) const;
  bool hairpin_client(uint8_t family, const teal_addr& seen, teal_addr* client) const;

  const Shared shared_;
  struct Like {
    teal_frame_like ipv4, ipv6;
  };
  std::array<Like, max_ports> likes_;  // what packets under way to each port are like
  Counters& counters_;
  Sink& sink_;
  const teal_secret secret_;  // as in the table's head; here one load nearer
  flow::Table table_;         // pointers to the one table

  // of the burst being processed
  const model::View* view_ = nullptr;
  uint32_t now_ = 0;
  uint16_t port_ = 0;           // that it came from
  const Like* like_ = nullptr;  // of that
  uint64_t tsc_ = 0;

  // So many packets' buckets are fetched one right after the other: where the table is large they wait, it seems for
  // their addresses to be translated, and with a packet's other work between them these waits do not overlap. More at
  // once would leave less to do until the first is needed (docs/decisions/0018).
  static constexpr unsigned fetched_together = 8;
  bool awaits_ = false;                                    // one of them at least goes to the table
  std::array<const Item*, fetched_together> beginning_{};  // SYNs among them
  unsigned beginning_count_ = 0;

  // Those who must be considered, in their order, and whose turn it is.
  static constexpr unsigned late_ahead = 6;
  std::array<const Item*, burst> late_{};
  unsigned late_count_ = 0, late_at_ = 0;

  rte_ip_frag_tbl* fragments_ = nullptr;
  rte_ip_frag_death_row* death_row_ = nullptr;
  uint64_t icmp_tokens_ = 0, icmp_refill_tsc_ = 0;
  uint16_t fragment_id_ = 0;

  struct Held {
    rte_mbuf* m;
    uint16_t port;
    uint64_t deadline_tsc;
  };
  std::array<Held, 256> held_{};
  unsigned held_count_ = 0;
  uint64_t retry_deadline_ = 0;  // of the packet being tried again; 0: none is
};

}  // namespace teal::dataplane
