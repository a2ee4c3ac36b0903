# SPDX-License-Identifier: Apache-2.0
"""What the scenarios of rollouts share: a world with a release under load, waiting for the rollout, and what it did to whom."""
import datetime
import os
import re
import time

import load
import servers
import topology
from common import await_service, start
from teald import Refused, epoch_ns
from world import Failure, check, until

# The default rules, and the one that sees a black hole while handshakes have not timed out yet.
RULES = ["target.handshake_failure_ratio < 5 %", "target.early_reset_ratio < 5 %", "target.handshake_p99 < 3 x other",
         "target.syn_retransmit_ratio < 10 %"]
SLOW_NS = 400_000_000  # a handshake this long is a bad one


def web(world, kind, names=None, spoil=None, timeouts=None, **rollout):
    """A service "web" with nginx on `names`, blue active; spoil(at) makes some of the others what they are."""
    at = topology.two_ports(world, kind)
    servers.nginx(at, names=names)
    if spoil:
        spoil(at)
    rollout = {"rules": RULES, "hold": "10s", "bake": "60s", **rollout}
    teald = start(at, [at.service("web", 80, split_by="flow", rollout=rollout)],
                  timeouts=timeouts or {"half_open_s": 2, "closing_s": 1})
    await_service(at)
    return at, teald


def status(teald, name="web"):
    return teald.get(f"/v1/rollouts/{name}")


def begin(teald, name="web", **plan):
    return teald.ask("POST", "/v1/rollouts", {"service": name, **plan})


def order(teald, what, name="web", **more):
    """pause, resume, promote or abort."""
    return teald.ask("POST", f"/v1/rollouts/{name}/{what}", more)


def refusal(call, code, *words):
    """It must be refused with that code; -> the problem."""
    try:
        answer = call()
    except Refused as refused:
        problem = refused.problem
        check(problem["code"] == code, f"refused as {problem['code']}, expected {code}: {problem['detail']}")
        for word in words:
            check(word in problem["detail"], f'the refusal does not say "{word}": {problem["detail"]}')
        return problem
    raise Failure(f"it was accepted, expected to be refused as {code}: {answer}")


def await_status(teald, condition, seconds, what, name="web"):
    """Asks until condition(status); a failure tells where the rollout stands."""
    last = {}

    def there():
        last.update(status(teald, name))
        return condition(last) and dict(last)

    try:
        return until(there, seconds, what)
    except Failure as failure:
        raise Failure(f"{failure}; it is {story(last)}") from failure


def await_phase(teald, phase, seconds, name="web"):
    return await_status(teald, lambda s: s["phase"] == phase, seconds, f"the rollout is {phase}", name)


def await_outcome(teald, outcome, seconds, name="web"):
    last = await_status(teald, lambda s: s["outcome"] and s["phase"] in ("idle", "done"), seconds, "the rollout is over", name)
    check(last["outcome"] == outcome, f"the rollout is over ({last['outcome']}), expected {outcome}: {story(last)}")
    return last


def story(status_):
    """A status in one line, for failures."""
    events = "; ".join(e["text"] for e in status_["history"][-4:])
    return (f"{status_['phase']}{' (paused)' if status_['paused'] else ''} at step {status_['step']}, reason "
            f'"{status_["reason"]}", judge: "{status_["verdict"]}", history: {events}')


def event_ns(status_, beginning):
    """When the first event that begins so was noted, or None."""
    return next((epoch_ns(e["time"]) for e in status_["history"] if e["text"].startswith(beginning)), None)


def adopted_ns(teald, generation):
    """When every engine had adopted the split of that generation: teald's log says so right after."""
    with open(teald.world.path("teald.log"), encoding="utf-8", errors="replace") as file:
        found = re.findall(rf"^(\S+) info rollout .* generation {generation}, adopted in", file.read(), re.MULTILINE)
    check(found, f"teald's log does not tell when generation {generation} was adopted")
    return int(datetime.datetime.fromisoformat(found[-1]).timestamp() * 1000) * 10**6


def pool_counter(teald, name, pool, service="web"):
    """Sum of a metric teal_pool_NAME over its labels, for one pool."""
    status_, text = teald.call("GET", "/metrics")
    check(status_ == 200, f"/metrics is answered {status_}")
    found = re.findall(rf'^teal_pool_{name}{{([^}}]*)}} (\S+)$', text, re.MULTILINE)
    values = [float(v) for labels, v in found if f'service="{service}"' in labels and f'pool="{pool}"' in labels]
    check(values, f"no metric teal_pool_{name} of {service} and {pool}")
    return sum(values)


def check_unharmed(teald, pool, service="web"):
    """Nothing went wrong with any flow of the pool since teald started, by the packets."""
    for name in ("handshake_failures_total", "resets_total"):
        count = pool_counter(teald, name, pool, service)
        check(count == 0, f"teal_pool_{name} of {pool} is {count:g}, expected 0: flows on {pool} were harmed")


def is_bad(row):
    """By what the client saw, with its clock. One that is still under way at the end is not counted."""
    return bool(row["error"]) or (row["connected"] and row["connected"] - row["began"] > SLOW_NS)


def found_out_ns(row):
    """When the client knew that its connection is bad."""
    return row["ended"] if row["error"] else row["connected"]


def check_rolled_back(teald, rows, back_ns, moments, harmed=None):
    """The promise of the automatic rollback: within 1 s of the 100th bad connection (`moments`: when each was known to
    be bad), and nobody is sent to green afterwards. harmed: how many in all; none: as many as moments. -> a summary."""
    moments = sorted(moments)
    known = [m for m in moments if m <= back_ns]
    check(len(known) > 10, f"only {len(known)} signs of bad connections before the rollback: it cannot have been theirs")
    # The log's clock shows milliseconds, and a client's may be read a little before its SYN leaves.
    after = [r for r in rows if r["began"] > back_ns + 2_000_000]
    check(len(after) > 50, f"only {len(after)} connections began after the rollback: too few to show anything")
    wrong = [r for r in after if is_bad(r) or r["name"].startswith("green")]
    check(not wrong, f"{len(wrong)} of {len(after)} connections begun after the rollback were bad or on green, the first "
          f"{(wrong[0]['began'] - back_ns) / 1e6 if wrong else 0:.1f} ms after it: {wrong[:1]}")
    service = teald.service()
    check(service["active"] == "blue", f"{service['active']} is active after the rollback")
    check_unharmed(teald, "blue")
    teald.check_ledger()
    note = f"{harmed or len(moments)} harmed, rolled back "
    first = f"{(back_ns - known[0]) / 1e6:.0f} ms after the first"
    if len(known) < 100:
        return f"{note}{first}, before the 100th was known"
    late = (back_ns - known[99]) / 1e6
    check(late <= 1000, f"rolled back {late:.0f} ms after the 100th bad connection, expected within 1000 ms ({len(known)} known by then)")
    return f"{note}{late:.0f} ms after the 100th, {first}"


def keep(at, count=8, interval_s=0.05, **more):
    """Kept connections, all of them standing."""
    observer = load.Observer(at, "hold", count=count, interval_s=interval_s, **more)
    until(lambda: os.path.exists(observer.ready), 10, "the kept connections' client runs")
    time.sleep(0.3 + 0.02 * count)
    return observer


def rushing(at, rate, **more):
    return load.Observer(at, "rush", rate=rate, **more)
