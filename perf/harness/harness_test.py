#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The harness's own arithmetic: percentiles, verdicts, drawings, and what is refused."""
import copy
import json
import os
import subprocess
import sys
import tempfile
import unittest
import xml.dom.minidom

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import bare  # noqa: E402
import beside  # noqa: E402
import compare  # noqa: E402
import load_account  # noqa: E402
import micro  # noqa: E402
import pcap  # noqa: E402
import peers  # noqa: E402
import report  # noqa: E402
import results as kept  # noqa: E402
import rounds  # noqa: E402
import sizing  # noqa: E402
import svg  # noqa: E402
from paths import Failed  # noqa: E402

RUN = os.path.join(os.path.dirname(HERE), "run")
MACHINE = {"when": "2026-01-01T00:00:00Z", "commit": "abc", "cpu": "a CPU", "cpus": 2, "memory_mib": 2048, "hypervisor": True,
           "kernel": "6.1", "versions": {"dpdk": "22.11"}, "load_average": 0.1}


def row(*figures, better="less", unit="ns"):
    out = kept.Results(MACHINE, True)
    return out.add("micro", "x", list(figures), unit, better)


def document(*rows, yardstick=1.0):
    out = kept.Results(MACHINE, True)
    for part, subject, figures, params in rows:
        out.add(part, subject, figures, "ns", **params)
    out.add("yardstick", "y", [yardstick], "cycles")
    return out.document()



class Beside(unittest.TestCase):
    """Two programs on one CPU."""

    @staticmethod
    def row(raw, floor, **changes):
        row = {"subject": "nat", "forward": "nat", "ip": 4, "flows": 1000, "services": 1, "backends": 4, "burst": 32, "syn_percent": 0,
               "raw_cycles": raw, "floor_cycles": floor, "net_cycles": [r - f for r, f in zip(raw, floor)]}
        return {**row, **changes}

    def test_the_rounds_that_the_host_left_in_peace_are_compared(self):
        old = {"rows": [self.row([150, 300, 151, 310, 152], [50, 100, 50, 100, 50])]}
        new = {"rows": [self.row([320, 125, 126, 127, 330], [100, 50, 50, 50, 100])]}
        (name, ip, syn, figures), = beside.ratios(old, new)
        self.assertEqual((name, ip, syn), ("nat", 4, 0))
        self.assertEqual((figures["old"], figures["new"]), (101, 76))  # the second lowest of five, of each
        self.assertAlmostEqual(figures["ratio"], 76 / 101)

    def test_only_what_both_measured_and_whole_bursts(self):
        old = {"rows": [self.row([9], [1], flows=7), self.row([9], [1], burst=4), self.row([9], [1], services=100)]}
        new = {"rows": [self.row([5], [1]), self.row([5], [1], burst=4), self.row([5], [1], services=100)]}
        self.assertEqual([r[0] for r in beside.ratios(old, new)], ["nat, 100 services"])

    def test_multiples_of_the_bare_cost(self):
        measured = self.row([150, 300, 152], [50, 100, 50], model_cycles=[50, 80, 60])
        self.assertEqual(bare.times(measured), [2.0, 2.5, 1.7])
        self.assertEqual(beside.low_times_bare(measured), 2.0)  # 100 and 50
        self.assertIsNone(beside.low_times_bare(self.row([9], [1])))
        self.assertAlmostEqual(bare.asked("ipip", 1000), 1.667, 3)
        self.assertIsNone(bare.asked("l2dsr", 1000))


class Statistics(unittest.TestCase):
    def test_percentiles_are_nearest_rank(self):
        values = list(range(1, 101))
        self.assertEqual(kept.percentile(values, 50), 50)
        self.assertEqual(kept.percentile(values, 99), 99)
        self.assertEqual(kept.percentile(values, 100), 100)
        self.assertEqual(kept.percentile([7], 1), 7)
        self.assertEqual(kept.distribution(reversed(values))["99.9"], 100)

    def test_a_row_keeps_its_rounds(self):
        r = row(3, 1, 2)
        self.assertEqual((r["rounds"], r["median"], r["min"], r["max"]), ([3, 1, 2], 2, 1, 3))
        with self.assertRaises(ValueError):
            row()

    def test_every_subject_is_measured_once_a_round(self):
        calls = []
        out = rounds.alternate(["a", "b", "c"], 4, lambda s: calls.append(s) or len(calls))
        self.assertEqual({k: len(v) for k, v in out.items()}, {"a": 4, "b": 4, "c": 4})
        for i in range(0, 12, 3):
            self.assertEqual(sorted(calls[i:i + 3]), ["a", "b", "c"])
        self.assertNotEqual(calls, ["a", "b", "c"] * 4)  # no subject always follows the same one
        self.assertEqual(rounds.net([5, 7], [1, 2]), [4, 5])


class Verdicts(unittest.TestCase):
    def test_inside_the_spread_is_no_change(self):
        self.assertEqual(compare.verdict(row(90, 100, 115), row(95, 110, 120)), "same")
        self.assertEqual(compare.verdict(row(90, 100, 130), row(126, 128, 132)), "same")  # within the first's spread
        self.assertEqual(compare.verdict(row(98, 100, 102), row(99, 110, 115)), "same")  # within the second's
        self.assertEqual(compare.verdict(row(90, 100, 110), row(112, 115, 118)), "same")  # beside it, by less than it is wide
        self.assertEqual(compare.verdict(row(100, 101, 118), row(110, 135, 136)), "same")  # far, but they overlap

    def test_outside_of_it(self):
        self.assertEqual(compare.verdict(row(98, 100, 102), row(108, 110, 112)), "worse")
        self.assertEqual(compare.verdict(row(98, 100, 102), row(88, 90, 92)), "better")
        self.assertEqual(compare.verdict(row(98, 100, 102, better="more"), row(88, 90, 92, better="more")), "worse")
        self.assertEqual(compare.verdict(row(100, 100, 100), row(102, 102, 102)), "same")  # under 3 %

    def test_too_few_rounds_have_no_verdict(self):
        self.assertEqual(compare.verdict(row(100, 101), row(200, 201)), "unknown")
        self.assertEqual(compare.verdict(row(5), row(5)), "same")

    def test_another_speed_of_the_machine(self):
        one = ("micro", "x", [98, 100, 102], {})
        two = ("micro", "x", [138, 140, 142], {})
        slow = compare.compare(document(one), document(two, yardstick=1.4))
        self.assertEqual([v for _, _, v in slow["rows"]], ["unknown"])
        self.assertIn("another speed", slow["phase"])
        alike = compare.compare(document(one), document(two, yardstick=1.05))
        self.assertEqual(([v for _, _, v in alike["rows"]], alike["phase"]), (["worse"], ""))

    def test_rows_are_paired_by_their_parameters(self):
        a = document(("micro", "x", [1, 1, 1], {"flows": 1}), ("micro", "x", [5, 5, 5], {"flows": 2}))
        b = document(("micro", "x", [5, 5, 5], {"flows": 2}))
        out = compare.compare(a, b)
        self.assertEqual([(r["median"], v) for r, _, v in out["rows"]], [(5, "same")])
        self.assertEqual(out["only_a"], ["x (flows 1)"])

    def test_exit_codes(self):
        with tempfile.TemporaryDirectory() as directory:
            files = {}
            for name, figures in (("a", [98, 100, 102]), ("b", [118, 120, 122])):
                files[name] = os.path.join(directory, name + ".json")
                with open(files[name], "w", encoding="utf-8") as file:
                    json.dump(document(("micro", "x", figures, {})), file)
            both = kept.load_all(f"{files['a']},{files['b']}")
            self.assertEqual((both["rows"][0]["min"], both["rows"][0]["median"], both["rows"][0]["max"], both["runs"]), (98, 110, 122, 2))
            bad = os.path.join(directory, "bad.json")
            with open(bad, "w", encoding="utf-8") as file:
                file.write('{"format": 99}')

            def run(*arguments):
                return subprocess.run([sys.executable, RUN, *arguments], capture_output=True, text=True, check=False)
            self.assertEqual(run("--compare", files["a"], files["a"]).returncode, 0)
            worse = run("--compare", files["a"], files["b"])
            self.assertEqual(worse.returncode, 1)
            self.assertIn("1 worse, 0 better", worse.stdout)
            self.assertEqual(run("--compare", files["b"], files["a"]).returncode, 0)
            pooled = run("--compare", f"{files['a']},{files['b']}", f"{files['b']},{files['b']}")  # the runs themselves differ so much
            self.assertEqual((pooled.returncode, "one run a side" in pooled.stdout, "one run a side" in worse.stdout), (0, False, True))
            broken = run("--compare", bad, files["a"])
            self.assertEqual((broken.returncode, broken.stderr), (2, f"perf/run: {bad}: format 99, expected 1\n"))
            unknown = run("--only", "nonsense")
            self.assertEqual(unknown.returncode, 2)
            self.assertIn("nonsense", unknown.stderr)


class Reading(unittest.TestCase):
    WRK = """  Latency Distribution
     50%  203.00us
     75%    1.20ms
     90%    2.00ms
     99%    1.50s
  37304 requests in 1.00s, 5.93MB read
{errors}Requests/sec:  37295.81
"""

    def test_wrk(self):
        seen = peers.parse_wrk("none", self.WRK.format(errors=""))
        self.assertEqual(seen, {"rate": 37295.81, "requests": 37304, "50": 203.0, "99": 1.5e6})
        for errors in ("  Socket errors: connect 0, read 3, write 0, timeout 0\n", "  Non-2xx or 3xx responses: 1\n"):
            with self.assertRaises(Failed):
                peers.parse_wrk("none", self.WRK.format(errors=errors))

    def test_benchmark_names(self):
        self.assertEqual(micro._split("FlowHit/flows:1000/load:50/manual_time"), ("FlowHit", {"flows": 1000, "load": 50}))
        self.assertEqual(micro._split("ParseIpv4"), ("ParseIpv4", {}))

    def test_frames_are_whole(self):
        frame = pcap.frame(12345)
        self.assertEqual(len(frame), 60)
        self.assertEqual(pcap.checksum(frame[14:34]), 0)
        tcp = frame[34:]
        self.assertEqual(pcap.checksum(frame[26:34] + (6).to_bytes(2, "big") + len(tcp).to_bytes(2, "big") + tcp), 0)
        self.assertEqual(len({pcap.frame(i)[26:36] for i in range(1000)}), 1000)


class Sizing(unittest.TestCase):
    PARAMS = {"ip": 4, "services": 1, "backends": 4, "burst": 32, "syn_percent": 0}

    def document(self, *rows):
        out = document(("floors", "testpmd io", [30, 30, 30], {"flows": 1000}), *rows)
        out["machine"] = {**MACHINE, "tsc_ghz": 2.6}
        return out

    def test_line_rates(self):
        self.assertAlmostEqual(sizing.packets_per_s(10, 64) / 1e6, 14.88, places=2)
        self.assertAlmostEqual(sizing.packets_per_s(100, 64) / 1e6, 148.81, places=2)
        self.assertAlmostEqual(sizing.IMIX_BYTES, 355.8, places=0)

    def test_cores(self):
        some = self.document(("worker", "nat", [70, 70, 70], {"flows": 1000, **self.PARAMS}),
                             ("worker", "nat", [230, 230, 230], {"flows": 10 ** 6, **self.PARAMS}),
                             ("worker", "two workers against one: nat", [1.8, 1.8, 1.8], {"flows": 1000}))
        rows = sizing.table(some)
        self.assertEqual([(r["flows"], r["mpps_a_core"]) for r in rows], [(1000, 26.0), (10 ** 6, 10.0)])
        # One core: 10 Mpps. Each further one brings 0.8 of it: 14.88 needs 1 + 4.88 / 8, rounded up.
        self.assertEqual(rows[1]["cores"][(10, "64 bytes")], 2)
        self.assertEqual(rows[1]["cores"][(100, "64 bytes")], 19)
        self.assertIn("memory", sizing.bottleneck(rows))
        self.assertIn("instructions", sizing.bottleneck(rows[:1] + [{**rows[0], "flows": 10 ** 6, "cycles": 110}]))

    def test_without_figures_there_is_none(self):
        self.assertEqual(sizing.table(document()), [])
        self.assertEqual(len(sizing.page_lines(document())), 2)

    def test_the_page_has_the_reference_runs_table(self):
        lines = sizing.page_lines(kept.load(os.path.join(os.path.dirname(HERE), "results", "reference", "run.json")))
        self.assertEqual(len(lines), 2 + 4 * 3)
        with open(os.path.join(HERE, "..", "..", "docs", "sizing.md"), encoding="utf-8") as file:
            page = file.read()
        for line in lines:
            self.assertIn(line + "\n", page)


class Drawings(unittest.TestCase):
    def test_marks_cover_and_are_round(self):
        self.assertEqual(svg.ticks(0, 100), [0, 20, 40, 60, 80, 100])
        self.assertEqual([svg.number(x) for x in (0.25, 42, 1500, 16e6)], ["0.25", "42", "1.5k", "16M"])

    def test_lines_are_svg_with_every_point(self):
        drawn = svg.lines({"<a> & b": [(1000, 5, 4, 6), (1e6, 9, 8, 12)]}, "flows", "cycles")
        picture = xml.dom.minidom.parseString(drawn[:drawn.index("</svg>") + 6])
        circles = picture.getElementsByTagName("circle")
        self.assertEqual(len(circles), 2)
        heights = [float(c.getAttribute("cy")) for c in circles]
        self.assertGreater(heights[0], heights[1])  # more is higher up
        self.assertEqual(drawn.count("&lt;a&gt; &amp; b"), 3)  # two points' titles and the legend
        self.assertNotIn("<a>", drawn)

    def test_a_page_has_every_row_and_loads_nothing(self):
        some = document(("worker", "nat", [5, 6, 7], {"flows": 1000, "services": 1, "backends": 4, "burst": 32, "syn_percent": 0}),
                        ("worker", "nat", [8, 9, 10], {"flows": 10 ** 6, "services": 1, "backends": 4, "burst": 32, "syn_percent": 0}),
                        ("peers", "requests", [1, 2, 3], {"peer": "<none>"}))
        page = report.page(copy.deepcopy(some))
        self.assertEqual(page.count("<tr><td>"), len(some["rows"]))
        self.assertEqual(page.count("<polyline"), 1)
        self.assertEqual(page.count("<rect"), 1)
        self.assertNotIn("<none>", page)
        for word in ("<script", "<link", "src=", "@import", "url("):
            self.assertNotIn(word, page)


def window(**more):
    return {"sent": 10_000, "refused": 0, "lost": 0, "reordered": 0, "moved": 0, "not_offered": 0, "syns": 100, "seconds": 0.1,
            "longest_silence_us": 60, "round_trip_us": {}, "began_epoch_ns": 10**9, "cutovers": [], "ms_first": list(range(0, 10_000, 100)),
            "ms_lost": [0] * 100, "ms_silence_us": [0] * 100, "ms_standstill_us": [0] * 100, **more}


def at(count, **places):
    """A figure for each millisecond, 0 but in some."""
    return [places.get(f"ms{i}", 0) for i in range(count)]


class Load(unittest.TestCase):
    def test_losses_lie_beside_instants_and_pauses(self):
        cutovers = [{"adopted_epoch_ns": 10**9 + 50_200_000, "asked_epoch_ns": 0, "answered_epoch_ns": 2_000_000,
                     "reply": {"adoption_ns": 3000}}]
        account = load_account.Account()
        account.add(window(lost=6, refused=5, cutovers=cutovers, ms_lost=at(100, ms10=5, ms47=2, ms70=4),
                           ms_silence_us=at(100, ms11=2000, ms47=299)), 100_000, 0.9, 2.5)
        self.assertEqual((account.near, account.away, account.unexplained), (2, 9, 6))
        self.assertEqual((account.pauses, account.near_pauses, account.windows_whole, account.windows_calm), (1, 0, 0, 0))
        self.assertEqual((account.adoptions_us, account.replies_ms, account.at_instants), ([3.0], [2.0], [1.0]))
        self.assertEqual((account.near_ms, account.calm, account.near_unexplained), (10, 1, 2))
        self.assertAlmostEqual(account.near_to_away(), (2 / 10) / (4 / 90))

    def test_losses_only_beside_adoptions_are_more_than_any_number_of_times(self):
        cutovers = [{"adopted_epoch_ns": 10**9 + 50_200_000, "asked_epoch_ns": 0, "answered_epoch_ns": 2_000_000,
                     "reply": {"adoption_ns": 3000}}]
        account = load_account.Account()
        account.add(window(lost=1, cutovers=cutovers, ms_lost=at(100, ms50=1)), 100_000, 0.9, 0)
        self.assertEqual(account.near_to_away(), float("inf"))

    def test_a_pause_casts_a_shadow_until_the_ring_is_empty(self):
        self.assertEqual(load_account.shadow_of(window(ms_standstill_us=at(100, ms20=1000))), set(range(18, 27)))
        self.assertFalse(load_account.is_disturbed(window(ms_standstill_us=at(100, ms20=299))))

    def test_a_whole_window_sent_what_was_due_and_had_it_all_back(self):
        self.assertTrue(load_account.is_whole(window(), 100_000))
        for wrong in ({"lost": 1}, {"refused": 1}, {"sent": 9_700}, {"not_offered": 200}):
            self.assertFalse(load_account.is_whole(window(**wrong), 100_000))

    def test_the_highest_rate_is_found_from_below(self):
        for low in (100, 650, 5000):
            self.assertAlmostEqual(load_account.highest(lambda rate: rate <= 700, low, 1.5, 12, 10), 700, delta=1)
        self.assertEqual(load_account.highest(lambda rate: False, 100, 1.5, 10, 50), 0)


if __name__ == "__main__":
    unittest.main()
