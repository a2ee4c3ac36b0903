# SPDX-License-Identifier: Apache-2.0
"""Programs that poll a net_pcap device which repeats a capture: DPDK's testpmd and l3fwd, and teald itself. Each can be
paused, so that they take turns on one CPU; cycles are those of the polling thread's own CPU time."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time

import pcap
from paths import Failed, Skipped, run

CPU = os.cpu_count() - 1  # the one that polls
EXAMPLES = "/usr/share/dpdk/examples"


def cpu_ns(pid):
    """-> {thread: ns on a CPU}"""
    out = {}
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as file:
                out[task] = int(file.read().split()[0])
        except FileNotFoundError:
            pass  # it has ended
    return out


def poller_ns(before, after):
    """CPU time between the two of the thread that had most of it."""
    return max(after[t] - before.get(t, 0) for t in after)


class Testpmd:
    """One process for all forwarding modes; it polls only while it measures."""

    def __init__(self, directory, capture, flows):
        pool = max(4096, flows * 2)
        self.process = None
        self.log = open(os.path.join(directory, f"testpmd-{flows}.log"), "w+", encoding="utf-8")
        self.prefix = f"teal-perf-{os.getpid()}"
        command = ["stdbuf", "-oL", "dpdk-testpmd", "--no-huge", "--no-pci", "--no-shconf", "--no-telemetry", "-m", str(128 + pool * 1024 // (1 << 20)),
                   "--lcores", f"0@0,1@{CPU}", "--log-level=*:error", f"--file-prefix={self.prefix}",
                   "--vdev", f"net_pcap0,rx_pcap={capture},infinite_rx=1", "--", "-i", f"--total-num-mbufs={pool}",
                   "--mbuf-size=512", "--no-lsc-interrupt"]
        if not shutil.which("dpdk-testpmd"):
            raise Skipped("dpdk-testpmd is not installed; scripts/deps")
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=self.log, stderr=subprocess.STDOUT, text=True)
        self.read_at = 0
        self.wait_for("testpmd>", 30)

    def wait_for(self, text, seconds):
        end = time.monotonic() + seconds
        while True:
            with open(self.log.name, encoding="utf-8", errors="replace") as file:
                file.seek(self.read_at)
                said = file.read()
            if text in said:
                self.read_at += len(said.encode())
                return said
            if self.process.poll() is not None or time.monotonic() > end:
                raise Failed(f"testpmd did not say {text!r}; its log ends: {said[-300:]!r}")
            time.sleep(0.02)

    def measure(self, mode, seconds, ghz):
        """-> cycles a packet"""
        before = cpu_ns(self.process.pid)  # nothing polls yet
        self.process.stdin.write(f"set fwd {mode}\nstart\n")
        self.process.stdin.flush()
        self.wait_for("nb forwarding ports", 10)
        time.sleep(seconds)
        self.process.stdin.write("stop\n")
        self.process.stdin.flush()
        said = self.wait_for("Done.", 10)
        after = cpu_ns(self.process.pid)
        packets = re.search(r"Accumulated.*?RX-packets: (\d+).*?TX-packets: (\d+)", said, re.S)
        if not packets or packets[1] != packets[2] or packets[1] == "0":
            raise Failed(f"testpmd {mode} did not forward what it received: {said[-400:]!r}")
        return poller_ns(before, after) * ghz / int(packets[1])

    def close(self):
        if self.process and self.process.poll() is None:
            self.process.stdin.write("quit\n")
            self.process.stdin.close()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()
        remove_runtime(self.prefix)


def remove_runtime(prefix):
    """The directory that EAL leaves, whatever it shares."""
    shutil.rmtree(f"/var/run/dpdk/{prefix}", ignore_errors=True)


class Paused:
    """A process that polls all the time: stopped between measurements. packets() tells how many it has received."""

    process = None

    def packets(self):
        raise NotImplementedError

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def measure(self, seconds, ghz):
        self.process.send_signal(signal.SIGCONT)
        time.sleep(0.05)
        before, first = cpu_ns(self.process.pid), self.packets()
        time.sleep(seconds)
        after, last = cpu_ns(self.process.pid), self.packets()
        self.pause()
        if last == first:
            raise Failed(f"{type(self).__name__} received nothing")
        return poller_ns(before, after) * ghz / (last - first)

    def close(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def build_l3fwd(directory):
    """Debian's example, with the two changes that net_pcap needs: it has no checksum offload, and keeps a buffer a packet
    of its capture."""
    if not os.path.isdir(f"{EXAMPLES}/l3fwd"):
        raise Skipped(f"{EXAMPLES}/l3fwd is not there; scripts/deps --perf")
    for name in ("l3fwd", "common"):
        shutil.copytree(f"{EXAMPLES}/{name}", os.path.join(directory, "examples", name), dirs_exist_ok=True)
    source = os.path.join(directory, "examples", "l3fwd")
    with open(os.path.join(source, "main.c"), encoding="utf-8") as file:
        text = file.read()
    with open(os.path.join(source, "main.c"), "w", encoding="utf-8") as file:
        text = text.replace(".offloads = RTE_ETH_RX_OFFLOAD_CHECKSUM,", ".offloads = 0,")
        file.write(text.replace("(unsigned)8192)", "(unsigned)262143)"))
    run("make", "-C", source, timeout=120)
    return os.path.join(source, "build", "l3fwd")


class L3fwd(Paused):
    """Exact match, a rule for each flow of the capture."""

    def __init__(self, directory, binary, capture, flows):
        rules = os.path.join(directory, f"rules-{flows}.cfg")
        with open(rules, "w", encoding="ascii") as file:
            for i in range(flows):
                client, port = pcap.flow(i)
                file.write(f"R198.18.0.1 {client >> 24}.{client >> 16 & 255}.{client >> 8 & 255}.{client & 255} 80 {port} 0x06 0\n")
        self.prefix = prefix = f"teal-perf-l3fwd-{os.getpid()}"
        self.telemetry = f"/var/run/dpdk/{prefix}/dpdk_telemetry.v2"
        with open(os.path.join(directory, f"l3fwd-{flows}.log"), "wb") as log:
            self.process = subprocess.Popen(
                [binary, "--no-huge", "--no-pci", "--no-shconf", "-m", "2560", "--lcores", f"1@{CPU}", f"--file-prefix={prefix}",
                 "--vdev", f"net_pcap0,rx_pcap={capture},infinite_rx=1", "--", "-p", "1", "-E", "--config=(0,0,1)", "--no-numa",
                 "--parse-ptype", f"--rule_ipv4={rules}", f"--rule_ipv6={EXAMPLES}/l3fwd/em_default_v6.cfg"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + 60
        while not self._receives():
            if self.process.poll() is not None or time.monotonic() > end:
                self.close()
                with open(log.name, encoding="utf-8", errors="replace") as file:
                    raise Failed(f"l3fwd did not start: {file.read()[-300:]!r}")
            time.sleep(0.1)
        self.pause()

    def _receives(self):
        try:
            return self.packets() > 0
        except OSError:  # no telemetry socket yet
            return False

    def packets(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
            s.settimeout(5)
            s.connect(self.telemetry)
            s.recv(4096)
            s.send(b"/ethdev/stats,0")
            stats = json.loads(s.recv(65536))["/ethdev/stats"]  # null while the port is being set up
            return stats["ipackets"] if stats else 0

    def close(self):
        super().close()
        remove_runtime(self.prefix)
