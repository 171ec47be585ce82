"""Paired differences with their intervals, a row a system: of a benchmark's peers and of an ablation's variants."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from deftrec.benchmark.verdict import CLEAR, p_value
from deftrec.report.svg import as_svg, empty_plot
from deftrec.report.theme import stand_in

WIDTH = 4.9
LETTER = 8.5
"""Size of the letters beside points, in points."""


class Difference(Protocol):
    """One system minus another, on the same users."""

    @property
    def difference(self) -> float:
        """Of the means."""

    @property
    def ci95(self) -> tuple[float, float]:
        """Its 95 % interval."""

    @property
    def p(self) -> float:
        """Of no difference."""


def forest(rows: Mapping[str, Difference], axis: str, label: str, key: str, digits: int = 3) -> str:
    """A dot for each difference and a line for its interval, with its value and p beside; the first row on top.

    Blue: above zero; orange: below; grey: unclear.

    Args:
        rows: by the name that is shown.
        axis: what is drawn, under it.
        label: what a reader who cannot see the plot is told.
        key: of the plot; ids on one page must differ.
        digits: of the values, after the point.
    """
    figure, axes = empty_plot((WIDTH, 0.85 + 0.27 * len(rows)))
    places = np.arange(len(rows))[::-1]
    axes.axvline(0, color=stand_in("axis"), linewidth=1.1, zorder=1)
    right = max([0.0, *(one.ci95[1] for one in rows.values())])
    for place, one in zip(places, rows.values(), strict=True):
        colour = stand_in("main" if one.difference > 0 else "path") if one.p < CLEAR else stand_in("faint")
        axes.plot(one.ci95, [place, place], color=colour, linewidth=1.6, solid_capstyle="butt")
        axes.plot(one.difference, place, "o", color=colour, markersize=6, zorder=3)
        axes.annotate(
            f"{one.difference:+.{digits}f}  {p_value(one.p)}", (right, place), (8, 0), textcoords="offset points",
            va="center", fontsize=LETTER, color=stand_in("soft"), annotation_clip=False,
        )  # fmt: skip
    axes.set_yticks(places, list(rows))
    axes.tick_params(axis="y", length=0, labelcolor=stand_in("ink"))
    axes.spines["left"].set_visible(False)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.margins(x=0.05)
    axes.xaxis.get_major_locator().set_params(nbins=3)
    axes.set_xlabel(axis, color=stand_in("soft"), fontsize=9)
    return as_svg(figure, f"forest {key}", label)
