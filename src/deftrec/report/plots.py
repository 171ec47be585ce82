"""Plots of a run as inline SVG: bars with intervals, training curves, and a denoising path over the item latents."""

from collections.abc import Sequence

import numpy as np

from deftrec.benchmark.tables import role_of
from deftrec.evaluation import Result
from deftrec.projection import Projection
from deftrec.recommender import Recommender
from deftrec.report.benchmark_plots import COLOURS
from deftrec.report.examples import Example
from deftrec.report.svg import as_svg, empty_plot, label_points, name_rows
from deftrec.report.theme import stand_in

NARROW = (4.6, 2.9)
WIDE = (8.2, 5.6)
DOTS = 3000  # largest number of items in the background of the path
DRAWS = 8  # number of denoising paths, each from its own draw of noise
STEPS = 20  # number of steps of these paths
NAMED = 3  # number of newest history items that are named beside the path
LONGEST = 28  # letters of a title beside a point


def bars(results: Sequence[Result], metric: str, title: str) -> str:
    """Draw one bar per system with its 95 % interval. All results must share one protocol."""
    figure, axes = empty_plot((NARROW[0], 0.95 + 0.36 * len(results)), grid="x")
    values = np.array([one.metrics[metric] for one in results])
    lows, highs = np.array([one.ci95[metric] for one in results]).T
    roles = [COLOURS[role_of(one.name)] for one in results]
    drawn = axes.barh(
        range(len(results)), values, height=0.62, color=[stand_in(role) for role in roles], linewidth=0,
        xerr=(values - lows, highs - values), error_kw={"ecolor": stand_in("ink"), "elinewidth": 1.1},
    )  # fmt: skip
    for text, role in zip(axes.bar_label(drawn, fmt="{:.3f}", padding=6, fontsize=9), roles, strict=True):
        text.set(color=stand_in("ink"), fontweight="bold" if role == "main" else "normal")
    name_rows(axes, [one.name for one in results])
    axes.set_xlim(0, highs.max() * 1.16)
    return as_svg(figure, f"bars {metric}", f"{title} of {', '.join(one.name for one in results)}")


def curve(rows: Sequence[dict[str, float]], key: str, title: str, best_epoch: int | None) -> str:
    """Draw one value per epoch; a dot marks the epoch whose weights were kept."""
    figure, axes = empty_plot(NARROW, grid="y")
    known = {row["epoch"]: row[key] for row in rows if key in row}
    marker = "o" if len(known) < 3 else None
    axes.plot(*zip(*known.items(), strict=True), color=stand_in("main"), linewidth=1.8, marker=marker, markersize=4)
    if best_epoch in known:
        dot = {"color": stand_in("path"), "markersize": 6.5, "markeredgecolor": stand_in("surface")}
        axes.plot(best_epoch, known[best_epoch], "o", zorder=3, **dot)
    axes.margins(x=0.04, y=0.16)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("epoch")
    return as_svg(figure, f"curve {title} {key}", f"{title} by epoch")


def denoising_path(recommender: Recommender, example: Example) -> str:
    """Draw denoising paths from noise to a latent, in the plane of the two main axes of the item latents."""
    latents = recommender.catalogue.latents.cpu()
    plane = Projection.of(latents)
    numbers = recommender.interactions.item_numbers
    items = np.random.default_rng(0).permutation(len(latents))[:DOTS]
    paths = [plane(recommender.denoising_path(example.history, STEPS, seed)) for seed in range(DRAWS)]
    past = plane(latents[numbers(example.history[-recommender.model.max_history :])])
    found = plane(latents[numbers([one.item for one in example.recommendations])])
    target = plane(latents[numbers([example.target_item])])

    figure, axes = empty_plot(WIDE)
    axes.scatter(*plane(latents[items]).T, s=4, color=stand_in("dots"), linewidths=0)
    fresh = np.linspace(0.25, 0.95, len(past))
    axes.scatter(*past.T, s=17, marker="s", color=stand_in("past"), alpha=fresh, linewidths=0, zorder=5)
    for path in paths[1:]:
        axes.plot(*path.T, color=stand_in("path"), linewidth=0.8, alpha=0.45)
    axes.plot(*paths[0].T, color=stand_in("path"), linewidth=2.2)
    for step, style in ((0, "none"), (-1, "full")):
        ends = np.stack([path[step] for path in paths])
        axes.plot(*ends.T, "o", color=stand_in("path"), markersize=4, fillstyle=style)
    edge = {"edgecolors": stand_in("surface"), "linewidths": 0.9}
    axes.scatter(*found.T, s=40, color=stand_in("main"), zorder=4, **edge)
    axes.scatter(*target.T, s=120, marker="*", color=stand_in("next"), zorder=6, **edge)
    axes.set(xticks=[], yticks=[], xlabel=f"first axis ({plane.shares[0]:.0%} of the variance)")
    axes.set_ylabel(f"second axis ({plane.shares[1]:.0%})")
    axes.margins(0.04)
    newest = example.titles[-len(past) :][-NAMED:]
    names = [(f"{one.rank} {_short(one.title)}", "main") for one in example.recommendations]
    names += [(_short(title), "past") for title in newest]
    points = np.concatenate([found, past[len(past) - len(newest) :], target])
    if not example.place:  # else it has a name
        names.append((_short(example.target), "next"))
    label_points(figure, axes, points[: len(names)], names, np.concatenate([points, *paths[:1]]))
    return as_svg(figure, "path", f"Denoising path of user {example.user} over the item latents")


def _short(title: str) -> str:
    return title if len(title) <= LONGEST else title[: LONGEST - 1].rstrip() + "…"
