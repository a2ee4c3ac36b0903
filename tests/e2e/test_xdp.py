# SPDX-License-Identifier: Apache-2.0
"""The same promises on xdp ports: what the workers' scenarios show, carried by the XDP program."""
import json
import time

import load
import servers
import test_changes
import test_forwarding
import test_limits
import topology
from common import await_service, start, switch
from world import check, until

STEP = 0.7  # seconds between switches


def test_nat_ipv4(world):
    return test_forwarding.tcp(topology.two_ports(world, "xdp"), 4, STEP)


def test_nat_ipv6(world):
    return test_forwarding.tcp(topology.two_ports(world, "xdp"), 6, STEP)


def test_nat_one_port(world):
    return test_forwarding.tcp(topology.one_port(world, direct=False, kind="xdp"), 4, STEP)


def test_udp(world):
    return test_forwarding.udp(topology.two_ports(world, "xdp"), 4, STEP)


def test_l2dsr_ipv4(world):
    return test_forwarding.tcp(topology.one_port(world, kind="xdp"), 4, STEP, forward="l2dsr")


def test_l2dsr_ipv6(world):
    return test_forwarding.tcp(topology.one_port(world, kind="xdp"), 6, STEP, forward="l2dsr")


def test_ipip_4_in_4(world):
    return test_forwarding.ipip(world, 4, 4, "xdp", STEP)


def test_ipip_6_in_6(world):
    return test_forwarding.ipip(world, 6, 6, "xdp", STEP)


def test_ipip_4_in_6(world):
    return test_forwarding.ipip(world, 4, 6, "xdp", STEP)


def test_ipip_6_in_4(world):
    return test_forwarding.ipip(world, 6, 4, "xdp", STEP)


def mixed(world, outside, inside):
    """NAT between an xdp port and a dpdk port: one direction of each flow is the program's, the other a worker's."""
    at = topology.two_ports(world, (outside, inside))
    servers.nginx(at, rate="256k", big=800_000)
    teald = start(at, [at.service("web", 80, split_by="flow")])
    await_service(at)
    lone = load.Observer(at, "hold", count=5, interval_s=0.05)
    note = test_forwarding.cutover_under_load(at, teald, step=STEP)
    flows = teald.get("/v1/flows?service=web&state=established")["flows"]
    clients = [flow["client"] for flow in flows]
    check(len(set(clients)) == len(clients), f"a flow has two entries in the one table: {clients}")
    for entry in lone.result()["connections"]:
        check(clients.count(f"10.1.0.2:{entry['port']}") == 1, f"the kept flow of port {entry['port']} is not in the table: {clients}")
        check(len(entry["names"]) == 1 and not entry["error"], f"a kept connection saw {entry}")
    events = teald.counters()["events"]
    # The program leaves what must go out by the other engine's port to a worker.
    passed = {"xdp": events["forwarded"], "af_packet": events["replies"]}[outside]
    check(events["punted"] > 0.9 * passed > 500, f"the program handed {events['punted']} of {passed} packets to a worker")
    check(events["reply_untracked"] == 0, f"{events['reply_untracked']} replies found no entry")
    return f"{note}, {events['punted']} of {passed} packets handed over"


def test_mixed_clients(world):
    """Clients behind the xdp port, backends behind the dpdk port."""
    return mixed(world, "xdp", "af_packet")


def test_mixed_backends(world):
    """Clients behind the dpdk port, backends behind the xdp port."""
    return mixed(world, "af_packet", "xdp")


def test_jumbo(world):
    """MTU 9000: large segments both ways through a cutover, and datagrams of 20,000 bytes in fragments of 9,000."""
    at = topology.two_ports(world, "xdp", mtu=9000)
    servers.udp_echo(at)
    for name, namespace in at.backends.items():
        world.spawn(namespace, "iperf3", "-s", log=f"{name}-iperf.log")
        until(lambda n=namespace: ":5201 " in n.run("ss", "-ltn").stdout, 10, f"iperf3 of {name} listens")
    one = {pool: at.pool(pool)[:1] for pool in ("blue", "green")}  # its two connections must meet
    teald = start(at, [at.service("perf", 5201, pools=one), at.service("echo", 5353, protocol="udp", split_by="flow")])
    at.client.run("ping", "-c", "1", "-W", "2", "10.1.0.1")
    notes = []
    for to, way, options in (("green", "up", []), ("blue", "down", ["-R"])):
        before = teald.counters()["events"]
        process = world.spawn(at.client, "iperf3", "-c", at.vip(), "-t", 2, "-J", *options, log=f"{way}.log")
        time.sleep(1)
        switch(teald, [], to, "perf")
        process.wait(20)
        with open(world.path(f"{way}.log"), encoding="utf-8") as file:
            end = json.load(file)["end"]
        megabytes = end["sum_received"]["bytes"] / 1e6
        after = teald.counters()["events"]
        size = (after["tx_bytes"] - before["tx_bytes"]) / (after["tx_packets"] - before["tx_packets"])
        check(megabytes > 20, f"{way}: only {megabytes:.0f} MB")
        # Acknowledgements included, so nearly all others are of 9,014 bytes.
        check(size > 5000, f"{way}: {size:.0f} bytes a frame, expected frames over 4 KiB")
        notes.append(f"{way} {megabytes:.0f} MB, {size:.0f} bytes a frame")
    big = load.Observer(at, "udp", count=2, size=20_000)
    time.sleep(1.2)
    answered = 0
    for entry in big.result()["sockets"]:
        check(not entry["errors"] and len(entry["names"]) == 1, f"a datagram of 20,000 bytes: {entry}")
        answered += entry["answered"]
    check(answered > 10, f"{answered} large datagrams were answered")
    drops = {k: v for k, v in teald.counters()["drops"].items() if v}
    check(not drops, f"dropped: {drops}")
    teald.check_ledger()
    return f"{', '.join(notes)}, {answered} large datagrams"


def test_large_datagrams(world):
    """Fragments go to a worker, both ways."""
    return test_forwarding.test_large_datagrams(world, "xdp")


def test_reload(world):
    """A backend goes and comes by reload under kept connections; a bad configuration changes nothing."""
    return test_changes.test_reload(world, "xdp")


def test_rollback_reset(world):
    """The program hands packets of reset flows to a worker, which sends the RST."""
    return test_changes.test_rollback_reset(world, "xdp")


def test_which_and_flows(world):
    return test_changes.test_which_and_flows(world, "xdp")


def test_host_traffic(world):
    """Ping, ARP, ND and ssh to the host while services run: XDP_PASS."""
    return test_changes.test_host_traffic(world, "xdp")


def test_full_table(world):
    return test_limits.test_full_table(world, "xdp")


def test_syn_flood(world):
    return test_limits.test_syn_flood(world, "xdp")
