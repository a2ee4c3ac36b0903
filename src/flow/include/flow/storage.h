// SPDX-License-Identifier: Apache-2.0
// The memory that outlives teald, laid out as teal/layout.h says: one file on hugetlbfs (or an ordinary one, for
// development), mapped shared; or, where XDP ports are, the mapping of a BPF array, which src/xdp makes and pins. A
// starting teald takes over what it finds when magic, layout, capacity and boot are its own.
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
  struct Mapped {          // memory that somebody else mapped, and unmaps after the Storage has gone
    void* base = nullptr;  // 64-byte aligned; zeroes when it is new
    uint64_t bytes = 0;    // at least bytes_for(flows)
    std::string name;      // for messages
    bool live = false;     // an XDP program may be working in it now
  };

  // Maps the file, making it when it is missing or another boot's. Takes an exclusive lock on it: two teald never share
  // one table. Throws std::runtime_error with a plain sentence: not hugetlbfs, no memory, locked, other layout or
  // capacity.
  explicit Storage(const Options& options);
  // Over `memory`, which the caller has locked against other teald. Throws as above.
  Storage(const Mapped& memory, uint64_t flows);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  [[nodiscard]] bool taken_over() const { return taken_over_; }  // flows of an earlier instance may be in it
  [[nodiscard]] uint64_t bytes() const { return bytes_; }
  // This instance's word in the locks; never 0, never TEAL_LOCK_XDP.
  [[nodiscard]] uint32_t owner() const;
  // The clock, in ticks: goes on where the head's tick stood when the table was taken over, so that the time during
  // which no teald ran ages no flow. Any thread.
  [[nodiscard]] uint32_t now() const;
  // Makes the clock of a new table go on at `tick`, an older table's. Before anybody reads it.
  void resume_clock(uint32_t tick);

  [[nodiscard]] teal_head& head() const { return *at<teal_head>(0); }
  [[nodiscard]] uint32_t* locks() const { return at<uint32_t>(TEAL_AT_LOCKS); }
  [[nodiscard]] teal_split* splits() const { return at<teal_split>(TEAL_AT_SPLITS); }
  [[nodiscard]] teal_group_record* groups() const { return at<teal_group_record>(TEAL_AT_GROUPS); }
  [[nodiscard]] teal_service_record* services() const { return at<teal_service_record>(TEAL_AT_SERVICES); }
  [[nodiscard]] teal_backend_record* backends() const { return at<teal_backend_record>(TEAL_AT_BACKENDS); }
  [[nodiscard]] teal_bucket* buckets() const { return at<teal_bucket>(TEAL_AT_BUCKETS); }
  [[nodiscard]] uint32_t* settled() const { return at<uint32_t>(TEAL_AT_SETTLED(head().buckets)); }  // by group
  [[nodiscard]] uint32_t* cells() const { return at<uint32_t>(TEAL_AT_CELLS(head().buckets)); }

  // Buckets for a capacity: room for every flow at a load of 0.8, which displacement reaches without a miss.
  static uint32_t bucket_count(uint64_t flows);
  // Memory that a capacity takes, in bytes; a multiple of 64. (A file is rounded up to whole huge pages.)
  static uint64_t bytes_for(uint64_t flows);

 private:
  template <class T>
  [[nodiscard]] T* at(uint64_t offset) const {
    return reinterpret_cast<T*>(static_cast<char*>(base_) + offset);
  }
  void map_file(const Options& options);
  // The checks, and then take over or begin. `name` and `remedy` are for messages.
  void open(const std::string& name, const std::string& remedy, uint64_t flows, bool live);
  void initialise(const std::string& name, uint64_t flows, const uint8_t (&boot_id)[16]);

  int fd_ = -1;
  void* base_ = nullptr;
  uint64_t bytes_ = 0;
  bool taken_over_ = false;
  uint32_t clock_offset_ = 0;  // ticks, modulo 2^32: the clock less boot_ticks()
};

}  // namespace teal::flow
