"""Forest plot: paired differences between systems with their intervals."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from deftrec.benchmark.verdict import CLEAR, p_value
from deftrec.report.svg import as_svg, empty_plot
from deftrec.report.theme import stand_in

WIDTH = 4.9
LETTER = 8.5
"""Font size of texts beside points, in points."""


class Difference(Protocol):
    """Difference between two systems on the same users."""

    @property
    def difference(self) -> float:
        """Difference of the means."""

    @property
    def ci95(self) -> tuple[float, float]:
        """95 % interval of the difference."""

    @property
    def p(self) -> float:
        """p-value of no difference."""


def forest(rows: Mapping[str, Difference], axis: str, label: str, key: str, digits: int = 3) -> str:
    """Draw a dot for each difference and a line for its interval, with value and p beside; first row on top.

    Blue: above zero; orange: below; grey: unclear.

    Args:
        rows: differences by the name of their row.
        axis: text under the horizontal axis.
        label: text for readers who cannot see the plot.
        key: key of the plot, unique on its page.
        digits: digits of the values after the decimal point.
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
