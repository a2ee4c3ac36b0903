// SPDX-License-Identifier: Apache-2.0
#include "flow/settle.h"

#include <algorithm>

namespace teal::flow {
namespace {

// Whether a service decides its new flows in both views alike.
bool alike(const model::View& a, const model::View& b, uint32_t number) {
  if (number >= a.service_count || number >= b.service_count) return false;
  const teal_service &x = a.services[number], &y = b.services[number];
  if (x.group != y.group || x.flags != y.flags || x.proto != y.proto) return false;
  if (x.timeout[TEAL_TIMEOUT_established] != y.timeout[TEAL_TIMEOUT_established]) return false;
  for (int pool = 0; pool < 2; pool++)
    if (a.maglev[x.maglev[pool]] != b.maglev[y.maglev[pool]]) return false;
  return true;
}

}  // namespace

Settler::Settler(Storage& storage) : storage_(storage) {
  // Groups that an earlier teald settled, and unsettled a moment ago, are not known.
  if (storage.taken_over()) lag_.assign(TEAL_GROUPS, {now(), 2 * TEAL_STALE_AT_MOST, 0});
  for (uint16_t g = 0; g < TEAL_GROUPS; g++) drop(g);
}

// While a word stands, packets of the group leave their stamps as they are.
void Settler::drop(uint16_t group) {
  candidate_[group] = false;
  uint32_t& word = storage_.settled()[group];
  if (word == 0) return;
  lag_[group].at = now();
  lag_[group].grace = 2 * TEAL_STALE_AT_MOST;
  __atomic_store_n(&word, 0, __ATOMIC_SEQ_CST);
}

bool Settler::unsettle(uint16_t group) {
  const bool was = settled(group);
  drop(group);
  return was;
}

bool Settler::unsettle(const model::View& now, const model::View& next) {
  bool any = false;
  for (uint32_t i = 1; i < std::max(now.service_count, next.service_count); i++) {
    if (alike(now, next, i)) continue;
    if (i < now.service_count) any |= unsettle(static_cast<uint16_t>(now.services[i].group));
    if (i < next.service_count) any |= unsettle(static_cast<uint16_t>(next.services[i].group));
  }
  return any;
}

// A split that is between two pools, or a drain that may still have to recover flows of the old one, settles nothing.
uint32_t Settler::word_of(uint16_t group) const {
  const uint64_t split = storage_.splits()[group].current;
  const uint32_t share = teal_split_share(split);
  if (teal_split_draining(split) || (share != 0 && share != TEAL_SPLIT_ALL)) return 0;
  return share == 0 ? 1 + TEAL_BLUE : 1 + TEAL_GREEN;
}

void Settler::begin_walk(const model::View& view, const std::set<uint16_t>& hindered) {
  std::vector<uint32_t> longest(TEAL_GROUPS);  // established time-out of the group's services, ticks
  for (uint32_t i = 1; i < view.service_count; i++) {
    const teal_service& s = view.services[i];
    if (s.flags & TEAL_SERVICE_SETTLES)
      longest[s.group] = std::max(longest[s.group], s.timeout[TEAL_TIMEOUT_established]);
  }
  for (uint16_t g = 0; g < TEAL_GROUPS; g++) {
    candidate_[g] = longest[g] != 0 && word_of(g) != 0 && !hindered.contains(g);
    if (!candidate_[g]) drop(g);
    Lag& lag = lag_[g];
    if (lag.grace == 0) continue;
    if (longest[g] != 0) lag.lasts = std::max(lag.lasts, longest[g] + lag.grace);
    if (!settled(g) && (now() - lag.at) >> TEAL_FINE_SHIFT > lag.lasts) lag = {};
  }
}

void Settler::end_walk() {
  for (uint16_t g = 0; g < TEAL_GROUPS; g++) {
    if (!candidate_[g]) continue;
    lag_[g].at = now();
    lag_[g].grace = 2 * TEAL_STALE_AT_MOST;
    TEAL_STORE(&storage_.settled()[g], word_of(g));
  }
}

void Settler::tell(const model::View& view, std::vector<Ageing>& ageing) const {
  for (uint32_t i = 1; i < view.service_count && i < ageing.size(); i++) {
    const teal_service& s = view.services[i];
    Ageing& a = ageing[i];
    a.maglev = nullptr;
    a.stale = 0;
    a.grace = lag_[s.group].grace;  // of services that settled once, too
    if (!(s.flags & TEAL_SERVICE_SETTLES)) continue;
    const uint32_t timeout = s.timeout[TEAL_TIMEOUT_established];
    a.stale = teal_stale_after(timeout);
    if (candidate_[s.group]) a.maglev = view.maglev[s.maglev[word_of(static_cast<uint16_t>(s.group)) - 1]];
  }
}

}  // namespace teal::flow
