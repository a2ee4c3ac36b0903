// SPDX-License-Identifier: Apache-2.0
// Which groups are settled (teal/settled.h), decided walk by walk: a group whose split gives all new flows to one pool,
// and that nothing changed while the sweeper went through the whole table. One object a table, on the control thread.
#pragma once

#include <cstdint>
#include <set>
#include <vector>

#include "flow/storage.h"
#include "flow/sweep.h"
#include "model/snapshot.h"

namespace teal::flow {

class Settler {
 public:
  // No group is settled from now on; an XDP program that works in the table already may act on an earlier word until
  // the first grace period is over.
  explicit Settler(Storage& storage);

  // Before a change of the group's split. True: the caller waits until no engine acts on what it read before (its
  // engines' synchronize()), then makes the change. False: at once.
  [[nodiscard]] bool unsettle(uint16_t group);
  // The same for every group that `next` decides otherwise than `now` did, before `next` is published.
  [[nodiscard]] bool unsettle(const model::View& now, const model::View& next);

  // Around a walk of the sweeper. `hindered`: groups that must not settle now. After begin_walk() the caller waits as
  // above, whatever was settled, and then walks.
  void begin_walk(const model::View& view, const std::set<uint16_t>& hindered);
  void end_walk();

  // Fills what a walk needs to know of each service's settling. Whenever `ageing` was made anew, and at a walk's begin.
  void tell(const model::View& view, std::vector<Ageing>& ageing) const;

  [[nodiscard]] bool settled(uint16_t group) const { return storage_.settled()[group] != 0; }

 private:
  [[nodiscard]] uint32_t now() const { return TEAL_LOAD(&storage_.head().tick); }  // as the engines do
  [[nodiscard]] uint32_t word_of(uint16_t group) const;  // that a settled group would have; 0: it cannot be
  void drop(uint16_t group);

  Storage& storage_;
  std::vector<bool> candidate_ = std::vector<bool>(TEAL_GROUPS);  // of the walk under way
  // Stamps of a group's entries may lag: its established flows live `grace` ticks longer until `lasts` ticks after `at`
  // (fine ticks), the last moment that it was settled.
  struct Lag {
    uint32_t at = 0, grace = 0, lasts = 0;
  };
  std::vector<Lag> lag_ = std::vector<Lag>(TEAL_GROUPS);
};

}  // namespace teal::flow
