# SPDX-License-Identifier: Apache-2.0
"""Full tables, floods, many workers, a million flows, and the cost of doing nothing."""
import os
import time

import load
import servers
import topology
from common import await_service, cutover_under_load, fetch, start, switch
from teald import Refused
from world import check, run, until

HERE = os.path.dirname(os.path.abspath(__file__))


class Flows:
    """flows.c, aimed at teald's port."""

    def __init__(self, at):
        self.at, self.program = at, at.world.path("flows")
        run("gcc", "-O2", "-Wall", "-o", self.program, os.path.join(HERE, "flows.c"))
        at.client.run("ping", "-c", "1", "-W", "2", at.vip())
        words = at.client.run("ip", "neigh", "show", at.vip()).stdout.split()
        self.mac = words[words.index("lladdr") + 1]

    def send(self, mode, first, count, rate):
        return int(self.at.client.run(self.program, "c0", self.mac, self.at.vip(), 80, mode, first, count, rate,
                                      timeout=140).stdout)

    def background(self, mode, first, count, rate):
        return self.at.world.spawn(self.at.client, self.program, "c0", self.mac, self.at.vip(), 80, mode, first, count, rate,
                                   log="flows.log")


def silence(at):
    """Backends take the made-up clients' packets and say nothing."""
    for namespace in at.backends.values():
        namespace.run("nft", "-f", "-", stdin="table netdev quiet {\n chain c {\n  type filter hook ingress device eth0 "
                      "priority 0; policy accept;\n  ip saddr 11.0.0.0/8 drop\n }\n}\n")


def test_full_table(world, kind="af_packet"):
    """A table full of established flows: they keep, new ones are forwarded untracked and counted, a cutover asks for force."""
    at = topology.one_port(world, kind=kind)
    servers.nginx(at)
    silence(at)
    teald = start(at, [at.service("web", 80, forward="l2dsr", split_by="flow")], flows=1024)
    await_service(at)
    hold = load.Observer(at, "hold", count=20, interval_s=0.05)
    time.sleep(0.6)
    flows = Flows(at)
    for _ in range(3):
        flows.send("open", 0, 6000, 20000)
    time.sleep(1.2)
    status = teald.get("/v1/status")["table"]
    events = teald.counters()["events"]
    check(events["flows_untracked"] > 0, f"6000 flows fit a table of 1024 with {status['slots']} slots")
    check(status["entries"] <= status["slots"], f"{status['entries']} entries in {status['slots']} slots")
    check(fetch(at).startswith("blue"), "a new connection over the full table is not answered")
    refused = None
    try:
        teald.cutover("green")
    except Refused as answer:
        refused = answer
    check(refused is not None and refused.problem["code"] == "untracked_flows", f"the cutover over untracked flows: {refused}")
    # Forced, it may break connections that have no entry (that is what force says), but none that has one.
    check(teald.cutover("green", force=True)["changed"], "a forced cutover is not done")
    time.sleep(0.7)
    requests = load.check_held(hold.result(), "blue")
    teald.check_ledger()
    return f"{status['entries']} entries in {status['slots']} slots, {events['flows_untracked']} untracked packets, {requests} kept requests"


def test_syn_flood(world, kind="af_packet"):
    """SYNs of made-up clients fill the table: established flows are unharmed, new clients are served, cutover too."""
    at = topology.two_ports(world, kind)
    servers.nginx(at)
    teald = start(at, [at.service("web", 80, split_by="flow")], flows=8192)
    at.edge.run("ip", "route", "add", "11.0.0.0/8", "via", "10.1.0.2")
    await_service(at)
    silence(at)
    hold = load.Observer(at, "hold", count=40, interval_s=0.05)
    time.sleep(0.8)
    flood = Flows(at).background("syn", 0, 120000, 20000)
    time.sleep(2)
    windows = []
    switch(teald, windows, "green")
    served = sum(fetch(at).startswith("green") for _ in range(20))
    check(served == 20, f"under the flood {served} of 20 new connections were served by green")
    flood.wait(30)
    held = hold.result()
    requests = load.check_held(held, "blue")
    check(all(e["requests"] > 20 for e in held["connections"]), "a kept connection starved")
    counters = teald.counters()
    check(counters["events"]["flows_evicted"] > 0, f"no half-open entry gave way: {counters['events']}")
    teald.check_ledger()
    return f"{counters['events']['flows_evicted']} half-open entries gave way, {requests} kept requests"


def test_two_workers_two_queues(world):
    """Two workers, two queues a port (fanout by hash)."""
    at = topology.two_ports(world, queues=2)
    servers.nginx(at, rate="256k", big=1_500_000)
    teald = start(at, [at.service("web", 80, split_by="flow")], workers=2)
    note = cutover_under_load(at, teald)
    shares = [w["rx_packets"] for w in teald.get("/v1/status")["workers"]]
    check(len(shares) == 2 and min(shares) > 100, f"the workers received {shares} packets")
    return f"{note}; workers received {shares}"


def test_cpus_of_workers_are_theirs(world):
    """Nothing of teald but its worker may run on the worker's CPU, where there is another."""
    at = topology.two_ports(world, "af_packet")
    teald = start(at, [at.service("web", 80, split_by="flow")], workers=1)
    may = os.sched_getaffinity(0)
    tasks = f"/proc/{teald.process.pid}/task"
    threads = {int(t): os.sched_getaffinity(int(t)) for t in os.listdir(tasks)}
    bound = [cpus for cpus in threads.values() if len(cpus) == 1 and cpus == {max(may)}]
    check(len(bound) >= 1, f"no thread is bound to CPU {max(may)}, the last of {sorted(may)}: {threads}")
    if len(may) == 1:
        return "one CPU: all share it"
    check(len(bound) == 1, f"{len(bound)} threads may only run on the worker's CPU {max(may)}, expected one: {threads}")
    others = [cpus for cpus in threads.values() if max(may) in cpus and cpus != {max(may)}]
    check(not others, f"of {len(threads)} threads {len(others)} may run on the worker's CPU {max(may)} as well: {threads}")
    return f"{len(threads)} threads, one of them on CPU {max(may)}"


def test_two_workers_one_queue(world):
    """Two workers, one queue a port: each owns a port and hands packets to the other."""
    at = topology.two_ports(world)
    servers.nginx(at, rate="256k", big=1_500_000)
    teald = start(at, [at.service("web", 80, split_by="flow")], workers=2)
    note = cutover_under_load(at, teald)
    shares = [w["rx_packets"] for w in teald.get("/v1/status")["workers"]]
    check(len(shares) == 2 and min(shares) > 100, f"the workers received {shares} packets")
    return f"{note}; workers received {shares}"


def test_idle_cost(world):
    """idle: adaptive costs under 5 % of a core when nothing comes."""
    at = topology.two_ports(world)
    teald = start(at, [at.service("web", 80)], idle="adaptive")
    time.sleep(2)
    windows = []
    for _ in range(3):  # the median: the machine is noisy
        before, began = teald.cpu_seconds(), time.monotonic()
        time.sleep(2)
        windows.append((teald.cpu_seconds() - before) / (time.monotonic() - began))
    share = sorted(windows)[1]
    check(share < 0.05, f"idle teald takes {share:.1%} of a core, expected under 5 %")
    return f"{share:.1%} of a core"


def test_million_flows(world):
    """1,000,000 flows in one table, cut over at once; none moves."""
    count = 1_000_000
    at = topology.one_port(world, kind="af_xdp")
    servers.nginx(at)
    silence(at)
    teald = start(at, [at.service("web", 80, forward="l2dsr", split_by="flow")], flows=count, idle="poll",
                  timeouts={"half_open_s": 600, "closing_s": 1})
    await_service(at)
    hold = load.Observer(at, "hold", count=10)
    flows = Flows(at)
    began = time.monotonic()

    def blue():
        return teald.service()["pools"]["blue"]["flows"]

    flows.send("open", 0, count, 120_000)
    first = count
    for _ in range(8):  # for what the ring dropped, others are sent
        time.sleep(1.5)
        missing = count - blue()
        if missing <= 0:
            break
        flows.send("open", first, missing + 100, 50_000)
        first += missing + 100
    until(lambda: blue() >= count, 6, f"the census counts {count} flows")
    filled = time.monotonic() - began
    table = teald.get("/v1/status")["table"]
    events = teald.counters()["events"]
    check(events["flows_untracked"] == 0, f"{events['flows_untracked']} packets found no room in the table")
    reply = teald.cutover("green")
    check(reply["flows_staying"] >= count, f"{reply['flows_staying']} flows stay, expected {count}")
    check(reply["adoption_ns"] < 20_000_000, f"adoption took {reply['adoption_ns']} ns")
    sent = {p: sum(b["packets"] for b in v["backends"]) for p, v in teald.service()["pools"].items()}
    flows.send("ack", 0, 100_000, 50_000)
    flows.send("open", 2_000_000, 5_000, 20_000)
    time.sleep(2)
    pools = teald.service()["pools"]
    more = {p: sum(b["packets"] for b in v["backends"]) - sent[p] for p, v in pools.items()}
    check(more["blue"] > 50_000, f"after the cutover {more['blue']} packets of 100000 of old flows went to blue")
    check(0 < more["green"] <= 10_500, f"after the cutover {more['green']} packets went to green, expected those of 5000 new flows")
    check(pools["blue"]["flows"] >= count, f"{pools['blue']['flows']} flows are left on blue")
    teald.check_ledger()
    load.check_held(hold.result(), "blue")
    return (f"{table['entries']} entries, {table['bytes'] / 2**20:.0f} MiB of table = {table['bytes'] / table['entries']:.1f} bytes a flow "
            f"all included ({table['bytes_per_flow']:.0f} an entry), sweep {table['sweep_us'] / 1000:.1f} ms, filled in {filled:.0f} s, "
            f"cut over in {reply['adoption_ns'] / 1000:.1f} us")
