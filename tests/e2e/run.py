#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the end-to-end scenarios: every function test_* of every test_*.py beside this file.
Usage: run.py [--keep] [--list] [--jobs N] [WORD...]   (only scenarios whose name contains a WORD)
--jobs N runs N scenarios at a time, each in namespaces of its own; those that measure the machine run alone, last.
One line a scenario: PASS, FAIL with the reason and the ends of the logs, or SKIP with the reason; then the sums.
Exit: 0; 1 when one failed, or none has such a name; 2 wrong usage."""
import argparse
import glob
import importlib
import os
import signal
import sys
import tempfile
import time
import traceback

import world
from world import Failure, Skip, say

LIMIT_S = 150


def scenarios():
    here = os.path.dirname(os.path.abspath(__file__))
    for path in sorted(glob.glob(os.path.join(here, "test_*.py"))):
        module = importlib.import_module(os.path.basename(path)[:-3])
        for name, function in vars(module).items():
            if name.startswith("test_") and callable(function) and function.__module__ == module.__name__:
                yield f"{module.__name__[5:]}.{name[5:]}", function


def too_long(*_):
    raise Failure(f"not finished after {LIMIT_S} s")


def run_one(name, function, keep):
    """-> "passed", "failed" or "skipped" """
    began = time.monotonic()
    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(LIMIT_S)
    logs = ""
    note = ""
    try:
        with world.World(name.replace(".", "-"), keep) as here:
            try:
                note = function(here) or ""
                outcome = "passed"
            except Skip:
                raise
            except BaseException:
                logs = here.tail()
                raise
    except Skip as reason:
        outcome, note = "skipped", str(reason)
    except Failure as reason:
        outcome, note = "failed", str(reason)
    except Exception:  # a scenario that breaks is a scenario that fails
        outcome, note = "failed", traceback.format_exc()
    finally:
        signal.alarm(0)
    word = {"passed": "PASS", "failed": "FAIL", "skipped": "SKIP"}[outcome]
    say(f"{word} e2e {name} ({time.monotonic() - began:.1f} s){': ' if note else ''}{note}")
    if outcome == "failed" and logs:
        say("\n".join("     " + line for line in logs.splitlines()))
    return outcome


# They fill the machine, or measure what it costs: nothing may run beside them.
ALONE = ("limits.", "survival.hugepages", "xdp.jumbo", "xdp.syn_flood", "xdp.full_table")


def start(name, function, keep):
    """Runs a scenario in a process of its own. -> (pid, file of what it says)"""
    out = tempfile.TemporaryFile("w+")
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        os.dup2(out.fileno(), 1)
        os._exit(CODES.index(run_one(name, function, keep)))
    return pid, out


def finish(out, status):
    out.seek(0)
    text = out.read()
    sys.stdout.write(text)
    sys.stdout.flush()
    out.close()
    code = os.waitstatus_to_exitcode(status)
    if not 0 <= code < len(CODES):
        say(f"FAIL e2e: a scenario's process ended with {code}; it said: {text[-200:]!r}")
        return "failed"
    return CODES[code]


CODES = ("passed", "failed", "skipped")


def run_side_by_side(chosen, keep, jobs, counts):
    waiting = [c for c in chosen if not any(w in c[0] for w in ALONE)]
    alone = [c for c in chosen if any(w in c[0] for w in ALONE)]
    running = {}
    while waiting or running:
        while waiting and len(running) < jobs:
            pid, out = start(*waiting.pop(0), keep)
            running[pid] = out
        pid, status = os.wait()
        if pid in running:
            counts[finish(running.pop(pid), status)] += 1
    for name, function in alone:
        counts[run_one(name, function, keep)] += 1


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("--keep", action="store_true", help="leave the scenarios' directories")
    parser.add_argument("--list", action="store_true", help="only say what there is")
    parser.add_argument("--jobs", type=int, choices=range(1, 65), metavar="N", default=1, help="at a time (1)")
    parser.add_argument("words", nargs="*", metavar="WORD", help="part of a scenario's name")
    asked = parser.parse_args(arguments)
    chosen = [(n, f) for n, f in scenarios() if not asked.words or any(w in n for w in asked.words)]
    if asked.list:
        for name, function in chosen:
            say(f"{name:32} {(function.__doc__ or '').strip().splitlines()[0] if function.__doc__ else ''}")
        return 0
    counts = dict.fromkeys(CODES, 0)
    run_side_by_side(chosen, asked.keep, asked.jobs, counts)
    say(f"e2e: {counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    return 1 if counts["failed"] or not chosen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
