// SPDX-License-Identifier: Apache-2.0
#include "flow/sweep.h"

#include <algorithm>
#include <chrono>

namespace teal::flow {

bool Sweeper::step(uint32_t buckets, uint32_t now, const std::vector<Ageing>& ageing) {
  const auto begin = std::chrono::steady_clock::now();
  const uint32_t end =
      static_cast<uint32_t>(std::min<uint64_t>(static_cast<uint64_t>(at_) + buckets, table_.bucket_count()));
  for (; at_ < end; at_++) {
    teal_bucket* b = table_.bucket(at_);
    if (at_ + 8 < end) __builtin_prefetch(table_.bucket(at_ + 8));
    for (int i = 0; i < TEAL_BUCKET_SLOTS; i++) {
      const uint64_t key = TEAL_LOAD(&b->key[i]);
      if (key == 0) continue;
      const uint64_t val = TEAL_LOAD(&b->val[i]);
      if (val == 0) continue;  // being claimed
      const uint16_t service = teal_key_service(key);
      const uint8_t state = teal_val_state(val);
      const uint8_t which = teal_state_timeout(state);
      const uint32_t limit = service < ageing.size() ? ageing[service].timeout[which] : 0;
      const bool kept =
          which == TEAL_TIMEOUT_established && limit != 0 && ageing[service].keep_idle[teal_val_pool(val)];
      if ((limit == 0 || (!kept && teal_val_age(val, now) > limit)) && table_.remove(secret_, b, i, key, val)) {
        now_.expired++;
        expired_++;
        if (teal_state_is_fine(state) && service < TEAL_SERVICES)
          timed_out_[service * signals_per_service + teal_signal_index(val)]++;
        continue;
      }
      if (state == TEAL_FLOW_affinity) {
        now_.pinned[service % TEAL_SERVICES][teal_val_pool(val)]++;
        continue;
      }
      now_.entries++;
      now_.by_backend[teal_val_backend(val)][state]++;
      if (service < TEAL_SERVICES) now_.by_service[service][teal_val_pool(val)]++;
    }
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
