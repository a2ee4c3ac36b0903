// SPDX-License-Identifier: Apache-2.0
// What outlives a teald, and how the next one takes it over.
#include <sys/wait.h>

#include "engine_fixture.h"

namespace teal::xdp {
namespace {

class Takeover : public XdpTest {
 protected:
  // Another process starts, publishes and is killed where it stands.
  void start_and_kill(const std::vector<PortSpec>& ports, uint64_t marker) {
    int ready[2];
    ASSERT_EQ(pipe(ready), 0);
    const pid_t child = fork();
    if (child == 0) {
      char told = 'n';
      try {
        const auto engine = start(ports);
        *reinterpret_cast<uint64_t*>(static_cast<char*>(engine->table().base) + TEAL_AT_BUCKETS) = marker;
        const Mapping cpus = map_pin<teal_xdp_cpu>("cpus", 1);
        static_cast<teal_xdp_cpu*>(cpus.base())->drop[TEAL_DROP_martian_source] = 41;
        told = 'y';
        if (write(ready[1], &told, 1) != 1) _exit(1);
        for (;;) pause();
      } catch (const std::exception& e) {
        std::fprintf(stderr, "%s\n", e.what());
      }
      if (write(ready[1], &told, 1) != 1) _exit(1);
      _exit(1);
    }
    char told = 0;
    ASSERT_EQ(read(ready[0], &told, 1), 1);
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    close(ready[0]);
    close(ready[1]);
    ASSERT_EQ(told, 'y');
  }
};

TEST_F(Takeover, AfterAKillTheProgramRunsOnAndTheNextTakesTableCountersAndLink) {
  const std::vector<PortSpec> ports = {port_spec("near")};
  start_and_kill(ports, 0x1234567890);
  const uint32_t program = program_on("near"), link = link_id("link_p_near");
  ASSERT_NE(program, 0u) << "still attached";
  ASSERT_NE(link, 0u);

  Engine next(options_of());
  ASSERT_TRUE(next.table().found);
  EXPECT_EQ(next.table().bytes, table_bytes);
  EXPECT_EQ(*reinterpret_cast<uint64_t*>(static_cast<char*>(next.table().base) + TEAL_AT_BUCKETS), 0x1234567890u);
  next.load(ports, {});
  EXPECT_EQ(program_on("near"), program) << "nothing changes before the first publish";
  next.publish(snapshot(1));
  EXPECT_NE(program_on("near"), program);
  EXPECT_NE(program_on("near"), 0u);
  EXPECT_EQ(link_id("link_p_near"), link) << "the link was updated, not made anew";
  Engine::Totals totals;
  next.add_totals(totals);
  EXPECT_EQ(totals.drop[TEAL_DROP_martian_source], 41u) << "counters go on";
}

TEST_F(Takeover, PortsThatAreNoMoreAreLetGoAndNewOnesAttached) {
  test::run("ip link add other type veth peer name other2 && ip link set other up");
  auto first = start({port_spec("near"), port_spec("other", false, 1)});
  ASSERT_NE(program_on("near"), 0u);
  ASSERT_EQ(program_on("near"), program_on("other"));
  first.reset();
  PortSpec renamed = port_spec("other", false, 1);
  renamed.name = "wan.100";  // bpffs takes no dots
  const uint32_t link = link_id("link_p_other");
  const auto second = start({renamed});
  EXPECT_EQ(program_on("near"), 0u);
  EXPECT_FALSE(pinned("link_p_near"));
  EXPECT_FALSE(pinned("link_p_other"));
  EXPECT_NE(program_on("other"), 0u);
  EXPECT_EQ(link_id("link_wan%2e100"), link) << "the same interface under another name";
}

TEST_F(Takeover, AnInterfaceMadeAnewIsAttachedAnew) {
  test::run("ip link add other type veth peer name other2");
  start({port_spec("other")});
  test::run("ip link del other && ip link add other type veth peer name other2");
  ASSERT_EQ(program_on("other"), 0u);
  start({port_spec("other")});
  EXPECT_NE(program_on("other"), 0u);
}

TEST_F(Takeover, TheModeCanChange) {
  const int near = static_cast<int>(if_nametoindex("near"));
  start({port_spec("near", true)});
  ASSERT_NE(attached(near).program_id, 0u);
  ASSERT_TRUE(attached(near).generic);
  const auto engine = start({port_spec("near", false)});
  EXPECT_NE(attached(near).program_id, 0u);
  EXPECT_FALSE(attached(near).generic);
}

TEST_F(Takeover, DetachRemovesEverythingAndSaysSo) {
  start({port_spec("near")});
  ASSERT_NE(program_on("near"), 0u);
  const auto removed = Engine::detach(pins_at);
  EXPECT_EQ(program_on("near"), 0u);
  EXPECT_FALSE(std::filesystem::exists(pins_at));
  ASSERT_EQ(removed.size(), 7u) << "link, program, table, cpus, published, maglevs, xsks";
  EXPECT_EQ(removed[0], "port p_near: XDP program detached");
  EXPECT_TRUE(Engine::detach(pins_at).empty()) << "again: nothing to do";
}

TEST_F(Takeover, OneTealdADirectory) {
  const auto engine = start({port_spec("near")});
  EXPECT_EQ(error_of([] { Engine second(options_of()); }), "engine.bpf_pins " + pins_at + ": in use by another teald");
  EXPECT_EQ(error_of([] { Engine::detach(pins_at); }), "engine.bpf_pins " + pins_at + ": in use by another teald");
  EXPECT_NE(program_on("near"), 0u);
}

TEST_F(Takeover, PinsOffABpffsAreRefused) {
  Engine::Options o = options_of();
  o.pins = "/tmp/teal-no-bpffs/pins";
  EXPECT_EQ(error_of([&] { Engine e(o); }),
            "engine.bpf_pins /tmp/teal-no-bpffs/pins: not on a bpffs, expected a directory below one (mount -t bpf bpf "
            "/sys/fs/bpf)");
  EXPECT_FALSE(std::filesystem::exists("/tmp/teal-no-bpffs"));
}

TEST_F(Takeover, AStartThatComesToNothingLeavesNothing) {
  { Engine e(options_of()); }
  EXPECT_FALSE(std::filesystem::exists(pins_at));
}

TEST_F(Takeover, AnotherSizeOrLayoutIsRefusedAndNamed) {
  start({port_spec("near")});
  const uint32_t program = program_on("near");
  EXPECT_EQ(error_of([] { Engine e(options_of(2 * table_bytes)); }),
            "flow table pinned at " + pins_at + "/table: " + grouped(table_bytes) +
                " bytes (made for engine.flows 1000), expected " + grouped(2 * table_bytes) +
                "; teald --migrate carries its flows over, teald --detach gives them up");
  Engine::Options o = options_of();
  o.layout = TEAL_LAYOUT + 1;
  EXPECT_TRUE(mentions(error_of([&] { Engine e(o); }), "layout 3, expected 4"));
  EXPECT_EQ(program_on("near"), program);
}

TEST_F(Takeover, MigrationKeepsTheOldTableUntilItIsDropped) {
  start({port_spec("near")});
  Engine::Options o = options_of(2 * table_bytes);
  o.migrate = true;
  {
    Engine engine(o);
    EXPECT_FALSE(engine.table().found);
    EXPECT_EQ(engine.table().bytes, 2 * table_bytes);
    ASSERT_TRUE(engine.old_table());
    EXPECT_EQ(engine.old_table()->bytes, table_bytes);
    EXPECT_EQ(static_cast<teal_head*>(engine.old_table()->base)->magic, TEAL_MAGIC);
    EXPECT_NE(engine.old_table()->base, engine.table().base);
    make_head(engine.table());
    engine.load({port_spec("near")}, {});
    engine.publish(snapshot(1));
    EXPECT_TRUE(engine.old_table()) << "for the second look, after the old program has gone";
    engine.drop_old_table();
    EXPECT_FALSE(engine.old_table());
  }
  EXPECT_TRUE(Engine(options_of(2 * table_bytes)).table().found) << "the new one is pinned in its place";
}

TEST_F(Takeover, AMigrationThatFailsLeavesTheOldTablePinned) {
  start({port_spec("near")});
  Engine::Options o = options_of(2 * table_bytes);
  o.migrate = true;
  EXPECT_TRUE(mentions(error_of([&] { start({port_spec("near"), port_spec("lo", false, 1)}, o); }), "port p_lo"));
  EXPECT_NE(program_on("near"), 0u);
  EXPECT_TRUE(Engine(options_of()).table().found);
}

}  // namespace
}  // namespace teal::xdp
