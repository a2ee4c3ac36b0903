// SPDX-License-Identifier: Apache-2.0
// Ports: what the program is told of them, what the kernel refuses, and a packet's way through.
#include "engine_fixture.h"

#include <linux/bpf.h>

#include "maps.h"
#include "object.h"
#include "refused.skel.h"

namespace teal::xdp {
namespace {

class Attach : public XdpTest {};

TEST_F(Attach, PacketsPassAndAreCounted) {
  for (const bool generic : {false, true}) {
    test::run("ip addr replace 10.7.0.1/24 dev near");
    net_->far("ip addr replace 10.7.0.2/24 dev far");
    const auto engine = start({port_spec("near", generic)});
    Engine::Totals before, after;
    engine->add_totals(before);
    net_->far("ping -q -c 3 -i 0.05 -W 2 10.7.0.1 >/dev/null");
    engine->add_totals(after);
    EXPECT_GE(after.event[TEAL_EV_rx_packets] - before.event[TEAL_EV_rx_packets], 3u) << generic;
    EXPECT_GE(after.event[TEAL_EV_to_kernel] - before.event[TEAL_EV_to_kernel], 3u) << generic;
    const auto ports = engine->ports();
    ASSERT_EQ(ports.size(), 1u);
    EXPECT_EQ(ports[0].mode, generic ? "generic" : "native");
    EXPECT_EQ(ports[0].driver, "veth");
    EXPECT_TRUE(ports[0].link_up);
    EXPECT_GE(ports[0].rx_packets, 3u);
    EXPECT_GE(ports[0].rx_queues, 1u);
  }
}

TEST_F(Attach, TheProgramIsToldThePorts) {
  Engine engine(options_of());
  make_head(engine.table());
  const PortSpec near = port_spec("near", false, 3);
  engine.load({near}, {0, 7});
  engine.publish(snapshot(1));
  const Mapping map = map_pin<teal_xdp_published>("published", 1);
  const auto& control = static_cast<const teal_xdp_published*>(map.base())->control;
  EXPECT_EQ(control.version, uint32_t{TEAL_XDP_VERSION});
  for (unsigned i = 0; i < TEAL_XDP_PORTS; i++)
    EXPECT_EQ(control.ports[i].kind, i == 3 ? TEAL_PORT_XDP : i == 0 || i == 7 ? TEAL_PORT_DPDK : TEAL_PORT_NONE) << i;
  EXPECT_EQ(control.ports[3].ifindex, static_cast<uint32_t>(near.ifindex));
  EXPECT_EQ(std::memcmp(control.ports[3].mac, near.mac.data(), 6), 0);
  const auto& slot = control.slots[teal_xdp_port_hash(static_cast<uint32_t>(near.ifindex))];
  EXPECT_EQ(slot.ifindex, static_cast<uint32_t>(near.ifindex));
  EXPECT_EQ(slot.port, 3u);
}

TEST_F(Attach, PortsOverTheLimitsAreRefused) {
  Engine engine(options_of());
  EXPECT_TRUE(mentions(error_of([&] { engine.load({port_spec("near", false, TEAL_XDP_PORTS)}, {}); }), "at most 32"));
  EXPECT_TRUE(mentions(error_of([&] {
                         engine.load({port_spec("near"), port_spec("near", false, 1)}, {});
                       }),
                       "near is another port's already"));
  engine.load({port_spec("near")}, {});
  EXPECT_TRUE(mentions(error_of([&] { engine.set_socket(0, TEAL_XDP_QUEUES, 0); }), "queues below 64"));
  EXPECT_TRUE(mentions(error_of([&] { engine.set_socket(0, 0, 0); }), "takes no socket for port 0, queue 0"));
}

TEST_F(Attach, WithoutNativeXdpGenericIsAdvisedAndNothingIsLeft) {
  const std::string text = error_of([&] { start({port_spec("near"), port_spec("lo", false, 1)}); });
  EXPECT_EQ(text, "port p_lo: lo: driver has no native XDP for it (jumbo frames included); set mode: generic");
  EXPECT_EQ(program_on("near"), 0u) << "attached first, let go";
  EXPECT_FALSE(std::filesystem::exists(pins_at));
  const auto engine = start({port_spec("near"), port_spec("lo", true, 1)});
  EXPECT_NE(program_on("lo"), 0u);
}

TEST_F(Attach, AFailedTakeoverLeavesTheFormerProgram) {
  start({port_spec("near")});
  const uint32_t former = program_on("near");
  EXPECT_NE(error_of([&] { start({port_spec("near"), port_spec("lo", false, 1)}); }), "no error");
  EXPECT_EQ(program_on("near"), former);
  const auto engine = start({port_spec("near")});
  EXPECT_NE(program_on("near"), former);
}

TEST_F(Attach, AnotherProgramIsLeftAlone) {
  const bpf_insn pass[] = {{.code = 0xb7, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = XDP_PASS},
                           {.code = 0x95, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};
  const Fd other(bpf_prog_load(BPF_PROG_TYPE_XDP, "other", "GPL", pass, 2, nullptr));
  ASSERT_TRUE(other);
  const int near = static_cast<int>(if_nametoindex("near"));
  ASSERT_EQ(bpf_xdp_attach(near, other.get(), 0, nullptr), 0);
  for (const bool generic : {false, true})
    EXPECT_EQ(
        error_of([&] { start({port_spec("near", generic)}); }),
        "port p_near: near: another XDP program is attached, expected none (see: bpftool net; ip link set dev near "
        "xdp off)");
  EXPECT_EQ(attached(near).program_id, program_id(other.get()));
}

TEST_F(Attach, TheVerifiersWordsAreTold) {
  Engine engine(options_of());
  size_t bytes = 0;
  const void* elf = refused_bpf::elf_bytes(&bytes);
  const Fd table(bpf_map_create(BPF_MAP_TYPE_ARRAY, "t", 4, sizeof(teal_line), 1, nullptr));
  const std::string text = error_of([&] {
    Object o({static_cast<const unsigned char*>(elf), bytes}, table.get(), -1, possible_cpus());
  });
  EXPECT_TRUE(mentions(text, "xdp: the kernel refused the program or its maps: ")) << text;
  EXPECT_TRUE(mentions(text, "invalid access to packet")) << text;
  EXPECT_FALSE(mentions(text, "processed ")) << text;
  EXPECT_FALSE(mentions(text, "\n")) << text;
}

TEST_F(Attach, TheProgramsSizeIsKnown) {
  Engine engine(options_of());
  EXPECT_EQ(error_of([&] { (void)engine.verified_instructions(); }), "xdp: the program is not loaded");
  engine.load({port_spec("near")}, {});
  EXPECT_GT(engine.verified_instructions(), 100u);
  EXPECT_GT(engine.jit_bytes(), 100u);
  RecordProperty("verified_instructions", static_cast<int>(engine.verified_instructions()));
  RecordProperty("jit_bytes", static_cast<int>(engine.jit_bytes()));
  std::printf("teal_xdp: %u instructions verified, %u bytes of machine code\n", engine.verified_instructions(),
              engine.jit_bytes());
}

}  // namespace
}  // namespace teal::xdp
