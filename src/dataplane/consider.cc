// SPDX-License-Identifier: Apache-2.0
// Stages 3 to 5 of packets that change an entry, or have none that decides them.
#include "dataplane/pipeline.h"

namespace teal::dataplane {

void Pipeline::consider(Item& item) {
  uint64_t val = 0;
  uint64_t* slot = table_.find(table_.bucket(item.first), item.key, &val);
  if (slot == nullptr) val = 0;
  if (item.dir == TEAL_TO_BACKEND)
    to_backend(item, slot, val);
  else
    to_client(item, slot, val);
}

void Pipeline::touch(uint64_t* slot, uint64_t val, const Item& item, const teal_service& service) {
  const uint8_t two_way = service.forward == TEAL_FORWARD_nat;
  const uint64_t next = teal_val_after(val, item.pkt.proto, item.dir, item.pkt.tcp_flags, two_way, now_);
  if (next != val || (item.pkt.tcp_flags & TEAL_TCP_SYN)) move_on(slot, val, item, service);
}

// An entry that changes, or a SYN that comes again.
void Pipeline::move_on(uint64_t* slot, uint64_t val, const Item& item, const teal_service& service) {
  const uint8_t two_way = service.forward == TEAL_FORWARD_nat;
  const uint8_t flags = item.pkt.tcp_flags;
  for (int i = 0; i < 8; i++) {
    const uint64_t next = teal_val_after(val, item.pkt.proto, item.dir, flags, two_way, now_);
    if (TEAL_LIKELY(next == val)) {
      // A held SYN that is tried again was sent once.
      if (TEAL_UNLIKELY(teal_is_retransmit(val, item.dir, flags)) && retry_deadline_ == 0)
        TEAL_COUNT(&counters_.signals_of(item.service, val).syn_retransmits);
      return;
    }
    if (TEAL_CAS(slot, val, next)) {
      // No longer plain: its packets must find it from now on.
      if (teal_val_state(val) == TEAL_FLOW_established && teal_val_state(next) != TEAL_FLOW_established)
        table_.attend(item.key.hash);
      if (item.pkt.proto == TEAL_PROTO_TCP)
        teal_signal_count(&counters_.signals_of(item.service, val), teal_signals_of(val, next, item.dir, two_way),
                          teal_val_fine_age(val, now_));
      if ((service.flags & TEAL_SERVICE_AFFINITY) && teal_state_pins(teal_val_state(next))) pin(item, service, val);
      return;
    }
    const uint64_t there = TEAL_LOAD(slot);
    if (there == 0 || ((there ^ val) & ~TEAL_VAL_MOVES) != 0) return;  // recycled or replaced
    val = there;
  }
}

void Pipeline::to_backend(Item& item, uint64_t* slot, uint64_t val) {
  const teal_service& service = view_->services[item.service];
  const enum teal_action action = teal_decide(&service, val, item.pkt.proto, item.pkt.tcp_flags, now_);
  if (action != TEAL_ACT_KEEP) return newcomer(item, service, action, val);
  touch(slot, val, item, service);
  forward(item, service, teal_val_backend(val));
}

void Pipeline::to_client(Item& item, uint64_t* slot, uint64_t val) {
  const bool shared = view_->endpoints[item.endpoint].count > 1;
  if (shared && (slot == nullptr || teal_val_backend(val) != item.backend)) {
    slot = nullptr;
    val = 0;
    find_reply(item, &slot, &val);
  }
  // What answers the host itself (a health check, an operator's curl) answers no client.
  if (slot == nullptr && is_local(item)) return kernel(item.m, item.pkt);
  const teal_service& service = view_->services[item.service];
  if (slot != nullptr) {
    if (teal_val_backend(val) != item.backend) return sink_.drop(item.m, TEAL_DROP_reply_mismatch);
    if (teal_val_state(val) == TEAL_FLOW_reset) return reset_both(item, service, item.backend);
  }
  const teal_hop& hop = client_hop(item);
  if (hop.state != TEAL_HOP_READY) return unready(item, hop, item.pkt.family, item.client);
  if (slot != nullptr) {
    touch(slot, val, item, service);
  } else {
    // The backend knows best which flows are its own: one that the table lost is entered again from its reply.
    if (item.pkt.proto == TEAL_PROTO_TCP && !shared && teal_flags_settled(item.pkt.tcp_flags)) {
      const uint8_t pool = view_->backends[item.backend].pool;
      const uint64_t generation = teal_split_generation(TEAL_LOAD(&shared_.splits[service.group].current));
      uint64_t entry = teal_val(item.backend, pool, generation, TEAL_FLOW_recovered, item.key.check, now_);
      if (!enter(item, service, TEAL_ACT_RECOVER, 0, &entry)) return;
    }
    counters_.event[TEAL_EV_reply_untracked]++;
  }
  answer(item, service, hop);
}

}  // namespace teal::dataplane
