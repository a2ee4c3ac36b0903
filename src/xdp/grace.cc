// SPDX-License-Identifier: Apache-2.0
#include "grace.h"

#include <bpf/bpf.h>
#include <immintrin.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <sys/syscall.h>

#include <chrono>

#include "handles.h"

namespace teal::xdp {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto longest_spin = std::chrono::milliseconds(200);  // a program runs for microseconds
constexpr unsigned spins_before_yield = 256;                   // on a CPU that the program may be waiting for

// An interrupt on the CPU. False when it cannot be sent. A CPU that is offline runs nothing.
bool visit(int fd, unsigned cpu) {
  LIBBPF_OPTS(bpf_test_run_opts, options);
  options.flags = BPF_F_TEST_RUN_ON_CPU;
  options.cpu = cpu;
  const int error = bpf_prog_test_run_opts(fd, &options);
  return error == 0 || error == -ENXIO;
}

bool ended(const uint64_t& turn, Clock::time_point start) {
  const uint64_t begun = TEAL_LOAD(&turn);
  if (begun % 2 == 0) return true;
  for (unsigned i = 1; TEAL_LOAD(&turn) == begun; i++) {
    if (i % spins_before_yield != 0) {
      _mm_pause();
      continue;
    }
    if (Clock::now() - start > longest_spin) return false;
    sched_yield();
  }
  return true;
}

}  // namespace

void wait_for_kernel() {
  if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) != 0)
    fail(std::string("xdp: cannot wait for running programs: membarrier: ") + std::strerror(errno));
}

uint64_t Grace::wait() const {
  const auto start = Clock::now();
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  bool sure = true;
  for (unsigned cpu = 0; cpu < count_ && sure; cpu++) sure = visit(visit_fd_, cpu);
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  for (unsigned cpu = 0; cpu < count_ && sure; cpu++) sure = ended(cpus_[cpu].turn, start);
  // A CPU that cannot be visited, or whose turn stands still (a virtual CPU that its host has stopped): the kernel's
  // way is slow and always true.
  if (!sure) wait_for_kernel();
  return static_cast<uint64_t>(std::chrono::nanoseconds(Clock::now() - start).count());
}

}  // namespace teal::xdp
