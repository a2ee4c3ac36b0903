// SPDX-License-Identifier: Apache-2.0
#include "flow/storage.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>

namespace teal::flow {
namespace {

constexpr uint64_t huge_page = 2ull << 20;

[[noreturn]] void fail(const std::string& what) {
  throw std::runtime_error(what);
}

void read_boot_id(uint8_t (&id)[16]) {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string text;
  file >> text;
  std::memset(id, 0, sizeof(id));
  unsigned nibble = 0;
  for (char c : text) {
    if (c == '-' || nibble == 32) continue;
    const unsigned v = c <= '9' ? static_cast<unsigned>(c - '0') : static_cast<unsigned>(c - 'a' + 10);
    id[nibble / 2] = static_cast<uint8_t>(id[nibble / 2] << 4 | v);
    nibble++;
  }
}

}  // namespace

uint32_t Storage::bucket_count(uint64_t flows) {
  const uint64_t slots = flows + flows / 4;
  const uint64_t buckets = (slots + TEAL_BUCKET_SLOTS - 1) / TEAL_BUCKET_SLOTS;
  return static_cast<uint32_t>(buckets < 2 ? 2 : buckets);
}

Storage::Storage(const Options& options) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  const fs::path directory = fs::path(options.file).parent_path();
  fs::create_directories(directory, ignored);
  struct statfs where {};
  if (options.hugepages && (statfs(directory.c_str(), &where) != 0 || where.f_type != HUGETLBFS_MAGIC))
    fail("flow table " + options.file +
         ": not on hugetlbfs, expected a file below a hugetlbfs mount (or engine.memory: ordinary)");
  fd_ = open(options.file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd_ < 0) fail("flow table " + options.file + ": cannot open: " + std::strerror(errno));
  try {
    if (flock(fd_, LOCK_EX | LOCK_NB) != 0) fail("flow table " + options.file + ": in use by another teald");

    bytes_ = TEAL_AT_BUCKETS + static_cast<uint64_t>(bucket_count(options.flows)) * sizeof(teal_bucket);
    bytes_ = (bytes_ + huge_page - 1) / huge_page * huge_page;
    struct stat st {};
    if (fstat(fd_, &st) != 0) fail("flow table " + options.file + ": " + std::strerror(errno));
    uint8_t boot_id[16];
    read_boot_id(boot_id);
    if (st.st_size != 0 && static_cast<uint64_t>(st.st_size) != bytes_)
      fail("flow table " + options.file + ": holds " + std::to_string(st.st_size) + " bytes, expected " +
           std::to_string(bytes_) + " for engine.flows " + std::to_string(options.flows) +
           "; remove the file to give up its flows, or set engine.flows back");
    if (st.st_size == 0 && ftruncate(fd_, static_cast<off_t>(bytes_)) != 0)
      fail("flow table " + options.file + ": cannot make it " + std::to_string(bytes_) +
           " bytes: " + std::strerror(errno));
    base_ = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
    if (base_ == MAP_FAILED) {
      base_ = nullptr;
      const int why = errno;
      if (st.st_size == 0) unlink(options.file.c_str());
      fail("flow table " + options.file + ": needs " + std::to_string(bytes_ >> 20) + " MiB of " +
           (options.hugepages ? "huge pages (vm.nr_hugepages)" : "memory") + ": " + std::strerror(why));
    }
    // All of it is touched now: a page that is not there must fail here and not under traffic.
    if (madvise(base_, bytes_, MADV_POPULATE_WRITE) != 0 && errno != EINVAL) {
      const int why = errno;
      if (st.st_size == 0) unlink(options.file.c_str());
      fail("flow table " + options.file + ": needs " + std::to_string(bytes_ >> 20) + " MiB of " +
           (options.hugepages ? "huge pages (vm.nr_hugepages)" : "memory") + ": " + std::strerror(why));
    }
    const teal_head& h = head();
    if (h.magic == TEAL_MAGIC && h.layout != TEAL_LAYOUT)
      fail("flow table " + options.file + ": layout " + std::to_string(h.layout) + ", expected " +
           std::to_string(TEAL_LAYOUT) + "; remove the file to give up its flows");
    // Files are whole huge pages, so that two capacities can have one size.
    if (h.magic == TEAL_MAGIC && h.buckets != bucket_count(options.flows))
      fail("flow table " + options.file + ": made for engine.flows " + std::to_string(h.capacity) + ", expected " +
           std::to_string(options.flows) + "; remove the file to give up its flows, or set engine.flows back");
    taken_over_ = h.magic == TEAL_MAGIC && std::memcmp(h.boot_id, boot_id, sizeof(boot_id)) == 0;
    if (taken_over_)
      recover();
    else
      initialise(options, boot_id);
    head().instance++;
  } catch (...) {
    if (base_ != nullptr) munmap(base_, bytes_);
    close(fd_);
    throw;
  }
}

Storage::~Storage() {
  munmap(base_, bytes_);
  close(fd_);
}

void Storage::initialise(const Options& options, const uint8_t (&boot_id)[16]) {
  std::memset(base_, 0, bytes_);
  teal_head& h = head();
  h.layout = TEAL_LAYOUT;
  h.buckets = bucket_count(options.flows);
  h.capacity = options.flows;
  if (getrandom(&h.secret, sizeof(h.secret), 0) != static_cast<ssize_t>(sizeof(h.secret)))
    fail("flow table " + options.file + ": no random numbers from the kernel");
  h.secret.mul[0] |= 1;
  h.secret.mul[1] |= 1;
  std::memcpy(h.boot_id, boot_id, sizeof(boot_id));
  __atomic_thread_fence(__ATOMIC_RELEASE);
  h.magic = TEAL_MAGIC;  // last: a table that was half made is made again
}

// What a crash may have left: locks of the dead, slots claimed (K, 0) that never got their value, and, of a
// displacement cut short between copying and freeing, a key twice. The copy in the second bucket goes: left alone it
// would answer for the old backend once the flow is over and the first copy begun anew. Only keys whose lock was held
// can be so, so that no other entry costs the look at a second bucket. tests/model/table.pml, scene CRASH.
void Storage::recover() {
  const teal_head& h = head();
  bool any_held = false;
  for (uint32_t i = 0; i < TEAL_LOCKS; i++) any_held |= locks()[i] != 0;
  teal_bucket* b = buckets();
  for (uint32_t i = 0; i < h.buckets; i++)
    for (int j = 0; j < TEAL_BUCKET_SLOTS; j++) {
      if (b[i].val[j] == 0) b[i].key[j] = 0;
      if (!any_held || b[i].key[j] == 0) continue;
      const uint64_t hash = teal_hash64(&h.secret, b[i].key[j]);
      if (locks()[teal_lock_index(hash, TEAL_LOCKS - 1)] == 0 || teal_bucket_second(hash, h.buckets) != i) continue;
      uint64_t first = 0;
      if (teal_bucket_find(&b[teal_bucket_first(hash, h.buckets)], b[i].key[j], teal_val_check(b[i].val[j]), &first) >=
          0)
        teal_bucket_free(&b[i], j);
    }
  std::memset(locks(), 0, TEAL_LOCKS * sizeof(uint32_t));
}

}  // namespace teal::flow
