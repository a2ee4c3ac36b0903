// SPDX-License-Identifier: Apache-2.0
// Stage 4 for a flow without an entry: pool, backend, entry; the affinity that flows give their clients; replies of
// backends that several services share. Beside it in the XDP program: bpf/newcomer.h.
#include "dataplane/pipeline.h"

namespace teal::dataplane {

// Whatever has no entry that decides it. One function with choose() and enter() in it.
[[gnu::flatten]] void Pipeline::newcomer(Item& item, const teal_service& service, enum teal_action action,
                                         uint64_t val) {
  if (action == TEAL_ACT_RESET) return reset_both(item, service, teal_val_backend(val));
  // A retired service takes no new flows; its VIP may be the kernel's by now.
  if ((service.flags & TEAL_SERVICE_RETIRED) && action == TEAL_ACT_ENTER) return kernel(item.m, item.pkt);

  uint8_t pool = 0;
  uint64_t generation = 0;
  const uint16_t backend = choose(item, service, action, &pool, &generation);
  if (backend == 0) return;
  if (action == TEAL_ACT_STATELESS) return forward(item, service, backend);
  uint64_t entry = teal_val(backend, pool, generation, teal_first_state(action, item.pkt.proto), item.key.check, now_);
  if (!enter(item, service, action, val, &entry)) return;
  forward(item, service, teal_val_backend(entry));
}

// Stage 4 for a flow without an entry: split, then Maglev. 0: dropped, and counted.
uint16_t Pipeline::choose(const Item& item, const teal_service& service, enum teal_action action, uint8_t* pool,
                          uint64_t* generation) {
  const teal_split& split = shared_.splits[service.group];
  const uint64_t current = TEAL_LOAD(&split.current);
  const uint64_t word = teal_deciding_split(action, current, TEAL_LOAD(&split.previous));
  *pool = static_cast<uint8_t>(teal_split_pool(&secret_, &service, &item.client, item.key.key, word));
  *generation = teal_split_generation(word);
  if (action == TEAL_ACT_ENTER && (service.flags & (TEAL_SERVICE_PREVIEW | TEAL_SERVICE_AFFINITY)))
    *pool = pool_of(item, service, word, *pool);
  const uint32_t table = service.maglev[*pool];
  if (table == 0) {
    sink_.drop(item.m, TEAL_DROP_no_backend);
    return 0;
  }
  const unsigned attempts = service.flags & TEAL_SERVICE_SHARED ? 64 : 1;
  for (uint32_t i = 0; i < attempts; i++) {
    const uint16_t backend = view_->maglev[table][teal_maglev_slot(&secret_, item.key.hash, i, model::maglev_slots)];
    if (attempts == 1 || action != TEAL_ACT_ENTER || !clashes(item, service, backend)) return backend;
  }
  sink_.drop(item.m, TEAL_DROP_reply_clash);
  return 0;
}

// Whether the client's address and port already are a flow of another service on the same backend address and port: the
// backend could not tell the two connections apart, nor could teal their replies.
[[gnu::noinline]] bool Pipeline::clashes(const Item& item, const teal_service& service, uint16_t backend) {
  const teal_backend& b = view_->backends[backend];
  const uint64_t key = teal_match_key(&secret_, b.family, &b.addr, b.port, service.proto, TEAL_MATCH_ENDPOINT);
  const uint32_t e = teal_match_find(view_->match, view_->match_mask, &secret_, key);
  if (e == 0) return false;
  const teal_endpoint& endpoint = view_->endpoints[e];
  for (uint32_t i = 0; i < endpoint.count; i++) {
    const teal_endpoint_ref& ref = view_->refs[endpoint.first + i];
    if (ref.service == item.service) continue;
    const teal_flow_key other = item.pkt.family == 4
                                    ? teal_flow_key4(&secret_, item.client.v4, item.pkt.sport, ref.service)
                                    : teal_flow_key6(&secret_, &item.client, item.pkt.sport, ref.service);
    uint64_t val = 0;
    if (table_.find(other, &val) == nullptr || teal_val_backend(val) != ref.backend) continue;
    if (!teal_state_is_over(teal_val_state(val)) && !teal_flow_expired(&view_->services[ref.service], val, now_))
      return true;
  }
  return false;
}

// Enters the flow; *val is what decides afterwards: the given value, or that of another packet of the flow. False: the
// packet waits until it can be entered.
bool Pipeline::enter(Item& item, const teal_service& service, enum teal_action action, uint64_t old, uint64_t* val) {
  flow::InsertCounts counts;
  ServiceCounters& sc = counters_.service[item.service];
  const uint64_t wanted = *val;
  const flow::Inserted result = table_.insert(secret_, item.key, val, old, now_, counts);
  counters_.event[TEAL_EV_flows_displaced] += counts.displaced;
  counters_.event[TEAL_EV_flows_evicted] += counts.evicted;
  switch (result) {
    case flow::Inserted::replaced:
      if (!teal_state_is_over(teal_val_state(old)) && !teal_flow_expired(&service, old, now_) &&
          teal_val_backend(old) != teal_val_backend(wanted)) {
        counters_.event[TEAL_EV_flows_moved]++;
        sc.moved++;
      }
      [[fallthrough]];
    case flow::Inserted::entered:
      if (action == TEAL_ACT_ENTER) TEAL_COUNT(&counters_.signals_of(item.service, wanted).begun);
      counters_.event[TEAL_EV_flows_new]++;
      sc.new_flows[teal_val_pool(wanted)]++;
      if (action == TEAL_ACT_RECOVER) {
        counters_.event[TEAL_EV_flows_recovered]++;
        sc.recovered++;
      }
      break;
    case flow::Inserted::found:
      break;
    case flow::Inserted::busy:
      if (hold_for_lock(item)) return false;
      [[fallthrough]];
    case flow::Inserted::no_room:
      *val = wanted;
      counters_.event[TEAL_EV_flows_untracked]++;
      sc.untracked++;
      break;
  }
  return true;
}

// Writes or refreshes the affinity that the flow of value `flow` gives its client.
void Pipeline::pin(const Item& item, const teal_service& service, uint64_t flow) {
  const uint64_t split = TEAL_LOAD(&shared_.splits[service.group].current);
  if (!teal_affinity_counts(flow, split)) return;
  const teal_flow_key key = teal_affinity_key(&secret_, &service, &item.client, item.service);
  uint64_t entry = teal_affinity_val(flow, key.check, now_), val = 0;
  uint64_t* slot = table_.find(key, &val);
  if (slot == nullptr) {
    flow::InsertCounts counts;
    table_.insert(secret_, key, &entry, 0, now_, counts);
    return;
  }
  if (teal_affinity_binds(&service, val, split, now_)) {
    if (teal_val_pool(val) != teal_val_pool(flow)) return;  // the first connection's pool stays
    entry = (val & ~uint64_t{TEAL_STAMP_MASK}) | teal_stamp(TEAL_FLOW_affinity, now_);
  }
  (void)TEAL_CAS(slot, val, entry);
}

// The pool that a preview or the client's affinity says; the split's else.
[[gnu::noinline]] uint8_t Pipeline::pool_of(const Item& item, const teal_service& service, uint64_t word,
                                            uint8_t pool) const {
  if ((service.flags & TEAL_SERVICE_PREVIEW) &&
      teal_route_find(view_->routes, view_->route_mask, &view_->previews, &secret_, item.pkt.family, &item.client,
                      item.service, 0))
    return static_cast<uint8_t>(teal_preview_pool(&service));
  if (!(service.flags & TEAL_SERVICE_AFFINITY)) return pool;
  const teal_flow_key key = teal_affinity_key(&secret_, &service, &item.client, item.service);
  uint64_t val = 0;
  if (table_.find(key, &val) == nullptr || !teal_affinity_binds(&service, val, word, now_)) return pool;
  return service.maglev[teal_val_pool(val)] != 0 ? teal_val_pool(val) : pool;
}

// Among several services on one backend address, the one whose entry names this backend.
bool Pipeline::find_reply(Item& item, uint64_t** slot, uint64_t* val) {
  const teal_endpoint& endpoint = view_->endpoints[item.endpoint];
  for (uint32_t i = 0; i < endpoint.count; i++) {
    const teal_endpoint_ref& ref = view_->refs[endpoint.first + i];
    const teal_flow_key key = item.pkt.family == 4
                                  ? teal_flow_key4(&secret_, item.client.v4, item.pkt.dport, ref.service)
                                  : teal_flow_key6(&secret_, &item.client, item.pkt.dport, ref.service);
    uint64_t v = 0;
    uint64_t* s = table_.find(key, &v);
    if (s == nullptr || teal_val_backend(v) != ref.backend) continue;
    item.service = ref.service;
    item.backend = ref.backend;
    item.sums = ref.sums;
    item.key = key;
    *slot = s;
    *val = v;
    return true;
  }
  return false;
}

}  // namespace teal::dataplane
