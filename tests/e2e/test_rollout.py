# SPDX-License-Identifier: Apache-2.0
"""A rollout to a bad green takes itself back before many are harmed; one to a good green goes through unseen."""
import collections
import re
import time

import bad_servers
import load
from rollouts import (adopted_ns, await_outcome, await_phase, await_status, begin, check_rolled_back, check_unharmed, event_ns,
                      found_out_ns, is_bad, keep, order, pool_counter, rushing, status, story, web)
from teald import tealctl
from world import check, until

BLUE = ("blue1", "blue2")
STEPS = [0.1, 0.5, 1]


class Syns:
    """Every SYN that arrives at a backend, by tcpdump, which sees it before a filter drops it."""

    def __init__(self, at, name):
        self.file = at.world.path(f"{name}-syns")
        with open(self.file, "wb") as out:
            self.process = at.world.spawn(at.backends[name], "tcpdump", "-i", "eth0", "-n", "-l", "-tt", "-Q", "in",
                                          "--time-stamp-precision=nano", "tcp dst port 80 and tcp[13] & 0x12 == 2",
                                          log=f"{name}-tcpdump.log", stdout=out)
        log = at.world.path(f"{name}-tcpdump.log")
        until(lambda: "listening on" in open(log, encoding="utf-8").read(), 5, "tcpdump listens")

    def result(self):
        """-> {(client port, sequence number): [ns of each SYN]}"""
        time.sleep(0.2)
        self.process.terminate()
        self.process.wait(10)
        seen = collections.defaultdict(list)
        with open(self.file, encoding="ascii") as file:
            for when, nanos, port, sequence in re.findall(r"^(\d+)\.(\d+) IP \S+\.(\d+) > .*, seq (\d+),", file.read(), re.MULTILINE):
                seen[int(port), int(sequence)].append(int(when) * 10**9 + int(nanos))
        return seen


def bad_green(world, kind, spoil, names=BLUE, rate=400, reason=None, syns_at=None):
    """A rollout in steps to a green that `spoil` makes bad, under new connections, with others kept on blue."""
    at, teald = web(world, kind, names, spoil)
    kept = keep(at)
    rush = rushing(at, rate)
    syns = Syns(at, syns_at) if syns_at else None
    time.sleep(1)
    begin(teald, steps=STEPS)
    over = await_outcome(teald, "rolled_back", 20)
    time.sleep(0.8)
    rows = rush.result()["connections"]
    load.check_held(kept.result(), "blue")
    check(over["automatic"], f"the rollback was not teald's own: {story(over)}")
    check(reason in over["reason"], f'the reason of the rollback does not name {reason}: "{over["reason"]}"')
    back = adopted_ns(teald, over["generation"])
    if syns:
        seen = syns.result()
        told = check_rolled_back(teald, rows, back, [when for whens in seen.values() for when in whens[1:]], len(seen))
    else:
        told = check_rolled_back(teald, rows, back, [found_out_ns(r) for r in rows if is_bad(r)])
    share = max(float(x) for e in over["history"] for x in re.findall(r"^step \d+ of \d+: ([\d.]+) %", e["text"]))
    return f"{len(rows)} connections: {told}, at {share:g} % of new flows"


def test_refusing(world, kind="af_packet"):
    """No server on green."""
    return bad_green(world, kind, None, reason="handshake_failure_ratio")


def test_slow(world, kind="af_packet"):
    """Green's SYN-ACKs take 700 ms."""
    return bad_green(world, kind, lambda at: bad_servers.make_slow(at, 700, "green1", "green2"),
                     names=BLUE + ("green1", "green2"), reason="handshake_p99")


def test_resetting(world, kind="af_packet"):
    """Green accepts, and resets before it has sent data."""
    return bad_green(world, kind, lambda at: bad_servers.make_resetting(at, "green1", "green2"), reason="early_reset_ratio")


def test_half_refusing(world, kind="af_packet"):
    """One of green's two backends refuses."""
    return bad_green(world, kind, None, names=BLUE + ("green1",), reason="handshake_failure_ratio")


def test_half_silent(world, kind="af_packet"):
    """One of green's two backends is a black hole.

    Nothing comes back from a black hole, so the first that anybody can know is a SYN sent again, after 1 s; a client itself
    gives up much later. The moments that count are therefore the retransmits, as the dead backend's own cable shows them, and
    the harmed are all flows that ever sent it a SYN."""
    return bad_green(world, kind, lambda at: bad_servers.make_silent(at, "green2"), names=BLUE + ("green1", "green2"),
                     reason="syn_retransmit_ratio", syns_at="green2")


def test_late(world, kind="af_packet"):
    """100 bad connections after thousands of good ones in the same step: half of green's backends begin to refuse.

    Over the whole step 5 % of bad ones would take several seconds to come together; the last of them say it at once."""
    at, teald = web(world, kind)
    kept = keep(at)
    many = rushing(at, 700)
    begin(teald, steps=[1])
    await_phase(teald, "baking", 5)
    until(lambda: teald.service()["pools"]["green"]["new_flows"] >= 4000, 30, "green has begun 4,000 flows")
    few = rushing(at, 250)
    good = many.result()["connections"]
    check(not any(is_bad(r) for r in good), f"a connection was bad while green was good: {[r for r in good if is_bad(r)][:1]}")
    broke = time.time_ns()
    bad_servers.make_refusing(at, "green2")
    over = await_outcome(teald, "rolled_back", 20)
    time.sleep(0.8)
    rows = few.result()["connections"]
    load.check_held(kept.result(), "blue")
    check(over["automatic"], f"the rollback was not teald's own: {story(over)}")
    bad = [r for r in rows if is_bad(r)]
    check(all(found_out_ns(r) > broke for r in bad), "a connection was bad before green was")
    back = adopted_ns(teald, over["generation"])
    told = check_rolled_back(teald, rows, back, [found_out_ns(r) for r in bad])
    on_green = sum(r["name"].startswith("green") for r in good)
    return f"{on_green} good ones on green before; {told}"


def test_good(world, kind="af_packet"):
    """Promoted through all steps with no failed request; the roles are reversed, blue drains to nothing, the next goes to blue."""
    at, teald = web(world, kind, hold="2s", bake="2s", min_sample=30)
    kept = keep(at, 8, 0.02)
    rush = rushing(at, 250)
    first = begin(teald, steps=STEPS)
    check((first["from"], first["to"]) == ("blue", "green"), f"the first rollout goes from {first['from']} to {first['to']}")
    await_phase(teald, "draining", 25)
    middle = keep(at, 4, 0.02)
    check(status(teald)["phase"] == "draining", f"blue has flows, and yet: {story(status(teald))}")
    requests = load.check_held(kept.result(), "blue")
    over = await_outcome(teald, "done", 20)
    steps = [e["text"] for e in over["history"] if e["text"].startswith("step ")]
    check([t.split(":")[1].split(" of ")[0].strip() for t in steps] == ["10 %", "50 %", "100 %"], f"its steps were {steps}")
    service = teald.service()
    check(service["active"] == "green", f"{service['active']} is active after the rollout")
    check(teald.census()["blue"] == 0, f"blue is said to be drained, and has {teald.census()['blue']} flows")
    dry = tealctl(teald, "--json", "rollout", "start", "web", "--dry-run")
    check('"to": "blue"' in dry.stdout or '"to":"blue"' in dry.stdout, f"the next rollout would not go to blue: {dry.stdout} {dry.stderr}")
    again = begin(teald, steps=[0.5, 1])
    check((again["from"], again["to"], again["id"]) == ("green", "blue", first["id"] + 1), f"the next rollout is {again}")
    await_status(teald, lambda s: s["share"] == 0.5, 5, "half of the new flows go to blue")
    time.sleep(0.5)
    order(teald, "abort")
    await_outcome(teald, "aborted", 5)
    time.sleep(0.3)
    rows = rush.result()["connections"]
    requests += load.check_held(middle.result(), "green")
    bad = [r for r in rows if r["error"]]
    check(not bad, f"{len(bad)} of {len(rows)} connections failed: {bad[:1]}")
    edge = adopted_ns(teald, service["generation"]) + 2_000_000  # the log's clock shows milliseconds
    late = [r for r in rows if edge < r["began"] < event_ns(again, "started") and not r["name"].startswith("green")]
    check(not late, f"after the last step {len(late)} connections were not on green: {late[:1]}")
    for pool in ("blue", "green"):
        check_unharmed(teald, pool)
    teald.check_ledger()
    return f"{len(rows)} connections, {requests} kept requests, {pool_counter(teald, 'flows_begun_total', 'green'):.0f} flows to green"


def test_refusing_xdp(world):
    return test_refusing(world, "xdp")


def test_slow_xdp(world):
    return test_slow(world, "xdp")


def test_resetting_xdp(world):
    return test_resetting(world, "xdp")


def test_half_refusing_xdp(world):
    return test_half_refusing(world, "xdp")


def test_half_silent_xdp(world):
    return test_half_silent(world, "xdp")


def test_late_xdp(world):
    return test_late(world, "xdp")


def test_good_xdp(world):
    return test_good(world, "xdp")
