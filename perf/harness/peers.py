# SPDX-License-Identifier: Apache-2.0
"""teal end to end beside no balancer, a bare XDP program, nftables' DNAT, HAProxy (tcp) and nginx (stream), in turns in
one world: requests and connections a second, latency, CPU a request, throughput."""
import json
import re

import e2e
import peers_world
import rounds
from paths import Failed

TARGETS = ["src/teald/teald"]


def run_part(context):
    with e2e.World("perf-peers") as world:
        bench = peers_world.Bench(world)
        for name, why in bench.missing.items():
            context.results.skip("peers", name, why)
        # Many and short: what differs between two peers is less than what the machine's speed does in seconds.
        seconds = 1 if context.quick else 2
        count = context.rounds(19)
        _wrk(context, bench, "keep-alive", "/name", 16, seconds, count)
        _wrk(context, bench, "Connection: close", "/close", 16, seconds, count)
        _iperf(context, bench, 1 if context.quick else 5, 1 if context.quick else 5)
        for peer in bench.peers.values():
            peer.settle()


def _wrk(context, bench, kind, path, connections, seconds, count):
    def measure(name):
        peer = bench.peers[name]
        with bench.only(name):
            before = busy_s()
            text = bench.client.run("wrk", "-t", 1, "-c", connections, "-d", f"{seconds}s", "--latency", "--timeout", "5s",
                                    f"http://{peer.vip}{path}", timeout=seconds + 30).stdout
            busy = busy_s() - before
        return {**parse_wrk(name, text), "busy": busy}
    seen = rounds.alternate(bench.peers, count, measure)
    add = context.results.add
    for name, values in seen.items():
        params = {"peer": name, "connections": connections}
        add("peers", f"requests, {kind}", [v["rate"] for v in values], "requests/s", "more", **params)
        add("peers", f"CPU of the whole machine, {kind}", [v["busy"] * 1e6 / v["requests"] for v in values], "us a request", **params)
        for percent in ("50", "99"):
            add("peers", f"latency p{percent}, {kind}", [v[percent] for v in values], "us", **params)
    floor = [v["busy"] * 1e6 / v["requests"] for v in seen["none"]]
    for name, values in seen.items():
        if name != "none":
            add("peers", f"CPU over no balancer, {kind}", rounds.net([v["busy"] * 1e6 / v["requests"] for v in values], floor),
                "us a request", floor=floor, peer=name, connections=connections)


def _iperf(context, bench, seconds, count):
    def measure(name):
        with bench.only(name):
            text = bench.client.run("iperf3", "-c", bench.peers[name].vip, "-t", seconds, "-J", timeout=seconds + 30, ok=False).stdout
        document = json.loads(text)
        if "error" in document:
            raise Failed(f"iperf3 by {name}: {document['error']}")
        return document["end"]["sum_received"]["bits_per_second"] / 1e9
    for name, values in rounds.alternate(bench.peers, count, measure).items():
        context.results.add("peers", "throughput of one TCP connection", values, "Gbit/s", "more", peer=name)


def busy_s():
    """CPU time of the whole machine that was not idle, seconds."""
    with open("/proc/stat", encoding="ascii") as file:
        fields = [int(x) for x in file.readline().split()[1:]]
    return (sum(fields[:8]) - fields[3] - fields[4]) / 100


def parse_wrk(name, text):
    """-> {"rate", "requests", "50", "99"}; latencies in us. Failed when a request failed."""
    def us(percent):
        match = re.search(rf"^\s+{percent}%\s+([\d.]+)(us|ms|s)$", text, re.M)
        return float(match[1]) * {"us": 1, "ms": 1e3, "s": 1e6}[match[2]]
    errors = re.search(r"Socket errors: .*|Non-2xx.*", text)
    rate, requests = re.search(r"Requests/sec:\s+([\d.]+)", text), re.search(r"(\d+) requests in", text)
    if errors or not rate or not requests or requests[1] == "0":
        raise Failed(f"wrk by {name}: {errors[0] if errors else text[-200:]!r}")
    return {"rate": float(rate[1]), "requests": int(requests[1]), "50": us(50), "99": us(99)}
