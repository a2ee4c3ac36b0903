// SPDX-License-Identifier: Apache-2.0
// A whole table with its settled words and cells, and a view made by hand: two services, each a group of its own.
#pragma once

#include <algorithm>
#include <optional>
#include <set>
#include <vector>

#include "flow/settle.h"
#include "flow_fixture.h"
#include "mapped_memory.h"
#include "model/maglev.h"
#include "teal/net.h"
#include "teal/split.h"

namespace teal::flow::test {

// A view whose parts can be written: what Settler reads of one, and no more.
struct Services {
  std::vector<uint16_t> blue = std::vector<uint16_t>(model::maglev_slots, 10);
  std::vector<uint16_t> green = std::vector<uint16_t>(model::maglev_slots, 20);
  std::vector<const uint16_t*> tables{nullptr, blue.data(), green.data()};
  std::vector<teal_service> services = std::vector<teal_service>(3);

  Services() {
    for (uint32_t i = 1; i < 3; i++) {
      services[i].proto = TEAL_PROTO_TCP;
      services[i].family = 4;
      services[i].flags = TEAL_SERVICE_SETTLES;
      services[i].group = i;
      services[i].maglev[TEAL_BLUE] = 1;
      services[i].maglev[TEAL_GREEN] = 2;
      const uint32_t timeouts[TEAL_TIMEOUTS] = {160, 960, 170, 480, 3000};
      std::copy(std::begin(timeouts), std::end(timeouts), std::begin(services[i].timeout));
    }
  }
  Services(const Services&) = delete;
  Services& operator=(const Services&) = delete;

  [[nodiscard]] model::View view() const {
    model::View v;
    v.services = services.data();
    v.service_count = static_cast<uint32_t>(services.size());
    v.maglev = tables.data();
    return v;
  }
};

class Settling {
 public:
  explicit Settling(uint32_t ticks = 1000) : storage(memory.mapped(false), 1024) {
    storage.head().secret = secret;
    set_clock(ticks);
    for (uint16_t g = 1; g < 3; g++) split(g, 0);
    settler.emplace(storage);
  }

  void set_clock(uint32_t ticks) { TEAL_STORE(&storage.head().tick, at(ticks)); }
  void pass(uint32_t ticks) { TEAL_STORE(&storage.head().tick, storage.head().tick + at(ticks)); }
  [[nodiscard]] uint32_t now() const { return storage.head().tick; }
  void split(uint16_t group, uint32_t share, bool draining = false) {
    storage.splits()[group].current = teal_split_make(1, share, draining, share > TEAL_SPLIT_ALL / 2);
  }

  void begin(const std::set<uint16_t>& hindered = {}) {
    ageing.assign(world.services.size(), {});
    for (size_t i = 1; i < world.services.size(); i++)
      std::copy(std::begin(world.services[i].timeout), std::end(world.services[i].timeout), ageing[i].timeout.begin());
    settler->begin_walk(world.view(), hindered);
    settler->tell(world.view(), ageing);
  }
  void middle() {
    while (!sweeper.step(64, now(), ageing)) {
    }
  }
  void walk(const std::set<uint16_t>& hindered = {}) {
    begin(hindered);
    middle();
    settler->end_walk();
  }

  // As many walks as it takes for what has been entered to be told by its cells.
  void walk_twice() {
    walk();
    walk();
  }
  // Time that passes under a sweeper that keeps up with it.
  void pass_walking(uint32_t ticks) {
    for (; ticks > 16; ticks -= 16) {
      pass(16);
      walk();
    }
    pass(ticks);
    walk();
  }

  Inserted put(const teal_flow_key& key, uint64_t val) {
    InsertCounts counts;
    return table.insert(secret, key, &val, 0, now(), counts);
  }
  // Established, with data, as the Maglev table of the pool has it, seen just now.
  [[nodiscard]] uint64_t plain(const teal_flow_key& key, uint16_t backend = 10) const {
    return teal_val(backend, TEAL_BLUE, 1, TEAL_FLOW_established, key.check, now()) | TEAL_VAL_DATA;
  }
  [[nodiscard]] bool there(const teal_flow_key& key) const {
    uint64_t val = 0;
    return table.find(key, &val) != nullptr;
  }
  [[nodiscard]] uint32_t cell(uint32_t bucket) const {
    return teal_cell_of(TEAL_LOAD(table.cell_word(bucket)), bucket);
  }
  [[nodiscard]] bool settled(const teal_flow_key& key) const {
    return table.settled(bucket_of(key), teal_bucket_second(key.hash, table.bucket_count()));
  }
  [[nodiscard]] uint32_t first(const teal_flow_key& key) const { return cell(bucket_of(key)); }
  [[nodiscard]] uint32_t second(const teal_flow_key& key) const {
    return cell(teal_bucket_second(key.hash, table.bucket_count()));
  }
  [[nodiscard]] uint32_t bucket_of(const teal_flow_key& key) const {
    return teal_bucket_first(key.hash, table.bucket_count());
  }
  [[nodiscard]] bool all_empty() const {
    for (uint32_t i = 0; i < table.bucket_count(); i++)
      if (cell(i) != TEAL_CELL_EMPTY) return false;
    return true;
  }

  MappedMemory memory{1024};
  Storage storage;
  Table table{storage.buckets(), storage.head().buckets, storage.locks(), storage.owner(), storage.cells()};
  Sweeper sweeper{table, secret};
  Services world;
  std::vector<Ageing> ageing;
  std::optional<Settler> settler;
};

}  // namespace teal::flow::test
