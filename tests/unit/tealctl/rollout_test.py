#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tealctl's rollout, drain, preview and audit --verify: what they ask and draw, how they wait, exit codes.

Usage: rollout_test.py TEALCTL FAKE_SERVER SOURCE_ROOT
"""
import json
import os
import subprocess
import time
import unittest

from harness import TEALCTL, Tealctl


class Rollouts(Tealctl):
    def test_rollout_calls(self):
        self.assertEqual(self.good("rollout", "start", "web", "--steps", "1%,0.5,100%", "--hold", "1m"),
                         "rollout 3 of front: rollout 3 is started: blue to green, steps 1 %, 10 %, 50 %, 100 %\n")
        self.assertEqual(self.good("rollout", "pause", "front"), "rollout 3 of front: rollout 3 of front is paused: by root\n")
        self.assertIn("50 % of new flows to green", self.good("rollout", "promote", "web", "--all"))
        self.assertIn("aborted: all new flows go to blue",
                      self.good("rollout", "abort", "web", "--flows", "reset", "--force", "no_ready_backend"))
        bodies = [e["request"]["body"] for e in json.loads(self.good("--json", "audit"))["entries"]]
        self.assertEqual(json.loads(bodies[0])["steps"], [0.01, 0.5, 1.0])
        self.assertEqual(json.loads(bodies[0])["hold_s"], 60)
        self.assertEqual(bodies[2], {"all": True})
        self.assertEqual(bodies[3], {"flows": "reset", "force": True})
        self.assertIn("no group or service 'nix'", self.bad(1, "rollout", "start", "nix"))

    def test_rollout_status(self):
        self.assertEqual(self.good("rollout", "status"), """\
GROUP  ID  FROM  TO     STATE      SHARE  PROGRESS      ETA
front   3  blue  green  shifting  10.0 %    25.0 %  11m 40s
""")
        text = self.good("rollout", "status", "front")
        self.assertTrue(text.startswith("""\
rollout 3 of front (web, web-tls): blue to green, started by root
[##########..............................] shifting, step 2 of 4, 10.0 % of new flows go to green, for 20s, drains in 11m 40s
rules: target.handshake_failure_ratio 0.1 % < 5 %
"""), text)
        self.assertIn("green  target  10.0 %      1,000  1,000         999        1 ", text)
        self.assertIn("< 976.6 us", text)
        self.assertIn("2026-11-23T09:48:20.123Z  started by root: blue to green\n", text)
        self.assertEqual(json.loads(self.good("--json", "rollout", "status", "web"))["step"], 2)

    def test_rollout_dry_run(self):
        text = self.good("rollout", "start", "web", "--dry-run")
        self.assertIn("STEP    SHARE   MOVES    HOLD  NEW FLOWS/S\n   1   10.0 %  10.0 %   1m 0s         15.0\n", text)
        self.assertIn("1,234,587 flows stay on blue\n", text)
        self.assertIn("not ready: web: 10.0.1.2:80 (down)\nhook: pre_start: migrate\nforced untracked_flows: ", text)
        self.assertTrue(text.endswith("it would start\n"), text)

    def over(self, after, outcome):
        self.stop()
        self.start(os.path.join(self.directory.name, self.audit), OVER_AFTER=str(after), OUTCOME=outcome)

    def test_wait_tells_how_it_ended(self):
        for outcome, code in {"done": 0, "rolled_back": 5, "aborted": 6}.items():
            with self.subTest(outcome):
                self.over(2, outcome)
                result = self.run_it("rollout", "start", "web", "--wait", "--timeout", "1m")
                self.assertEqual((result.returncode, result.stderr), (code, ""), result.stdout)
                self.assertIn("] " + outcome, result.stdout)

    def test_wait_has_a_limit(self):
        result = self.run_it("rollout", "status", "web", "--wait", "--timeout", "1s")
        self.assertEqual(result.returncode, 7)
        self.assertIn("rollout 3 of web is not over within --timeout 1s; it goes on", result.stderr)

    def test_wait_survives_a_restart_of_teald(self):
        process = subprocess.Popen([TEALCTL, "rollout", "status", "web", "--wait", "--timeout", "30s"],
                                   stdout=subprocess.PIPE, text=True, env=self.environment)
        try:
            time.sleep(1)
            self.assertIsNone(process.poll())
            self.stop()
            time.sleep(1)
            self.over(1, "done")
            self.assertIn("] done", process.communicate(timeout=20)[0])
            self.assertEqual(process.returncode, 0)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()

    def test_watch_writes_a_line_a_change(self):
        self.over(3, "rolled_back")
        result = self.run_it("rollout", "status", "web", "--watch")
        self.assertEqual(result.returncode, 5)
        lines = result.stdout.splitlines()
        self.assertEqual(len(lines), 2, result.stdout)
        self.assertIn("shifting, step 2 of 4", lines[0])
        self.assertIn("rolled_back", lines[1])

    def test_drain(self):
        text = self.good("drain", "web")
        self.assertTrue(text.startswith("web: 11 flows are left on blue, empty in 1m 30s\n"), text)
        self.assertIn("IDLE FOR     FLOWS\nup to 1s         2\n", text)
        self.assertEqual(self.good("drain", "web", "--wait", "--timeout", "1m"), "web: 0 flows are left on blue\n")
        self.stop()
        self.start(os.path.join(self.directory.name, self.audit))
        self.assertEqual(self.run_it("drain", "web", "--wait", "--timeout", "1s").returncode, 7)

    def test_preview(self):
        self.assertEqual(self.good("preview", "web"), "web: 198.51.100.0/24 reaches green\n")
        self.assertEqual(self.good("preview", "web", "--set", "203.0.113.7,2001:db8::/32"),
                         "web: 203.0.113.7/32, 2001:db8::/32 reach green (changed live, until the next reload)\n")
        self.assertIn("no client reaches green", self.good("preview", "web", "--set", "none"))

    def test_audit_verify(self):
        for _ in range(3):
            self.good("reload")
        self.assertTrue(self.good("audit", "--verify").endswith("the chain is whole\n"))
        with open(os.path.join(self.directory.name, self.audit), "r+", encoding="utf-8") as file:
            text = file.read()
            file.seek(0)
            file.write(text.replace('"seq":2', '"seq":9'))
        result = self.run_it("audit", "--verify")
        self.assertEqual(result.returncode, 1)
        self.assertIn("BROKEN: line 3 names", result.stdout)


if __name__ == "__main__":
    unittest.main()
