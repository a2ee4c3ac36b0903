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

#include "flow/clock.h"
#include "flow/recover.h"
#include "teal/xdp.h"

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

uint64_t Storage::bytes_for(uint64_t flows) {
  return TEAL_AT_END(bucket_count(flows));
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
  fd_ = ::open(options.file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd_ < 0) fail("flow table " + options.file + ": cannot open: " + std::strerror(errno));
  try {
    map_file(options);
    open("flow table " + options.file, "remove the file to give up its flows", options.flows, false);
  } catch (...) {
    if (base_ != nullptr) munmap(base_, bytes_);
    close(fd_);
    throw;
  }
}

Storage::Storage(const Mapped& memory, uint64_t flows) : base_(memory.base), bytes_(memory.bytes) {
  if (bytes_ < bytes_for(flows))
    fail(memory.name + ": holds " + std::to_string(bytes_) + " bytes, expected " + std::to_string(bytes_for(flows)) +
         " for engine.flows " + std::to_string(flows));
  open(memory.name, "teald --migrate carries its flows over, teald --detach gives them up", flows, memory.live);
}

Storage::~Storage() {
  if (fd_ < 0) return;  // not ours to unmap
  munmap(base_, bytes_);
  close(fd_);
}

void Storage::map_file(const Options& options) {
  const std::string name = "flow table " + options.file;
  if (flock(fd_, LOCK_EX | LOCK_NB) != 0) fail(name + ": in use by another teald");
  bytes_ = (bytes_for(options.flows) + huge_page - 1) / huge_page * huge_page;
  struct stat st {};
  if (fstat(fd_, &st) != 0) fail(name + ": " + std::strerror(errno));
  if (st.st_size != 0 && static_cast<uint64_t>(st.st_size) != bytes_)
    fail(name + ": holds " + std::to_string(st.st_size) + " bytes, expected " + std::to_string(bytes_) +
         " for engine.flows " + std::to_string(options.flows) +
         "; remove the file to give up its flows, or set engine.flows back");
  if (st.st_size == 0 && ftruncate(fd_, static_cast<off_t>(bytes_)) != 0)
    fail(name + ": cannot make it " + std::to_string(bytes_) + " bytes: " + std::strerror(errno));
  const auto no_memory = [&](int why) {
    if (st.st_size == 0) unlink(options.file.c_str());
    fail(name + ": needs " + std::to_string(bytes_ >> 20) + " MiB of " +
         (options.hugepages ? "huge pages (vm.nr_hugepages)" : "memory") + ": " + std::strerror(why));
  };
  base_ = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
  if (base_ == MAP_FAILED) {
    base_ = nullptr;
    no_memory(errno);
  }
  // All of it is touched now: a page that is not there must fail here and not under traffic.
  if (madvise(base_, bytes_, MADV_POPULATE_WRITE) != 0 && errno != EINVAL) no_memory(errno);
}

void Storage::open(const std::string& name, const std::string& remedy, uint64_t flows, bool live) {
  uint8_t boot_id[16];
  read_boot_id(boot_id);
  teal_head& h = head();
  const bool made = h.magic == TEAL_MAGIC;
  if (made && h.layout != TEAL_LAYOUT)
    fail(name + ": layout " + std::to_string(h.layout) + ", expected " + std::to_string(TEAL_LAYOUT) + "; " + remedy);
  // Files are whole huge pages, so that two capacities can have one size.
  if (made && h.buckets != bucket_count(flows))
    fail(name + ": made for engine.flows " + std::to_string(h.capacity) + ", expected " + std::to_string(flows) + "; " +
         remedy + ", or set engine.flows back");
  taken_over_ = made && std::memcmp(h.boot_id, boot_id, sizeof(boot_id)) == 0;
  if (live && made && !taken_over_) fail(name + ": made before the last boot, expected one of this boot; " + remedy);
  if (!taken_over_) {
    initialise(name, flows, boot_id);
    return;
  }
  h.instance++;  // before any word is taken over: the owner must be one that no dead teald had
  resume_clock(TEAL_LOAD(&h.tick));
  recover(h, locks(), buckets(), owner(), live);
}

void Storage::initialise(const std::string& name, uint64_t flows, const uint8_t (&boot_id)[16]) {
  std::memset(base_, 0, bytes_);
  teal_head& h = head();
  h.layout = TEAL_LAYOUT;
  h.buckets = bucket_count(flows);
  h.capacity = flows;
  h.instance = 1;
  if (getrandom(&h.secret, sizeof(h.secret), 0) != static_cast<ssize_t>(sizeof(h.secret)))
    fail(name + ": no random numbers from the kernel");
  h.secret.mul[0] |= 1;
  h.secret.mul[1] |= 1;
  std::memcpy(h.boot_id, boot_id, sizeof(boot_id));
  h.tick = boot_ticks();
  TEAL_STORE(&h.magic, TEAL_MAGIC);  // last: a table that was half made is made again
}

uint32_t Storage::owner() const {
  return static_cast<uint32_t>(head().instance % (TEAL_LOCK_XDP - 1)) + 1;
}

uint32_t Storage::now() const {
  return boot_ticks() + clock_offset_;
}

void Storage::resume_clock(uint32_t tick) {
  clock_offset_ = tick - boot_ticks();
  TEAL_STORE(&head().tick, tick);
}

}  // namespace teal::flow
