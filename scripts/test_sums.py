#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Sums for scripts/test: test_sums.py MESON_TESTLOG_JSON GTEST_DIRECTORY. Prints "passed N", then a line "failed NAME" or
"skipped NAME: reason" for each other. A GoogleTest program counts by its cases, any other test as one."""
import json
import os
import sys
import xml.etree.ElementTree as tree


def cases(path):
    """(name, "passed" or "failed" or "skipped", reason) of each case of a JUnit file."""
    for suite in tree.parse(path).getroot().iter("testsuite"):
        for case in suite.iter("testcase"):
            skipped = case.find("skipped")
            name = f"{case.get('classname')}.{case.get('name')}"
            if case.find("failure") is not None or case.find("error") is not None:
                yield name, "failed", ""
            elif skipped is not None or case.get("status") == "notrun":
                text = (skipped.get("message") or skipped.text or "") if skipped is not None else "disabled"
                yield name, "skipped", " ".join(text.split())[:200]
            else:
                yield name, "passed", ""


def programs(path):
    """(name, outcome, reason) of each line of meson's testlog.json; its JUnit file is no XML when a test printed control
    characters."""
    with open(path, encoding="utf-8") as file:
        for line in file:
            test = json.loads(line)
            outcome = {"OK": "passed", "EXPECTEDFAIL": "passed", "SKIP": "skipped"}.get(test["result"], "failed")
            reason = " ".join((test.get("stdout") or "").split()[-30:]) if outcome == "skipped" else test["result"]
            yield test["name"].rsplit(" / ", 1)[-1].rsplit(":", 1)[-1].strip(), outcome, reason


def main(log, directory):
    good, other = 0, []
    for program, outcome, reason in programs(log):
        inner = [os.path.join(directory, f"{name}.xml") for name in (program, f"{program}-test", f"teal-{program}")]
        inner = [c for path in inner if os.path.exists(path) for c in cases(path)]
        # A program that crashed or was stopped by a sanitizer fails whatever its cases say.
        if not inner or (outcome == "failed" and all(c[1] != "failed" for c in inner)):
            inner = [(program, outcome, reason)]
        good += sum(c[1] == "passed" for c in inner)
        other += [f"{c[1]} {program}: {c[0]}" + (f": {c[2]}" if c[2] else "") for c in inner if c[1] != "passed"]
    print(f"passed {good}")
    print("\n".join(sorted(other)))


if __name__ == "__main__":
    main(*sys.argv[1:3])
