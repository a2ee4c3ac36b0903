#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The demonstration: scripts/demo builds and starts it. --keep leaves the logs, --short shortens the waits, --xdp has xdp
ports: then teald is killed in the middle of it, and the program goes on alone."""
import signal
import sys
import time
import traceback

import load
import servers
import topology
from teald import Teald, epoch_ns
from world import Failure, World, check, say, until

KEPT = 20  # connections that stay for the whole run
AWAY_S = 2  # without teald, in the demo of xdp ports


class Timeline:
    """One line every half second, from the control socket's numbers."""

    def __init__(self, teald):
        self.teald, self.began, self.next, self.last = teald, time.monotonic(), 0.0, None
        say(f"{'':>7}  {'new connections/s':^19}  {'live flows':^15}   {'requests/s':>10}  new flows go to\n"
            f"{'s':>7}  {'blue':>9} {'green':>9}  {'blue':>7} {'green':>7}")

    def sample(self):
        service = self.teald.service()
        return {"time": time.monotonic(), "new": {p: v["new_flows"] for p, v in service["pools"].items()},
                "live": {p: v["flows"] for p, v in service["pools"].items()}, "active": service["active"],
                "generation": service["generation"], "requests": self.requests()}

    def requests(self):
        total = 0
        for name in topology.BACKENDS:
            with open(self.teald.world.path(f"{name}-access.log"), "rb") as file:
                total += file.seek(0, 2)
        return total / self.line_bytes()

    def line_bytes(self):
        with open(self.teald.world.path("blue1-access.log"), "rb") as file:
            lines = file.read(4096).splitlines()
        return sum(map(len, lines)) / len(lines) + 1 if lines else 60

    def run(self, seconds, each=lambda: None, stop=lambda sample: False):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(max(0.0, self.next - time.monotonic()))
            self.next = time.monotonic() + 0.5
            now = self.sample()
            if self.last:
                span = now["time"] - self.last["time"]
                rate = {p: (now["new"][p] - self.last["new"][p]) / span for p in ("blue", "green")}
                asked = (now["requests"] - self.last["requests"]) / span
                say(f"{now['time'] - self.began:7.1f}  {rate['blue']:9.0f} {rate['green']:9.0f}  {now['live']['blue']:7d} "
                    f"{now['live']['green']:7d}   {max(0, asked):10.0f}  {now['active']} (generation {now['generation']})")
            self.last = now
            each()
            if stop(now):
                return True
        return False

    def note(self, text):
        say(f"{time.monotonic() - self.began:7.1f}  ---- {text}")


def switch(timeline, teald, windows, to, what):
    asked = time.time_ns()
    reply = teald.cutover(to) if what == "cutover" else teald.rollback(flows="keep")
    if windows:
        windows[-1][1] = asked - load.ON_ITS_WAY_NS
    windows.append([epoch_ns(reply["adopted_at"]), 1 << 62, to])
    timeline.note(f"{what}: generation {reply['generation']}, adopted everywhere in {reply['adoption_ns'] / 1000:.1f} us, "
                  f"{reply['flows_staying']} flows stay on {'blue' if to == 'green' else 'green'} ({', '.join(reply['services'])})")
    return reply


def kill(timeline, teald, each):
    """kill -9, two seconds without teald under the same load, and a new teald. -> (from, to) in ns"""
    before = teald.service()
    teald.stop(signal.SIGKILL)
    gone = time.time_ns()
    timeline.note(f"teald is killed (kill -9); the XDP program goes on alone for {AWAY_S} s")
    end = time.monotonic() + AWAY_S
    while time.monotonic() < end:
        each()
        time.sleep(0.2)
    back = time.time_ns()
    teald.start()
    timeline.last = None
    after = teald.service()
    check((after["generation"], after["active"]) == (before["generation"], before["active"]),
          f"generation {before['generation']}, {before['active']} became {after['generation']}, {after['active']}")
    flows = until(lambda: teald.get("/v1/status")["table"]["entries"], 5, "the census has counted the flows")
    timeline.note(f"a new teald has taken over: generation {after['generation']}, {after['active']}, {flows} flows")
    return gone, back


def main(keep, short, xdp):
    step = 2.5 if short else 5
    busy = 4 * step + (AWAY_S + 2 if xdp else 0)
    length = busy + 6
    broken = []
    with World("demo", keep) as world:
        try:
            at = topology.two_ports(world, "xdp" if xdp else "af_packet")
            servers.nginx(at, rate="512k", big=int(512 * 1024 * length))
            options = servers.sshd(at)
            teald = Teald(world, at.edge, {
                "engine": {"workers": 1, "timeouts": {"closing_s": 1}}, "ports": at.ports,
                "services": [at.service("web", 80, group="release", split_by="flow"),
                             at.service("shell", 22, group="release", split_by="flow")]}).start()
            say(f"teald {teald.get('/v1/status')['version']}: services web and shell, one group; 4 nginx and 4 sshd; "
                f"ports: {', '.join(p['driver'] for p in teald.get('/v1/status')['ports'])}; "
                "clients: wrk (keep-alive), wrk (Connection: close), a slow download, an ssh session, kept connections\n")
            until(lambda: at.client.run("curl", "-sS", "-m", "2", f"http://{at.vip()}/name", ok=False).stdout.startswith("blue"),
                  15, "a first request is answered by blue")
            syns = load.SynCapture(at)
            ssh = load.Ssh(at, options)
            shell_on = {ssh.say(15)}
            download = load.Download(at)
            kept = load.Observer(at, "hold", count=KEPT, interval_s=0.1)
            churn = load.Observer(at, "churn", count=2, interval_s=0.01)
            seconds = int(busy)
            wrks = [load.Wrk(at, "/short", 24, seconds, 8), load.Wrk(at, "/close", 8, seconds, 8)]
            timeline, windows, away = Timeline(teald), [], None
            each = lambda: shell_on.add(ssh.say())  # noqa: E731
            timeline.run(step, each)
            replies = [switch(timeline, teald, windows, "green", "cutover")]
            if xdp:
                timeline.run(step / 2, each)
                away = kill(timeline, teald, each)
                timeline.run(step / 2, each)
            else:
                timeline.run(step, each)
            replies.append(switch(timeline, teald, windows, "blue", "rollback"))
            timeline.run(step, each)
            replies.append(switch(timeline, teald, windows, "green", "cutover"))
            timeline.note("draining blue: short connections end, kept ones stay")
            timeline.run(step + 1, each)
            results = [w.result() for w in wrks]
            churned = churn.result()
            # What blue still holds: the kept connections of the first phase, the download and (uncounted: it is the other
            # service's) the ssh session.
            held = KEPT + (1 if download.running() else 0)
            short_gone = timeline.run(12, each, lambda s: s["live"]["blue"] <= held)
            timeline.note("no short flow is left on blue" if short_gone else f"blue still holds short flows ({held} are kept ones)")
            download.check(length + 20)
            observed = kept.result()
            shell_on.add(ssh.say())
            ssh.close()
            drained = timeline.run(12, stop=lambda s: s["live"]["blue"] == 0)
            timeline.note("blue is drained" if drained else "blue is not drained")
            judged = load.judge(syns.result(), load.served(at), windows)
            status, counters = teald.get("/v1/status"), teald.counters()
            broken = report(replies, results, churned, windows, observed, shell_on, judged, status, counters, short_gone, drained, away)
            teald.stop()
            if teald.process.returncode != 0:
                broken.append(f"teald ended with {teald.process.returncode} at SIGTERM")
        except Exception as error:  # whatever it is, the logs help to see why
            broken.append(str(error) if isinstance(error, Failure) else traceback.format_exc())
        if broken:
            say("\n" + world.tail())
        if keep:
            say(f"logs: {world.directory}")
    for text in broken:
        say(f"BROKEN: {text}")
    say("demo: " + ("FAILED" if broken else "every promise kept"))
    return 1 if broken else 0


def report(replies, wrks, churned, windows, observed, shell_on, judged, status, counters, short_gone, drained, away):
    """Prints the table; returns what was broken."""
    kept_requests = sum(e["requests"] for e in observed["connections"])
    kept_errors = [e["error"] for e in observed["connections"] if e["error"]]
    requests = sum(w[0] for w in wrks) + len(churned["connections"]) + kept_requests
    failures = sum(w[1] for w in wrks) + len(churned["errors"]) + len(kept_errors)
    moved_seen = len(judged["moved"]) + sum(len(e["names"]) > 1 for e in observed["connections"]) + (len(shell_on) > 1)
    client_late = sum(1 for began, name in churned["connections"] for a, e, p in windows if a <= began < e and not name.startswith(p))
    slowest = max(r["adoption_ns"] for r in replies)
    rows = [("requests", f"{requests}", True),
            ("connections", f"{judged['connections']}", judged["connections"] > 100),
            ("failures", f"{failures}", failures == 0 and requests > 0),
            ("flows moved, by teald's ledger", f"{status['flows_moved']}", status["flows_moved"] == 0),
            ("flows moved, by observation", f"{moved_seen}", moved_seen == 0),
            ("new connections begun after an adoption", f"{judged['inside']}", judged["inside"] > 50),
            ("   of them on the pool just left", f"{len(judged['late']) + client_late}", not judged["late"] and not client_late),
            ("time to adopt, each", ", ".join(f"{r['adoption_ns'] / 1000:.1f} us" for r in replies), slowest < 1_000_000),
            ("short flows left the old pool", "yes" if short_gone else "no", short_gone),
            ("old pool drained in the end", "yes" if drained else "no", drained),
            ("download over all of it", "whole", True),
            ("ssh session over all of it", ", ".join(sorted(shell_on)), len(shell_on) == 1)]
    if away:
        begun = sum(away[0] <= began < away[1] for began, _ in churned["connections"])
        # The other clients' failures, of this time too, are in the row above.
        failed = sum(away[0] <= began < away[1] for began, _ in churned["errors"])
        failed += sum(away[0] <= e["error_ns"] < away[1] for e in observed["connections"] if e["error"])
        rows.append((f"{(away[1] - away[0]) / 1e9:.1f} s without teald (kill -9)", f"{begun} connections begun, {failed} failed",
                     failed == 0 and begun > 30))
    say("")
    for name, value, good in rows:
        say(f"  {name:42} {value:>32}  {'ok' if good else 'BROKEN'}")
    drops = {k: v for k, v in counters["drops"].items() if v}
    say(f"  {'packets dropped by teald':42} {str(drops) if drops else '0':>32}\n")
    for text in (churned["errors"][:2], kept_errors[:2], judged["late"][:3], judged["moved"][:3]):
        if text:
            say(f"  {text}")
    return [f"{name.strip()}: {value}" for name, value, good in rows if not good]


if __name__ == "__main__":
    sys.exit(main("--keep" in sys.argv, "--short" in sys.argv, "--xdp" in sys.argv))
