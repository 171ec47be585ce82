"""Values of the options that follow the size of the data: log-linear between the sizes that were measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import exp, log
from typing import Any, Literal, TypeAlias

Size: TypeAlias = Literal["small", "medium", "large", "auto"]

SHORT, LONG = 6.0, 45.0
"""Mean history lengths up to which histories are short, and from which they are long (beauty has 5.9, lastfm 45.3)."""
SPARSE, DENSE = 20.0, 80.0  # interactions per item up to which data is sparse, and from which it is dense
WIDTH_UNIT = 16  # unit of the width of the language model
FOLDED = 20.0  # mean history length from which users get a token: below it, the mean of the history says nothing new


@dataclass(frozen=True)
class Sizes:
    """Sizes of the data that a model is fitted on.

    Attributes:
        positions: pairs of a history and its next item.
        interactions: number of interactions, at least `positions`.
        users: number of users with interactions.
        items: number of items in the catalogue.
        repeated: share of the interactions with an item that the user had before, from 0 to 1.
    """

    positions: int
    interactions: int
    users: int
    items: int
    repeated: float = 0.0

    @property
    def mean_length(self) -> float:
        """Mean number of positions per user, at least 1."""
        return max(1.0, self.positions / max(1, self.users))

    @property
    def shortness(self) -> float:
        """1 where histories are short, 0 where they are long, linear in the logarithm of the mean length between."""
        return 1 - _place(self.mean_length, SHORT, LONG)

    @property
    def sparsity(self) -> float:
        """1 where items have few interactions, 0 where they have many, linear in the logarithm between."""
        return 1 - _place(self.interactions / max(1, self.items), SPARSE, DENSE)


@dataclass(frozen=True)
class _Knot:
    """Values chosen on one dataset, or carried to a size beyond all that were measured."""

    positions: int
    epochs: float
    learning_rate: float
    batch_positions: float
    width: float
    dropout: float
    drop_collaborative: float
    ensemble_size: float


# Sizes of train, leave-one-out. Mean history lengths: 3.9 (software), 5.2 (38 k positions), 5.9 (beauty).
SHORT_HISTORIES = (
    _Knot(5_269, 40, 1.5e-3, 1024, 64, 0.3, 0.5, 4),  # software
    _Knot(38_000, 20, 1e-3, 2048, 64, 0.3, 0.5, 3),
    _Knot(131_413, 12, 2e-3, 2048, 64, 0.3, 0.5, 2),  # beauty
    _Knot(817_675, 12, 1.5e-3, 2048, 128, 0.3, 0.5, 1),  # not measured: width and rate as with long histories
    _Knot(4_000_000, 6, 1.5e-3, 2048, 128, 0.3, 0.5, 1),  # not measured: fewer passes, for cost
)
# 45 (lastfm), 103 (ml-100k), 135 (ml1m).
LONG_HISTORIES = (
    _Knot(5_269, 40, 1.5e-3, 1024, 64, 0.3, 0.5, 4),  # not measured: as software
    _Knot(49_397, 20, 1e-3, 2048, 64, 0.3, 0.1, 3),  # lastfm
    _Knot(97_171, 20, 2e-3, 2048, 64, 0.2, 0.1, 2),  # ml-100k
    _Knot(817_675, 16, 1.5e-3, 2048, 128, 0.1, 0.1, 1),  # ml1m
    _Knot(4_000_000, 6, 1.5e-3, 2048, 128, 0.1, 0.1, 1),  # not measured: fewer passes, for cost
)
# Mean history length -> number of history items read.
MAX_HISTORY = ((45.3, 64.0), (103.04, 128.0), (135.42, 200.0))
# Interactions -> epochs of LightGCN, and steps per epoch.
GRAPH_EPOCHS = ((98_114.0, 120.0), (153_776.0, 60.0), (823_713.0, 40.0))
GRAPH_STEPS = ((153_776.0, 40.0), (823_713.0, 15.0))


def sized_values(sizes: Sizes, size: Size = "auto") -> dict[str, Any]:
    """Values for options that say `auto`, by the name of the option, for data of these sizes.

    Between the knots every number is log-linear in the positions, and between short and long histories in the mean
    length; it is constant beyond the outermost knots. Two values are switches: user tokens from a mean length of 20,
    and a trainable feature table for sparse data with short histories or large data (from 200,000 positions of long
    histories, 500,000 of short ones).

    Args:
        sizes: sizes of train.
        size: `small` gives a fifth of the epochs and one member, `medium` one member, `large` twice the width, one
            more layer and two more members, `auto` the values that were measured.
    """

    def value(name: str, short: float | None = None) -> float:
        share = sizes.shortness if short is None else short
        ends = [
            interpolate(sizes.positions, [(float(knot.positions), getattr(knot, name)) for knot in knots])
            for knots in (SHORT_HISTORIES, LONG_HISTORIES)
        ]
        return exp(share * log(ends[0]) + (1 - share) * log(ends[1]))

    small, large = size == "small", size == "large"
    members = _rounded(value("ensemble_size")) + (2 if large else 0)
    return {
        "max_history": _rounded(interpolate(sizes.mean_length, MAX_HISTORY), 8),
        "collaborative_batch_size": int(
            min(65_536, max(1024, sizes.interactions / interpolate(sizes.interactions, GRAPH_STEPS) + 1e-6))
        ),
        "collaborative_epochs": _rounded(interpolate(sizes.interactions, GRAPH_EPOCHS)),
        # Half of the vectors are dropped where each rests on few interactions.
        "drop_collaborative": _significant(value("drop_collaborative", sizes.shortness * sizes.sparsity)),
        "users": "folded" if sizes.mean_length >= FOLDED else "none",
        "trainable_features": _learns_features(sizes),
        "width": _rounded(value("width") * (2 if large else 1), WIDTH_UNIT),
        "layers": 3 if large else 2,
        "dropout": _significant(value("dropout")),
        "learning_rate": _significant(value("learning_rate")),
        "batch_positions": _rounded(value("batch_positions"), 64),
        "epochs": max(2, _rounded(value("epochs") * (0.2 if small else 1))),
        "ensemble_size": members if large or size == "auto" else 1,
    }


def interpolate(x: float, knots: Sequence[tuple[float, float]]) -> float:
    """Piecewise log-linear function through `knots`, whose x rise; constant beyond the first and the last."""
    if x <= knots[0][0]:
        return knots[0][1]
    for (low, below), (high, above) in pairwise(knots):
        if x <= high:
            share = _place(x, low, high)
            return exp((1 - share) * log(below) + share * log(above))
    return knots[-1][1]


def _learns_features(sizes: Sizes) -> bool:
    sparse = sizes.positions >= 20_000 and sizes.shortness * sizes.sparsity > 0.5
    large = sizes.positions >= 500_000**sizes.shortness * 200_000 ** (1 - sizes.shortness)
    return sizes.items <= 200_000 and (sparse or large)


def _place(x: float, low: float, high: float) -> float:
    """Place of x between two numbers on a logarithmic scale, from 0 to 1."""
    return min(1.0, max(0.0, log(max(x, 1e-9) / low) / log(high / low)))


def _rounded(x: float, unit: int = 1) -> int:
    """The nearest multiple of `unit`, at least one."""
    return max(1, round(x / unit)) * unit


def _significant(x: float) -> float:
    """Three significant digits."""
    return float(f"{x:.3g}")
