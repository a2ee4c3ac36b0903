# SPDX-License-Identifier: Apache-2.0
"""What the scenarios of a release share: clients with addresses of their own, tealctl, events.
Rollouts themselves: rollouts.py."""
import json
import threading

import rollouts
from teald import UnixConnection, tealctl
from world import check


def addresses(at, *more):
    """Gives the client further addresses to speak from, which it does only when told to (deprecated)."""
    for address in more:
        at.client.run("ip", "address", "add", address + ("/128" if ":" in address else "/32"), "dev", "c0",
                      *(["nodad", "preferred_lft", "0"] if ":" in address else []))


def ask(at, source=None, host=None, port=80, path="/close", seconds=3):
    """One request over a connection of its own from the address `source`. -> who answered; "" when nobody did."""
    host = host or at.vip(6 if source and ":" in source else 4)
    where = f"http://{f'[{host}]' if ':' in host else host}:{port}{path}"
    return at.client.run("curl", "-gsS", "-m", seconds, *(["--interface", source] if source else []), where,
                         ok=False).stdout.strip()


def pool_of(at, source=None, **more):
    """The pool that answers a new connection."""
    return ask(at, source, **more).rstrip("12")


def which(teald, service, client):
    return teald.get(f"/v1/which?service={service}&client={client}")


def in_phase(teald, phase, seconds=15):
    """Waits for the rollout of web to be in that phase. -> the rollout"""
    return rollouts.await_phase(teald, phase, seconds)


def paused(teald, seconds=15):
    """Waits for the rollout of web to pause. -> why"""
    return rollouts.await_status(teald, lambda s: s["paused"], seconds, "the rollout pauses")["reason"]


def ctl(teald, *arguments, code=0):
    """tealctl, which must end with `code`. -> what it printed"""
    done = tealctl(teald, *arguments)
    check(done.returncode == code, f"tealctl {' '.join(map(str, arguments))} ends with {done.returncode}, expected {code}: "
          f"{done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


class Events:
    """A listener to /v1/events: what came is in `seen`, as (kind, data)."""

    def __init__(self, teald):
        self.seen = []
        self.connection = UnixConnection(teald.socket, 30)
        self.connection.request("GET", "/v1/events")
        self.answer = self.connection.getresponse()
        check(self.answer.status == 200, f"/v1/events answers {self.answer.status}")
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        kind = ""
        try:
            for line in self.answer:
                word, _, rest = line.decode().rstrip("\n").partition(": ")
                if word == "event":
                    kind = rest
                elif word == "data":
                    self.seen.append((kind, json.loads(rest)))
        except (OSError, ValueError, AttributeError):
            pass  # teald went away, or close() was called

    def texts(self):
        return [data["text"] for kind, data in list(self.seen) if kind == "rollout"]
