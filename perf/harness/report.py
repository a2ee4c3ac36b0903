# SPDX-License-Identifier: Apache-2.0
"""One self-contained HTML page of a results file: drawings first, then every row, then what was not measured."""
import html

import results as kept
import sizing
import svg

STYLE = """
:root { color-scheme: light dark; --line: #8884; --dim: #777; }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 1340px; margin: 1.5em auto; padding: 0 1em; }
h2 { margin-top: 2em; border-bottom: 1px solid var(--line); }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(420px, 1fr)); gap: 1.5em; }
figure { margin: 0; } figcaption { font-weight: 600; margin-bottom: .3em; }
svg { width: 100%; height: auto; font: 12px system-ui, sans-serif; } svg text { fill: currentColor; }
.grid { stroke: var(--line); } .whisker { stroke: currentColor; stroke-width: 1.5; }
.legend { margin: .2em 0; font-size: 13px; } .legend span { margin-right: 1em; white-space: nowrap; }
.legend i { display: inline-block; width: .8em; height: .8em; margin-right: .35em; }
table { border-collapse: collapse; font-size: 13px; } td, th { padding: .15em .7em; border-bottom: 1px solid var(--line); text-align: left; }
td.n { text-align: right; font-variant-numeric: tabular-nums; } .dim { color: var(--dim); }
"""

# (part, title, x parameter, x label, subjects or None for all, the other parameters' fixed values)
LINES = (
    ("worker", "A worker's packet by flows (net of the floor)", "flows", "flows in the table",
     {"services": 1, "backends": 4, "burst": 32, "syn_percent": 0}),
    ("worker", "A worker's packet by services", "services", "services", {"backends": 4, "burst": 32, "syn_percent": 0}),
    ("worker", "A worker's packet by backends of a service", "backends", "backends", {"services": 1, "burst": 32, "syn_percent": 0}),
    ("worker", "A worker's packet by burst", "burst", "packets a burst", {"services": 1, "backends": 4, "syn_percent": 0}),
    ("worker", "A worker's packet by share of new flows", "syn_percent", "SYNs, %", {"services": 1, "backends": 4, "burst": 32}),
    ("xdp", "The XDP program's packet by flows (net of the wrapper)", "flows", "flows in the table", {}),
    ("micro", "Flow table by flows, half full", "flows", "flows in the table", {"load": 50}),
    ("micro", "Flow table by load", "load", "% of the slots", {"flows": 1_000_000}),
    ("micro", "Maglev table by backends", "backends", "backends", {}),
    ("floors", "Floors: DPDK's own programs by flows", "flows", "flows in the input", {}),
    ("cutover", "Cutover by services, median", "services", "services", {}),
    ("cutover", "Round trip of a kept flow around the instant", "after_ms", "milliseconds after the instant", {}),
    ("memory", "Bytes by flows", "flows", "flows of capacity", {}),
)


def _series(rows, part, x, fixed):
    """-> {(unit): {name: [(x, median, min, max)]}} of the rows with that parameter, at least two points a line."""
    out = {}
    for row in rows:
        params = row["params"]
        if row["part"] != part or x not in params or ("after_ms" in params) != (x == "after_ms") or any(params.get(k, v) != v for k, v in fixed.items()):
            continue
        rest = {k: v for k, v in params.items() if k != x and k not in fixed}
        name = kept.label({"subject": row["subject"], "params": rest})
        out.setdefault(row["unit"], {}).setdefault(name, []).append((params[x], row["median"], row["min"], row["max"]))
    for unit in list(out):
        lines = {n: p for n, p in out[unit].items() if len({q[0] for q in p}) > 1}
        if lines:
            out[unit] = lines
        else:
            del out[unit]
    return out


def _worth_log(lines):
    xs = [p[0] for points in lines.values() for p in points]
    return min(xs) > 0 and max(xs) / min(xs) > 20


def _figure(title, drawing):
    return f"<figure><figcaption>{html.escape(title)}</figcaption>{drawing}</figure>"


def charts(rows):
    out = []
    for part, title, x, label, fixed in LINES:
        for unit, lines in _series(rows, part, x, fixed).items():
            names = list(lines)
            for at in range(0, len(names), 7):  # more lines cannot be told apart
                some = {n: lines[n] for n in names[at:at + 7]}
                out.append(_figure(title, svg.lines(some, label, unit, log_x=_worth_log(some))))
    return out


def peers(rows):
    """One drawing for each subject of the peers' part: teal beside what else one could run."""
    groups = {}
    for row in rows:
        if row["part"] == "peers" and "peer" in row["params"]:
            rest = ", ".join(f"{k} {v}" for k, v in row["params"].items() if k != "peer")
            groups.setdefault((row["subject"] + (f" ({rest})" if rest else ""), row["unit"]), []).append(
                (row["params"]["peer"], row["median"], row["min"], row["max"]))
    return [_figure(subject, svg.bars(values, unit)) for (subject, unit), values in groups.items()]


def tails(rows):
    """Latency distributions: value by percentile, one drawing a part and unit."""
    groups = {}
    for row in rows:
        if len(row.get("tail", {})) > 3:
            groups.setdefault((row["part"], row["subject"], row["unit"]), {})[kept.label(row)] = [
                (100 / (100 - float(p)), v, None, None) for p, v in row["tail"].items() if 50 <= float(p) < 100]
    out = []
    for (part, subject, unit), lines in groups.items():
        names = list(lines)
        for at in range(0, len(names), 7):
            some = {n: lines[n] for n in names[at:at + 7]}
            out.append(_figure(f"{part}: {subject}, distribution",
                               svg.lines(some, "one in so many is above (2: the median)", unit,
                                         log_y=all(p[1] > 0 for line in some.values() for p in line))))
    return out


def table(rows):
    out = ["<table><tr><th>subject<th>unit<th>median<th>min<th>max<th>rounds<th>floor"]
    for row in rows:
        floor = f"{sorted(row['floor'])[len(row['floor']) // 2]:.4g}" if row.get("floor") else ""
        out.append(f"<tr><td>{html.escape(kept.label(row))}<td>{html.escape(row['unit'])}"
                   + "".join(f'<td class="n">{row[k]:.5g}' for k in ("median", "min", "max"))
                   + f'<td class="n">{len(row["rounds"])}<td class="n">{floor}')
    return "".join(out) + "</table>"


def sized(document):
    rows = sizing.table(document)
    if not rows:
        return []
    wanted = list(rows[0]["cores"])
    out = ["<h2>Sizing</h2><p>Cores for a NIC's line rate in one direction, NAT over IPv4 (docs/sizing.md). "
           + html.escape(sizing.bottleneck(rows)) + "</p><table><tr><th>flows<th>cycles a packet<th>Mpps a core"
           + "".join(f"<th>{gbit} GbE, {size}" for gbit, size in wanted)]
    for row in rows:
        out.append(f"<tr><td>{kept.short(row['flows'])}<td class=n>{row['cycles']:.0f}<td class=n>{row['mpps_a_core']:.1f}"
                   + "".join(f"<td class=n>{row['cores'][w]}" for w in wanted))
    return ["".join(out) + "</table>"]


def page(document):
    m = document["machine"]
    versions = ", ".join(f"{k} {v}" for k, v in m["versions"].items())
    body = [f"<h1>teal, measured</h1><p>commit {html.escape(m['commit'])}, {m['when']}<br>{html.escape(m['cpu'])}, {m['cpus']} CPUs, "
            f"{m['memory_mib'] // 1024} GiB{', virtual machine' if m['hypervisor'] else ''}, kernel {html.escape(m['kernel'])}<br>"
            f"{html.escape(versions)}<br>load average at the start {m['load_average']:.2f}"
            f"{'; a quick run' if document['quick'] else ''}</p>"
            '<p class="dim">Points are medians of the rounds, whiskers their minimum and maximum.</p>']
    rows = document["rows"]
    for title, drawn in (("Growth", charts(rows)), ("Beside the peers", peers(rows)), ("Distributions", tails(rows))):
        if drawn:
            body.append(f"<h2>{title}</h2><div class=charts>{''.join(drawn)}</div>")
    body += sized(document)
    for part in dict.fromkeys(r["part"] for r in rows):
        body.append(f"<h2>{html.escape(part)}</h2>")
        for note in document["notes"].get(part, []):
            body.append(f'<p class="dim">{html.escape(note)}</p>')
        body.append(table([r for r in rows if r["part"] == part]))
    if document["skipped"]:
        body.append("<h2>Not measured</h2><ul>" + "".join(
            f"<li>{html.escape(s['part'])}: {html.escape(s['what'])}: {html.escape(s['why'])}" for s in document["skipped"]) + "</ul>")
    return (f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
            f"<title>teal, measured</title><style>{STYLE}</style><body>{''.join(body)}</body></html>\n")


def write(path):
    """Draws a results file's page beside it -> its path."""
    out = path.removesuffix(".json") + ".html"
    with open(out, "w", encoding="utf-8") as file:
        file.write(page(kept.load(path)))
    return out
