// SPDX-License-Identifier: Apache-2.0
// Carrying the flows of a table of another size or layout over into a new one, while an XDP program goes on working in
// the old one: numbers, splits, secret and clock first, then the entries, and once more when the old one has rested.
#pragma once

#include <cstdint>
#include <string>

#include "flow/storage.h"
#include "flow/table.h"

namespace teal::flow {

class Migration {
 public:
  struct Carried {
    uint64_t entries = 0;  // entered into the new table
    uint64_t lost = 0;     // for which the new table had no room
  };

  // `old`: the mapping of the old table, `bytes` long, which must stay as long as this object; `name` for messages.
  // Throws std::runtime_error when it is no table of this boot in a layout that is known.
  Migration(const void* old, uint64_t bytes, std::string name);

  // Secret, groups, services, backends, splits and clock. `to` must be new, and nobody have read its secret yet.
  // Until end() the splits have no previous one: a flow without an entry in the new table is one that began in the old
  // table after the first copy, by the current split, so this is what must recover it.
  void begin(Storage& to) const;
  void end(Storage& to) const;  // after the last copy
  // Every live entry whose key `table` does not have; one that it has is brought up to what became of it in the old
  // table, except that what was written in the new one since counts for more.
  Carried copy(const Storage& to, Table& table) const;

 private:
  [[nodiscard]] uint32_t rested() const;
  template <class T>
  [[nodiscard]] const T* at(uint64_t offset) const {
    return reinterpret_cast<const T*>(static_cast<const char*>(old_) + offset);
  }
  const void* old_;
  std::string name_;
};

}  // namespace teal::flow
