// SPDX-License-Identifier: Apache-2.0
// Numbers for groups, services and backends, kept in the table's own memory so that they live exactly as long as the
// entries that name them. A number is given up only when the census has seen no entry of it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "flow/storage.h"
#include "flow/sweep.h"
#include "model/config.h"

namespace teal::flow {

class Registry {
 public:
  explicit Registry(Storage& storage);

  // Makes the records agree with the configuration: known ones keep number, split, state and an operator's weight; new
  // ones get a free number; missing ones are marked retired or removed. Returns one line a change, for people.
  // Throws std::runtime_error when numbers run out; nothing is changed then that matters to a flow.
  std::vector<std::string> apply(const std::vector<model::ServiceConfig>& services);

  // Frees numbers of retired services and removed backends that have no entry in `census`. True when it freed any.
  // `settled(number)` tells whether the number was removed before that census began.
  bool collect(const Census& census, uint64_t walks);

  [[nodiscard]] uint16_t service_number(const std::string& name) const;  // in use and configured; 0: none
  [[nodiscard]] uint16_t backend_number(uint16_t service, const std::string& name) const;  // 0: none
  [[nodiscard]] const teal_service_record& service(uint16_t number) const { return storage_.services()[number]; }
  [[nodiscard]] teal_backend_record& backend(uint16_t number) const { return storage_.backends()[number]; }
  [[nodiscard]] std::vector<uint16_t> services() const;  // numbers in use, retired ones included
  [[nodiscard]] std::vector<uint16_t> backends() const;  // numbers in use, removed ones included
  [[nodiscard]] std::string group_name(uint16_t group) const;
  [[nodiscard]] teal_split& split(uint16_t group) const { return storage_.splits()[group]; }

 private:
  void free_groups();
  uint16_t group_number(const std::string& name, model::Pool active);
  uint16_t new_service(const model::ServiceConfig& config, std::vector<std::string>& changes);
  void apply_group(uint16_t service, const model::ServiceConfig& config, std::vector<std::string>& changes);
  void apply_backends(uint16_t service, const model::ServiceConfig& config, bool fresh,
                      std::vector<std::string>& changes);

  Storage& storage_;
  uint32_t top_service_ = 0, top_backend_ = 0;         // highest number in use
  std::vector<uint64_t> gone_service_, gone_backend_;  // walk count at which a number was given up; 0: it is in use
};

}  // namespace teal::flow
