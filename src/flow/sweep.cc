// SPDX-License-Identifier: Apache-2.0
#include "flow/sweep.h"

#include <algorithm>
#include <chrono>

#include "model/maglev.h"

namespace teal::flow {
namespace {

// Ticks that a walk may take at most, for entries to be looked at in time after they grew stale; twice that may pass
// between two looks at one bucket.
const uint32_t slow_walk = teal_stale_after(TEAL_SETTLES_TIMEOUT) / 2;

constexpr uint32_t half_the_clock = 1u << 31;  // fine ticks

}  // namespace

bool Sweeper::step(uint32_t buckets, uint32_t now, const std::vector<Ageing>& ageing) {
  const auto begin = std::chrono::steady_clock::now();
  // At each step: a walk may stand still in its middle.
  if ((walks_ == 0 && at_ == 0) || now - walk_began_ > slow_walk << TEAL_FINE_SHIFT) slow_at_ = now;
  if (now - slow_at_ > half_the_clock) slow_at_ = now - half_the_clock;  // long ago, and not a moment ago again
  if (at_ == 0) {
    walk_began_ = now;
    // Where no group is a candidate none is settled, and nobody reads the cells.
    marks_ = table_.has_cells() &&
             std::any_of(ageing.begin(), ageing.end(), [](const Ageing& a) { return a.maglev != nullptr; });
  }
  const uint64_t wanted = (at_ + uint64_t{buckets} + TEAL_CELLS_A_WORD - 1) / TEAL_CELLS_A_WORD * TEAL_CELLS_A_WORD;
  const uint32_t end = static_cast<uint32_t>(std::min<uint64_t>(wanted, table_.bucket_count()));
  while (at_ < end) {
    uint32_t* word = marks_ ? table_.cell_word(at_) : nullptr;
    const uint32_t word_end = std::min(end, at_ + TEAL_CELLS_A_WORD);
    // First cleared, then looked: what is written behind our back says so in the word afterwards.
    const uint32_t before = word != nullptr ? __atomic_exchange_n(word, 0, __ATOMIC_SEQ_CST) : 0;
    uint32_t cells = 0;
    for (; at_ < word_end; at_++) {
      // Not into the caches that the workers share: the next look at it is a walk away.
      if (at_ + 8 < end) __builtin_prefetch(table_.bucket(at_ + 8), 0, 0);
      const uint32_t cell = look(at_, now, ageing);
      const bool rests = cell != TEAL_CELL_ATTEND && teal_cell_of(before, at_) == TEAL_CELL_ATTEND;
      cells |= (rests ? TEAL_CELL_UNKNOWN : cell) << (at_ % TEAL_CELLS_A_WORD * 2);
    }
    if (word != nullptr) TEAL_OR(word, cells);
  }
  now_.duration_us += static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - begin).count());
  if (at_ < table_.bucket_count()) return false;
  at_ = 0;
  walks_++;
  std::swap(last_, now_);
  now_.entries = now_.expired = now_.duration_us = 0;
  std::fill(now_.pinned.begin(), now_.pinned.end(), std::array<uint64_t, 2>{});
  std::fill(now_.by_backend.begin(), now_.by_backend.end(), std::array<uint32_t, TEAL_FLOW_STATE_COUNT>{});
  std::fill(now_.by_service.begin(), now_.by_service.end(), std::array<uint64_t, 2>{});
  return true;
}

// Ages and counts the entries of one bucket; what its cell is to say.
inline uint32_t Sweeper::look(uint32_t bucket, uint32_t now, const std::vector<Ageing>& ageing) {
  static const Ageing none;
  teal_bucket* b = table_.bucket(bucket);
  uint32_t cell = TEAL_CELL_EMPTY;
  for (int i = 0; i < TEAL_BUCKET_SLOTS; i++) {
    const uint64_t key = TEAL_LOAD(&b->key[i]);
    if (key == 0) continue;
    const uint64_t val = TEAL_LOAD(&b->val[i]);
    if (val == 0) continue;  // being claimed
    const uint16_t service = teal_key_service(key);
    const Ageing& a = service < ageing.size() ? ageing[service] : none;
    const uint8_t state = teal_val_state(val);
    const uint8_t which = teal_state_timeout(state);
    const uint32_t limit = a.timeout[which];
    bool kept = false;
    uint32_t grace = 0;
    if (which == TEAL_TIMEOUT_established) {
      // An entry that grew stale while nobody looked may be young: its packets must have had the time to say so.
      kept = limit != 0 && (a.keep_idle[teal_val_pool(val)] ||
                            (a.grace != 0 && (now - slow_at_) >> TEAL_FINE_SHIFT <= limit + a.grace));
      grace = a.grace;
    }
    if ((limit == 0 || (!kept && teal_val_age(val, now) > limit + grace)) && table_.remove(secret_, b, i, key, val)) {
      now_.expired++;
      expired_++;
      if (teal_state_is_fine(state) && service < TEAL_SERVICES)
        timed_out_[service * signals_per_service + teal_signal_index(val)]++;
      continue;
    }
    if (a.maglev != nullptr) {
      const bool plain = teal_val_plain(val, now, a.stale) &&
                         a.maglev[teal_maglev_slot(&secret_, teal_hash64(&secret_, key), 0, model::maglev_slots)] ==
                             teal_val_backend(val);
      cell = !plain || cell == TEAL_CELL_ATTEND ? TEAL_CELL_ATTEND : TEAL_CELL_PRESENT;
    }
    if (state == TEAL_FLOW_affinity) {
      now_.pinned[service % TEAL_SERVICES][teal_val_pool(val)]++;
      continue;
    }
    now_.entries++;
    now_.by_backend[teal_val_backend(val)][state]++;
    if (service < TEAL_SERVICES) now_.by_service[service][teal_val_pool(val)]++;
  }
  return cell;
}

void Sweeper::visit(const Table& table, const std::function<bool(uint64_t, uint64_t, teal_bucket*, int)>& visitor) {
  for (uint32_t i = 0; i < table.bucket_count(); i++) {
    teal_bucket* b = table.bucket(i);
    for (int j = 0; j < TEAL_BUCKET_SLOTS; j++) {
      const uint64_t key = TEAL_LOAD(&b->key[j]);
      if (key == 0) continue;
      const uint64_t val = TEAL_LOAD(&b->val[j]);
      if (val == 0 || TEAL_LOAD(&b->key[j]) != key) continue;
      if (!visitor(key, val, b, j)) return;
    }
  }
}

}  // namespace teal::flow
