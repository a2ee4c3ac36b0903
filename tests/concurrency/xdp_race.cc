// SPDX-License-Identifier: Apache-2.0
// teal-xdp-race: packets of one new flow on both CPUs at once, a million times, while a thread cuts over and back.
//   1. One backend a flow: whatever packet of it comes out, and one entry in the table.
//   2. A flow whose first packet was made after synchronize() returned is on no older generation's pool; and the old
//      pool gets no new flow from that moment on.
// With --break something is taken away, and the run succeeds when that was noticed.
#include <boost/program_options.hpp>
#include <cstdio>
#include <iostream>

#include "xdp_race_run.h"

namespace teal::race {
namespace {

namespace po = boost::program_options;

struct Verdict {
  uint64_t both = 0, one = 0, none = 0, whole = 0;  // flows seen: by both CPUs, by one, by none; with all their packets
  uint64_t pool[2] = {0, 0};
  uint64_t moved = 0;              // flows with packets at two backends
  uint64_t strange = 0;            // packets that were sent somewhere else or changed where they must not be
  uint64_t twice = 0;              // flows with more than one entry
  uint64_t judged = 0, stale = 0;  // flows whose generation is certain, and of those, on an older one's pool
};

void judge(const race_seen& a, const race_seen& b, Verdict& v) {
  v.strange += a.strange + b.strange;
  const bool two = a.packets > 0 && b.packets > 0;
  v.both += two;
  v.one += !two && (a.packets > 0 || b.packets > 0);
  v.none += a.packets == 0 && b.packets == 0;
  v.whole += a.packets == 2 && b.packets == 2;
  if (a.packets == 0 && b.packets == 0) return;
  const race_seen& first = a.packets > 0 ? a : b;
  v.pool[Race::pool_of(first.backend)]++;
  v.moved += a.moved > 0 || b.moved > 0 || (two && a.backend != b.backend);
  if (!two) return;  // the packet that did not come out may have decided
  // Decided by no generation before the least stamp, and by none after the least that was stored when one came out.
  const uint32_t stamp = std::min(a.stamp, b.stamp), stored = std::min(a.stored, b.stored);
  if (stamp != stored) return;
  v.judged++;
  v.stale += Race::pool_of(a.backend) != Race::pool_under(stamp);
}

bool line(bool good, const char* text, uint64_t n) {
  std::printf("  %-72s %10llu  %s\n", text, static_cast<unsigned long long>(n), good ? "ok" : "WRONG");
  return good;
}

Verdict judge_all(const Race& race, uint32_t flows) {
  Verdict v;
  for (uint32_t i = 0; i < flows; i++) judge(race.seen(i, 0), race.seen(i, 1), v);
  for (const uint8_t times : race.entries()) v.twice += times > 1;
  return v;
}

int main(int argc, char** argv) {
  uint32_t flows = 1'000'000;
  unsigned limit_s = 60;
  std::string broken;
  po::options_description d(
      "teal-xdp-race: one backend a flow, and cutovers that are instants. Needs root and two CPUs");
  d.add_options()("help", "this")("flows", po::value(&flows)->value_name("N"), "16 to 16,000,000 (1000000)")(
      "limit", po::value(&limit_s)->value_name("S"), "seconds after which the flows that are left are given up (60)")(
      "break", po::value(&broken)->value_name("WHAT"),
      "lock: enter flows without it; sync: do not wait after a cutover; stale: decide by old splits");
  po::variables_map m;
  po::store(po::parse_command_line(argc, argv, d), m);
  po::notify(m);
  if (m.count("help")) {
    std::cout << d;
    return 0;
  }
  Break what = Break::nothing;
  if (broken == "lock") what = Break::lock;
  if (broken == "sync") what = Break::sync;
  if (broken == "stale") what = Break::stale;
  if (!broken.empty() && what == Break::nothing)
    throw std::runtime_error("--break " + broken + ", expected lock, sync or stale");
  if (flows < RACE_STEP || flows > 16'000'000)
    throw std::runtime_error("--flows " + std::to_string(flows) + ", expected 16 to 16,000,000");
  flows -= flows % RACE_STEP;
  std::string why = perf::XdpWorld::missing();
  if (why.empty() && std::thread::hardware_concurrency() < RACE_CPUS) why = "needs two CPUs";
  if (!why.empty()) {
    std::cerr << "SKIPPED: teal-xdp-race " << why << "\n";
    return 77;
  }

  Race race(flows, what);
  const auto start = std::chrono::steady_clock::now();
  const Cutovers cut = race.run(limit_s);
  const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const Verdict v = judge_all(race, flows);
  perf::XdpWorld& w = race.world();

  std::printf(
      "%u flows in %.1f s, each SYN, ACK on both CPUs; %llu cutovers (%llu stored in an interrupt), %.1f us on "
      "average, "
      "%.1f at most in synchronize(); %llu interrupts, %llu flows of one CPU beside them\n",
      flows, took, static_cast<unsigned long long>(cut.done), static_cast<unsigned long long>(cut.shaken),
      cut.done ? static_cast<double>(cut.sum_wait_ns) / 1000 / static_cast<double>(cut.done) : 0,
      static_cast<double>(cut.most_wait_ns) / 1000, static_cast<unsigned long long>(race.plan().shaken),
      static_cast<unsigned long long>(race.solo()));
  std::printf(
      "flows seen by one CPU only: %llu, by none: %llu, with all four packets: %llu; punt_lost: %llu (the lock "
      "stayed taken), lock_busy: %llu; recovered: %llu, untracked: %llu, evicted: %llu\n",
      static_cast<unsigned long long>(v.one), static_cast<unsigned long long>(v.none),
      static_cast<unsigned long long>(v.whole), static_cast<unsigned long long>(w.dropped(TEAL_DROP_punt_lost)),
      static_cast<unsigned long long>(w.event(TEAL_EV_lock_busy)),
      static_cast<unsigned long long>(w.event(TEAL_EV_flows_recovered)),
      static_cast<unsigned long long>(w.event(TEAL_EV_flows_untracked)),
      static_cast<unsigned long long>(w.event(TEAL_EV_flows_evicted)));
  bool met = line(v.both >= flows / 10 * 9, "flows whose packets came out on both CPUs (9 in 10 at least)", v.both);
  met &= line(v.pool[0] > 0, "flows on blue", v.pool[0]);
  met &= line(v.pool[1] > 0, "flows on green", v.pool[1]);
  met &= line(v.strange == 0, "packets that went astray", v.strange);
  met &= line(v.judged > flows / 20, "flows whose generation is certain (1 in 20 at least)", v.judged);
  met &= line(w.event(TEAL_EV_flows_evicted) == 0 && w.event(TEAL_EV_flows_untracked) == 0,
              "flows without an entry of their own", w.event(TEAL_EV_flows_evicted) + w.event(TEAL_EV_flows_untracked));
  // A flow that lost both SYNs is entered from its ACK, by the split before while draining: rightly.
  const uint64_t recovered = w.event(TEAL_EV_flows_recovered);
  bool kept = line(v.moved == 0, "flows with packets at two backends", v.moved);
  kept &= line(v.twice == 0, "flows with two entries", v.twice);
  kept &= line(w.event(TEAL_EV_flows_moved) == 0, "the ledger: flows moved", w.event(TEAL_EV_flows_moved));
  bool instant = line(v.stale <= recovered, "flows begun after a cutover's reply, on the old pool", v.stale);
  instant &= line(cut.late_flows <= recovered, "new flows of the old pool after a cutover's reply", cut.late_flows);
  if (cut.late > 0)
    std::printf("  after %llu of %llu cutovers (%.2f %%)\n", static_cast<unsigned long long>(cut.late),
                static_cast<unsigned long long>(cut.done),
                100.0 * static_cast<double>(cut.late) / static_cast<double>(cut.done));
  if (what == Break::nothing) return met && kept && instant ? 0 : 1;
  const bool noticed = what == Break::lock ? v.moved > 0 : what == Break::stale ? v.stale > 0 : cut.late > 0;
  std::printf("--break %s: %s\n", broken.c_str(), noticed ? "noticed" : "NOT NOTICED");
  return noticed ? 0 : 1;
}

}  // namespace
}  // namespace teal::race

int main(int argc, char** argv) {
  try {
    return teal::race::main(argc, argv);
  } catch (const std::exception& e) {
    std::cerr << "teal-xdp-race: " << e.what() << "\n";
    return 1;
  }
}
