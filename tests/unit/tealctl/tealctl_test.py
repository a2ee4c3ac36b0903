#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The real tealctl against the control server over fake operations: tables, --json, exit codes, completion.

Usage: tealctl_test.py TEALCTL FAKE_SERVER SOURCE_ROOT
"""
import json
import os
import pty
import select
import signal
import socket
import subprocess
import threading
import time
import unittest

from harness import ROOT, SERVER, TEALCTL, Tealctl


class Commands(Tealctl):
    # ---- tables for people
    def test_services(self):
        self.assertEqual(self.good("services"), """\
SERVICE  ADDRESS              PROTOCOL  FORWARD  GROUP  ACTIVE  GREEN  GENERATION  BLUE FLOWS  GREEN FLOWS  NOTES
web      192.0.2.10:80        tcp       nat      front  blue    0.0 %           7   1,234,587            0
web-tls  192.0.2.10:443       tcp       nat      front  blue    0.0 %           7   1,234,587            0
dns      [2001:db8:1::53]:53  tcp       nat      dns    blue    0.0 %           7   1,234,587            0
""")
        self.good("cutover", "web")
        self.assertIn("front  green   100.0 %           8   1,234,587            0  draining\n", self.good("services"))

    def test_one_service(self):
        text = self.good("services", "web")
        self.assertIn("active blue, green takes 0.0 % of new flows, generation 7\n", text)
        self.assertIn("POOL       FLOWS  HALF-OPEN    ENTERED  PINNED\nblue   1,234,587         87  2,000,000      31\n", text)
        self.assertIn("green  [2001:db8::1]:80  [2001:db8::1]:80      10  ready  ready             0 ", text)

    def test_status(self):
        text = self.good("status")
        self.assertIn("teald 1.2.3, pid 4242, up 1d 2h 3m 4s, instance 2\n", text)
        self.assertIn("1,234,607 of 4,194,304 flows (29.4 %), 128.0 MiB of hugepages memory", text)
        self.assertIn("WORKER  CPU  RX PACKETS    BUSY\n     0    2   9,000,000  25.0 %\n", text)

    def test_cutover_and_rollback(self):
        self.assertEqual(self.good("cutover", "web", "--expect-generation", "7"), """\
web, web-tls: new flows go to green since 2026-11-23T09:48:20.123456789Z (generation 8, adopted in 41.2 us)
1,234,587 flows stay on blue until they end
""")
        self.assertEqual(self.good("cutover", "web", "--to", "green"),
                         "web, web-tls: new flows went to green already (generation 8); nothing changed\n")
        text = self.good("rollback", "web", "--flows", "reset")
        self.assertIn("new flows go to blue", text)
        self.assertIn("12 flows are being reset\n", text)

    def test_backend(self):
        self.assertEqual(self.good("backend", "web", "[2001:db8::1]:80", "--weight", "3", "--state", "drain"),
                         "[2001:db8::1]:80: weight 3, drain, 0 flows; 25.0 % of the pool's new flows now go elsewhere\n")

    def test_flows_which_reload(self):
        self.assertEqual(self.good("flows", "--service", "web", "--pool", "blue"), """\
SERVICE  CLIENT              POOL  BACKEND      STATE        IDLE S  GENERATION
web      198.51.100.7:40000  blue  10.0.0.1:80  established       3           7
""")
        self.assertIn("(the first 1; --limit N shows more)", self.good("flows", "--limit", "1"))
        self.assertIn("it stays on 10.0.0.1:80 until it ends", self.good("which", "web", "[2001:db8::7]:40000"))
        self.assertEqual(self.good("reload"), "service web: backend 10.0.0.3:80 added to blue\n")

    def test_counters(self):
        text = self.good("counters")
        self.assertIn("drop   tx_full     1,234,567\n", text)
        self.assertNotIn("no_route", text)
        self.assertIn("no_route", self.good("counters", "--all"))

    def test_audit(self):
        self.good("cutover", "web")
        self.bad(1, "backend", "web", "nix", "--weight", "1")
        lines = self.good("audit").splitlines()
        self.assertEqual(len(lines), 3)
        self.assertTrue(lines[1].rstrip().endswith("7 -> 8"), lines[1])
        self.assertIn("PATCH /v1/services/web/backends/nix {\"weight\":1}", lines[2])
        self.assertIn("404 unknown_backend", lines[2])
        self.assertEqual(len(self.good("audit", "--limit", "1").splitlines()), 2)
        with open(os.path.join(self.directory.name, self.audit), "r+", encoding="utf-8") as file:
            text = file.read()
            file.seek(0)
            file.write(text.replace('"uid":0', '"uid":7', 1) if '"uid":0' in text else text.replace('"to"', '"xy"', 1))
        self.assertIn("WARNING: entry 2 of these names", self.good("audit"))

    def test_a_failing_audit_is_told(self):
        self.stop()
        self.start("/dev/full")
        result = self.run_it("cutover", "web")
        self.assertEqual(result.returncode, 0)
        self.assertIn("could not write this call to its audit log", result.stderr)
        self.assertIn("WARNING: 1 entries could not be written", self.good("audit"))

    # ---- for programs
    def test_json_is_untouched(self):
        with socket.socket(socket.AF_UNIX) as raw:
            raw.connect(self.socket)
            raw.sendall(b"GET /v1/services HTTP/1.0\r\n\r\n")
            reply = b"".join(iter(lambda: raw.recv(65536), b""))
        self.assertEqual(self.good("--json", "services").encode(), reply.split(b"\r\n\r\n", 1)[1])
        self.assertEqual(json.loads(self.good("cutover", "web", "--json"))["generation"], 8)
        refused = self.run_it("--json", "services", "nix")
        self.assertEqual((refused.returncode, refused.stderr), (1, ""))
        self.assertEqual(json.loads(refused.stdout)["code"], "unknown_service")

    # ---- exit codes
    def test_every_problem_has_its_exit_code(self):
        listed = subprocess.run([SERVER, "--problems"], check=True, capture_output=True, text=True).stdout
        for line in listed.splitlines():
            code, _, expected, title = line.split(" ", 3)
            with self.subTest(code):
                text = self.bad(int(expected), "services", "problem-" + code)
                self.assertEqual(text, f"tealctl: {title}: the fake refuses, as asked\n  first reason\n  second reason\n")

    def test_generation_moved_on(self):
        self.assertIn("found generation 7, expected 6", self.bad(4, "cutover", "web", "--expect-generation", "6"))

    def test_usage(self):
        for arguments, words in {
            (): "found no command",
            ("nix",): 'found the command "nix", expected one of status, services',
            ("cutover",): "found no NAME, expected: tealctl [OPTIONS] cutover NAME",
            ("cutover", "web", "x"): "too many positional",
            ("cutover", "web", "--nope"): "--nope",
            ("cutover", "web", "--forc"): "--forc",
            ("cutover", "web", "--to", "red"): 'found the string "red", expected "blue" or "green"',
            ("cutover", "web", "--expect-generation", "-1"): '--expect-generation: found "-1"',
            ("backend", "web", "x"): "found neither --weight nor --state",
            ("backend", "web", "x", "--weight", "65536"): "from 0 to 65535",
            ("flows", "--limit", "0"): "from 1 to 100000",
            ("flows", "--pool", "red"): 'found "red"',
            ("which", "web", "198.51.100.7"): "expected ADDRESS:PORT",
            ("audit", "--limit", "x"): "from 1 to 10000",
            ("rollout",): "found no ACTION, expected: tealctl [OPTIONS] rollout ACTION [NAME]",
            ("rollout", "begin", "web"): 'found the action "begin", expected one of start, pause,',
            ("rollout", "start"): "found no NAME",
            ("rollout", "status", "--wait"): "found no NAME",
            ("rollout", "pause", "web", "--to", "green"): "option --to: found with pause, expected with start",
            ("rollout", "start", "web", "--all"): "option --all: found with start, expected with promote",
            ("rollout", "start", "web", "--timeout", "5s"): "found without --wait or --watch",
            ("rollout", "start", "web", "--hold", "5x"): 'option --hold: found "5x", expected a time',
            ("rollout", "start", "web", "--hold", "31d"): 'option --hold: found "31d"',
            ("rollout", "start", "web", "--steps", "1%,,100%"): 'option --steps: found "1%,,100%"',
            ("rollout", "start", "web", "--steps", "1%,x"): 'option --steps: found "x", expected shares such as',
            ("rollout", "start", "web", "--steps", "50%"): "found a last one below 1",
            ("rollout", "start", "web", "--force", "all"): 'found the string "all" in it',
            ("rollout", "abort", "web", "--force", "capacity"): "expected no_ready_backend",
            ("drain", "web", "--timeout", "5s"): "found without --wait",
            ("preview", "web", "--set", "x"): 'found the string "x" in it',
            ("top", "--interval", "0"): "from 1 to 3600",
            ("--socket",): "--socket",
        }.items():
            with self.subTest(arguments):
                self.assertIn(words, self.bad(2, *arguments))

    def test_unreachable(self):
        self.stop()
        self.assertIn("cannot reach teald on " + self.socket, self.bad(3, "status"))
        self.assertIn("No such file or directory", self.bad(3, "--socket", "/nowhere/sock", "status"))
        self.assertIn("File name too long", self.bad(3, "--socket", "/" + "x" * 200, "status"))

    def answered_with(self, reply):
        self.stop()
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.bind(self.socket)
        listener.listen()

        def serve():
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        text = self.bad(3, "status")
        thread.join()
        return text

    def test_what_answers_is_not_teald(self):
        self.assertIn("cannot reach", self.answered_with(b"SSH-2.0-OpenSSH\r\n"))

    def test_what_answers_is_another_http_server(self):
        self.assertIn("not teald's", self.answered_with(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"))

    def test_json_of_another_shape(self):
        self.assertIn("not teald's", self.answered_with(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"))

    # ---- help
    def test_help_and_version(self):
        commands = [line.split()[0] for line in self.good("--help").split("Commands:\n")[1].split("\n\n")[0].splitlines()]
        self.assertEqual(commands, ["status", "services", "cutover", "rollback", "rollout", "drain", "preview", "backend", "flows", "which", "counters",
                                    "audit", "reload", "top"])
        for command in commands:
            self.assertTrue(self.good(command, "--help").startswith(f"Usage: tealctl [OPTIONS] {command}"))
        self.assertRegex(self.good("--version"), r"^tealctl \d+\.\d+\.\d+\n$")
        with open(f"{ROOT}/docs/tealctl.md", encoding="utf-8") as file:
            page = file.read()
        for command in commands:
            self.assertIn(f"| `{command}", page)
            for word in self.good(command, "--help").replace(":", " ").split():
                if word.startswith("--") and word.strip("-") and "exit" not in word:
                    self.assertIn(word, page, command)

    # ---- top
    def test_top_counts(self):
        text = self.good("top", "--count", "2")
        self.assertEqual(text.count("SERVICE  POOL"), 2)
        self.assertIn("web      blue   100.0 %           7  1,234,587         87      -          -\n", text)
        self.assertIn("web      blue   100.0 %           7  1,234,587         87      0          0\n", text)

    def test_top_on_a_terminal(self):
        for leave in (b"q", signal.SIGINT):
            with self.subTest(leave):
                master, slave = pty.openpty()
                process = subprocess.Popen([TEALCTL, "top"], stdin=slave, stdout=slave, env=self.environment)
                try:
                    seen = b""
                    until = time.monotonic() + 10
                    while b"q: quit" not in seen and time.monotonic() < until:
                        if select.select([master], [], [], 0.1)[0]:
                            seen += os.read(master, 65536)
                    self.assertIn(b"\x1b[H", seen)
                    self.assertIn(b"1,234,587", seen)
                    if leave == b"q":
                        os.write(master, leave)
                    else:
                        process.send_signal(leave)
                    self.assertEqual(process.wait(10), 0)
                finally:
                    if process.poll() is None:
                        process.kill()
                        process.wait()
                    os.close(master)
                    os.close(slave)

    # ---- completion
    def complete(self, *words):
        script = f'. {ROOT}/scripts/completion/tealctl.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _tealctl; ' \
                 'printf "%s\\n" "${COMPREPLY[@]}"'
        result = subprocess.run(["bash", "-c", script, "bash", TEALCTL, *words], capture_output=True, text=True,
                                env=self.environment, timeout=30)
        self.assertEqual(result.stderr, "")
        return result.stdout.split()

    def test_completion(self):
        self.assertIn("cutover", self.complete(""))
        self.assertEqual(self.complete("co"), ["counters"])
        self.assertEqual(sorted(self.complete("cutover", "")), ["dns", "web", "web-tls"])
        self.assertEqual(self.complete("cutover", "web", "--e"), ["--expect-generation"])
        self.assertEqual(self.complete("cutover", "web", "--to", ""), ["blue", "green"])
        self.assertEqual(self.complete("backend", "web", "--state", "d"), ["drain", "down"])
        self.assertIn("10.0.0.1:80", self.complete("backend", "web", ""))
        self.assertEqual(self.complete("--socket", self.socket, "services", "d"), ["dns"])
        self.assertEqual(self.complete("--j"), ["--json"])
        self.assertIn("promote", self.complete("rollout", ""))
        self.assertEqual(sorted(set(self.complete("rollout", "start", ""))), ["dns", "front", "web", "web-tls"])
        self.assertEqual(self.complete("rollout", "start", "web", "--force", "cap"), ["capacity"])
        self.assertEqual(self.complete("rollout", "start", "--hold", "5s", "d"), ["dns"])
        self.assertEqual(self.complete("cutover", "--force", "d"), ["dns"])
        self.stop()
        self.assertEqual(self.complete("cutover", ""), [])


if __name__ == "__main__":
    unittest.main()
