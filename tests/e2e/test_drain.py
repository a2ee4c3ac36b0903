# SPDX-License-Identifier: Apache-2.0
"""The old pool runs out of flows: what is shown meanwhile, and what becomes of those that stay."""
import json
import time

import load
import servers
import topology
from common import await_service, start
from releases import ctl, in_phase
from rollouts import begin as release
from rollouts import status as rollout
from teald import TEALCTL, epoch_ns
from world import check, until


def web(world, kind, established_s=3600, **how):
    how.setdefault("drain_deadline", "0s")
    at = topology.two_ports(world, kind)
    servers.nginx(at)
    teald = start(at, [at.service("web", split_by="flow", rollout={"steps": ["100%"], "bake": "1m", **how})],
                  timeouts={"closing_s": 1, "half_open_s": 1, "established_s": established_s})
    await_service(at)
    return at, teald


def drain(teald):
    """Starts a rollout, and ends its bake. The bake has nothing to judge: nobody comes."""
    release(teald)
    in_phase(teald, "baking")
    teald.ask("POST", "/v1/rollouts/web/promote", {})
    in_phase(teald, "draining")


def left(teald):
    return teald.get("/v1/services/web/drain")


def await_flows(teald, count):
    until(lambda: left(teald)["flows"] == count, 5, f"{count} flows of blue are left (now {left(teald)['flows']})")


def held_by_servers(at, pool="blue"):
    """Connections that the servers of a pool still hold."""
    return sum(len(n.run("ss", "-Htn", "state", "established", "sport", "=", ":80").stdout.splitlines())
               for name, n in at.backends.items() if name.startswith(pool))


def shown(world, kind):
    at, teald = web(world, kind)
    groups = [load.Observer(at, "hold", count=n, interval_s=0.1) for n in (8, 4, 2)]
    until(lambda: teald.census()["blue"] >= 14, 10, "14 flows are on blue")
    quiet = load.Observer(at, "hold", count=1, interval_s=600)
    until(lambda: teald.census()["blue"] >= 15, 5, "a quiet flow is on blue")
    time.sleep(2.1)  # its idle time is told in whole seconds
    drain(teald)
    await_flows(teald, 15)
    def by_idle():
        return {e["up_to_s"]: e["flows"] for e in left(teald)["idle"]}
    # Stamps of a settled service lag until the first packet after the change; these flows send ten a second.
    until(lambda: by_idle()[1] == 14, 2, f"14 flows are busy (now {by_idle()})")
    told, idle = left(teald), by_idle()
    check(told["pool"] == "blue" and told["draining"], f"drain says {told}")
    check(idle[1] == 14 and idle[10] == 1 and sum(idle.values()) == 15, f"15 flows, one of them quiet, are shown as {idle}")
    check(1 <= told["longest_idle_s"] <= 15, f"the longest idle flow is shown as idle for {told['longest_idle_s']} s")
    check(told["by_age"][0] == 0 and told["by_age"][1] == 15, f"flows that outlived one change are shown as {told['by_age']}")
    waiting = world.spawn(at.edge, TEALCTL, "--socket", teald.socket, "drain", "web", "--wait", "--timeout", "60s", log="wait.log")
    etas = []
    for group, rest in zip(groups, (7, 3, 1)):
        load.check_held(group.result(), "blue")
        await_flows(teald, rest)
        until(lambda: left(teald)["eta_s"] is not None or rest > 3, 6, "an ETA is told after some decay")
        etas.append(left(teald)["eta_s"])
    check(all(e is None or 0 < e < 600 for e in etas), f"the ETAs told are {etas}")
    status = rollout(teald)["drain"]
    check(status["pool"] == "blue" and status["begun_with"] == 15 and status["flows"] <= 3, f"the rollout shows its drain as {status}")
    check('teal_rollout_drain_flows{group="web",pool="blue"}' in teald.get("/metrics"), "no metric of the drain")
    text = ctl(teald, "drain", "web")
    check("blue" in text and "1 " in text, f"tealctl drain says {text}")
    check(waiting.poll() is None, "drain --wait ended before the last flow")
    ctl(teald, "drain", "web", "--wait", "--timeout", "1s", code=7)
    load.check_held(quiet.result(), "blue")
    check(waiting.wait(10) == 0, f"drain --wait ended with {waiting.returncode}")
    done = in_phase(teald, "done")
    check(done["outcome"] == "done" and teald.service()["active"] == "green", f"the rollout ended as {done['outcome']}")
    teald.check_ledger()
    return f"ETAs {etas}"


def test_shown(world):
    """Live count, idle and age histogram, longest idle, ETA; tealctl drain --wait returns at the last flow's end."""
    return shown(world, "af_packet")


def test_shown_xdp(world):
    return shown(world, "xdp")


def kept(world, kind):
    at, teald = web(world, kind, drain_deadline="4s", at_deadline="keep")
    hold = load.Observer(at, "hold", count=6, interval_s=0.05)
    until(lambda: teald.census()["blue"] >= 6, 10, "6 flows are on blue")
    drain(teald)
    done = in_phase(teald, "done", 8)
    check("keeps 6 flows" in done["history"][-1]["text"], f"the rollout ends with {done['history'][-1]}")
    time.sleep(1.5)
    check(held_by_servers(at) == 6, f"servers hold {held_by_servers(at)} connections after the deadline, expected 6")
    requests = load.check_held(hold.result(), "blue")
    check(teald.counters()["events"]["rst_sent"] == 0, "RSTs were sent at a deadline that keeps")
    teald.check_ledger()
    return f"{requests} kept requests"


def test_deadline_keep(world):
    """At the deadline flows that are left go on."""
    return kept(world, "af_packet")


def test_deadline_keep_xdp(world):
    return kept(world, "xdp")


def reset(world, kind):
    at, teald = web(world, kind, drain_deadline="2s", at_deadline="reset")
    hold = load.Observer(at, "hold", count=6, interval_s=0.05)
    late = load.Observer(at, "hold", count=3, interval_s=6, timeout_s=2)  # quiet when it happens
    until(lambda: teald.census()["blue"] >= 9, 10, "9 flows are on blue")
    drain(teald)
    done = in_phase(teald, "done", 8)
    said = [e for e in done["history"] if "are reset" in e["text"]]
    check(said, f"nothing is said of a reset: {done['history']}")
    when = epoch_ns(said[0]["time"])
    slowest = 0.0
    for entry in hold.result()["connections"]:
        check(entry["error"] and "ConnectionResetError" in entry["error"], f"a flow saw {entry['error']} at the deadline, expected a reset")
        slowest = max(slowest, (entry["error_ns"] - when) / 1e6)
    check(slowest < 500, f"a client learnt of it {slowest:.0f} ms after the deadline")
    # The quiet ones learn it from their next packet: a reset at once, and no time-out.
    until(lambda: held_by_servers(at) == 0, 10, "no server of blue holds a connection any more")
    time.sleep(0.5)
    for entry in late.result()["connections"]:
        check(entry["error"] and "ConnectionResetError" in entry["error"], f"a quiet flow saw {entry['error']}, expected a reset")
    teald.check_ledger()
    return f"the slowest client knew {slowest:.0f} ms after the deadline"


def test_deadline_reset(world):
    """At the deadline both ends of what is left get RSTs; a quiet flow does at its next packet."""
    return reset(world, "af_packet")


def test_deadline_reset_xdp(world):
    return reset(world, "xdp")


def quiet(world, kind):
    at, teald = web(world, kind, established_s=3, drain_deadline="1m")
    hold = load.Observer(at, "hold", count=1, interval_s=0.5)
    silent = load.Observer(at, "hold", count=4, interval_s=9, timeout_s=3)
    until(lambda: teald.census()["blue"] == 5, 5, "5 flows are on blue")
    drain(teald)
    time.sleep(6)  # twice the time-out
    check(left(teald)["flows"] == 5, f"{left(teald)['flows']} flows are left while blue drains, expected 5: quiet ones were aged out")
    check(rollout(teald)["phase"] == "draining", "the drain was over with quiet flows left")
    time.sleep(4)
    entries = silent.result()["connections"]
    load.check_held({"connections": entries}, "blue")
    check(all(e["requests"] == 2 for e in entries), f"quiet connections had {json.dumps(entries)}, expected 2 requests each")
    load.check_held(hold.result(), "blue")
    in_phase(teald, "done")
    teald.check_ledger()


def test_quiet_flows(world):
    """A flow that is quiet for longer than the established time-out while its pool drains is not aged out."""
    quiet(world, "af_packet")


def test_quiet_flows_xdp(world):
    quiet(world, "xdp")
