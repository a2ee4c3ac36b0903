# SPDX-License-Identifier: Apache-2.0
"""tealctl rollout: exit codes, dry runs, refusals and what overrides them; hands that interfere; groups."""
import json
import time

import bad_servers
import load
import servers
import topology
from common import await_service, start
from rollouts import (RULES, await_outcome, await_phase, await_status, begin, check_unharmed, keep, order, pool_counter, refusal, rushing,
                      status, story, web)
from teald import TEALCTL, tealctl
from test_limits import Flows, silence
from world import check, until

DONE, REFUSED, ROLLED_BACK, ABORTED, TIMED_OUT = 0, 1, 5, 6, 7


def ctl(teald, code, *arguments, says=""):
    """tealctl rollout ...; its exit code and words are checked. -> its standard output"""
    done = tealctl(teald, "rollout", *arguments)
    said = done.stdout + done.stderr
    check(done.returncode == code, f"tealctl rollout {' '.join(arguments)} ended with {done.returncode}, expected {code}: {said}")
    check(says in said, f'tealctl rollout {" ".join(arguments)} does not say "{says}": {said}')
    return done.stdout


def dry_run(teald, *arguments):
    """-> what would happen; and nothing has."""
    before = teald.service()["generation"]
    done = tealctl(teald, "--json", "rollout", "start", "web", "--dry-run", *arguments)
    check(done.returncode == 0, f"the dry run ended with {done.returncode}: {done.stderr}")
    check(teald.service()["generation"] == before, "a dry run changed the split")
    return json.loads(done.stdout)


def risks(rehearsal):
    return sorted(r["name"] for r in rehearsal["risks"])


def waiting(teald, *arguments):
    """tealctl that waits in the background; its output goes to ctl.log."""
    return teald.world.spawn(teald.namespace, TEALCTL, "--socket", teald.socket, "rollout", *arguments, "--wait", log="ctl.log")


def test_exit_codes(world, kind="af_packet"):
    """start --wait: done, timed out, aborted, rolled back; then a start needs --again."""
    at, teald = web(world, kind, min_sample=20)
    rush = rushing(at, 200)
    dry = dry_run(teald, "--steps", "25%,100%")
    check(dry["would_start"] and not dry["risks"] and [s["moves"] for s in dry["steps"]] == [0.25, 0.75], f"the dry run says {dry}")
    quick = ("--steps", "50%,100%", "--hold", "1s", "--bake", "1s")
    ctl(teald, DONE, "start", "web", *quick, "--wait", "--timeout", "1m")
    check(teald.service()["active"] == "green", f"after exit code 0 {teald.service()['active']} is active")
    # To blue now, without being told.
    ctl(teald, TIMED_OUT, "start", "web", "--steps", "50%,100%", "--hold", "1m", "--wait", "--timeout", "1s", says="it goes on")
    check((status(teald)["to"], status(teald)["outcome"]) == ("blue", ""), f"after exit code 7 it is {story(status(teald))}")
    process = waiting(teald, "status", "web")
    time.sleep(0.3)
    ctl(teald, DONE, "abort", "web", says="all new flows go to green")
    check(process.wait(10) == ABORTED, f"--wait of an aborted rollout ended with {process.returncode}, expected {ABORTED}")
    ctl(teald, DONE, "abort", "web", says="nothing was changed")
    time.sleep(0.3)
    rows = rush.result()["connections"]
    check(not any(r["error"] for r in rows), f"a connection failed: {[r for r in rows if r['error']][:1]}")
    rush = rushing(at, 300)
    bad_servers.make_refusing(at, "blue1", "blue2")
    ctl(teald, ROLLED_BACK, "start", "web", "--steps", "25%,100%", "--hold", "20s", "--wait", "--timeout", "1m")
    ctl(teald, REFUSED, "start", "web", *quick, says="its backends are the same")
    refusal(lambda: begin(teald), "needs_again")
    bad_servers.repair(at, "blue1", "blue2")
    again = dry_run(teald)
    check(risks(again) == ["needs_again"] and not again["would_start"], f"the dry run after a rollback says {again}")
    ctl(teald, DONE, "start", "web", *quick, "--again", "--wait", "--timeout", "1m")
    check(teald.service()["active"] == "blue", f"after --again {teald.service()['active']} is active")
    rush.result()
    check_unharmed(teald, "green")
    teald.check_ledger()


def test_by_hand(world, kind="af_packet"):
    """pause, resume, promote, abort; another rollout and a cutover by hand are refused while one is under way."""
    at, teald = web(world, kind, hold="1m", min_sample=20)
    kept = keep(at, 6)
    rush = rushing(at, 150)
    ctl(teald, REFUSED, "promote", "web", says="none to promote")
    ctl(teald, DONE, "start", "web", "--steps", "10%,50%,100%")
    await_phase(teald, "shifting", 3)
    ctl(teald, DONE, "pause", "web")
    ctl(teald, DONE, "pause", "web", says="paused already")
    check(status(teald)["paused"], f"after pause it is {story(status(teald))}")
    ctl(teald, DONE, "resume", "web", says="at step 1")
    ctl(teald, DONE, "promote", "web", says="50 %")
    await_status(teald, lambda s: s["share"] == 0.5, 3, "half of the new flows go to green")
    refusal(lambda: begin(teald), "rollout_under_way", "rollout 1", "shifting")
    problem = refusal(lambda: teald.cutover("green"), "rollout_under_way", "rollout 1")
    check(problem["status"] == 409, f"a cutover by hand is refused with {problem['status']}, expected 409")
    by_hand = tealctl(teald, "cutover", "web", "--to", "green")
    check(by_hand.returncode == 1 and "rollout 1" in by_hand.stderr, f"tealctl cutover: {by_hand.returncode} {by_hand.stderr}")
    refusal(lambda: teald.rollback(), "rollout_under_way")
    check(status(teald)["share"] == 0.5 and not status(teald)["paused"], f"a refused cutover left it {story(status(teald))}")
    # Forced, the cutover is made, and the rollout keeps its hands off.
    reply = teald.cutover("green", force=True)
    check(reply["changed"] and reply["active"] == "green", f"the forced cutover answers {reply}")
    held = await_status(teald, lambda s: s["paused"], 3, "the rollout has seen the change and is paused")
    check("somebody else changed it" in held["reason"], f"it is paused because of: {held['reason']}")
    time.sleep(0.5)
    check(teald.service()["generation"] == reply["generation"], "the rollout changed what was cut over by hand")
    ctl(teald, DONE, "resume", "web", says="baking")
    ctl(teald, DONE, "abort", "web", "--flows", "keep", says="all new flows go to blue")
    await_outcome(teald, "aborted", 3)
    # Forced over a rollout under way: that one goes back first.
    begin(teald, steps=[0.5, 1])
    await_phase(teald, "shifting", 3)
    ctl(teald, DONE, "start", "web", "--steps", "25%,100%", "--force", "rollout_under_way")
    third = await_status(teald, lambda s: s["id"] == 3 and s["share"] == 0.25, 3, "the third rollout is at 25 %")
    check(third["phase"] == "shifting", f"it is {story(third)}")
    ctl(teald, DONE, "promote", "web", "--all")
    await_phase(teald, "baking", 3)
    ctl(teald, DONE, "promote", "web", says="the bake ends")
    await_phase(teald, "draining", 3)
    ctl(teald, REFUSED, "promote", "web", says="expected preview, shifting or baking")
    ctl(teald, DONE, "abort", "web")
    await_outcome(teald, "aborted", 3)
    time.sleep(0.3)
    rows = rush.result()["connections"]
    check(not any(r["error"] for r in rows), f"a connection failed: {[r for r in rows if r['error']][:1]}")
    load.check_held(kept.result(), "blue")
    teald.check_ledger()
    return f"{len(rows)} connections, none failed"


def test_refusals(world, kind="af_packet"):
    """A start is refused where a promise is at risk, by name; --force NAME overrides that one only, and is audited."""
    at = topology.two_ports(world, kind)
    servers.nginx(at)
    # Blue is three, green is one: too few for the load, once there is some.
    blue, green = at.pool("blue") + at.pool("green")[1:], at.pool("green")[:1]
    teald = start(at, [at.service("web", 80, split_by="flow", pools={"blue": blue, "green": green}, rollout={"hold": "1m"})],
                  timeouts={"half_open_s": 2, "closing_s": 1})
    await_service(at, pool="")
    kept = keep(at, 6)
    until(lambda: teald.census()["blue"] >= 6, 5, "the kept connections are counted")
    problem = refusal(lambda: begin(teald), "capacity", "green has 1", "force capacity")
    check(problem["status"] == 409, f"it is refused with {problem['status']}, expected 409")
    ctl(teald, REFUSED, "start", "web", says="expected at least half")
    teald.ask("PATCH", "/v1/services/web/backends/green1", {"state": "down"})
    rehearsal = dry_run(teald)
    check(risks(rehearsal) == ["capacity", "no_ready_backend"] and not rehearsal["would_start"], f"the dry run says {rehearsal}")
    check(any("green1" in text for text in rehearsal["not_ready"]), f"not ready: {rehearsal['not_ready']}")
    problem = refusal(lambda: begin(teald, force=["capacity"]), "no_ready_backend", "no backend of green")
    refusal(lambda: begin(teald, force=["no_ready_backend"]), "capacity")
    # It says all that stands against it.
    problem = refusal(lambda: begin(teald), "no_ready_backend")
    check(len(problem["errors"]) == 2, f"two reasons, and it names {problem['errors']}")
    check(dry_run(teald, "--force", "capacity,no_ready_backend")["would_start"], "forced by both names it would not start")
    ctl(teald, DONE, "start", "web", "--steps", "10%,100%", "--force", "capacity,no_ready_backend")
    time.sleep(0.5)
    check(status(teald)["phase"] != "idle", f"forced, it is {story(status(teald))}")
    with open(world.path("audit.jsonl"), encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    started = [e for e in lines if e["request"]["path"] == "/v1/rollouts" and e["outcome"]["status"] == 200 and "dry_run" not in str(e)]
    check(len(started) == 1 and "no_ready_backend" in str(started[0]["request"]["body"]),
          f"the audit log does not name what was forced; it ends: {lines[-3:]}")
    ctl(teald, DONE, "abort", "web")
    load.check_held(kept.result(), "")
    teald.check_ledger()


def test_untracked(world, kind="af_packet"):
    """With flows that are in no table a start is refused; they could move."""
    at = topology.one_port(world, kind=kind)
    servers.nginx(at)
    silence(at)
    teald = start(at, [at.service("web", 80, forward="l2dsr", split_by="flow", rollout={"hold": "1m"})], flows=1024)
    await_service(at)
    flows = Flows(at)
    for _ in range(3):
        flows.send("open", 0, 6000, 20000)
    until(lambda: teald.service()["untracked"] > 0, 5, "flows are untracked")
    time.sleep(0.6)
    refusal(lambda: begin(teald), "untracked_flows", "without a table entry")
    rehearsal = dry_run(teald)
    check("untracked_flows" in risks(rehearsal), f"the dry run says {rehearsal}")
    check(status_of_none(teald), "a refused start left a rollout")
    ctl(teald, DONE, "start", "web", "--force", "untracked_flows,capacity")
    order(teald, "abort")


def status_of_none(teald):
    return teald.get("/v1/rollouts")["rollouts"] == []


def test_group(world, kind="af_packet"):
    """Two services of one group go together, at each step and back."""
    at = topology.two_ports(world, kind)
    servers.nginx(at)
    rollout = {"rules": RULES, "hold": "1s", "bake": "1s", "min_sample": 20}
    teald = start(at, [at.service("web", 80, group="shop", split_by="flow", rollout=rollout),
                       at.service("alt", 8080, group="shop", split_by="flow")],
                  timeouts={"half_open_s": 2, "closing_s": 1})
    await_service(at)
    await_service(at, port=8080)
    rushes = [rushing(at, 100), rushing(at, 100, port=8080)]
    kept = [keep(at, 4, port=port) for port in (80, 8080)]
    started = begin(teald, "alt", steps=[0.5, 1])
    check(started["group"] == "shop" and sorted(started["services"]) == ["alt", "web"], f"the start answers {started}")
    while status(teald, "shop")["phase"] != "draining":
        both = [teald.service(name) for name in ("web", "alt")]
        again = teald.service("web")
        if both[0]["generation"] == again["generation"]:
            check(both[0]["generation"] == both[1]["generation"] and both[0]["active"] == both[1]["active"],
                  f"one service of the group is ahead: {[(s['generation'], s['active']) for s in both]}")
        check(status(teald, "shop")["outcome"] == "", f"it is over: {story(status(teald, 'shop'))}")
        time.sleep(0.05)
    requests = sum(load.check_held(k.result(), "blue") for k in kept)
    await_outcome(teald, "done", 20, "shop")
    rows = [r.result()["connections"] for r in rushes]
    for name, seen in zip(("web", "alt"), rows):
        check(not any(r["error"] for r in seen), f"{name}: a connection failed: {[r for r in seen if r['error']][:1]}")
        check(teald.service(name)["active"] == "green", f"{name} is on {teald.service(name)['active']}")
        check(pool_counter(teald, "flows_begun_total", "green", name) > 50, f"{name} has begun no flows on green")
    # One bad service of the group takes the whole group back.
    kept = [keep(at, 4, port=port) for port in (80, 8080)]
    rush = rushing(at, 200, port=8080)
    bad_servers.make_refusing(at, "blue1", "blue2")
    begin(teald, "shop", steps=[0.5, 1], hold_s=30)
    await_outcome(teald, "rolled_back", 20, "shop")
    rush.result()
    for name in ("web", "alt"):
        check(teald.service(name)["active"] == "green", f"after the rollback {name} is on {teald.service(name)['active']}")
        check_unharmed(teald, "green", name)
    requests += sum(load.check_held(k.result(), "green") for k in kept)
    teald.check_ledger()
    return f"{sum(map(len, rows))} connections, {requests} kept requests"


def test_exit_codes_xdp(world):
    return test_exit_codes(world, "xdp")


def test_by_hand_xdp(world):
    return test_by_hand(world, "xdp")


def test_refusals_xdp(world):
    return test_refusals(world, "xdp")


def test_untracked_xdp(world):
    return test_untracked(world, "xdp")


def test_group_xdp(world):
    return test_group(world, "xdp")
