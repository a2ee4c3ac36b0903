# SPDX-License-Identifier: Apache-2.0
"""What DPDK's own programs cost on the same machine and input, one beside the other in alternating rounds: testpmd's io,
macswap, 5tswap and csum, l3fwd with exact matches; and the real teald with its worker, taps and control thread."""
import tempfile

import pcap
import rounds
import teald_pcap
from dpdk_programs import L3fwd, Testpmd, build_l3fwd
from paths import Failed, Skipped

TARGETS = ["src/teald/teald"]
MODES = ("io", "macswap", "5tswap", "csum")


def run_part(context):
    seconds = 0.3 if context.quick else 1.0
    with tempfile.TemporaryDirectory(prefix="teal-perf-") as directory:
        binary = None
        try:
            binary = build_l3fwd(directory)
        except (Skipped, Failed) as why:
            context.results.skip("floors", "l3fwd", str(why))
        for flows in (1000,) if context.quick else (1000, 100_000):
            _one_input(context, directory, binary, flows, seconds)


def _one_input(context, directory, binary, flows, seconds):
    capture = pcap.write(f"{directory}/{flows}.pcap", flows)
    running = {}
    try:
        running["testpmd"] = Testpmd(directory, capture, flows)
        measures = {f"testpmd {m}": lambda m=m: running["testpmd"].measure(m, seconds, context.tsc_ghz) for m in MODES}
        makers = {"teald, nat": lambda: teald_pcap.Teald(capture, flows)}
        if binary:
            makers["l3fwd, exact match"] = lambda: L3fwd(directory, binary, capture, flows)
        for name, make in makers.items():
            try:
                running[name] = make()
                measures[name] = lambda name=name: running[name].measure(seconds, context.tsc_ghz)
            except (Skipped, Failed) as why:
                context.results.skip("floors", f"{name}, {flows} flows", str(why))
        figures = rounds.alternate(measures, context.rounds(7), lambda name: measures[name]())
        for name, values in figures.items():
            context.results.add("floors", name, values, "cycles a packet", flows=flows)
        for name, values in figures.items():
            if name != "testpmd io":
                context.results.add("floors", f"{name}, less testpmd io", rounds.net(values, figures["testpmd io"]),
                                    "cycles a packet", floor=figures["testpmd io"], flows=flows)
    finally:
        for program in reversed(running.values()):
            program.close()
