"""Plots in the style of the report, their labels, and their conversion to inline SVG."""

import io
import logging
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from html import escape
from importlib import import_module
from typing import Any

import numpy as np

from deftrec.errors import MissingExtraError
from deftrec.report.theme import fill_in, stand_in

WIDTH = 4.9  # width of a plot that shares its row with another, in inches
LETTER = 8.5  # font size of texts beside points, in points


def empty_plot(size: tuple[float, float], grid: str = "") -> tuple[Any, Any]:
    """Make an empty plot without top and right edge; `grid` names the axes with grid lines: x, y or both."""
    with _style():
        figure = matplotlib("figure").Figure(figsize=size, layout="constrained")
        axes = figure.add_subplot(axisbelow=True, facecolor="none")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[:].set_color(stand_in("axis"))
    axes.tick_params(color=stand_in("axis"), labelcolor=stand_in("soft"), labelsize=9, length=3)
    if grid:
        axes.grid(axis=grid, color=stand_in("line"), linewidth=0.8)
    return figure, axes


def name_rows(axes: Any, names: Sequence[str]) -> None:
    """Write names at the heights 0, 1, ... of a plot, the first on top."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0, labelcolor=stand_in("ink"))
    axes.spines["left"].set_visible(False)


def label_points(
    figure: Any, axes: Any, points: np.ndarray, labels: Sequence[tuple[str, str]], obstacles: np.ndarray
) -> None:
    """Write a label beside each point where it covers least of the obstacles and of earlier labels.

    Args:
        figure, axes: plot with its final limits.
        points: positions of the labels' points, in data. `[N, 2]`
        labels: text and colour role of each label; those of the role `main` are bold.
        obstacles: positions of all points to keep free, in data. `[M, 2]`
    """
    figure.draw_without_rendering()  # positions are known only after layout
    box_of = matplotlib("transforms").Bbox
    scale, frame = figure.dpi / 72, axes.get_window_extent()
    around = np.array([[-4.5, -4.5], [4.5, 4.5]]) * scale
    occupied = [box_of(around + place) for place in axes.transData.transform(obstacles)]
    ways = [(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1)]
    for point, (text, role) in zip(points, labels, strict=True):
        label = axes.annotate(
            text, point, (0, 0), textcoords="offset points", ha="center", va="center", fontsize=LETTER,
            color=stand_in(role), fontweight="bold" if role == "main" else "normal", zorder=7,
        )  # fmt: skip
        box = label.get_window_extent()
        best = (np.inf, (0.0, 0.0), box)
        for order, (reach, way) in enumerate((reach, way) for reach in (1.0, 1.9, 2.8) for way in ways):
            away = np.multiply(way, [box.width / 2 + 7 * scale * reach, box.height / 2 + 5.5 * scale * reach])
            moved = box.translated(*away)
            shared = [box_of.intersection(moved, other) for other in occupied]
            covered = sum(one.width * one.height for one in shared if one is not None)
            outside = not (frame.contains(*moved.min) and frame.contains(*moved.max))
            best = min(best, (covered + 1e6 * outside + order, tuple(away / scale), moved), key=lambda one: one[0])
        label.set_position(best[1])
        occupied.append(best[2])


def as_svg(figure: Any, salt: str, label: str) -> str:
    """Convert a plot to an SVG element without metadata or fixed size, with ids that are unique on the page."""
    buffer = io.StringIO()
    with _style(salt):
        none = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=none)
    opening, _, rest = buffer.getvalue().partition("<svg")[2].partition(">")
    box = re.search(r'viewBox="[^"]*"', opening)
    assert box is not None
    prefix = re.sub(r"\W+", "-", salt.lower())
    for reference in (' id="', "url(#", 'href="#'):
        rest = rest.replace(reference, f"{reference}{prefix}-")
    rest = rest.replace("xlink:href", "href")
    return f'<svg {box.group()} role="img" aria-label="{escape(label)}">' + fill_in(rest)


def _style(salt: str = "") -> AbstractContextManager[None]:
    """Keep text as text, show dollar signs unchanged, and make the output reproducible."""
    names = {"axes.labelcolor": stand_in("soft"), "axes.labelsize": 9}
    text = {"svg.fonttype": "none", "svg.hashsalt": salt, "text.parse_math": False, "font.size": 9.5}
    context: AbstractContextManager[None] = matplotlib().rc_context(names | text)
    return context


def matplotlib(part: str = "") -> Any:
    """Import matplotlib, or a part of it; a `MissingExtraError` if it is not installed."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    try:
        return import_module(f"matplotlib.{part}" if part else "matplotlib")
    except ModuleNotFoundError as error:
        raise MissingExtraError("matplotlib", "report", "drawing the report") from error
