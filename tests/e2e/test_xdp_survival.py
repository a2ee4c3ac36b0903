# SPDX-License-Identifier: Apache-2.0
"""teald goes away, is killed, upgraded and taken off while its XDP program forwards."""
import json
import os
import signal
import time

import load
import servers
import topology
from common import await_service, fetch, start, switch
from teald import TEALD
from world import check, run, until

KEPT = 8  # connections on each pool


def programs(at):
    """Ids of the XDP programs on the edge host's interfaces; 0: none."""
    links = json.loads(at.edge.run("ip", "-j", "link", "show").stdout)
    found = {link["ifname"]: link.get("xdp", {}).get("prog", {}).get("id", 0) for link in links}
    return [found["edge0"], found["edge1"]]


class Loaded:
    """teald over two xdp ports, cut over to green once, with kept connections on both pools and new ones all the time."""

    def __init__(self, world, seconds):
        self.at = topology.two_ports(world, "xdp")
        servers.nginx(self.at)
        self.teald = start(self.at, [self.at.service("web", 80, split_by="flow")])
        await_service(self.at)
        self.blue = load.Observer(self.at, "hold", count=KEPT, interval_s=0.02)
        time.sleep(0.4)
        self.windows = []
        switch(self.teald, self.windows, "green")
        self.green = load.Observer(self.at, "hold", count=KEPT, interval_s=0.02)
        self.churn = load.Observer(self.at, "churn", count=2, interval_s=0.002)
        self.wrks = [load.Wrk(self.at, "/close", 6, seconds, 6), load.Wrk(self.at, "/short", 6, seconds, 6)]
        time.sleep(0.8)
        self.away = []  # (from, to) in ns

    def restart(self, how, away_s, *options):
        """Ends teald, stays without for that long, starts it again; everything it knew must be as it was."""
        before, attached = self.teald.service(), programs(self.at)
        instance = self.teald.get("/v1/status")["instance"]
        check(all(attached), f"XDP programs of the ports: {attached}")
        code = self.teald.stop(how)
        check(code == (0 if how == signal.SIGTERM else -9), f"teald ended with {code}")
        gone = time.time_ns()
        time.sleep(away_s)
        check(programs(self.at) == attached, f"without teald the ports' programs are {programs(self.at)}, expected {attached}")
        self.away.append((gone, time.time_ns()))
        self.teald.start(*options)
        after, now = self.teald.service(), programs(self.at)
        for key in ("generation", "active"):
            check(after[key] == before[key], f"{key} {before[key]} became {after[key]}")
        check(all(now) and not set(now) & set(attached), f"the programs {attached} are {now} after the take-over, expected new ones")
        check(self.teald.get("/v1/status")["instance"] == instance + 1, "the instance was not counted up")
        until(lambda: min(v["flows"] for v in self.teald.service()["pools"].values()) >= KEPT, 5,
              f"the census knows the {KEPT} kept flows of each pool")

    def finish(self):
        """Cuts over once more and judges everything. -> a summary."""
        time.sleep(0.3)
        switch(self.teald, self.windows, "blue", rollback=True)
        time.sleep(0.5)
        requests = 0
        for wrk in self.wrks:
            asked, failures = wrk.result()
            check(failures == 0, f"wrk saw {failures} failures in {asked} requests")
            requests += asked
        churned = self.churn.result()
        connections, _ = load.check_churn(churned, self.windows)
        inside = [sum(a <= began < e for began, _ in churned["connections"]) for a, e in self.away]
        for (a, e), begun in zip(self.away, inside):
            check(begun > 30 * (e - a) / 1e9, f"{begun} connections began in the {(e - a) / 1e9:.1f} s without teald")
        held = [self.blue.result(), self.green.result()]
        requests += load.check_held(held[0], "blue") + load.check_held(held[1], "green")
        longest = max(entry["longest_s"] for result in held for entry in result["connections"])
        check(longest < 1.5, f"a kept connection waited {longest:.1f} s for an answer")
        self.teald.check_ledger()
        drops = {k: v for k, v in self.teald.counters()["drops"].items() if v}
        return (f"{requests} requests, {connections} connections, {inside} of them begun without teald, "
                f"longest answer {longest * 1000:.0f} ms, drops {drops}")


def test_kill_9(world):
    """Killed under load, away for 3 s: existing and new connections live on; the next teald takes all of it over."""
    busy = Loaded(world, 7)
    busy.restart(signal.SIGKILL, 3)
    return busy.finish()


def second_build(world):
    """A teald of another version: the binary with another version string."""
    with open(TEALD, "rb") as file:
        code = file.read()
    version = run(TEALD, "--version").stdout.split()[1]
    other = version[:-1] + "~"
    path = world.path("teald-of-another-build")
    with open(path, "wb") as file:
        file.write(code.replace(b"\0" + version.encode() + b"\0", b"\0" + other.encode() + b"\0"))
    os.chmod(path, 0o755)
    check(run(path, "--version").stdout.split()[1] == other, f"the second build does not call itself {other}")
    return path, other


def test_upgrade(world):
    """A second build is started over the first, after SIGTERM and after kill -9, under load."""
    path, version = second_build(world)
    busy = Loaded(world, 6)
    for binary, how in ((path, signal.SIGTERM), (TEALD, signal.SIGKILL)):
        busy.teald.binary = binary
        busy.restart(how, 0.3)
        ready = busy.teald.log_end(1)
        check((f"teald {version} is ready" in ready) == (binary == path), f"after {how.name} another build runs than was started: {ready}")
    return busy.finish()


def test_migrate(world):
    """Another engine.flows: refused without --migrate; with it flows are carried over under load."""
    busy = Loaded(world, 6)
    teald = busy.teald
    teald.config["engine"]["flows"] *= 2
    teald.write(teald.config)
    teald.stop()
    said = teald.refused()
    for word in (f"{world.pins()}/table", "65536", "teald --migrate carries its flows over, teald --detach gives them up"):
        check(word in said, f'the refusal does not say "{word}": {said}')
    teald.config["engine"]["flows"] //= 2
    teald.write(teald.config)
    teald.start()
    teald.config["engine"]["flows"] *= 2
    teald.write(teald.config)
    busy.restart(signal.SIGTERM, 0.3, "--migrate")
    capacity = teald.get("/v1/status")["table"]["capacity"]
    check(capacity == 131072, f"the table is for {capacity} flows, expected 131072")
    return busy.finish()


def test_clock(world):
    """Nothing ages while teald is away: silent connections outlive an absence longer than their timeout."""
    at = topology.two_ports(world, "xdp")
    servers.nginx(at)
    teald = start(at, [at.service("web", 80, split_by="flow")], timeouts={"established_s": 4, "closing_s": 1})
    await_service(at)
    hold = load.Observer(at, "hold", count=KEPT, interval_s=600)
    time.sleep(0.6)
    switch(teald, [], "green")
    before = {f["client"]: f["backend"] for f in teald.get("/v1/flows?service=web&pool=blue&state=established")["flows"]}
    check(len(before) >= KEPT, f"{len(before)} flows are established on blue, expected {KEPT}")
    recovered = teald.counters()["events"]["flows_recovered"]
    teald.stop(signal.SIGKILL)
    time.sleep(6)
    teald.start()
    time.sleep(0.3)  # sweeps
    after = {f["client"]: f["backend"] for f in teald.get("/v1/flows?service=web&pool=blue&state=established")["flows"]}
    check(after == before, f"of {len(before)} silent flows {len(set(before) & set(after))} are left after 6 s without teald")
    hold.ask_now()
    time.sleep(1)
    requests = load.check_held(hold.result(), "blue")
    check(requests >= 2 * KEPT, f"{requests} requests on {KEPT} connections: none after the absence")
    recovered = teald.counters()["events"]["flows_recovered"] - recovered
    check(recovered == 0, f"{recovered} flows had lost their entries")
    teald.check_ledger()
    # The clock goes on: an abandoned flow does age.
    until(lambda: not teald.get("/v1/flows?service=web&pool=blue&state=established")["flows"], 5, "the flows left alone age")
    return f"{requests} requests on {KEPT} connections"


def test_detach(world):
    """teald --detach: refused while one runs, then nothing is pinned or attached; what is missing gets its one line."""
    at = topology.two_ports(world, "xdp")
    servers.nginx(at)
    teald = start(at, [at.service("web", 80)])
    await_service(at)
    pins = world.pins()
    busy = teald.detach(ok=False)
    check(busy.returncode == 1 and "in use by another teald" in busy.stderr, f"beside a running teald: {busy.stderr or busy.stdout}")
    check(fetch(at).startswith("blue"), "the refused --detach took something away")
    teald.stop()
    check(all(programs(at)) and fetch(at).startswith("blue"), "a stopped teald's program does not forward")
    said = teald.detach().stdout
    check(programs(at) == [0, 0], f"after --detach the programs are {programs(at)}")
    check(not os.path.exists(pins), f"after --detach {pins} is still there")
    check(said.count("XDP program detached") == 2 and "flow table" in said, f"--detach said: {said}")
    again = teald.detach()
    check(again.returncode == 0 and "detached" not in again.stdout, f"--detach again said: {again.stdout}")

    at.edge.sh("ip link add nodriver type ifb; ip link set nodriver up")
    engine = teald.config["engine"]
    for change, place, words in (
            (lambda p: engine.update(bpf_pins=world.path("pins")), world.path("pins"), "not on a bpffs, expected"),
            (lambda p: p.update(device="eth77"), "'outside'", "no interface eth77 in the kernel, expected one"),
            (lambda p: p.update(device="nodriver"), "outside: nodriver", "set mode: generic")):
        at.ports[0]["device"], engine["bpf_pins"] = "edge0", pins
        change(at.ports[0])
        teald.write(teald.config)
        line = teald.refused()
        check(place in line and words in line, f'the refusal does not say "{place}" and "{words}": {line}')
        check(programs(at) == [0, 0] and not os.path.exists(pins), "a refused start left something attached or pinned")
    at.ports[0]["mode"] = "generic"
    teald.write(teald.config)
    teald.start()
    modes = [port["driver"].split()[1] for port in teald.get("/v1/status")["ports"]]
    check(modes == ["generic", "native"], f"the ports run as {modes}, expected generic and native")
    return line[:160]
