"""Relevance against diversity of re-ranked lists: the figures, and their plot."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from deftrec.data import Part, make_split
from deftrec.evaluation import intra_list_distance
from deftrec.recommender import Recommender
from deftrec.report.svg import as_svg, empty_plot, label_points
from deftrec.report.theme import stand_in
from deftrec.rerankers import RerankerName
from deftrec.retrieval import CANDIDATES

K = 10
USERS = 2000  # random users that are measured, at most
STRENGTHS = (0.1, 0.25, 0.5, 1.0, 2.0)
SIZE = (8.2, 4.6)
KINDS: dict[RerankerName, tuple[str, str]] = {
    "none": ("next", "*"),
    "mmr": ("main", "o"),
    "dpp": ("path", "s"),
    "calibrated": ("past", "^"),
}
"""Colour role and marker of each re-ranker; `none` is the score alone."""


@dataclass(frozen=True)
class ListPoint:
    """Lists of one re-ranker at one strength.

    Attributes:
        rerank, strength: see `Rerankers.make`.
        part, users: part of the data, and number of its users.
        hr: HR@10.
        distance: mean intra-list distance of the first ten items, by co-occurrence; 0 without any.
    """

    rerank: RerankerName
    strength: float
    part: Part
    users: int
    hr: float
    distance: float


def list_points(recommender: Recommender) -> list[ListPoint]:
    """Measure every re-ranker on validation users, or on test users where the run was fitted on validation too.

    Items of the history are excluded. Empty if nobody has a target there.
    """
    part: Part = "validation" if recommender.info.fit == "train" else "test"
    if not len(make_split(recommender.fitted_on, recommender.config.data.split).cases(part)):
        return []
    cases, makers = recommender.examine(part, users=USERS), recommender.rerankers
    _, found = cases.rank("exclude", k=CANDIDATES)
    points = []
    for name in KINDS:
        if name == "calibrated" and not len(makers.categories):
            continue
        for strength in (None,) if name == "none" else STRENGTHS:
            reranker = makers.make(name, strength)
            ordered = found if reranker is None else reranker.rerank(found, cases.cases.histories)
            items = ordered.items[:, :K].cpu()
            distance = float(intra_list_distance(items, makers.graph).nanmean().nan_to_num())
            hr = float((cases.places(items) > 0).float().mean())
            points.append(ListPoint(name, strength or 0.0, part, len(cases.cases), hr, distance))
    return points


def tradeoff(points: Sequence[ListPoint]) -> str:
    """Draw HR@10 against intra-list distance: a line per re-ranker from the score alone, a marker per strength."""
    if not points:
        return ""
    figure, axes = empty_plot(SIZE, grid="both")
    plain = next(one for one in points if one.rerank == "none")
    spots, labels, drawn = [], [], []
    for name, (role, marker) in KINDS.items():
        some = sorted((one for one in points if one.rerank == name), key=lambda one: one.strength)
        line = np.array([(one.distance, one.hr) for one in (plain, *some)])
        axes.plot(*line.T, color=stand_in(role), linewidth=1.6, zorder=2)
        drawn += [np.linspace(start, end, 16) for start, end in pairwise(line)]
        size = 170 if name == "none" else 34
        edge = {"edgecolors": stand_in("surface"), "linewidths": 0.9, "zorder": 4 if name == "none" else 3}
        axes.scatter(*line[1:].T, s=size, marker=marker, color=stand_in(role), **edge)
        if name != "none":
            spots += [*line[1:]]
            labels += [(f"{one.strength:g}", role) for one in some]
    axes.margins(0.08)
    axes.set_xlabel("intra-list distance by co-occurrence")
    axes.set_ylabel(f"HR@{K}")
    label_points(figure, axes, np.array(spots), labels, np.concatenate(drawn))
    return as_svg(figure, "lists", f"HR@{K} against intra-list distance by re-ranker and strength")
