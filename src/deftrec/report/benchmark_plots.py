"""Plots of a benchmark's table: paired differences, accuracy against cost, and accuracy by group of users."""

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import numpy as np

from deftrec.benchmark.tables import DEFTREC, PeerComparison, SliceResult, SystemSummary, role_of
from deftrec.benchmark.verdict import CLEAR, p_value
from deftrec.formatting import metric_name
from deftrec.report.svg import LETTER, WIDTH, as_svg, empty_plot, label_points, matplotlib, name_rows
from deftrec.report.theme import stand_in

Difference: TypeAlias = tuple[float, tuple[float, float], float]
"""Difference between two systems on the same users, its 95 % interval, and the p-value of no difference."""
COLOURS = {"deftrec": "main", "part": "part", "peer": "peer"}  # colour role of a system by its role in the comparison

Cost = Literal["train_seconds", "users_per_second"]
COST_NAMES: dict[Cost, str] = {
    "train_seconds": "seconds of training, with the choice of settings and epochs",
    "users_per_second": "users ranked per second",
}


def forest(rows: Mapping[str, Difference], axis: str, label: str, key: str, digits: int = 3) -> str:
    """Draw a dot for each difference and a line for its interval, with value and p beside; first row on top.

    Blue: above zero; orange: below; grey: unclear. `axis` and `label` are texts under the horizontal axis and for
    readers who cannot see the plot, `key` is unique on its page, and `digits` follow the decimal point.
    """
    figure, axes = empty_plot((WIDTH, 0.85 + 0.27 * len(rows)))
    axes.axvline(0, color=stand_in("axis"), linewidth=1.1, zorder=1)
    right = max([0.0, *(high for _, (_, high), _ in rows.values())])
    for place, (difference, interval, p) in enumerate(rows.values()):
        colour = stand_in("main" if difference > 0 else "path") if p < CLEAR else stand_in("faint")
        axes.plot(interval, [place, place], color=colour, linewidth=1.6, solid_capstyle="butt")
        axes.plot(difference, place, "o", color=colour, markersize=6, zorder=3)
        axes.annotate(
            f"{difference:+.{digits}f}  {p_value(p)}", (right, place), (8, 0), textcoords="offset points",
            va="center", fontsize=LETTER, color=stand_in("soft"), annotation_clip=False,
        )  # fmt: skip
    name_rows(axes, list(rows))
    axes.margins(x=0.05)
    axes.xaxis.get_major_locator().set_params(nbins=3)
    axes.set_xlabel(axis)
    return as_svg(figure, f"forest {key}", label)


def differences(comparisons: Sequence[PeerComparison], metric: str, key: str) -> tuple[str, str]:
    """Draw DeftRec minus each peer by one metric, best peer on top, and return title and plot."""
    rows = {one.peer: (one.difference, one.ci95, one.p) for one in comparisons if one.metric == metric}
    title = f"{metric_name(metric)}, DeftRec minus each peer"
    return title, forest(rows, f"{metric_name(metric)}: DeftRec minus the peer", title, f"{metric} {key}")


def cost(summaries: Sequence[SystemSummary], axis: Cost, key: str) -> str:
    """Draw NDCG@10 against a cost on a logarithmic axis, one named point per system of known cost.

    `key` is the key of the table.
    """
    known = [one for one in summaries if getattr(one, axis) is not None]
    known.sort(key=lambda one: one.role == "peer")  # DeftRec's names are placed first
    points = np.array([[max(getattr(one, axis), 1e-3), one.metrics["ndcg@10"]] for one in known]).reshape(-1, 2)
    figure, axes = empty_plot((WIDTH, 3.7), grid="both")
    axes.set_xscale("log")
    decades = float(np.ptp(np.log10(points[:, 0]))) if len(points) else 0.0
    axes.xaxis.set_major_locator(matplotlib("ticker").LogLocator(subs=(1, 2, 5) if decades < 2.5 else (1,)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")
    axes.xaxis.set_minor_formatter(lambda value, _: "")
    axes.scatter(
        *points.T, s=[64 if one.name == DEFTREC else 34 for one in known], linewidths=0.9, zorder=3,
        color=[stand_in(COLOURS[one.role]) for one in known], edgecolors=stand_in("surface"),
    )  # fmt: skip
    axes.margins(x=0.16, y=0.1)
    axes.set_xlabel(COST_NAMES[axis])
    axes.set_ylabel("NDCG@10")
    labels = [(one.name, "main" if one.name == DEFTREC else "soft") for one in known]
    label_points(figure, axes, points, labels, points)
    return as_svg(figure, f"cost {axis} {key}", f"NDCG@10 against {COST_NAMES[axis]}")


def slices(parts: Sequence[SliceResult], best_peer: str | None, key: str) -> str:
    """Draw NDCG@10 of every system in each group of one property.

    DeftRec and the best peer on all users (None without a peer) have lines; the others dots. `key` names the table.
    """
    figure, axes = empty_plot((WIDTH, 2.9), grid="y")
    places = np.arange(len(parts))
    lines = {best_peer: ("path", 6, 4), DEFTREC: ("main", 7, 5)}
    for name in parts[0].metrics:
        values = [part.metrics[name]["ndcg@10"] for part in parts]
        if name in lines:
            role, size, order = lines[name]
            axes.plot(places, values, "o-", color=stand_in(role), linewidth=1.8, markersize=size, zorder=order)
        else:
            axes.plot(places, values, "o", color=stand_in(COLOURS[role_of(name)]), markersize=4.5, alpha=0.8, zorder=3)
    axes.set_xticks(places, [f"{part.name}\n{part.users:,} users" for part in parts])
    axes.set_xlim(-0.4, len(parts) - 0.6)
    axes.set_ylim(bottom=0)
    axes.tick_params(axis="x", length=0, labelcolor=stand_in("ink"), labelsize=LETTER)
    axes.set_ylabel("NDCG@10")
    return as_svg(figure, f"slices {parts[0].by} {key}", f"NDCG@10 by {parts[0].by}")
