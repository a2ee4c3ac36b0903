# SPDX-License-Identifier: Apache-2.0
"""Cutovers under load: from request to reply, from store to adoption, and what traffic feels around the instant."""
import bisect
import http.client
import json
import os
import signal
import socket
import statistics
import time

import e2e
import results as kept
from paths import Failed

TARGETS = ["src/teald/teald"]
HERE = os.path.dirname(os.path.abspath(__file__))
ENGINES = {"dpdk": "af_packet", "xdp": "xdp"}
WINDOW_MS = 10  # around an instant
LONG_S, PAUSE_S = 3600, 0.01
BLOCKS = 5      # the cutovers of one start are as many rounds


def run_part(context):
    counts = [(1, False), (100, True)] if context.quick else [(1, False), (100, False), (1000, False), (1000, True)]
    cutovers = 40 if context.quick else 1000
    for engine in ENGINES:
        for services, group in counts:
            with e2e.World(f"perf-cutover-{engine}") as world:
                _measure(context, world, engine, services, group, cutovers)


def services_of(at, count, group):
    """web and echo, which carry the load, and more up to `count`, all in one group if so asked."""
    more = {"group": "all"} if group else {}
    out = [at.service("web", 80, split_by="flow", **more), {**at.service("echo", 5353, split_by="flow"), "protocol": "udp"}]
    return out + [at.service(f"more{i}", 10000 + i, **more) for i in range(1, count)]


class Switcher:
    """One connection to the control socket that is kept."""

    def __init__(self, path):
        self.connection = http.client.HTTPConnection("teald")
        self.connection.sock = socket.socket(socket.AF_UNIX)
        self.connection.sock.settimeout(20)
        self.connection.sock.connect(path)

    def cutover(self, to):
        """-> (ms from request to reply, the reply)"""
        began = time.monotonic_ns()
        self.connection.request("POST", "/v1/services/web/cutover", json.dumps({"to": to}), {"Content-Type": "application/json"})
        response = self.connection.getresponse()
        text = response.read()
        took = (time.monotonic_ns() - began) / 1e6
        if response.status != 200:
            raise Failed(f"cutover to {to}: {response.status}: {text[:200]!r}")
        return took, json.loads(text)


def _measure(context, world, engine, services, group, cutovers):
    at = e2e.topology.two_ports(world, ENGINES[engine])
    e2e.servers.nginx(at)
    e2e.servers.udp_echo(at)
    teald = e2e.teald.Teald(world, at.edge, {"engine": {"timeouts": {"closing_s": 1}}, "ports": at.ports,
                                              "services": services_of(at, services, group)}).start(seconds=60)
    e2e.common.await_service(at)
    # Until it is told to end: what the cutovers will take is not known.
    wrk = e2e.load.Wrk(at, "/name", 20, LONG_S, delay_ms=5)
    churn = e2e.load.Wrk(at, "/close", 4, LONG_S, delay_ms=5)
    ready, out = world.path("probe.ready"), world.path("probe.json")
    with open(out, "wb") as file:
        probe = world.spawn(at.client, "/usr/bin/python3", os.path.join(HERE, "probe.py"), json.dumps(
            {"vip": at.vip(), "port": 5353, "interval_us": 1000, "ready": ready}), log="probe.log", stdout=file)
    e2e.world.until(lambda: os.path.exists(ready), 10, "the probe has begun")
    time.sleep(1)
    switcher = Switcher(teald.socket)
    replies, adoptions, instants = [], [], []
    for i in range(cutovers):
        took, reply = switcher.cutover("green" if i % 2 == 0 else "blue")
        if not reply["changed"]:
            raise Failed(f"cutover {i} changed nothing: {reply}")
        replies.append(took)
        adoptions.append(reply["adoption_ns"] / 1000)
        instants.append(e2e.teald.epoch_ns(reply["adopted_at"]))
        time.sleep(PAUSE_S)
    if wrk.process.poll() is not None or churn.process.poll() is not None:
        raise Failed("the load ended before the cutovers did: see wrk.log")
    time.sleep(0.3)
    probe.terminate()
    if probe.wait(20) != 0:
        with open(world.path("probe.log"), encoding="utf-8") as file:
            raise Failed(f"the probe ended with {probe.returncode}: {file.read()[-200:]!r}")
    for one in (wrk, churn):
        one.process.send_signal(signal.SIGINT)  # it says what it has seen then
    (requests, failures), (short, short_failures) = wrk.result(), churn.result()
    teald.check_ledger()
    with open(out, encoding="utf-8") as file:
        seen = json.load(file)
    params = {"engine": engine, "services": services, "group": "one" if group else "each its own"}
    add = context.results.add
    add("cutover", "request to reply", _blocks(replies), "ms", tail=kept.distribution(replies), **params)
    add("cutover", "store to adoption", _blocks(adoptions), "us", tail=kept.distribution(adoptions), **params)
    add("cutover", "requests failed, of the kept and the short connections", [failures + short_failures], "requests", **params)
    add("cutover", "datagrams lost", [seen["lost"]], "datagrams", **params)
    add("cutover", "datagrams reordered", [seen["reordered"]], "datagrams", **params)
    _around(context, seen["answers"], instants, params)
    context.results.note("cutover", f"{params}: {cutovers} cutovers, {requests} requests on kept and {short} on short connections, "
                         f"{seen['sent']} datagrams of one kept flow")


def _blocks(values):
    """The medians of consecutive fifths."""
    size = max(1, len(values) // BLOCKS)
    return [statistics.median(values[i:i + size]) for i in range(0, size * BLOCKS, size) if values[i:i + size]]


def _around(context, answers, instants, params):
    """Round trips of the kept flow in each millisecond around the instants, and those far from any."""
    bins, far = {}, []
    for when, us in answers:
        i = bisect.bisect(instants, when)
        near = [when - instants[j] for j in (i - 1, i) if 0 <= j < len(instants)]
        ms = min(near, key=abs) / 1e6 if near else 1e9
        if abs(ms) < WINDOW_MS / 2:
            bins.setdefault(int(ms // 1), []).append(us)
        elif abs(ms) > WINDOW_MS / 2:
            far.append(us)
    for name, values in (("away from the instants", far), ("within 1 ms of an instant", bins.get(-1, []) + bins.get(0, []))):
        if len(values) > 20:
            context.results.add("cutover", f"round trip {name}", _blocks(values), "us", tail=kept.distribution(values), **params)
    for ms, values in sorted(bins.items()):
        if len(values) > 20:
            context.results.add("cutover", "round trip by milliseconds after the instant", [kept.percentile(sorted(values), 99)],
                                "us, p99", after_ms=ms, **params)
