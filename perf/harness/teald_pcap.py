# SPDX-License-Identifier: Apache-2.0
"""The real teald over net_pcap, in a namespace of its own: its only worker polls a capture that repeats."""
import time

import e2e
from dpdk_programs import CPU, Paused
from paths import Failed


class Teald(Paused):
    dropped, measuring = None, False  # drops are of the start, while neighbours are not known

    def __init__(self, capture, flows):
        self.world = e2e.World(f"perf-pcap-{flows}")
        self.world.__enter__()
        try:
            self._start(capture, flows)
        except e2e.Failure as error:
            self.close()
            raise Failed(str(error)) from error
        except BaseException:
            self.close()
            raise

    def _start(self, capture, flows):
        edge = self.world.namespace("edge")
        config = {
            "engine": {"flows": max(65536, 2 * flows), "workers": 1, "cpus": [CPU], "idle": "poll",
                       "packet_memory_mib": 256 + flows * 5 // 1000},
            "ports": [{"name": "pcap0", "device": f"net_pcap0,rx_pcap={capture},infinite_rx=1", "addresses": ["192.0.2.2/24"]}],
            "services": [{"name": "web", "vip": "198.18.0.1", "port": 80,
                          "pools": {p: [f"192.0.2.{a}:8080", f"192.0.2.{a + 1}:8080"] for p, a in (("blue", 11), ("green", 21))}}]}
        self.teald = e2e.teald.Teald(self.world, edge, config).start()
        self.process = self.teald.process
        end = time.monotonic() + 10
        while True:
            # Again and again: teald may be asking the kernel to resolve one at that very moment, which takes it away.
            for last in (11, 12, 21, 22):
                edge.run("ip", "neighbour", "replace", f"192.0.2.{last}", "lladdr", f"02:00:00:00:00:{last}", "dev", "pcap0")
            if self._forwarded_share() >= 0.99:
                break
            if time.monotonic() > end:
                raise Failed(f"teald forwards {self._forwarded_share():.0%} of the capture: {self.teald.account()}")
            time.sleep(0.3)
        self.pause()

    def _forwarded_share(self):
        """Of the packets of the last instant."""
        first = self.teald.counters()["events"]
        time.sleep(0.2)
        last = self.teald.counters()["events"]
        received = last["rx_packets"] - first["rx_packets"]
        return (last["forwarded"] - first["forwarded"]) / received if received else 0

    def packets(self):
        counters = self.teald.counters()
        dropped = sum(counters["drops"].values())
        if self.dropped is not None and dropped != self.dropped:
            raise Failed(f"teald dropped {dropped - self.dropped} packets: {counters['drops']}")
        if self.measuring:
            self.dropped = dropped
        return counters["events"]["forwarded"]

    def measure(self, seconds, ghz):
        self.measuring = True
        return super().measure(seconds, ghz)

    def close(self):
        super().close()
        self.world.__exit__(None, None, None)
