"""Plots of one table of a benchmark: accuracy against cost, and accuracy by group of users."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from deftrec.benchmark.tables import DEFTREC, SliceResult, SystemSummary
from deftrec.report.forest import LETTER, WIDTH
from deftrec.report.svg import as_svg, empty_plot, matplotlib
from deftrec.report.theme import stand_in

ROLES = {"deftrec": "main", "part": "part", "peer": "peer"}

Cost = Literal["train_seconds", "users_per_second"]
COST_NAMES: dict[Cost, str] = {
    "train_seconds": "seconds of training, with the choice of settings and epochs",
    "users_per_second": "users ranked per second",
}


def cost(summaries: Sequence[SystemSummary], axis: Cost, key: str) -> str:
    """Draw NDCG@10 against a cost on a logarithmic axis, one named point per system.

    Args:
        summaries: systems of one table; those of unknown cost are left out.
        axis: cost on the horizontal axis.
        key: key of the table.
    """
    known = [one for one in summaries if getattr(one, axis) is not None]
    points = np.array([[max(getattr(one, axis), 1e-3), one.metrics["ndcg@10"]] for one in known]).reshape(-1, 2)
    figure, axes = empty_plot((WIDTH, 3.7))
    axes.set_xscale("log")
    decades = float(np.ptp(np.log10(points[:, 0]))) if len(points) else 0.0
    ticks = matplotlib("ticker").LogLocator(subs=(1, 2, 5) if decades < 2.5 else (1,))
    axes.xaxis.set_major_locator(ticks)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")
    axes.xaxis.set_minor_formatter(lambda value, _: "")
    axes.grid(color=stand_in("line"), linewidth=0.8)
    edge = {"edgecolors": stand_in("surface"), "linewidths": 0.9}
    for one, point in zip(known, points, strict=True):
        size = 64 if one.name == DEFTREC else 34
        axes.scatter(*point, s=size, color=stand_in(ROLES[one.role]), zorder=3 if one.role == "peer" else 4, **edge)
    axes.margins(x=0.16, y=0.1)
    axes.set_xlabel(COST_NAMES[axis], color=stand_in("soft"), fontsize=9)
    axes.set_ylabel("NDCG@10", color=stand_in("soft"), fontsize=9)
    _name_points(figure, axes, points, known)
    return as_svg(figure, f"cost {axis} {key}", f"NDCG@10 against {COST_NAMES[axis]}")


def slices(parts: Sequence[SliceResult], best_peer: str | None, key: str) -> str:
    """Draw NDCG@10 of every system in each group: lines for DeftRec and the best peer, dots for the others.

    Args:
        parts: groups by one property.
        best_peer: name of the best peer on all users; None without a peer.
        key: key of the table.
    """
    figure, axes = empty_plot((WIDTH, 2.9))
    places = np.arange(len(parts))
    for name in parts[0].metrics:
        values = [part.metrics[name]["ndcg@10"] for part in parts]
        if name == DEFTREC:
            axes.plot(places, values, "o-", color=stand_in("main"), linewidth=1.8, markersize=7, zorder=5)
        elif name == best_peer:
            axes.plot(places, values, "o-", color=stand_in("path"), linewidth=1.8, markersize=6, zorder=4)
        else:
            role = "part" if name.startswith(f"{DEFTREC}/") else "peer"
            axes.plot(places, values, "o", color=stand_in(role), markersize=4.5, alpha=0.8, zorder=3)
    axes.set_xticks(places, [f"{part.name}\n{part.users:,} users" for part in parts])
    axes.set_xlim(-0.4, len(parts) - 0.6)
    axes.set_ylim(bottom=0)
    axes.tick_params(axis="x", length=0, labelcolor=stand_in("ink"), labelsize=LETTER)
    axes.grid(axis="y", color=stand_in("line"), linewidth=0.8)
    axes.set_ylabel("NDCG@10", color=stand_in("soft"), fontsize=9)
    return as_svg(figure, f"slices {parts[0].by} {key}", f"NDCG@10 by {parts[0].by}")


def _name_points(figure: Any, axes: Any, points: np.ndarray, named: Sequence[SystemSummary]) -> None:
    """Place names beside their points where they cover least; DeftRec's names are placed first."""
    figure.draw_without_rendering()  # positions are known only after layout
    scale = figure.dpi / 72
    at = axes.transData.transform(points)
    frame = axes.get_window_extent()
    occupied = [_box(point, 9 * scale, 9 * scale) for point in at]
    for n in sorted(range(len(named)), key=lambda n: named[n].role == "peer"):
        width, height = 0.58 * LETTER * len(named[n].name) * scale, 1.15 * LETTER * scale
        spots = []
        for reach in (1.0, 1.9, 2.8):
            for x, y in ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1)):
                away = np.array([x * (width / 2 + 7 * scale * reach), y * (height / 2 + 5.5 * scale * reach)])
                spots.append(at[n] + away)
        costs = []
        for order, spot in enumerate(spots):
            box = _box(spot, width, height)
            outside = box[0] < frame.x0 or box[2] > frame.x1 or box[1] < frame.y0 or box[3] > frame.y1
            costs.append(sum(_overlap(box, other) for other in occupied) + 1e6 * outside + order)
        spot = spots[int(np.argmin(costs))]
        occupied.append(_box(spot, width, height))
        role = "main" if named[n].name == DEFTREC else "soft"
        axes.annotate(
            named[n].name, points[n], tuple((spot - at[n]) / scale), textcoords="offset points", ha="center",
            va="center", fontsize=LETTER, color=stand_in(role), fontweight="bold" if role == "main" else "normal",
            zorder=6,
        )  # fmt: skip


def _box(centre: np.ndarray, width: float, height: float) -> tuple[float, float, float, float]:
    x, y = float(centre[0]), float(centre[1])
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, width) * max(0.0, height)
