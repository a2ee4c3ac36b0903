# SPDX-License-Identifier: Apache-2.0
"""Connections under way go without the flow table (docs/decisions/0015), and every promise holds as it does with it."""
import signal
import time

import load
import servers
import topology
from common import await_service, start, switch
from world import check, until

SPARED = 0.8  # share of a settled service's packets that must go without the table


def world_of(world, kind):
    at = topology.two_ports(world, kind)
    servers.nginx(at)
    teald = start(at, [at.service("web", 80, split_by="flow")], timeouts={"closing_s": 1, "half_open_s": 1, "established_s": 3600})
    await_service(at)
    return at, teald


def is_settled(teald):
    return teald.service()["settled"]


def await_settled(teald, seconds=8):
    until(lambda: is_settled(teald), seconds, "the service is settled")


def spared(teald, seconds=1.0):
    """Share of the packets of these seconds that went without the table."""
    before = teald.counters()["events"]
    time.sleep(seconds)
    after = teald.counters()["events"]
    more = {name: after.get(name, 0) - before.get(name, 0) for name in ("settled", "forwarded", "replies")}
    check(more["forwarded"] > 200, f"too little traffic to tell: {more}")
    return more["settled"] / (more["forwarded"] + more["replies"])


def await_spared(teald, seconds=8):
    until(lambda: spared(teald) >= SPARED, seconds, f"{SPARED:.0%} of the packets go without the table")


def finish(teald, *held):
    """Every kept connection stayed; and no backend answered for another's, which a client's retransmission would hide."""
    requests = sum(load.check_held(hold.result(), pool) for hold, pool in held)
    wrong = teald.counters()["drops"].get("reply_mismatch", 0)
    check(wrong == 0, f"{wrong} packets of kept connections went to another backend, whose answers were dropped")
    teald.check_ledger()
    return f"{requests} requests on {16 * len(held)} kept connections"


def life(world, kind):
    """Membership changes, two cutovers in a row and a drain, each while settled."""
    at, teald = world_of(world, kind)
    blue = load.Observer(at, "hold", count=16, interval_s=0.01)
    await_spared(teald)
    # One backend takes no new flows: its own stay, and the other's settle again although they differ from the table.
    teald.ask("PATCH", "/v1/services/web/backends/blue1", {"state": "drain"})
    await_settled(teald)
    time.sleep(1)
    check(0.1 < spared(teald) < 0.95, "with half of the connections on a drained backend the others alone are settled")
    teald.ask("PATCH", "/v1/services/web/backends/blue1", {"state": "ready"})
    await_spared(teald)
    windows = []
    switch(teald, windows, "green")
    check(not is_settled(teald), "a service that drains is settled")
    green = load.Observer(at, "hold", count=16, interval_s=0.01)
    time.sleep(1.5)
    switch(teald, windows, "blue")
    time.sleep(0.3)
    switch(teald, windows, "green")
    finish(teald, (blue, "blue"))
    await_spared(teald, 20)
    check(teald.service()["draining"] is False, "settled, and still draining")
    return finish(teald, (green, "green"))


def crash(world, kind):
    """kill -9 of a teald whose service is settled; the first thing that the next one does is a cutover."""
    at, teald = world_of(world, kind)
    blue = load.Observer(at, "hold", count=16, interval_s=0.01)
    await_spared(teald)
    teald.stop(signal.SIGKILL)
    time.sleep(0.5)
    teald.start()
    switch(teald, [], "green")
    time.sleep(1)
    switch(teald, [], "blue")
    await_settled(teald, 20)
    await_spared(teald)
    return finish(teald, (blue, "blue"))


def test_life(world):
    return life(world, "af_packet")


def test_life_xdp(world):
    return life(world, "xdp")


def test_crash(world):
    return crash(world, "af_packet")


def test_crash_xdp(world):
    return crash(world, "xdp")
