# SPDX-License-Identifier: Apache-2.0
"""What the scenarios of a release share: clients with addresses of their own, rollouts, and what teald says of them."""
import json
import threading

from teald import _UnixConnection, tealctl
from world import Failure, check, until


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


def rollout(teald, group="web"):
    return teald.get(f"/v1/rollouts/{group}")


def start(teald, service="web", **more):
    return teald.ask("POST", "/v1/rollouts", {"service": service, **more})


def in_phase(teald, phase, seconds=15, group="web"):
    """Waits for the rollout to be in that phase. -> the rollout"""
    last = {}

    def there():
        last.update(rollout(teald, group))
        return last["phase"] == phase

    try:
        until(there, seconds, "")
    except Failure as error:
        raise Failure(f"the rollout is {last['phase']} ({last['outcome']}, {'paused: ' if last['paused'] else ''}"
                      f"{last['reason']}; {last['verdict']}) after {seconds} s, expected {phase}") from error
    return last


def paused(teald, seconds=15, group="web"):
    """Waits for the rollout to pause. -> why"""
    until(lambda: rollout(teald, group)["paused"], seconds, "the rollout pauses")
    return rollout(teald, group)["reason"]


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
        self.connection = _UnixConnection(teald.socket, 30)
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
