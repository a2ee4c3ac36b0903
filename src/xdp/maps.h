// SPDX-License-Identifier: Apache-2.0
// The two maps that outlive a program: the flow table and the counters. Found among the pins or made.
#pragma once

#include <cstdint>
#include <string>

#include "pins.h"
#include "xdp/engine.h"

namespace teal::xdp {

inline constexpr const char* table_pin = "table";
inline constexpr const char* cpus_pin = "cpus";

struct TableMap {
  Fd fd;
  Mapping memory;
  uint64_t bytes = 0;
  bool found = false;  // it was pinned
  [[nodiscard]] TableMemory face() const { return {memory.base(), bytes, found}; }
};

struct FoundTables {
  TableMap table;
  TableMap old;  // with Options::migrate: what is pinned and does not fit
};

// The pinned table when it fits `options`, otherwise a new one that is not pinned yet. Throws std::runtime_error:
// another size or layout is pinned (without options.migrate), no memory, not permitted.
FoundTables find_or_make_table(const Pins& pins, const Engine::Options& options);

// The pinned counters when they fit this program and machine; none otherwise.
Fd find_counters(const Pins& pins, unsigned cpus);

unsigned possible_cpus();

// Throws std::runtime_error when a capability is missing that everything here needs.
void require_capabilities();

}  // namespace teal::xdp
