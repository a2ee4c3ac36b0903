# SPDX-License-Identifier: Apache-2.0
"""What a rollout leaves behind: the audit log's chain, and events as they happen."""
import json
import os
import time

import load
import servers
import topology
from common import await_service, start
from releases import Events, ctl, in_phase
from rollouts import begin as release
from world import check, until


def bad_release(world, kind="af_packet"):
    """A rollout to a green that refuses, rolled back on its own."""
    at = topology.two_ports(world, kind)
    processes = servers.nginx(at)
    teald = start(at, [at.service("web", split_by="flow", rollout={"steps": ["50%", "100%"], "hold": "5s", "min_sample": 20})])
    await_service(at)
    for name in ("green1", "green2"):
        processes[name].terminate()
    churn = load.Observer(at, "churn", count=4, interval_s=0.005)
    events = Events(teald)
    until(lambda: any(kind == "signals" for kind, _ in events.seen), 5, "signals come as events")
    release(teald)
    status = in_phase(teald, "idle", 10)
    check(status["outcome"] == "rolled_back" and status["automatic"], f"a green that refuses ended as {status['outcome']}")
    time.sleep(0.3)
    seen = churn.result()
    late = [e for e in seen["errors"] if e[0] > time.time_ns() - 200_000_000]
    check(seen["errors"] and not late, f"{len(seen['errors'])} connections failed, {len(late)} of them after the rollback")
    return at, teald, events, len(seen["errors"])


def lines_of(teald):
    with open(teald.config["control"]["audit_log"], encoding="utf-8") as file:
        return file.read().splitlines()


def events(world, kind):
    _, teald, heard, harmed = bad_release(world, kind)
    texts = heard.texts()
    for word in ("started by root", "step 1 of 2: 50 % of new flows to green", "rolled back: "):
        check(any(word in t for t in texts), f'no event says "{word}": {texts}')
    states = [data["rollout"] for kind, data in heard.seen if kind == "rollout"]
    check(states[-1]["outcome"] == "rolled_back" and states[-1]["automatic"], f"the last event's state is {states[-1]}")
    check(any(s["phase"] == "shifting" and s["share"] == 0.5 for s in states), "no event shows the step taken")
    def refused():  # as the last of the signals says, which come once a second
        return [g["pools"]["green"]["refused"] for kind, data in list(heard.seen) if kind == "signals" for g in data["groups"]][-1]
    until(lambda: refused() >= harmed > 0, 3, f"the signals tell {harmed} refused connections")
    # In the log: who asked for it, and what teald did of its own.
    entries = [json.loads(line) for line in lines_of(teald)]
    asked = next(e for e in entries if e["request"]["method"] == "POST" and e["request"]["path"] == "/v1/rollouts")
    check(asked["caller"]["uid"] == os.getuid() and asked["caller"]["pid"] == os.getpid(), f"the start was asked for by {asked['caller']}")
    check(asked["outcome"] == {"status": 200, "code": "ok"} and "counters_before" in asked, f"the start is noted as {asked}")
    own = [e for e in entries if e["request"]["method"] == "ROLLOUT"]
    back = [e for e in own if "rolled back" in e["request"]["body"]["what"]]
    check(len(back) == 1, f"the automatic rollback is noted {len(back)} times: {own}")
    entry = back[0]
    check(entry["caller"]["user"] == "teald" and entry["request"]["body"]["started_by"] == "root", f"the rollback is noted as {entry}")
    check(entry["generation_after"] == entry["generation_before"] + 1 == teald.service()["generation"], f"generations: {entry}")
    before, after = entry["counters_before"], entry["counters_after"]
    check(set(before) == set(after) >= {"flows_blue", "flows_green", "new_flows_blue", "new_flows_green"}, f"counters: {entry}")
    check(before["new_flows_green"] >= 20 and after["new_flows_green"] >= before["new_flows_green"], f"counters: {entry}")
    ctl(teald, "audit", "--verify")
    teald.check_ledger()
    return f"{harmed} connections harmed, {len(texts)} events, {len(entries)} lines"


def test_events(world):
    """An automatic rollback as server-sent events while it happens, and in the log with counters before and after."""
    return events(world, "af_packet")


def test_events_xdp(world):
    return events(world, "xdp")


def test_chain(world):
    """A line that was changed, removed or exchanged is found and named, the last one too; the log as it was verifies."""
    _, teald, _, _ = bad_release(world)
    for _ in range(2):
        teald.cutover("green", force=True)
        teald.cutover("blue", force=True)
    path, whole = teald.config["control"]["audit_log"], lines_of(teald)
    check(len(whole) >= 6, f"the log has {len(whole)} lines")
    last = len(whole)

    def write(lines):
        with open(path, "w", encoding="utf-8") as file:  # the same file, which teald has open
            file.write("".join(line + "\n" for line in lines))

    def broken(lines, what, *places):
        write(lines)
        text = ctl(teald, "audit", "--verify", code=1)
        for place in places:
            check(f"BROKEN: line {place} " in text, f"{what}: line {place} is not named: {text}")
        check(text.count("BROKEN: ") == len(places), f"{what}: other lines are named: {text}")
        write(whole)
        check("the chain is whole" in ctl(teald, "audit", "--verify"), f"{what}: what was put back does not verify")

    edited = whole[:2] + [whole[2].replace('"uid":', '"uid": ')] + whole[3:]
    broken(edited, "line 3 changed", 4)
    broken(whole[:2] + whole[3:], "line 3 removed", 3)
    broken([*whole[:2], whole[3], whole[2], *whole[4:]], "lines 3 and 4 exchanged", 3, 4, 5)
    broken(whole[:3] + [whole[1]] + whole[3:], "line 2 put in again", 4, 5)
    broken([*whole[:-1], whole[-1].replace('"status":200', '"status":409')], "the last line changed", last)
    broken(whole[:-1], "the last line removed", last - 1)
    teald.cutover("green", force=True)
    ctl(teald, "audit", "--verify")
    teald.stop()
    teald.start()
    teald.cutover("blue", force=True)
    ctl(teald, "audit", "--verify")
    check(len(lines_of(teald)) == last + 2, f"the log has {len(lines_of(teald))} lines, expected {last + 2}")
    return f"{last} lines"
