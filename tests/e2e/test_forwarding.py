# SPDX-License-Identifier: Apache-2.0
"""Cutover, rollback and cutover under load, in every way of forwarding."""
import time

import load
import servers
import topology
from common import cutover_under_load, start, udp_under_load
from world import check

BIG = 1_500_000  # at 256 KiB/s: as long as a scenario's three switches


def tcp(at, family, step=1.2, **service):
    servers.nginx(at, rate="256k", big=int(BIG * step / 1.2))
    teald = start(at, [at.service("web", 80, family, split_by="flow", **service)])
    return cutover_under_load(at, teald, family, step)


def udp(at, family, step=1.2, **service):
    port = 5353
    servers.udp_echo(at, port)
    teald = start(at, [at.service("echo", port, family, protocol="udp", split_by="flow", **service)])
    return udp_under_load(at, teald, family, step)


def test_nat_ipv4(world):
    """Two ports, destination NAT, IPv4."""
    return tcp(topology.two_ports(world), 4)


def test_nat_ipv6(world):
    return tcp(topology.two_ports(world), 6)


def test_nat_one_port(world):
    """Clients and backends behind the same port."""
    return tcp(topology.one_port(world, direct=False), 4)


def test_nat_udp_ipv4(world):
    return udp(topology.two_ports(world), 4)


def test_nat_udp_ipv6(world):
    return udp(topology.two_ports(world), 6)


def test_l2dsr_ipv4(world):
    return tcp(topology.one_port(world), 4, forward="l2dsr")


def test_l2dsr_ipv6(world):
    return tcp(topology.one_port(world), 6, forward="l2dsr")


def test_l2dsr_udp(world):
    return udp(topology.one_port(world), 4, forward="l2dsr")


def ipip(world, inner, outer, kind="af_packet", step=1.2):
    at = topology.one_port(world, kind=kind)
    topology.decapsulate(at)
    service = {"forward": "ipip", "mss_clamp": 1400,
               "pools": {p: at.pool(p, outer) for p in ("blue", "green")}}
    return tcp(at, inner, step, **service)


def test_ipip_4_in_4(world):
    return ipip(world, 4, 4)


def test_ipip_6_in_6(world):
    return ipip(world, 6, 6)


def test_ipip_4_in_6(world):
    return ipip(world, 4, 6)


def test_ipip_6_in_4(world):
    return ipip(world, 6, 4)


def test_vlan(world):
    """VLAN 100 towards clients, 200 with 30 inside towards backends; the switch drops what is tagged otherwise."""
    at = topology.tagged(world)
    return tcp(at, 4)


def test_large_datagrams(world, kind="af_xdp"):
    """UDP of 4000 bytes: all fragments reach the backend of the first, both ways."""
    # Not over net_af_packet: it asks the kernel to put fragments together (PACKET_FANOUT_FLAG_DEFRAG), then cuts them off.
    at = topology.two_ports(world, kind)
    servers.udp_echo(at)
    teald = start(at, [at.service("echo", 5353, protocol="udp", split_by="flow")])
    small = load.Observer(at, "udp", count=1)
    time.sleep(1.5)
    small.result()
    big = load.Observer(at, "udp", count=4, size=4000)
    time.sleep(1)
    teald.cutover("green", "echo")
    time.sleep(1)
    asked = 0
    for entry in big.result()["sockets"]:
        check(not entry["errors"], f"a datagram of 4000 bytes failed: {entry['errors'][:1]}")
        check(len(entry["names"]) == 1, f"one socket saw {entry['names']}")
        asked += entry["answered"]
    events = teald.counters()["events"]
    check(events["reassembled"] >= asked, f"{events['reassembled']} datagrams put together, {asked} answered")
    return f"{asked} datagrams, {events['fragments']} fragments"


def test_af_xdp(world):
    """The same over net_af_xdp ports."""
    return tcp(topology.two_ports(world, "af_xdp"), 4)
