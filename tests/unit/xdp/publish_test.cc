// SPDX-License-Identifier: Apache-2.0
// Publication: halves, what is copied, Maglev tables, waiting for running programs, counters.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>

#include "engine_fixture.h"
#include "maps.h"

namespace teal::xdp {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

class Publish : public XdpTest {
 protected:
  void TearDown() override {
    engine_.reset();
    XdpTest::TearDown();
  }
  void begin(uint16_t services) {
    test::run("ip link set near down");  // no packet moves a turn but the test's own
    engine_ = std::make_unique<Engine>(options_of());
    make_head(engine_->table());
    engine_->load({port_spec("near")}, {});
    engine_->publish(snapshot(services));
    published_ = map_pin<teal_xdp_published>("published", 1);
    cpus_ = map_pin<teal_xdp_cpu>("cpus", possible_cpus());
  }
  const teal_xdp_published& published() const { return *static_cast<const teal_xdp_published*>(published_.base()); }
  uint32_t half() const { return TEAL_LOAD(&published().control.half); }
  const teal_xdp_view& view(uint32_t half) const { return published().views[half]; }
  teal_xdp_cpu& cpu(unsigned n) const { return static_cast<teal_xdp_cpu*>(cpus_.base())[n]; }

  // The identity of the Maglev table in a slot and, in `out`, what it holds. 0: none.
  static uint32_t maglev(uint32_t half, uint32_t service, uint32_t pool, std::vector<uint16_t>& out) {
    const Fd outer(bpf_obj_get((pins_at + "/maglevs").c_str()));
    const uint32_t key = half * TEAL_XDP_MAGLEVS + service * 2 + pool, zero = 0;
    uint32_t id = 0;
    if (bpf_map_lookup_elem(outer.get(), &key, &id) != 0) return 0;
    const Fd inner(bpf_map_get_fd_by_id(id));
    out.resize(TEAL_MAGLEV_SLOTS + 3);
    return bpf_map_lookup_elem(inner.get(), &zero, out.data()) == 0 ? id : 0;
  }
  static uint32_t maglev(uint32_t half, uint32_t service, uint32_t pool) {
    std::vector<uint16_t> unread;
    return maglev(half, service, pool, unread);
  }

  void expect_view(uint32_t half, const model::Snapshot& snapshot) const {
    const teal_xdp_view& got = view(half);
    const model::View& want = snapshot.view();
    const auto same = [](const void* a, const void* b, size_t bytes) { return std::memcmp(a, b, bytes) == 0; };
    EXPECT_TRUE(same(got.services, want.services, want.service_count * sizeof(teal_service)));
    EXPECT_TRUE(same(got.backends, want.backends, want.backend_count * sizeof(teal_backend)));
    EXPECT_EQ(got.match_mask, want.match_mask);
    EXPECT_TRUE(same(got.match, want.match, (want.match_mask + 1) * sizeof(teal_match_slot)));
    EXPECT_TRUE(same(got.endpoints, want.endpoints, want.endpoint_count * sizeof(teal_endpoint)));
    EXPECT_TRUE(same(got.refs, want.refs, want.ref_count * sizeof(teal_endpoint_ref)));
    EXPECT_EQ(got.route_mask, want.route_mask);
    EXPECT_TRUE(same(got.routes, want.routes, (want.route_mask + 1) * sizeof(teal_route_slot)));
    EXPECT_TRUE(same(&got.lengths, &want.route_lengths, sizeof(got.lengths)));
    EXPECT_TRUE(same(&got.route_default, &want.route_default, sizeof(got.route_default)));
    EXPECT_TRUE(same(got.hops, want.hops, want.hop_count * sizeof(teal_hop)));
    EXPECT_EQ(got.backend_count, want.backend_count);
    EXPECT_EQ(got.hairpin_mask4, want.hairpin_mask4);
    EXPECT_TRUE(same(got.local, want.local, sizeof(got.local)));
    EXPECT_TRUE(same(got.special, want.special, sizeof(got.special)));
  }

  std::unique_ptr<Engine> engine_;
  Mapping published_, cpus_;
};

TEST_F(Publish, FillsTheHalfThatIsNotReadAndTurns) {
  begin(3);
  const uint32_t first = half();
  const model::Snapshot one = snapshot(3), two = snapshot(1), three = snapshot(2);
  expect_view(first, one);
  EXPECT_EQ(view(first).buckets, 4096u);
  EXPECT_EQ(view(first).secret.add[1], 22u);
  engine_->publish(two);
  EXPECT_EQ(half(), first ^ 1);
  expect_view(first ^ 1, two);
  expect_view(first, one);  // as it was: a program that is late reads it whole
  engine_->publish(three);
  EXPECT_EQ(half(), first);
  expect_view(first, three);
  // This half held three services: what is left of the third must be gone.
  EXPECT_EQ(view(first).services[3].family, 0);
  EXPECT_EQ(view(first).backends[7].family, 0);
}

TEST_F(Publish, MaglevTablesAreThoseOfTheSnapshotAndOnlyChangedOnesAreMadeAnew) {
  begin(2);
  const model::Snapshot two = snapshot(2);
  const uint32_t first = half();
  std::vector<uint16_t> held;
  for (uint16_t s : {1, 2})
    for (uint8_t pool : {0, 1}) {
      ASSERT_NE(maglev(first, s, pool, held), 0u) << s << pool;
      const auto want = two.maglev(s, pool);
      EXPECT_TRUE(std::equal(want->begin(), want->end(), held.begin())) << s << pool;
      EXPECT_NE(view(first).services[s].maglev[pool], 0u);
    }
  const uint32_t kept = maglev(first, 1, 0), changed = maglev(first, 2, 1);

  model::SnapshotInput in = world(2);
  in.backends.push_back({9, 2, 1, {*model::Address::parse("10.0.9.9"), 8080}, 1});
  const model::Snapshot more(in, cache_);
  engine_->publish(more);
  engine_->publish(more);
  ASSERT_EQ(half(), first);
  EXPECT_EQ(maglev(first, 1, 0), kept);
  EXPECT_NE(maglev(first, 2, 1, held), changed);
  const auto want = more.maglev(2, 1);
  EXPECT_TRUE(std::equal(want->begin(), want->end(), held.begin()));

  in.backends.pop_back();
  in.backends[2].weight = in.backends[3].weight = 0;  // both pools of service 2
  const model::Snapshot without(in, cache_);
  engine_->publish(without);
  engine_->publish(without);
  EXPECT_EQ(view(half()).services[2].maglev[0], 0u);
  for (uint32_t h : {0u, 1u}) {
    ASSERT_NE(maglev(h, 2, 0, held), 0u);
    EXPECT_TRUE(std::ranges::all_of(held, [](uint16_t n) { return n == 0; })) << "its memory is given back";
    EXPECT_EQ(maglev(h, 2, 0), maglev(h, 2, 1));
  }
}

TEST_F(Publish, ManyTablesGoInBatches) {
  begin(200);  // 400 tables: two batches
  const model::Snapshot all = snapshot(200);
  std::vector<uint16_t> held;
  for (uint16_t s = 1; s <= 200; s++) {
    ASSERT_NE(maglev(half(), s, 1, held), 0u) << s;
    const auto want = all.maglev(s, 1);
    ASSERT_TRUE(std::equal(want->begin(), want->end(), held.begin())) << s;
  }
}

TEST_F(Publish, OverALimitNothingChanges) {
  begin(1);
  const uint32_t before = half();
  model::SnapshotInput in = world(2);
  for (uint32_t i = 0; i < 40000; i++) {
    model::Route r;
    const uint32_t address = teal_swap32(0x0b000000u + i);
    r.to.address.family = 4;
    std::memcpy(r.to.address.bytes.data(), &address, 4);
    r.to.length = 32;
    r.ifindex = 5;
    in.topology.routes.push_back(r);
  }
  const model::Snapshot large(in, cache_);
  const std::string text = error_of([&] { engine_->publish(large); });
  EXPECT_TRUE(mentions(text, "slots for routes and neighbours (TEAL_XDP_ROUTES), expected at most 65,536")) << text;
  EXPECT_EQ(half(), before);
  EXPECT_EQ(view(before ^ 1).services[2].family, 0);
}

TEST_F(Publish, SynchronizeWaitsForAProgramThatRuns) {
  begin(1);
  const unsigned last = possible_cpus() - 1;
  for (const unsigned n : {0u, last}) {
    const uint64_t turn = cpu(n).turn;
    ASSERT_EQ(turn % 2, 0u);
    TEAL_STORE(&cpu(n).turn, turn + 1);
    const auto start = Clock::now();
    std::thread program([&] {
      std::this_thread::sleep_for(40ms);
      TEAL_STORE(&cpu(n).turn, turn + 2);
    });
    const uint64_t waited = engine_->synchronize();
    const auto took = Clock::now() - start;
    program.join();
    EXPECT_GE(took, 30ms) << "CPU " << n;
    EXPECT_GE(waited, 30'000'000u);
  }
}

TEST_F(Publish, ATurnThatMovesOnIsNotWaitedForTwice) {
  begin(1);
  std::atomic<bool> end = false;
  std::thread program([&] {  // odd nearly always: one packet after the other
    while (!end) {
      __atomic_fetch_add(&cpu(0).turn, 2, __ATOMIC_RELAXED);
      std::this_thread::sleep_for(1ms);
    }
  });
  __atomic_fetch_add(&cpu(0).turn, 1, __ATOMIC_RELAXED);
  const uint64_t waited = engine_->synchronize();
  end = true;
  program.join();
  __atomic_fetch_add(&cpu(0).turn, 1, __ATOMIC_RELAXED);
  EXPECT_LT(waited, 190'000'000u);
}

TEST_F(Publish, ATurnThatStandsStillDoesNotHoldUpForEver) {
  begin(1);
  TEAL_STORE(&cpu(0).turn, cpu(0).turn + 1);
  const auto start = Clock::now();
  engine_->synchronize();
  EXPECT_LT(Clock::now() - start, 2s);
  TEAL_STORE(&cpu(0).turn, cpu(0).turn + 1);
}

TEST_F(Publish, SynchronizeCostsMicroseconds) {
  begin(1);
  std::vector<uint64_t> waits;
  for (int i = 0; i < 1000; i++) waits.push_back(engine_->synchronize());
  std::ranges::sort(waits);
  std::printf("synchronize: %.1f us median, %.1f us in 99 of 100, %.1f us at most\n",
              static_cast<double>(waits[500]) / 1e3, static_cast<double>(waits[990]) / 1e3,
              static_cast<double>(waits[999]) / 1e3);
  EXPECT_LT(waits[500], 1'000'000u) << "under a millisecond";
}

TEST_F(Publish, TotalsAreTheSumOfAllCpus) {
  begin(2);
  engine_->publish(snapshot(1));
  const unsigned cpus = possible_cpus();
  Engine::Totals before, after;
  engine_->add_totals(before);
  ASSERT_EQ(before.service.size(), 2u) << "number 1 and the unused 0";
  ASSERT_EQ(before.backend.size(), 4u);
  uint64_t sum = 0;
  for (unsigned n = 0; n < cpus; n++) {
    const uint64_t amount = 10 + n;
    sum += amount;
    teal_xdp_cpu& c = cpu(n);
    c.drop[TEAL_DROP_COUNT - 1] += amount;
    c.event[TEAL_EV_flows_moved] += amount;
    c.service[1].new_flows[1] += amount;
    c.service[1].untracked += amount;
    c.service[1].recovered += amount;
    c.service[1].moved += amount;
    c.service[2].moved += amount;  // not in the published view
    c.backend[3].packets += amount;
    c.backend[3].bytes += amount;
  }
  engine_->add_totals(after);
  engine_->add_totals(after);  // adds: what was there stays
  EXPECT_EQ(after.drop[TEAL_DROP_COUNT - 1], 2 * sum);
  EXPECT_EQ(after.event[TEAL_EV_flows_moved], 2 * sum);
  const teal_service_counts& s = after.service[1];
  for (const uint64_t got : {s.new_flows[1], s.untracked, s.recovered, s.moved}) EXPECT_EQ(got, 2 * sum);
  EXPECT_EQ(s.new_flows[0], 0u);
  EXPECT_EQ(after.service.size(), 2u);
  EXPECT_EQ(after.backend[3].packets, 2 * sum);
  EXPECT_EQ(after.backend[3].bytes, 2 * sum);
}

}  // namespace
}  // namespace teal::xdp
