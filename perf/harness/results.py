# SPDX-License-Identifier: Apache-2.0
"""What a run found: rows of figures by round, kept as JSON.

A row: part, subject, params (what was varied, as {"flows": 1000}), unit, better ("less" or "more"), rounds (one figure
each), floor (the figures of its floor in the same rounds, where there is one: `rounds` are net of it already), and
median, min and max of the rounds. `tail` holds percentiles where a row is a distribution.
"""
import json
import math
import os
import statistics

FORMAT = 1
PERCENTILES = (1, 5, 25, 50, 75, 90, 95, 99, 99.9, 100)


class BadFile(Exception):
    """A results file that cannot be used: one line."""


def percentile(ordered, percent):
    """Of a sorted list, the smallest value that `percent` of the values do not exceed."""
    return ordered[min(len(ordered) - 1, max(0, math.ceil(len(ordered) * percent / 100) - 1))]


def distribution(values):
    """-> {"50": ..., "99.9": ...} of a list of figures."""
    ordered = sorted(values)
    return {f"{p:g}": percentile(ordered, p) for p in PERCENTILES}


class Results:
    def __init__(self, machine, quick):
        self.head = {"format": FORMAT, "machine": machine, "quick": quick}
        self.rows = []
        self.skipped = []
        self.notes = {}

    def add(self, part, subject, rounds, unit, better="less", floor=None, tail=None, **params):
        if not rounds:
            raise ValueError(f"{part} {subject}: no figure at all")
        row = {"part": part, "subject": subject, "params": params, "unit": unit, "better": better,
               "rounds": [float(f"{x:.6g}") for x in rounds], "median": float(f"{statistics.median(rounds):.6g}"),
               "min": float(f"{min(rounds):.6g}"), "max": float(f"{max(rounds):.6g}")}
        if floor:
            row["floor"] = [float(f"{x:.6g}") for x in floor]
        if tail:
            row["tail"] = {k: float(f"{v:.6g}") for k, v in tail.items()}
        self.rows.append(row)
        return row

    def skip(self, part, what, why):
        self.skipped.append({"part": part, "what": what, "why": why})

    def note(self, part, text):
        """A fact that goes with a part's figures, for people."""
        self.notes.setdefault(part, []).append(text)

    def document(self):
        return {**self.head, "rows": self.rows, "skipped": self.skipped, "notes": self.notes}

    def save(self, path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + ".new", "w", encoding="utf-8") as file:
            json.dump(self.document(), file, indent=1)
            file.write("\n")
        os.replace(path + ".new", path)


def load(path):
    """-> the document of a results file, or of the newest one in a directory."""
    if os.path.isdir(path):
        names = sorted(n for n in os.listdir(path) if n.endswith(".json"))
        if not names:
            raise BadFile(f"{path}: no results in it; expected NAME.json of perf/run")
        path = os.path.join(path, names[-1])
    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
    except (OSError, ValueError) as error:
        raise BadFile(f"{path}: {error}; expected results of perf/run") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        found = document.get("format") if isinstance(document, dict) else type(document).__name__
        raise BadFile(f"{path}: format {found}, expected {FORMAT}")
    return document


def load_all(paths):
    """-> one document of several runs, "A.json,B.json": each row has the rounds of all of them."""
    documents = [load(path) for path in paths.split(",")]
    first = documents[0]
    rows = {key(row): row for row in first["rows"]}
    for other in documents[1:]:
        for row in other["rows"]:
            if key(row) not in rows:
                rows[key(row)] = row
                continue
            same = rows[key(row)]
            same["rounds"] = same["rounds"] + row["rounds"]
            same.update(median=statistics.median(same["rounds"]), min=min(same["rounds"]), max=max(same["rounds"]))
    return {**first, "rows": list(rows.values()), "runs": len(documents)}


def key(row):
    """What makes two rows of two runs the same measurement."""
    return row["part"], row["subject"], tuple(sorted((k, str(v)) for k, v in row["params"].items())), row["unit"]


def label(row):
    params = ", ".join(f"{k} {short(v)}" for k, v in row["params"].items())
    return f"{row['subject']}{' (' if params else ''}{params}{')' if params else ''}"


def short(value):
    """1000000 -> 1M; texts as they are."""
    if isinstance(value, bool) or not isinstance(value, int):
        return f"{value:g}" if isinstance(value, float) else str(value)
    for size, unit in ((1_000_000, "M"), (1_000, "k")):
        if value >= size and value % (size // 10) == 0:
            return f"{value / size:g}{unit}"
    return str(value)
