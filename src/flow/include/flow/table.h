// SPDX-License-Identifier: Apache-2.0
// The flow table in user space: teal/table.h and teal/insert.h over plain memory, and what only a teald does: delete,
// set a state. Any number of threads; each call is short, takes key locks by compare-and-swap and allocates nothing.
#pragma once

#include <cstdint>

#include "flow/reach.h"

namespace teal::flow {

struct InsertCounts {      // added to by Table::insert
  uint64_t displaced = 0;  // entries moved to their other bucket
  uint64_t evicted = 0;    // half-open or finished entries that gave way
};

enum class Inserted : uint8_t {  // enum teal_inserted
  entered = TEAL_INSERT_ENTERED,
  found = TEAL_INSERT_FOUND,  // *val is what stands there
  replaced = TEAL_INSERT_REPLACED,
  no_room = TEAL_INSERT_NO_ROOM,
  busy = TEAL_INSERT_BUSY,
};

class Table {
 public:
  // `owner`: the instance, never 0; stands in the lock words.
  // `cells`: of teal/settled.h, one a bucket; nullptr: no entry's service settles.
  Table(teal_bucket* buckets, uint32_t bucket_count, uint32_t* locks, uint32_t owner, uint32_t* cells = nullptr)
      : buckets_(buckets), count_(bucket_count), locks_(locks), owner_(owner), cells_(cells) {}

  [[nodiscard]] uint32_t bucket_count() const { return count_; }
  [[nodiscard]] teal_bucket* bucket(uint32_t i) const { return &buckets_[i]; }
  [[nodiscard]] teal_bucket* first(uint64_t hash) const { return &buckets_[teal_bucket_first(hash, count_)]; }
  [[nodiscard]] teal_bucket* second(uint64_t hash) const { return &buckets_[teal_bucket_second(hash, count_)]; }

  // Where the key's value stands, nullptr when it has no entry. A miss may be one that a displacement under way makes:
  // insert() looks again under the lock. The slot may be recycled later: write it by compare-and-swap of *val only.
  uint64_t* find(const teal_flow_key& key, uint64_t* val) const { return find(first(key.hash), key, val); }
  // The same for who has fetched the first bucket, first(key.hash), before.
  uint64_t* find(teal_bucket* first_bucket, const teal_flow_key& key, uint64_t* val) const {
    if (uint64_t* slot = find_in(first_bucket, key, val); TEAL_LIKELY(slot != nullptr)) return slot;
    return find_in(second(key.hash), key, val);
  }
  static uint64_t* find_in(teal_bucket* b, const teal_flow_key& key, uint64_t* val) {
    const int slot = teal_wide_find(b, key.key, key.check, val);
    return slot < 0 ? nullptr : &b->val[slot];
  }

  // The backend by the key's entry in that bucket, where teal_is_steady() for packets with no SYN, FIN or RST; 0: it is
  // not, or stands elsewhere.
  static uint16_t steady_in(const teal_bucket* b, const teal_flow_key& key, uint32_t now) {
    const unsigned same = teal_same_keys(b, key.key);
    if (TEAL_UNLIKELY(same == 0)) return 0;
    const auto i = static_cast<unsigned>(__builtin_ctz(same));
    const uint64_t v = TEAL_LOAD(&b->val[i]);
    if (TEAL_UNLIKELY(!teal_is_steady_of(v, key.check, now)) || TEAL_LOAD(&b->key[i]) != key.key) return 0;
    return teal_val_backend(v);
  }

  // The same of an entry that is steady but for its stamp, which is brought up to date as teal_val_after() would.
  // `only`: not 0: where its backend is that one.
  static uint16_t refreshed_in(teal_bucket* b, const teal_flow_key& key, uint32_t now, uint16_t only) {
    const unsigned same = teal_same_keys(b, key.key);
    if (same == 0) return 0;
    const auto i = static_cast<unsigned>(__builtin_ctz(same));
    const uint64_t v = TEAL_LOAD(&b->val[i]);
    const uint64_t fresh = (v & ~uint64_t{TEAL_STAMP_MASK}) | teal_stamp(TEAL_FLOW_established, now);
    const uint16_t backend = teal_val_backend(v);
    if (!teal_is_steady_of(fresh, key.check, now) || TEAL_LOAD(&b->key[i]) != key.key) return 0;
    if (only != 0 && backend != only) return 0;
    if (teal_val_age(v, now) < TEAL_REFRESH_TICKS) return backend;  // a stamp ahead of this worker's clock
    return TEAL_CAS(&b->val[i], v, fresh) ? backend : 0;
  }

  [[nodiscard]] uint32_t* lock_word(uint64_t hash) const { return &locks_[teal_lock_index(hash, TEAL_LOCKS - 1)]; }
  [[nodiscard]] bool has_cells() const { return cells_ != nullptr; }
  // The word of the bucket's cell; there must be cells.
  [[nodiscard]] uint32_t* cell_word(uint32_t bucket) const { return &cells_[bucket / TEAL_CELLS_A_WORD]; }
  // By the numbers of a key's buckets, whether its entry, if it has one, is plain (teal/settled.h).
  [[nodiscard]] bool settled(uint32_t first, uint32_t second) const {
    uint32_t* const cells = cells_;
    const uint32_t one = TEAL_LOAD(&cells[first / TEAL_CELLS_A_WORD]);
    const uint32_t other = TEAL_LOAD(&cells[second / TEAL_CELLS_A_WORD]);
    return teal_cells_settled(teal_cell_of(one, first), teal_cell_of(other, second));
  }
  // The key's entry has been changed to what its packets must find.
  void attend(uint64_t hash) const;

  // Enters *val. `replace`: the value that the caller judged to be over (0: none); while it still stands, *val takes
  // its place. `now`: ticks, for choosing whom to evict. `secret`: to place the entries that are displaced.
  Inserted insert(const teal_secret& secret, const teal_flow_key& key, uint64_t* val, uint64_t replace, uint32_t now,
                  InsertCounts& counts) {
    const teal_reach r = reach(&secret);
    teal_insertion n{key, *val, replace, now, 0, 0};
    const int result = teal_insert(&r, &n);
    *val = n.val;
    counts.displaced += n.displaced;
    counts.evicted += n.evicted;
    return static_cast<Inserted>(result);
  }

  // Removes the entry of slot `slot` in `b` if `expect` still is its value. False when it has changed or is locked.
  bool remove(const teal_secret& secret, teal_bucket* b, int slot, uint64_t key, uint64_t expect);

  // Sets the state of one entry under its key's lock. False when the slot holds another key now or the lock is taken.
  bool set_state(const teal_secret& secret, teal_bucket* b, int slot, uint64_t key, uint8_t state, uint32_t now);

 private:
  [[nodiscard]] teal_reach reach(const teal_secret* secret) const {
    return {secret, count_, owner_, buckets_, locks_, cells_};
  }

  teal_bucket* buckets_;
  uint32_t count_;
  uint32_t* locks_;
  uint32_t owner_;
  uint32_t* cells_;
};

}  // namespace teal::flow
