"""Plots of a run as inline SVG: bars with intervals, training curves, and a denoising path over the item latents."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from deftrec.evaluation import Result
from deftrec.projection import Projection
from deftrec.recommender import Recommender
from deftrec.report.examples import Example
from deftrec.report.svg import as_svg, empty_plot
from deftrec.report.theme import stand_in

NARROW = (4.6, 2.9)
WIDE = (8.2, 5.6)
DOTS = 3000
"""Largest number of items in the background of the path."""
DRAWS = 8
"""Number of denoising paths, each from its own draw of noise."""
STEPS = 20
"""Number of steps of these paths."""


def bars(results: Sequence[Result], metric: str, title: str) -> str:
    """Draw one bar per system with its 95 % interval. All results must share one protocol."""
    figure, axes = empty_plot((NARROW[0], 0.95 + 0.36 * len(results)))
    values = [one.metrics[metric] for one in results]
    lows, highs = zip(*(one.ci95[metric] for one in results), strict=True)
    places = np.arange(len(results))[::-1]
    colours = [stand_in(_role(one.name)) for one in results]
    axes.barh(places, values, height=0.62, color=colours, linewidth=0)
    for place, low, high, value in zip(places, lows, highs, values, strict=True):
        axes.plot([low, high], [place, place], color=stand_in("ink"), linewidth=1.1, solid_capstyle="butt")
        axes.annotate(
            f"{value:.3f}", (high, place), (6, 0), textcoords="offset points", va="center", color=stand_in("ink"),
            fontsize=9, fontweight="bold" if _role(results[len(results) - 1 - place].name) == "main" else "normal",
        )  # fmt: skip
    axes.set_yticks(places, [one.name for one in results])
    axes.tick_params(axis="y", length=0, labelcolor=stand_in("ink"))
    axes.set_xlim(0, max(highs) * 1.16)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=stand_in("line"), linewidth=0.8)
    return as_svg(figure, f"bars {metric}", f"{title} of {', '.join(one.name for one in results)}")


def curve(rows: Sequence[dict[str, float]], key: str, title: str, best_epoch: int | None) -> str:
    """Draw one value per epoch; a dot marks the epoch whose weights were kept."""
    figure, axes = empty_plot(NARROW)
    known = [(row["epoch"], row[key]) for row in rows if key in row]
    epochs, values = zip(*known, strict=True)
    axes.plot(
        epochs, values, color=stand_in("main"), linewidth=1.8, marker="o" if len(known) < 3 else None, markersize=4
    )
    kept = [(epoch, value) for epoch, value in known if epoch == best_epoch]
    if kept:
        axes.plot(*kept[0], "o", color=stand_in("path"), markersize=6.5, markeredgecolor=stand_in("surface"), zorder=3)
    axes.margins(x=0.04, y=0.16)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(axis="y", color=stand_in("line"), linewidth=0.8)
    axes.set_xlabel("epoch", color=stand_in("soft"), fontsize=9)
    return as_svg(figure, f"curve {title} {key}", f"{title} by epoch")


def denoising_path(recommender: Recommender, example: Example) -> str:
    """Draw denoising paths from noise to a latent, in the plane of the two main axes of the item latents."""
    latents = recommender.catalogue.latents.cpu()
    plane = Projection.of(latents)
    interactions = recommender.interactions
    items = np.random.default_rng(0).permutation(len(latents))[:DOTS]
    paths = [plane(recommender.denoising_path(example.history, STEPS, seed)) for seed in range(DRAWS)]
    max_history = recommender.model.max_history
    past = plane(latents[interactions.item_numbers(example.history[-max_history:])])
    found = plane(latents[interactions.item_numbers([one.item for one in example.recommendations])])
    target = plane(latents[interactions.item_numbers([example.target_item])])

    figure, axes = empty_plot(WIDE)
    dots = plane(latents[items])
    axes.scatter(*dots.T, s=4, color=stand_in("dots"), linewidths=0)
    fresh = np.linspace(0.25, 0.95, len(past))
    axes.scatter(*past.T, s=17, marker="s", color=stand_in("past"), alpha=fresh, linewidths=0)
    for path in paths[1:]:
        axes.plot(*path.T, color=stand_in("path"), linewidth=0.8, alpha=0.45)
    axes.plot(*paths[0].T, color=stand_in("path"), linewidth=2.2)
    axes.plot(*np.stack([path[0] for path in paths]).T, "o", color=stand_in("path"), markersize=4, fillstyle="none")
    axes.plot(*np.stack([path[-1] for path in paths]).T, "o", color=stand_in("path"), markersize=4)
    edge = {"edgecolors": stand_in("surface"), "linewidths": 0.9}
    axes.scatter(*found.T, s=40, color=stand_in("main"), zorder=4, **edge)
    axes.scatter(*target.T, s=120, marker="*", color=stand_in("next"), zorder=5, **edge)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel(f"first axis ({plane.shares[0]:.0%} of the variance)", color=stand_in("soft"), fontsize=9)
    axes.set_ylabel(f"second axis ({plane.shares[1]:.0%})", color=stand_in("soft"), fontsize=9)
    axes.margins(0.04)
    _number(figure, axes, found, np.concatenate([found, target, *paths[:1]]))
    return as_svg(figure, "path", f"Denoising path of user {example.user} over the item latents")


def _role(name: str) -> str:
    if name == "deftrec":
        return "main"
    return "part" if name.startswith("deftrec/") else "peer"


def _number(figure: Any, axes: Any, points: np.ndarray, obstacles: np.ndarray) -> None:
    """Write ranks beside the points, each at the position farthest from other points and numbers."""
    figure.canvas.draw()
    occupied = axes.transData.transform(obstacles)
    scale = figure.dpi / 72
    directions = [(np.cos(a), np.sin(a)) for a in np.linspace(0, 2 * np.pi, 16, endpoint=False)]
    for rank, point in enumerate(points, start=1):
        at = axes.transData.transform(point)
        spots = [np.array([x, y]) * reach * scale + at for reach in (9, 12) for x, y in directions]
        others = occupied[np.abs(occupied - at).max(1) > 1e-6]
        room = [np.abs(others - spot).max(1).min() if len(others) else 0.0 for spot in spots]
        best = spots[int(np.argmax(np.minimum(room, 11 * scale)))]
        occupied = np.concatenate([occupied, best[None]])
        offset = (best - at) / scale
        axes.annotate(
            str(rank), point, tuple(offset), textcoords="offset points", ha="center", va="center", fontsize=8.5,
            fontweight="bold", color=stand_in("main"), zorder=6,
        )  # fmt: skip
