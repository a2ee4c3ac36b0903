# SPDX-License-Identifier: Apache-2.0
"""Hooks of a rollout: executables and webhooks, called in order at their points; one that fails stops the rollout."""
import json
import os
import sys
import time

import load
import servers
import topology
from common import await_service, start
from releases import ctl, in_phase, paused
from rollouts import begin as release
from rollouts import status as rollout
from world import check, until

POINTS = ["pre_start", "pre_step", "post_step", "pre_promote", "post_promote", "on_rollback", "on_done"]
WEBHOOKS = 9200  # on the loopback of the edge's namespace

# Both write one line a call to one file: the order is that of the calls.
RUN = """#!/usr/bin/python3
import json, os, sys
state = json.load(sys.stdin)
with open({calls!r}, "a") as file:
    file.write(json.dumps({{"kind": "run", "args": sys.argv[1:], "state": state,
                            "env": {{k: v for k, v in os.environ.items() if k.startswith("TEAL_")}}}}) + "\\n")
print("said by", os.environ["TEAL_HOOK"])
sys.exit(7 if os.path.exists({calls!r} + "." + os.environ["TEAL_HOOK"]) else 0)
"""
POST = """
import http.server, json, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        state = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with open({calls!r}, "a") as file:
            file.write(json.dumps({{"kind": "post", "path": self.path, "type": self.headers["Content-Type"], "state": state}}) + "\\n")
        self.send_response(500 if os.path.exists({calls!r} + "." + self.path[1:]) else 204)
        self.end_headers()
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", {port}), Handler).serve_forever()
"""


class Hooks:
    """A service whose rollout has an executable and a webhook at each point, and traffic to judge."""

    def __init__(self, world, extra=(), **how):
        self.at = at = topology.two_ports(world)
        servers.nginx(at)
        self.calls_file = world.path("calls")
        script = world.write("hook", RUN.format(calls=self.calls_file))
        os.chmod(script, 0o755)
        world.spawn(at.edge, sys.executable, "-c", POST.format(calls=self.calls_file, port=WEBHOOKS), log="webhooks.log")
        until(lambda: f":{WEBHOOKS} " in at.edge.run("ss", "-ltn").stdout, 10, "the webhooks' server listens")
        hooks = [h for p in POINTS for h in ({"at": p, "name": f"run-{p}", "run": [script, p, "a b"]},
                                             {"at": p, "name": f"post-{p}", "post": f"http://127.0.0.1:{WEBHOOKS}/post-{p}"})]
        self.teald = start(at, [at.service("web", split_by="flow", rollout={
            "steps": ["50%", "100%"], "hold": "1s", "bake": "1s", "min_sample": 5, "drain_deadline": "1s",
            "hooks": [*hooks, *extra], **how})], timeouts={"closing_s": 1, "half_open_s": 1})
        await_service(at)
        self.churn = load.Observer(at, "churn", count=1, interval_s=0.02)

    def calls(self):
        if not os.path.exists(self.calls_file):
            return []
        with open(self.calls_file, encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def names(self):
        return [c["env"]["TEAL_HOOK"] if c["kind"] == "run" else c["path"][1:] for c in self.calls()]

    def fail(self, name, is_so=True):
        path = f"{self.calls_file}.{name}"
        if is_so:
            with open(path, "wb"):
                pass
        else:
            os.unlink(path)


def both(*points):
    return [f"{kind}-{p}" for p in points for kind in ("run", "post")]


def test_order(world):
    """Every point calls its executable and its webhook, in order, with the environment and the JSON that are documented."""
    hooks = Hooks(world)
    release(hooks.teald)
    in_phase(hooks.teald, "done", 20)
    until(lambda: len(hooks.calls()) >= 16, 5, "on_done was called")
    want = both("pre_start", "pre_step", "post_step", "pre_step", "post_step", "pre_promote", "post_promote", "on_done")
    check(hooks.names() == want, f"hooks were called as {hooks.names()}, expected {want}")
    seen = [(c["env"]["TEAL_POINT"], c["env"]["TEAL_PHASE"], c["env"]["TEAL_STEP"], c["env"]["TEAL_SHARE"], c["env"]["TEAL_SHARE_PERCENT"])
            for c in hooks.calls() if c["kind"] == "run"]
    want = [("pre_start", "preview", "0", "0", "0.000"), ("pre_step", "preview", "0", "0", "0.000"),
            ("post_step", "shifting", "1", "32768", "50.000"), ("pre_step", "shifting", "1", "32768", "50.000"),
            ("post_step", "baking", "2", "65536", "100.000"), ("pre_promote", "baking", "2", "65536", "100.000"),
            ("post_promote", "draining", "2", "65536", "100.000"), ("on_done", "done", "2", "65536", "100.000")]
    check(seen == want, f"hooks were told {seen}, expected {want}")
    for call in hooks.calls():
        state = call["state"]
        check(state["group"] == "web" and state["from"] == "blue" and state["to"] == "green" and state["id"] == 1,
              f"{call} was told of another rollout")
        if call["kind"] == "run":
            env = call["env"]
            check((env["TEAL_GROUP"], env["TEAL_FROM"], env["TEAL_TO"]) == ("web", "blue", "green"), f"the environment is {env}")
            check(call["args"] == [env["TEAL_POINT"], "a b"], f"the arguments are {call['args']}")
        else:
            check(call["type"].startswith("application/json"), f"the webhook was sent {call['type']}")
    load.check_churn(hooks.churn.result())
    return f"{len(hooks.calls())} calls"


def test_failing(world):
    """An executable or a webhook that fails pauses the rollout with what it said; at on_rollback it is only reported."""
    hooks = Hooks(world)
    teald = hooks.teald
    hooks.fail("run-pre_step")
    release(teald)
    reason = paused(teald)
    for word in ("pre_step", "run-pre_step", "exit code 7", "said by run-pre_step"):
        check(word in reason, f'the rollout is paused because "{reason}", which does not name {word}')
    check(rollout(teald)["share"] == 0 and rollout(teald)["phase"] == "preview", "the step was taken though its hook failed")
    check("run-pre_step" in ctl(teald, "rollout", "status", "web"), "tealctl does not say which hook failed")
    check("post-pre_step" not in hooks.names(), "the hook behind the one that failed was called")
    hooks.fail("run-pre_step", False)
    hooks.fail("post-post_step")
    ctl(teald, "rollout", "resume", "web")
    until(lambda: "post-post_step" in hooks.names(), 10, "the webhook of post_step is called")
    reason = paused(teald)
    check("status 500" in reason and "post-post_step" in reason, f'the rollout is paused because "{reason}", expected the status 500 of post-post_step')
    check(rollout(teald)["share"] == 0.5, "the share moved on though post_step failed")
    hooks.fail("run-on_rollback")
    ctl(teald, "rollout", "abort", "web")
    status = in_phase(teald, "idle")
    check(status["outcome"] == "aborted" and status["share"] == 0, f"the abort ended as {status['outcome']}")
    told = [e["text"] for e in status["history"] if "on_rollback failed" in e["text"]]
    check(told and "exit code 7" in told[0], f"what on_rollback said is not in the history: {status['history'][-3:]}")
    load.check_churn(hooks.churn.result())


def test_timeout(world):
    """A hook that takes too long is killed with all that it has started, and pauses the rollout; resumed, it is called again."""
    pids, slow = world.path("pids"), world.path("slow")
    world.write("slow", "")
    script = world.write("sleeper", f"#!/bin/sh\n[ -e {slow} ] || exit 0\nsleep 300 &\necho $$ $! > {pids}\nsleep 300\n")
    os.chmod(script, 0o755)
    hooks = Hooks(world, extra=[{"at": "pre_start", "name": "sleeper", "run": [script], "timeout": "1s"}])
    began = time.monotonic()
    release(hooks.teald)
    until(lambda: rollout(hooks.teald)["waiting_for"] == "sleeper", 5, "the rollout waits for the sleeper, and says so")
    reason = paused(hooks.teald)
    check(time.monotonic() - began < 4, f"the time-out of 1 s took {time.monotonic() - began:.1f} s")
    check("sleeper" in reason and "timed out after 1 s" in reason, f'the rollout is paused because "{reason}"')
    with open(pids, encoding="ascii") as file:
        started = file.read().split()
    check(len(started) == 2, f"the hook began as {started}")
    until(lambda: not any(map(runs, started)), 3, f"the hook's processes {started} have ended")
    check(rollout(hooks.teald)["share"] == 0, "the share moved though the hook timed out")
    os.unlink(slow)
    ctl(hooks.teald, "rollout", "resume", "web")
    in_phase(hooks.teald, "done", 20)
    load.check_churn(hooks.churn.result())


def runs(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
