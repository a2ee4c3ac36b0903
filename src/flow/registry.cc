// SPDX-License-Identifier: Apache-2.0
#include "flow/registry.h"

#include <cstring>
#include <set>
#include <stdexcept>

namespace teal::flow {
namespace {

void set_name(char (&to)[TEAL_NAME], const std::string& name) {
  std::memset(to, 0, sizeof(to));
  std::memcpy(to, name.data(), std::min(name.size(), sizeof(to) - 1));
}

bool same_name(const char (&a)[TEAL_NAME], const std::string& b) {
  return b.compare(0, TEAL_NAME - 1, a) == 0;
}

void in_use(uint32_t& word, uint32_t value) {
  __atomic_store_n(&word, value, __ATOMIC_RELEASE);
}

}  // namespace

Registry::Registry(Storage& storage) : storage_(storage), gone_service_(TEAL_SERVICES), gone_backend_(TEAL_BACKENDS) {
  for (uint32_t i = 1; i < TEAL_SERVICES; i++)
    if (storage_.services()[i].used) top_service_ = i;
  for (uint32_t i = 1; i < TEAL_BACKENDS; i++)
    if (storage_.backends()[i].used) top_backend_ = i;
}

uint16_t Registry::group_number(const std::string& name, model::Pool active) {
  uint16_t free = 0;
  for (uint16_t i = 1; i < TEAL_GROUPS; i++) {
    const auto& record = storage_.groups()[i];
    if (same_name(record.name, name)) return i;
    if (record.name[0] == 0 && free == 0) free = i;
  }
  if (free == 0)
    throw std::runtime_error("no number left for group '" + name + "': " + std::to_string(TEAL_GROUPS - 1) +
                             " are in use");
  const bool green = active == model::Pool::green;
  const uint64_t word = teal_split_make(1, green ? TEAL_SPLIT_ALL : 0, 0, green);
  split(free).previous = word;
  split(free).current = word;
  set_name(storage_.groups()[free].name, name);
  return free;
}

// A group that no service names is forgotten: should its name come again, it begins anew.
void Registry::free_groups() {
  std::vector<bool> named(TEAL_GROUPS);
  for (uint32_t i = 1; i <= top_service_; i++)
    if (storage_.services()[i].used) named[storage_.services()[i].group] = true;
  for (uint32_t i = 1; i < TEAL_GROUPS; i++)
    if (!named[i]) storage_.groups()[i].name[0] = 0;
}

uint16_t Registry::new_service(const model::ServiceConfig& config, std::vector<std::string>& changes) {
  for (uint16_t i = 1; i < TEAL_SERVICES; i++) {
    auto& record = storage_.services()[i];
    if (record.used) continue;
    std::memset(&record, 0, sizeof(record));
    set_name(record.name, config.name);
    record.vip = config.vip.raw();
    record.port = teal_swap16(config.port);
    record.proto = static_cast<uint8_t>(config.protocol);
    record.family = config.vip.family;
    record.forward = static_cast<uint8_t>(config.forward);
    record.group = group_number(config.group.empty() ? config.name : config.group, config.active);
    in_use(record.used, 1);
    top_service_ = std::max<uint32_t>(top_service_, i);
    gone_service_[i] = 0;
    changes.push_back("service " + config.name + " added");
    return i;
  }
  throw std::runtime_error("no number left for service '" + config.name + "': " + std::to_string(TEAL_SERVICES - 1) +
                           " are in use, retired ones with flows included");
}

// A service that changes its group (which is its name when none is given) takes the group's split; a group that did not
// exist begins with the split that the service had, so that no new flow is decided differently for the change.
void Registry::apply_group(uint16_t service, const model::ServiceConfig& config, std::vector<std::string>& changes) {
  auto& record = storage_.services()[service];
  const std::string want = config.group.empty() ? config.name : config.group;
  if (same_name(storage_.groups()[record.group].name, want)) return;
  const std::string was = group_name(record.group);
  bool known = false;
  for (uint16_t i = 1; i < TEAL_GROUPS && !known; i++) known = same_name(storage_.groups()[i].name, want);
  const uint16_t group = group_number(want, config.active);
  if (!known) split(group) = split(record.group);
  record.group = group;
  changes.push_back("service " + config.name + ": group " + was + " -> " + want);
}

std::vector<std::string> Registry::apply(const std::vector<model::ServiceConfig>& services) {
  std::vector<std::string> changes;
  std::set<uint16_t> configured;
  for (const auto& config : services) {
    uint16_t number = 0;
    for (uint32_t i = 1; i <= top_service_ && number == 0; i++) {
      auto& record = storage_.services()[i];
      if (!record.used) continue;
      const model::Address vip = model::Address::from_raw(record.family, record.vip);
      if (vip == config.vip && record.port == teal_swap16(config.port) &&
          record.proto == static_cast<uint8_t>(config.protocol) &&
          record.forward == static_cast<uint8_t>(config.forward))
        number = static_cast<uint16_t>(i);
    }
    // A service is its VIP, port and protocol: a new name for it moves no flow.
    const bool fresh = number == 0;
    if (!fresh && !same_name(storage_.services()[number].name, config.name)) {
      changes.push_back(std::string("service ") + storage_.services()[number].name + " renamed to " + config.name);
      set_name(storage_.services()[number].name, config.name);
    }
    if (fresh) {
      number = new_service(config, changes);
    } else if (auto& record = storage_.services()[number]; record.retired) {
      record.retired = 0;
      gone_service_[number] = 0;
      changes.push_back("service " + config.name + " configured again");
    }
    if (!fresh) apply_group(number, config, changes);
    configured.insert(number);
    apply_backends(number, config, fresh, changes);
  }
  for (uint32_t i = 1; i <= top_service_; i++) {
    auto& record = storage_.services()[i];
    if (!record.used || record.retired || configured.contains(static_cast<uint16_t>(i))) continue;
    record.retired = 1;
    changes.push_back(std::string("service ") + record.name + " retired: existing flows stay until they end");
    for (uint32_t b = 1; b <= top_backend_; b++)
      if (auto& backend = storage_.backends()[b]; backend.used && backend.service == i) backend.removed = 1;
  }
  free_groups();
  return changes;
}

void Registry::apply_backends(uint16_t service, const model::ServiceConfig& config, bool fresh,
                              std::vector<std::string>& changes) {
  std::set<uint32_t> kept;
  const std::string of = "service " + config.name + ": backend ";
  for (int pool = 0; pool < 2; pool++) {
    const char* pool_name = model::to_string(static_cast<model::Pool>(pool));
    for (const auto& want : config.pools[pool]) {
      uint32_t number = 0, free = 0;
      for (uint32_t i = 1; i < TEAL_BACKENDS && number == 0; i++) {
        const auto& record = storage_.backends()[i];
        if (!record.used) {
          if (free == 0) free = i;
          if (i > top_backend_) break;
          continue;
        }
        if (record.service == service && record.pool == pool && record.port == teal_swap16(want.endpoint.port) &&
            model::Address::from_raw(record.family, record.addr) == want.endpoint.address)
          number = i;
      }
      if (number == 0) {
        if (free == 0)
          throw std::runtime_error("no number left for backend '" + want.name + "' of service '" + config.name + "'");
        auto& record = storage_.backends()[free];
        std::memset(&record, 0, sizeof(record));
        set_name(record.name, want.name);
        record.addr = want.endpoint.address.raw();
        record.family = want.endpoint.address.family;
        record.port = teal_swap16(want.endpoint.port);
        record.service = service;
        record.pool = static_cast<uint8_t>(pool);
        record.weight = record.config_weight = want.weight;
        in_use(record.used, 1);
        top_backend_ = std::max(top_backend_, free);
        gone_backend_[free] = 0;
        number = free;
        if (!fresh) changes.push_back(of + want.name + " added to " + pool_name);
      } else {
        auto& record = storage_.backends()[number];
        if (record.removed) {
          record.removed = 0;
          gone_backend_[number] = 0;
          changes.push_back(of + want.name + " added to " + pool_name + " again");
        }
        if (!same_name(record.name, want.name)) set_name(record.name, want.name);
        // The file's weight wins when the file changed; an operator's change stays when it did not.
        if (record.config_weight != want.weight) {
          changes.push_back(of + want.name + " weight " + std::to_string(record.weight) + " -> " +
                            std::to_string(want.weight));
          record.weight = record.config_weight = want.weight;
        }
      }
      kept.insert(number);
    }
  }
  for (uint32_t i = 1; i <= top_backend_; i++) {
    auto& record = storage_.backends()[i];
    if (!record.used || record.service != service || record.removed || kept.contains(i)) continue;
    record.removed = 1;
    changes.push_back(of + record.name + " removed from " + model::to_string(static_cast<model::Pool>(record.pool)) +
                      ": its flows stay until they end");
  }
}

bool Registry::collect(const Census& census, uint64_t walks) {
  bool freed = false;
  // A number must have been out of use since before the census began: two walks after it was first seen so.
  for (uint32_t i = 1; i <= top_backend_; i++) {
    auto& record = storage_.backends()[i];
    if (!record.used || !record.removed) continue;
    uint64_t flows = 0;
    for (uint32_t n : census.by_backend[i]) flows += n;
    if (gone_backend_[i] == 0 || flows != 0) gone_backend_[i] = walks;
    if (flows == 0 && walks >= gone_backend_[i] + 2) {
      in_use(record.used, 0);
      freed = true;
    }
  }
  for (uint32_t i = 1; i <= top_service_; i++) {
    auto& record = storage_.services()[i];
    if (!record.used || !record.retired) continue;
    const uint64_t flows = census.by_service[i][0] + census.by_service[i][1];
    if (gone_service_[i] == 0 || flows != 0) gone_service_[i] = walks;
    bool named = false;  // by a backend record that is still there
    for (uint32_t b = 1; b <= top_backend_ && !named; b++)
      named = storage_.backends()[b].used && storage_.backends()[b].service == i;
    if (flows == 0 && !named && walks >= gone_service_[i] + 2) {
      in_use(record.used, 0);
      freed = true;
    }
  }
  if (freed) free_groups();
  return freed;
}

uint16_t Registry::service_number(const std::string& name) const {
  for (uint32_t i = 1; i <= top_service_; i++) {
    const auto& record = storage_.services()[i];
    if (record.used && !record.retired && same_name(record.name, name)) return static_cast<uint16_t>(i);
  }
  return 0;
}

uint16_t Registry::backend_number(uint16_t service, const std::string& name) const {
  for (uint32_t i = 1; i <= top_backend_; i++) {
    const auto& record = storage_.backends()[i];
    if (record.used && !record.removed && record.service == service && same_name(record.name, name))
      return static_cast<uint16_t>(i);
  }
  return 0;
}

std::vector<uint16_t> Registry::services() const {
  std::vector<uint16_t> out;
  for (uint32_t i = 1; i <= top_service_; i++)
    if (storage_.services()[i].used) out.push_back(static_cast<uint16_t>(i));
  return out;
}

std::vector<uint16_t> Registry::backends() const {
  std::vector<uint16_t> out;
  for (uint32_t i = 1; i <= top_backend_; i++)
    if (storage_.backends()[i].used) out.push_back(static_cast<uint16_t>(i));
  return out;
}

std::string Registry::group_name(uint16_t group) const {
  return storage_.groups()[group].name;
}

}  // namespace teal::flow
