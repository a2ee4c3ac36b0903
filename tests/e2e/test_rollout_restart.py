# SPDX-License-Identifier: Apache-2.0
"""teald is killed, and is stopped and started again, in the middle of each phase of a rollout: it goes on where it was."""
import os
import signal
import time

import load
from common import fetch
from rollouts import await_outcome, await_phase, await_status, begin, check_unharmed, keep, order, rushing, status, story, web
from world import check, until

AWAY_S = 0.7
KEPT = 8

HOOK = """#!/bin/sh
echo "$TEAL_POINT" >> {calls}
while [ -e {hold}-"$TEAL_POINT" ]; do sleep 0.05; done
"""


class Release:
    """A rollout with hooks that wait as long as a file says, under new connections and kept ones."""

    def __init__(self, world, kind, how):
        self.world, self.how, self.kind = world, how, kind
        self.calls, self.hold = world.path("hook-calls"), world.path("hold")
        hook = world.write("hook", HOOK.format(calls=self.calls, hold=self.hold))
        os.chmod(hook, 0o755)
        self.at, self.teald = web(world, kind, hold="4s", bake="4s", min_sample=10, drain_deadline="0s", hooks=[
            {"at": point, "run": [hook], "timeout": "1m"} for point in ("pre_start", "on_rollback")])
        self.kept = keep(self.at, KEPT, timeout_s=15)
        self.rush = rushing(self.at, 60, timeout_s=15, finish_s=8)
        self.away = []

    def hold_hook(self, point):
        with open(f"{self.hold}-{point}", "wb"):
            pass

    def free_hook(self, point):
        os.unlink(f"{self.hold}-{point}")

    def called(self, point):
        with open(self.calls, encoding="ascii") as file:
            return file.read().split().count(point)

    def restart(self):
        """Ends teald and starts it again. -> the status before, and that after it was resumed."""
        before, split = status(self.teald), self.teald.service()
        code = self.teald.stop(self.how)
        check(code == (0 if self.how == signal.SIGTERM else -9), f"teald ended with {code} at {self.how.name}")
        gone = time.time_ns()
        time.sleep(AWAY_S)
        if self.kind == "xdp":
            check(fetch(self.at), "without teald the XDP program does not forward a new connection")
        self.away.append((gone, time.time_ns()))
        self.teald.start()
        await_status(self.teald, lambda s: any("restarted" in e["text"] for e in s["history"][len(before["history"]):]),
                     5, "the rollout is resumed")
        time.sleep(0.4)  # it may take a wrong step only after some
        after = status(self.teald)
        now = self.teald.service()
        check((now["generation"], now["active"]) == (split["generation"], split["active"]),
              f"generation {split['generation']}, {split['active']} became {now['generation']}, {now['active']}")
        for key in ("id", "step", "share", "generation", "from", "to", "steps"):
            check(after[key] == before[key], f"{key} was {before[key]} before the restart, is {after[key]}: {story(after)}")
        self.teald.check_ledger()
        return before, after

    def same_phase(self, phase, paused=False):
        """A restart in this phase; it goes on there."""
        before, after = self.restart()
        check(before["phase"] == phase, f"the rollout is {before['phase']} before the restart, expected {phase}: {story(before)}")
        check(after["phase"] == phase and after["paused"] == paused and not after["outcome"],
              f"after a restart while {phase}{', paused' if paused else ''} it is {story(after)}")
        return after


def through_all(world, kind, how):
    """The whole life of a rollout, with a restart in each phase; aborted at the end, out of the drain."""
    r = Release(world, kind, how)
    teald = r.teald
    # Preview, with its hook running: it is not known how that ended, so the rollout waits for somebody.
    r.hold_hook("pre_start")
    begin(teald, steps=[0.25, 1])
    until(lambda: os.path.exists(r.calls), 5, "the pre_start hook is called")
    after = r.same_phase("preview", paused=True)
    check("hook pre_start was running when teald was restarted" in after["reason"], f"it waits for: {after['reason']}")
    check(after["share"] == 0, f"in the preview {after['share']:.0%} of new flows go to green")
    r.free_hook("pre_start")
    order(teald, "resume")
    # Shifting.
    await_phase(teald, "shifting", 5)
    check(r.called("pre_start") == 2, f"the hook was called {r.called('pre_start')} times, expected again after resume")
    time.sleep(0.5)
    after = r.same_phase("shifting")
    check(after["share"] == 0.25 and after["step"] == 1, f"it is {story(after)}")
    # Paused: longer than the hold lasts.
    order(teald, "pause")
    after = r.same_phase("shifting", paused=True)
    check(after["reason"].startswith("by "), f"it is paused because of: {after['reason']}")
    time.sleep(1.5)
    check(status(teald)["elapsed_s"] <= after["elapsed_s"] + 1, "the hold's time went on while it was paused")
    order(teald, "resume")
    # Baking.
    await_phase(teald, "baking", 15)
    after = r.same_phase("baking")
    check(after["share"] == 1, f"it is {story(after)}")
    # Draining: the kept connections hold it there.
    await_phase(teald, "draining", 15)
    r.same_phase("draining")
    # Rolling back, with its hook running.
    r.hold_hook("on_rollback")
    order(teald, "abort")
    until(lambda: r.called("on_rollback"), 5, "the on_rollback hook is called")
    before, _ = r.restart()
    check(before["phase"] == "rolling_back", f"it is {story(before)}")
    over = await_outcome(teald, "aborted", 5)
    check(any("on_rollback was running then" in e["text"] for e in over["history"]), f"its history: {story(over)}")
    check(r.called("on_rollback") == 1, f"on_rollback was called {r.called('on_rollback')} times")
    return finish(r)


def finish(r):
    """Nobody was harmed. -> a summary."""
    time.sleep(0.5)
    service = r.teald.service()
    check(service["active"] == "blue", f"{service['active']} is active after the abort")
    rows = r.rush.result()["connections"]
    held = r.kept.result()
    requests = load.check_held(held, "blue")
    bad = [row for row in rows if row["error"] or not row["ended"]]
    check(not bad, f"{len(bad)} of {len(rows)} new connections failed: {bad[:2]}")
    longest = max(entry["longest_s"] for entry in held["connections"])
    for pool in ("blue", "green"):
        check_unharmed(r.teald, pool)
    r.teald.check_ledger()
    if r.kind == "xdp":
        check(longest < 1.5, f"a kept connection waited {longest:.1f} s for an answer")
        for gone, back in r.away:
            within = [row for row in rows if gone <= row["began"] and row["ended"] and row["ended"] <= back]
            check(len(within) > 15, f"{len(within)} connections began and ended in {(back - gone) / 1e9:.1f} s without teald")
    return (f"{len(r.away)} restarts, {len(rows)} new connections and {requests} requests on {KEPT} kept ones, none failed, "
            f"the longest answer {longest * 1000:.0f} ms")


def test_kill_9(world):
    """kill -9 in each phase; dpdk ports."""
    return through_all(world, "af_packet", signal.SIGKILL)


def test_sigterm(world):
    """SIGTERM and a start in each phase; dpdk ports."""
    return through_all(world, "af_packet", signal.SIGTERM)


def test_kill_9_xdp(world):
    """kill -9 in each phase; the program forwards meanwhile."""
    return through_all(world, "xdp", signal.SIGKILL)


def test_sigterm_xdp(world):
    """SIGTERM and a start in each phase; the program forwards meanwhile."""
    return through_all(world, "xdp", signal.SIGTERM)
