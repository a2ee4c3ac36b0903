// SPDX-License-Identifier: Apache-2.0
// A flow table in the test's own memory, and short hands for keys and values.
#pragma once

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "flow/table.h"

namespace teal::flow::test {

inline constexpr teal_secret secret = {{0x0123456789abcdefull, 0xfedcba9876543210ull},
                                       {0x9e3779b97f4a7c15ull, 0xc2b2ae3d27d4eb4full}};

inline teal_flow_key key_of(uint32_t client, uint16_t service = 1) {
  return teal_flow_key4(&secret, client, teal_swap16(40000), service);
}

inline constexpr uint32_t at(uint32_t ticks) {  // fine ticks
  return ticks << TEAL_FINE_SHIFT;
}

inline uint64_t value(const teal_flow_key& key, uint16_t backend, uint8_t state = TEAL_FLOW_established,
                      uint32_t now = 0, uint8_t pool = TEAL_BLUE) {
  return teal_val(backend, pool, 1, state, key.check, at(now));
}

class Memory {
 public:
  explicit Memory(uint32_t buckets)
      : buckets_(buckets), locks_(TEAL_LOCKS), table(buckets_.data(), buckets, locks_.data(), 1) {}

  // Every entry stands in a bucket of its key with its key's check bits, no slot is half claimed, no lock held; returns
  // how many there are, or -1.
  [[nodiscard]] long audit() const {
    long entries = 0;
    for (uint32_t word : locks_)
      if (word != 0) return -1;
    for (uint32_t i = 0; i < table.bucket_count(); i++)
      for (int j = 0; j < TEAL_BUCKET_SLOTS; j++) {
        const uint64_t key = buckets_[i].key[j], val = buckets_[i].val[j];
        if ((key == 0) != (val == 0)) return -1;
        if (key == 0) continue;
        const uint64_t hash = teal_hash64(&secret, key);
        if (teal_bucket_first(hash, table.bucket_count()) != i && teal_bucket_second(hash, table.bucket_count()) != i)
          return -1;
        if (teal_val_check(val) != ((hash >> 18) & TEAL_CHECK_MASK)) return -1;
        entries++;
      }
    return entries;
  }

 private:
  std::vector<teal_bucket> buckets_;
  std::vector<uint32_t> locks_;

 public:
  Table table;
};

// A directory that goes with the test.
class TempDir {
 public:
  TempDir() {
    std::string name = (std::filesystem::temp_directory_path() / "teal-flow-test-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) std::abort();
    path = name;
  }
  ~TempDir() { std::filesystem::remove_all(path); }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  std::filesystem::path path;
};

}  // namespace teal::flow::test
