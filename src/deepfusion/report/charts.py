"""Line charts as SVG in the page's own colours, so that they follow light and dark mode."""

from collections.abc import Sequence
from statistics import mean, stdev
from typing import Any

import numpy as np
from markupsafe import Markup, escape

from deepfusion.report.base_template import SERIES

WIDTH, HEIGHT = 340, 230
LEFT, RIGHT, TOP, BOTTOM = 48, 330, 26, 180  # of the plot's area
DASHES = ("", "6 3", "2 3", "8 3 2 3")
TICKS = 5


def line_chart(what: str, x: Sequence[str], y: str, series: Sequence[dict[str, Any]]) -> Markup:
    """Means over the folds as points joined by lines; bars: standard deviation over the folds.

    Args:
        what: Name of the x axis.
        x: Values of the x axis, drawn at equal distances.
        y: Name of the y axis.
        series: `name`, and `values`: for each x the values of the folds (0 or more), or None. Colours and dashes
            repeat after four.
    """
    points = [[(mean(v), stdev(v) if len(v) > 1 else 0.0) if v else None for v in one["values"]] for one in series]
    ends = [end for of in points for point in of if point for end in (max(0, point[0] - point[1]), sum(point))]
    ticks = _ticks(min(ends), max(ends))
    across = np.linspace(LEFT + 18, RIGHT - 18, len(x)) if len(x) > 1 else np.array([(LEFT + RIGHT) / 2])

    def height(value: float) -> float:
        return BOTTOM - (value - ticks[0]) / (ticks[-1] - ticks[0]) * (BOTTOM - TOP)

    parts = [f'<text x="4" y="14">{escape(y)}</text>']
    for tick in ticks:
        parts.append(f'<path class="grid" d="M{LEFT} {height(tick):.1f}H{RIGHT}"/>')
        parts.append(f'<text class="end" x="{LEFT - 5}" y="{height(tick) + 4:.1f}">{tick:.4g}</text>')
    for place, text in zip(across, x, strict=True):
        parts.append(f'<text class="mid" x="{place:.1f}" y="{BOTTOM + 16}">{escape(text)}</text>')
    parts.append(f'<text class="mid" x="{(LEFT + RIGHT) / 2}" y="{BOTTOM + 32}">{escape(what)}</text>')
    for i, (one, of) in enumerate(zip(series, points, strict=True)):
        shift = 3 * (i - (len(series) - 1) / 2)  # keeps the bars of several series apart
        present = [(place, *point) for place, point in zip(across.tolist(), of, strict=True) if point]
        drawn = [(place + shift, height(m), height(max(0, m - s)), height(m + s)) for place, m, s in present]
        line = "L".join(f"{a:.1f} {b:.1f}" for a, b, _, _ in drawn)
        bars = "".join(f"M{a:.1f} {low:.1f}V{high:.1f}" for a, _, low, high in drawn)
        dash = DASHES[i % len(DASHES)]
        parts.append(f'<g class="s{i % SERIES}"><path d="M{line}" stroke-dasharray="{dash}"/><path d="{bars}"/>')
        parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3.5"/>' for a, b, _, _ in drawn]
        parts.append("</g>")
        if len(series) > 1:
            at = LEFT + i * (RIGHT - LEFT) / len(series)
            parts.append(
                f'<g class="s{i % SERIES}"><path d="M{at:.1f} {HEIGHT - 8}h18" stroke-dasharray="{dash}"/></g>'
                f'<text x="{at + 22:.1f}" y="{HEIGHT - 4}">{escape(one["name"])}</text>'
            )
    description = "; ".join(
        f"{one['name']}: " + ", ".join(f"{text}: {p[0]:.4g}" for text, p in zip(x, of, strict=True) if p)
        for one, of in zip(series, points, strict=True)
    )
    return Markup(
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(y)} over {escape(what)}. '
        f'{escape(description)}">{"".join(parts)}</svg>'
    )


def _ticks(low: float, high: float) -> np.ndarray:
    """About `TICKS` + 1 equally spaced round numbers that include both ends."""
    span = max(high - low, abs(high) * 1e-3, 1e-9) / TICKS
    size = 10.0 ** np.floor(np.log10(span))
    step = size * next(factor for factor in (1, 2, 5, 10) if factor * size >= span)
    return np.arange(np.floor(low / step), np.ceil(max(high, low + span) / step) + 1) * step
