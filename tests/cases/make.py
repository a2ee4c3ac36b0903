#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the case files. Usage: tests/cases/make.py [--check]   (--check: exits 1 when a committed one would change)"""
import json
import pathlib
import runpy
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True
import case  # noqa: E402


def main():
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        sys.exit(__doc__)
    stale, cases = [], 0
    for script in sorted(HERE.glob("*.py")):
        if script.name in ("make.py", "case.py"):
            continue
        case.Case.made = []
        runpy.run_path(str(script))
        cases += len(case.Case.made)
        text = "".join(json.dumps(line) + "\n" for c in case.Case.made for line in c.lines)
        target = script.with_suffix(".jsonl")
        if check:
            if not target.exists() or target.read_text() != text:
                stale.append(target.name)
        else:
            target.write_text(text)
    if stale:
        sys.exit("make.py would change: " + ", ".join(stale) + " (run tests/cases/make.py)")
    print(f"{cases} cases" + (" are what make.py makes" if check else " written"))


main()
