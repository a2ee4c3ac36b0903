# SPDX-License-Identifier: Apache-2.0
"""Two runs, row by row, and a verdict that knows noise.

A row has changed when the two runs' rounds do not overlap, and their medians differ by more than either run's rounds do
among themselves, and by more than 3 %. All else is noise. When the machine's own speed (the yardstick) differs by more than 10 %, no time has a verdict.
"""
import results as kept

LEAST = 0.03
YARDSTICK = 0.10


def overlap(a, b):
    return a["min"] <= b["max"] and b["min"] <= a["max"]


def spread(row):
    return row["max"] - row["min"]


def verdict(a, b):
    """-> "same", "better", "worse" or "unknown" (too few rounds)."""
    if len(a["rounds"]) < 3 or len(b["rounds"]) < 3:
        return "same" if a["median"] == b["median"] else "unknown"
    change = abs(b["median"] - a["median"])
    if overlap(a, b) or change <= max(spread(a), spread(b), LEAST * abs(a["median"])):
        return "same"
    return "better" if (b["median"] < a["median"]) == (a["better"] == "less") else "worse"


def yardstick(document):
    rows = [r for r in document["rows"] if r["part"] == "yardstick"]
    return rows[0]["median"] if rows else None


def compare(a, b):
    """-> {"rows": [(row of a, row of b, verdict)], "only_a", "only_b", "phase": note or ""}"""
    left, right = ({kept.key(r): r for r in d["rows"] if r["part"] != "yardstick"} for d in (a, b))
    phase = ""
    speed = yardstick(a), yardstick(b)
    if None not in speed and abs(speed[1] - speed[0]) > YARDSTICK * speed[0]:
        phase = (f"the machine itself ran at another speed: yardstick {speed[0]:.3g} and {speed[1]:.3g} cycles; "
                 "no verdict on times")
    rows = []
    for key, row in left.items():
        if key not in right:
            continue
        word = verdict(row, right[key])
        if phase and word != "same" and row["unit"] not in ("bytes", "instructions"):
            word = "unknown"
        rows.append((row, right[key], word))
    return {"rows": rows, "phase": phase, "only_a": [kept.label(r) for k, r in left.items() if k not in right],
            "only_b": [kept.label(r) for k, r in right.items() if k not in left]}


def text(a, b, out):
    lines = [f"A: {a['machine']['commit']} {a['machine']['when']} {a['machine']['cpu']}",
             f"B: {b['machine']['commit']} {b['machine']['when']} {b['machine']['cpu']}"]
    if a["machine"]["cpu"] != b["machine"]["cpu"] or a["machine"]["kernel"] != b["machine"]["kernel"]:
        lines.append("the two were measured on different machines or kernels")
    if out["phase"]:
        lines.append(out["phase"])
    if min(a.get("runs", 1), b.get("runs", 1)) < 2:
        lines.append("one run a side: by how much one start of a program differs from the next is not in its rounds; "
                     "give two or three, A1,A2 B1,B2")
    order = {"worse": 0, "better": 1, "unknown": 2, "same": 3}
    for row, other, word in sorted(out["rows"], key=lambda r: order[r[2]]):
        if word == "same":
            continue
        change = (other["median"] / row["median"] - 1) * 100 if row["median"] else float("nan")
        lines.append(f"{word.upper():8} {row['part']}: {kept.label(row)}: {row['median']:.4g} [{row['min']:.4g}, {row['max']:.4g}]"
                     f" -> {other['median']:.4g} [{other['min']:.4g}, {other['max']:.4g}] {row['unit']} ({change:+.1f} %)")
    count = {w: sum(1 for r in out["rows"] if r[2] == w) for w in order}
    for name in ("only_a", "only_b"):
        if out[name]:
            lines.append(f"{len(out[name])} rows {name.replace('_', ' ').upper()}: {'; '.join(out[name][:3])}")
    lines.append(f"verdict: {count['worse']} worse, {count['better']} better, {count['unknown']} unknown, "
                 f"{count['same']} within the rounds' spread")
    return "\n".join(lines)
