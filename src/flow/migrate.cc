// SPDX-License-Identifier: Apache-2.0
#include "flow/migrate.h"

#include <cstring>
#include <stdexcept>

namespace teal::flow {
namespace {

constexpr uint32_t known_layout = 1;  // so far there is one: records and entries are copied as they are

}  // namespace

Migration::Migration(const void* old, uint64_t bytes, std::string name) : old_(old), name_(std::move(name)) {
  const auto refuse = [&](const std::string& why) {
    throw std::runtime_error(name_ + ": " + why + "; teald --detach gives its flows up");
  };
  const teal_head& h = *at<teal_head>(0);
  if (bytes < TEAL_AT_BUCKETS || TEAL_LOAD(&h.magic) != TEAL_MAGIC)
    refuse("holds no flow table, expected one to carry flows over from");
  if (h.layout != known_layout && h.layout != TEAL_LAYOUT)
    refuse("layout " + std::to_string(h.layout) + ", expected one that this teald can read (" +
           std::to_string(known_layout) + (TEAL_LAYOUT == known_layout ? "" : ", " + std::to_string(TEAL_LAYOUT)) +
           ")");
  if (h.buckets < 2 || bytes < TEAL_AT_BUCKETS + h.buckets * sizeof(teal_bucket))
    refuse("has " + std::to_string(h.buckets) + " buckets in " + std::to_string(bytes) + " bytes");
}

void Migration::begin(Storage& to) const {
  if (to.taken_over()) throw std::runtime_error(name_ + ": flows are carried over into a new table only");
  const teal_head& h = *at<teal_head>(0);
  to.head().secret = h.secret;
  to.head().instance = h.instance + 1;
  to.resume_clock(TEAL_LOAD(&h.tick));
  std::memcpy(to.groups(), at<char>(TEAL_AT_GROUPS), TEAL_GROUPS * sizeof(teal_group_record));
  std::memcpy(to.services(), at<char>(TEAL_AT_SERVICES), TEAL_SERVICES * sizeof(teal_service_record));
  std::memcpy(to.backends(), at<char>(TEAL_AT_BACKENDS), TEAL_BACKENDS * sizeof(teal_backend_record));
  std::memcpy(to.splits(), at<char>(TEAL_AT_SPLITS), TEAL_GROUPS * sizeof(teal_split));
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
      uint64_t val = TEAL_LOAD(&b[i].val[j]);
      if (val == 0 || TEAL_LOAD(&b[i].key[j]) != key) continue;
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
          break;
      }
    }
  return carried;
}

}  // namespace teal::flow
