// SPDX-License-Identifier: Apache-2.0
#include "flow/migrate.h"

#include <cstring>
#include <stdexcept>

namespace teal::flow {
namespace {

// Earlier layouts have the same records. Entries of the first are turned into this one's; the second's are the same.
constexpr uint32_t first_layout = 1;

// An entry of layout 1 in this layout: the highest of its check bits is what says now that data was seen, which of a
// flow past its handshake is taken for granted; and the stamp of a handshake is finer.
uint64_t from_layout_1(uint64_t val, uint32_t now) {
  val |= TEAL_VAL_DATA;
  const uint8_t state = teal_val_state(val);
  if (!teal_state_is_fine(state)) return val;
  val &= ~TEAL_VAL_DATA;
  return (val & ~uint64_t{TEAL_STAMP_MASK}) | teal_stamp(state, now);
}

// The old table's clock has stood still since its teald ended; a worker of it may have been a tick ahead. The new
// table's goes on behind that, so that a stamp tells in which of the two tables an entry was written last.
constexpr uint32_t clock_gap_ticks = 2;
constexpr uint32_t clock_gap = clock_gap_ticks << TEAL_FINE_SHIFT;

bool written_here(uint64_t val, uint32_t rested) {
  const bool fine = teal_state_is_fine(teal_val_state(val));
  const uint32_t later = (teal_val_stamp(val) - (fine ? rested : rested >> TEAL_FINE_SHIFT)) & TEAL_STAMP_MASK;
  return later >= (fine ? clock_gap : clock_gap_ticks) && later <= TEAL_STAMP_MASK / 2;
}

bool is_fin(uint8_t state) {
  return state == TEAL_FLOW_fin_client || state == TEAL_FLOW_fin_backend;
}

// The state of a flow that went on in both tables, by what each has seen. A handshake here is a new flow of the key's.
uint8_t joined(uint8_t old, uint8_t here) {
  if (here == TEAL_FLOW_syn || here == TEAL_FLOW_syn_ack || teal_state_is_over(here)) return here;
  if (teal_state_is_over(old)) return old;
  if (is_fin(old) && is_fin(here) && old != here) return TEAL_FLOW_closing;
  return is_fin(old) ? old : here;
}

// Brings an entry of the first copy up to what became of it in the old table meanwhile: a flow that ended there must
// not stay established here, where a later one of its port would be taken for it.
void follow(const Table& table, const teal_flow_key& key, uint64_t old, uint32_t rested) {
  constexpr int tries = 16;  // its packets change it at the same time, seldom more than once
  for (int i = 0; i < tries; i++) {
    uint64_t here = 0;
    uint64_t* slot = table.find(key, &here);
    if (slot == nullptr) return;
    uint64_t next = old;
    if (written_here(here, rested)) {
      if (teal_val_backend(here) != teal_val_backend(old)) return;
      const uint64_t state = joined(teal_val_state(old), teal_val_state(here));
      next = (here & ~(15ull << 38)) | state << 38;
    }
    if (next == here) return;
    if (TEAL_CAS(slot, here, next)) return table.attend(key.hash);
  }
}

}  // namespace

Migration::Migration(const void* old, uint64_t bytes, std::string name) : old_(old), name_(std::move(name)) {
  const auto refuse = [&](const std::string& why) {
    throw std::runtime_error(name_ + ": " + why + "; teald --detach gives its flows up");
  };
  const teal_head& h = *at<teal_head>(0);
  if (bytes < TEAL_AT_BUCKETS || TEAL_LOAD(&h.magic) != TEAL_MAGIC)
    refuse("holds no flow table, expected one to carry flows over from");
  if (h.layout < first_layout || h.layout > TEAL_LAYOUT)
    refuse("layout " + std::to_string(h.layout) + ", expected one that this teald can read (" +
           std::to_string(first_layout) + " to " + std::to_string(TEAL_LAYOUT) + ")");
  if (h.buckets < 2 || bytes < TEAL_AT_BUCKETS + h.buckets * sizeof(teal_bucket))
    refuse("has " + std::to_string(h.buckets) + " buckets in " + std::to_string(bytes) + " bytes");
}

// The old clock, in fine ticks.
uint32_t Migration::rested() const {
  const teal_head& h = *at<teal_head>(0);
  return h.layout == first_layout ? TEAL_LOAD(&h.tick) << TEAL_FINE_SHIFT : TEAL_LOAD(&h.tick);
}

void Migration::begin(Storage& to) const {
  if (to.taken_over()) throw std::runtime_error(name_ + ": flows are carried over into a new table only");
  const teal_head& h = *at<teal_head>(0);
  to.head().secret = h.secret;
  to.head().instance = h.instance + 1;
  to.resume_clock(rested() + clock_gap);
  std::memcpy(to.groups(), at<char>(TEAL_AT_GROUPS), TEAL_GROUPS * sizeof(teal_group_record));
  std::memcpy(to.services(), at<char>(TEAL_AT_SERVICES), TEAL_SERVICES * sizeof(teal_service_record));
  std::memcpy(to.backends(), at<char>(TEAL_AT_BACKENDS), TEAL_BACKENDS * sizeof(teal_backend_record));
  const teal_split* splits = at<teal_split>(TEAL_AT_SPLITS);
  for (unsigned g = 0; g < TEAL_GROUPS; g++) to.splits()[g] = {splits[g].current, splits[g].current};
}

void Migration::end(Storage& to) const {
  const teal_split* splits = at<teal_split>(TEAL_AT_SPLITS);
  for (unsigned g = 0; g < TEAL_GROUPS; g++)
    if (to.splits()[g].current == splits[g].current) TEAL_STORE(&to.splits()[g].previous, splits[g].previous);
}

Migration::Carried Migration::copy(const Storage& to, Table& table) const {
  Carried carried;
  InsertCounts counts;
  const teal_head& h = *at<teal_head>(0);
  const teal_secret& secret = to.head().secret;
  const teal_bucket* b = at<teal_bucket>(TEAL_AT_BUCKETS);
  for (uint32_t i = 0; i < h.buckets; i++)
    for (int j = 0; j < TEAL_BUCKET_SLOTS; j++) {
      const uint64_t key = TEAL_LOAD(&b[i].key[j]);
      if (key == 0) continue;
      uint64_t old = TEAL_LOAD(&b[i].val[j]);
      if (old == 0 || TEAL_LOAD(&b[i].key[j]) != key) continue;
      if (h.layout == first_layout) old = from_layout_1(old, to.now());
      uint64_t val = old;
      const teal_flow_key k{key, teal_hash64(&secret, key), teal_val_check(val)};
      switch (table.insert(secret, k, &val, 0, to.now(), counts)) {
        case Inserted::entered:
          carried.entries++;
          break;
        case Inserted::no_room:
        case Inserted::busy:
          carried.lost++;
          break;
        case Inserted::found:
        case Inserted::replaced:
          follow(table, k, old, rested());
          break;
      }
    }
  return carried;
}

}  // namespace teal::flow
