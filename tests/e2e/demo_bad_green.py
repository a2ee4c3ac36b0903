#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The demonstration of a rollout that takes itself back: scripts/demo --scenario bad-green builds and starts it. A release
goes from blue to green in steps; in the middle of it green breaks. --keep leaves the logs, --short shortens the waits, --xdp
has xdp ports."""
import os
import signal
import sys
import time
import traceback

import load
import servers
import topology
from common import await_service, start
from rollouts import (RULES, adopted_ns, begin, check_unharmed, found_out_ns, is_bad, keep, pool_counter, rushing, status)
from world import Failure, World, check, say, until

KEPT = 20  # connections that are on blue before it begins, and half of those that come in the middle
RATE = 400  # new connections a second
BROKEN = "green2"


class Screen:
    """One line every half second, from the control socket alone, and the rollout's own words as they come."""

    def __init__(self, teald):
        self.teald, self.began, self.next, self.last, self.told = teald, time.monotonic(), 0.0, None, 0
        say(f"{'':>6}  {'':16} {'to':>5}   {'new a second':^13}  {'live flows':^13}   what the packets say of green in this step\n"
            f"{'s':>6}  {'rollout':16} {'green':>5}   {'blue':>6} {'green':>6}  {'blue':>6} {'green':>6}   "
            f"{'begun':>6} {'refused':>8} {'resets':>7}   the judge")

    def note(self, text):
        say(f"{time.monotonic() - self.began:6.1f}  ---- {text}")

    def draw(self):
        now, service, rollout = time.monotonic(), self.teald.service(), self.rollout()
        new = {p: v["new_flows"] for p, v in service["pools"].items()}
        if rollout:
            for event in rollout["history"][self.told:]:
                self.note(event["text"])
            self.told = len(rollout["history"])
        if now < self.next:
            return rollout
        if self.last:
            rate = {p: (new[p] - self.last[1][p]) / (now - self.last[0]) for p in new}
            of_green = rollout["signals"][0] if rollout and rollout["phase"] in ("shifting", "baking") else None
            place = "-" if not rollout else f"{rollout['phase']} {rollout['step']}/{len(rollout['steps'])}"
            seen = ""
            if of_green:
                seen = (f"{of_green['begun']:6d} {of_green['refused']:8d} {of_green['early_resets'] + of_green['resets']:7d}   "
                        f"{rollout['verdict'].partition(';')[0][:70]}")
            live = {p: v["flows"] for p, v in service["pools"].items()}
            say(f"{now - self.began:6.1f}  {place:16} {rollout['share'] if rollout else 0:5.0%}   {rate['blue']:6.0f} {rate['green']:6.0f}  "
                f"{live['blue']:6d} {live['green']:6d}   {seen}")
        self.last, self.next = (now, new), now + 0.5
        return rollout

    def rollout(self):
        known = self.teald.get("/v1/rollouts")["rollouts"]
        return known[0] if known else None

    def run(self, seconds, stop=lambda rollout: False):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if stop(self.draw()):
                return True
            time.sleep(0.05)
        return False


def show(world, short, xdp):
    """The show itself. -> rows of the table: (what, value, whether it is as promised)"""
    wait = 1.5 if short else 4
    at = topology.two_ports(world, "xdp" if xdp else "af_packet")
    servers.nginx(at)
    rollout = {"steps": ["10%", "50%", "100%"], "hold": "2s" if short else "6s", "bake": "10m", "min_sample": 50, "rules": RULES}
    teald = start(at, [at.service("web", 80, split_by="flow", rollout=rollout)], timeouts={"half_open_s": 2, "closing_s": 1})
    about = teald.get("/v1/status")
    say(f"teald {about['version']}: service web, two nginx on blue and two on green; "
        f"ports: {', '.join(p['driver'] for p in about['ports'])}; clients: {RATE} new connections a second, {KEPT} kept ones.\n"
        f"The rules: {'; '.join(RULES)}.\n")
    await_service(at)
    screen = Screen(teald)
    blue = keep(at, KEPT)
    rush = rushing(at, RATE)
    screen.run(wait)
    screen.note("tealctl rollout start web")
    begin(teald)
    check(screen.run(30, lambda r: r["step"] == 2), "the rollout did not reach its second step, while green was good")
    middle = keep(at, 2 * KEPT)
    broke = time.time_ns()
    with open(world.path(f"{BROKEN}.pid"), encoding="ascii") as file:
        os.kill(int(file.read()), signal.SIGTERM)
    screen.note(f"the new release crashes on {BROKEN}, one of green's two backends: its port is closed")
    over = screen.run(15, lambda r: r["outcome"] != "")
    check(over, f"nothing was rolled back within 15 s; the judge says: {status(teald)['verdict']}")
    last = status(teald)
    back = adopted_ns(teald, last["generation"])
    screen.run(wait + 1)
    rows = rush.result()["connections"]
    held = [blue.result()["connections"], middle.result()["connections"]]
    return report(teald, last, rows, held, broke, back)


def report(teald, last, rows, held, broke, back):
    service, moved = teald.service(), teald.get("/v1/status")["flows_moved"]
    bad = sorted(found_out_ns(r) for r in rows if is_bad(r))
    after = [r for r in rows if r["began"] > back + 2_000_000]
    astray = [r for r in after if is_bad(r) or not r["name"].startswith("blue")]
    on_blue = held[0] + [e for e in held[1] if e["names"] and e["names"][0].startswith("blue")]
    on_green = [e for e in held[1] if e["names"] and e["names"][0].startswith("green")]
    lost = [e for e in on_green if e["error"]]
    stayed = [e for e in on_green if not e["error"]]
    astray_kept = sum(bool(e["error"]) for e in on_blue) + sum(e["names"] != ["green1"] for e in stayed)
    late = (back - bad[99]) / 1e6 if len(bad) >= 100 else None
    try:
        check_unharmed(teald, "blue")
        blue_said = "0"
    except Failure as failure:
        blue_said = str(failure)
    say(f"\n  the judge's sentence: {last['reason']}\n")
    return [("rolled back by teald itself", "yes" if last["automatic"] else "no", last["automatic"] and last["outcome"] == "rolled_back"),
            ("new flows go to", service["active"], service["active"] == "blue"),
            ("from the crash to the rollback", f"{(back - broke) / 1e6:.0f} ms", 0 < back - broke < 3_000_000_000),
            ("from the 100th bad connection", "before it" if late is None else f"{late:.0f} ms", late is None or late <= 1000),
            (f"connections harmed, of {len(rows)}", f"{len(bad)} new, {len(lost)} kept on {BROKEN}",
             len(bad) > 10 and all(broke <= t for t in bad) and all(e["names"] == [BROKEN] for e in lost)),
            (f"   of {len(after)} begun after the rollback", f"{len(astray)}", not astray and len(after) > 100),
            ("kept connections on blue, failed", f"{sum(bool(e['error']) for e in on_blue)} of {len(on_blue)}",
             len(on_blue) >= KEPT and not astray_kept),
            ("kept connections that stayed on green1", f"{len(stayed)}", len(stayed) > 0),
            ("failures of blue's flows, by the packets", blue_said, blue_said == "0"),
            ("flows begun on green in all", f"{pool_counter(teald, 'flows_begun_total', 'green'):.0f}", True),
            ("flows moved, by teald's ledger", f"{moved}", moved == 0)]


def main(keep_logs, short, xdp):
    broken = []
    with World("bad-green", keep_logs) as world:
        try:
            for name, value, good in show(world, short, xdp):
                say(f"  {name:44} {value:>30}  {'ok' if good else 'BROKEN'}")
                if not good:
                    broken.append(f"{name.strip()}: {value}")
        except Exception as error:  # whatever it is, the logs help to see why
            broken.append(str(error) if isinstance(error, Failure) else traceback.format_exc())
        if broken:
            say("\n" + world.tail())
        if keep_logs:
            say(f"logs: {world.directory}")
    say("")
    for text in broken:
        say(f"BROKEN: {text}")
    say("demo: " + ("FAILED" if broken else "the bad release took itself back"))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main("--keep" in sys.argv, "--short" in sys.argv, "--xdp" in sys.argv))
