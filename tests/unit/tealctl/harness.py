# SPDX-License-Identifier: Apache-2.0
"""The real tealctl against the control server over fake operations. Takes its arguments off the command line:

TEALCTL FAKE_SERVER SOURCE_ROOT
"""
import os
import subprocess
import sys
import tempfile
import unittest

TEALCTL, SERVER, ROOT = (os.path.abspath(sys.argv.pop(1)) for _ in range(3))


class Tealctl(unittest.TestCase):
    audit = "audit.jsonl"

    def setUp(self):
        self.directory = tempfile.TemporaryDirectory(prefix="teal-ctl-")
        self.addCleanup(self.directory.cleanup)
        self.socket = self.directory.name + "/teald.sock"
        self.environment = {**os.environ, "TEAL_SOCKET": self.socket}
        self.start(os.path.join(self.directory.name, self.audit))

    def start(self, audit, **environment):
        server = subprocess.Popen([SERVER, self.socket, audit], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                  text=True, env={**os.environ, **environment})

        def stop():
            server.terminate()
            server.wait()
            server.stdout.close()

        self.addCleanup(stop)
        self.stop = stop
        self.assertEqual(server.stdout.readline(), "ready\n")

    def run_it(self, *arguments):
        return subprocess.run([TEALCTL, *arguments], capture_output=True, text=True, env=self.environment, timeout=30,
                              stdin=subprocess.DEVNULL)

    def good(self, *arguments):
        result = self.run_it(*arguments)
        self.assertEqual((result.returncode, result.stderr), (0, ""), result.stdout)
        return result.stdout

    def bad(self, code, *arguments):
        result = self.run_it(*arguments)
        self.assertEqual((result.returncode, result.stdout), (code, ""), result.stderr)
        self.assertTrue(result.stderr.startswith("tealctl: "), result.stderr)
        return result.stderr
