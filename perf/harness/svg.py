# SPDX-License-Identifier: Apache-2.0
"""Drawings as inline SVG: lines over a logarithmic or plain axis with whiskers from minimum to maximum, and bars."""
import html
import math

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#8c564b")  # Okabe and Ito
WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 62, 12, 14, 44


def number(value):
    """For an axis or a label: 1.2M, 350, 0.25."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def ticks(low, high, count=5):
    """Round values that cover low to high."""
    span = max(high - low, 1e-12)
    step = 10 ** math.floor(math.log10(span / count))
    for times in (1, 2, 5, 10):
        if span / (step * times) <= count:
            step *= times
            break
    first = math.floor(low / step)
    return [i * step for i in range(first, math.ceil(high / step) + 1)]


class _Scale:
    def __init__(self, low, high, start, end, log):
        self.log = log and low > 0
        self.low, self.high = (math.log10(low), math.log10(high)) if self.log else (low, high)
        if self.high == self.low:
            self.high = self.low + 1
        self.start, self.end = start, end

    def __call__(self, value):
        value = math.log10(max(value, 1e-12)) if self.log else value
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def marks(self):
        if not self.log:
            return [t for t in ticks(self.low, self.high) if self.low <= t <= self.high]
        steps = (1,) if self.high - self.low > 2 else (1, 2, 5)
        all_marks = (s * 10.0 ** e for e in range(math.floor(self.low), math.ceil(self.high) + 1) for s in steps)
        return [m for m in all_marks if self.low - 1e-9 <= math.log10(m) <= self.high + 1e-9]


def _text(x, y, text, anchor="middle", extra=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {extra}>{html.escape(str(text))}</text>'


def _frame(body, label, height=HEIGHT):
    return (f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{html.escape(label, quote=True)}" '
            f'xmlns="http://www.w3.org/2000/svg">{"".join(body)}</svg>')


def lines(series, x_label, y_label, log_x=True, log_y=False):
    """`series`: {name: [(x, y, low, high), ...]}; low and high may be None."""
    points = [p for values in series.values() for p in values]
    xs = [p[0] for p in points]
    ys = [v for p in points for v in p[1:] if v is not None]
    x_of = _Scale(min(xs), max(xs), LEFT + 6, WIDTH - RIGHT - 6, log_x)
    bottom = min(v for v in ys if v > 0) if log_y else min(0, *ys)
    grid = ticks(bottom, max(ys)) if not log_y else None
    y_of = _Scale(grid[0] if grid else bottom, grid[-1] if grid else max(ys), HEIGHT - BOTTOM, TOP, log_y)
    body = []
    for y in grid or y_of.marks():
        body.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y_of(y):.1f}" y2="{y_of(y):.1f}"/>')
        body.append(_text(LEFT - 6, y_of(y) + 4, number(y), "end"))
    for x in sorted(set(xs)) if len(set(xs)) <= 9 else x_of.marks():
        body.append(_text(x_of(x), HEIGHT - BOTTOM + 16, number(x)))
    body.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, x_label))
    body.append(_text(14, (TOP + HEIGHT - BOTTOM) / 2, y_label, "middle", f'transform="rotate(-90 14 {(TOP + HEIGHT - BOTTOM) / 2})"'))
    for i, (name, values) in enumerate(series.items()):
        colour = COLOURS[i % len(COLOURS)]
        values = sorted(values)
        path = " ".join(f"{x_of(p[0]):.1f},{y_of(p[1]):.1f}" for p in values)
        body.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{path}"/>')
        for x, y, low, high in values:
            if low is not None:
                body.append(f'<line stroke="{colour}" x1="{x_of(x):.1f}" x2="{x_of(x):.1f}" y1="{y_of(low):.1f}" y2="{y_of(high):.1f}"/>')
            body.append(f'<circle fill="{colour}" r="3" cx="{x_of(x):.1f}" cy="{y_of(y):.1f}"><title>{html.escape(name)}: '
                        f'{number(x)}, {number(y)}</title></circle>')
    return _frame(body, f"{y_label} by {x_label}") + legend(series)


def legend(names):
    items = "".join(f'<span><i style="background:{COLOURS[i % len(COLOURS)]}"></i>{html.escape(n)}</span>' for i, n in enumerate(names))
    return f'<p class="legend">{items}</p>'


def bars(rows, unit):
    """`rows`: [(name, value, low, high)], drawn lying."""
    height = 26 * len(rows) + 34
    most = max(max(r[1], r[3] or 0) for r in rows) or 1
    left = 190
    x_of = _Scale(0, most, left, WIDTH - 70, False)
    body = []
    for i, (name, value, low, high) in enumerate(rows):
        y = 10 + 26 * i
        body.append(_text(left - 8, y + 14, name, "end"))
        body.append(f'<rect fill="{COLOURS[i % len(COLOURS)]}" x="{left}" y="{y}" width="{max(1, x_of(max(value, 0)) - left):.1f}" height="18"/>')
        if low is not None:
            body.append(f'<line class="whisker" x1="{x_of(max(low, 0)):.1f}" x2="{x_of(max(high, 0)):.1f}" y1="{y + 9}" y2="{y + 9}"/>')
        body.append(_text(x_of(max(0, value, high or 0)) + 6, y + 14, number(value), "start"))
    body.append(_text((left + WIDTH) / 2, height - 8, unit))
    return _frame(body, unit, height)
