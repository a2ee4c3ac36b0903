// SPDX-License-Identifier: Apache-2.0
// The memory that outlives teald: one file on hugetlbfs (or an ordinary one, for development), laid out as
// teal/layout.h says, mapped shared. A starting teald takes over what it finds when magic, layout, capacity and boot
// are its own.
#pragma once

#include <cstdint>
#include <string>

#include "teal/layout.h"

namespace teal::flow {

class Storage {
 public:
  struct Options {
    std::string file;          // its directory is made when it is missing
    bool hugepages = true;     // file must be on hugetlbfs
    uint64_t flows = 4 << 20;  // capacity
  };

  // Maps the file, making it when it is missing or another boot's. Takes an exclusive lock on it: two teald never share
  // one table. Throws std::runtime_error with a plain sentence: not hugetlbfs, no memory, locked, other layout or
  // capacity.
  explicit Storage(const Options& options);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  [[nodiscard]] bool taken_over() const { return taken_over_; }  // flows of an earlier instance may be in it
  [[nodiscard]] uint64_t bytes() const { return bytes_; }
  [[nodiscard]] teal_head& head() const { return *at<teal_head>(0); }
  [[nodiscard]] uint32_t* locks() const { return at<uint32_t>(TEAL_AT_LOCKS); }
  [[nodiscard]] teal_split* splits() const { return at<teal_split>(TEAL_AT_SPLITS); }
  [[nodiscard]] teal_group_record* groups() const { return at<teal_group_record>(TEAL_AT_GROUPS); }
  [[nodiscard]] teal_service_record* services() const { return at<teal_service_record>(TEAL_AT_SERVICES); }
  [[nodiscard]] teal_backend_record* backends() const { return at<teal_backend_record>(TEAL_AT_BACKENDS); }
  [[nodiscard]] teal_bucket* buckets() const { return at<teal_bucket>(TEAL_AT_BUCKETS); }

  // Buckets for a capacity: room for every flow at a load of 0.8, which displacement reaches without a miss.
  static uint32_t bucket_count(uint64_t flows);

 private:
  template <class T>
  [[nodiscard]] T* at(uint64_t offset) const {
    return reinterpret_cast<T*>(static_cast<char*>(base_) + offset);
  }
  void initialise(const Options& options, const uint8_t (&boot_id)[16]);
  void recover();

  int fd_ = -1;
  void* base_ = nullptr;
  uint64_t bytes_ = 0;
  bool taken_over_ = false;
};

}  // namespace teal::flow
