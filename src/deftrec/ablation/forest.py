"""Differences with their intervals as inline SVG: one row a variant, zero is the recipe."""

from collections.abc import Sequence
from html import escape

from deftrec.ablation.comparison import Comparison

ROW, LEFT, RIGHT, TOP, BOTTOM = 24, 190, 70, 10, 34
WIDTH = 760
TICKS = 5


def forest(rows: Sequence[Comparison], title: str) -> str:
    """A dot for the difference and a line for its interval; colours are the page's variables.

    Args:
        rows: of one split and one metric, at least one.
        title: what a reader who cannot see the plot is told.
    """
    low = min(0.0, *(row.ci95[0] for row in rows))
    high = max(0.0, *(row.ci95[1] for row in rows))
    step = _step(max(high - low, 1e-6))
    first, last = _floor(low, step), max(-_floor(-high, step), step)
    height = TOP + ROW * len(rows) + BOTTOM

    def x(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (value - first) / (last - first)

    parts = [
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}" font-size="12" '
        'font-family="inherit" xmlns="http://www.w3.org/2000/svg">'
    ]
    for n in range(round((last - first) / step) + 1):
        value = first + n * step
        colour = "axis" if abs(value) < step / 2 else "line"
        at = f"{x(value):.1f}"
        parts.append(
            f'<line x1="{at}" x2="{at}" y1="{TOP}" y2="{height - BOTTOM}" stroke="var(--{colour})"/>'
            f'<text x="{at}" y="{height - 14}" text-anchor="middle" fill="var(--soft)">'
            f"{0.0 if abs(value) < step / 2 else value:+.3g}</text>"
        )
    for number, row in enumerate(rows):
        y = TOP + ROW * (number + 0.5)
        clear = row.ci95[0] > 0 or row.ci95[1] < 0
        colour = "main" if clear else "faint"
        parts.append(
            f'<text x="{LEFT - 12}" y="{y + 4:.1f}" text-anchor="end" fill="var(--ink)">{escape(row.name)}</text>'
            f'<line x1="{x(row.ci95[0]):.1f}" x2="{x(row.ci95[1]):.1f}" y1="{y:.1f}" y2="{y:.1f}" '
            f'stroke="var(--{colour})" stroke-width="2"/>'
            f'<circle cx="{x(row.difference):.1f}" cy="{y:.1f}" r="4" fill="var(--{colour})"/>'
            f'<text x="{WIDTH - RIGHT + 12}" y="{y + 4:.1f}" fill="var(--ink)">{row.difference:+.4f}</text>'
        )
    return "".join(parts) + "</svg>"


def _step(span: float) -> float:
    """A round distance between ticks: 1, 2 or 5 times a power of ten."""
    power = 1.0
    while power > span / TICKS:
        power /= 10
    while power * 10 <= span / TICKS:
        power *= 10
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= span / TICKS)


def _floor(value: float, step: float) -> float:
    return step * (value // step)
