"""Attributes of items (price, brand, stock, date) as features: a block of `ItemFeatures` beside graph and text."""

import hashlib
from collections.abc import Sequence
from typing import Annotated, Literal, TypeAlias

import numpy as np
import polars as pl
import torch
from pydantic import BaseModel, Field
from torch import Tensor

KNOTS = 8  # features of a number: its place between this many quantiles
CODE = 32  # features of a category: a fixed random vector, drawn from the hash of its name
MOST_VALUES = 64  # largest number of categories of one item that are read


class _Encoder(BaseModel, frozen=True, extra="forbid"):
    """Features of one attribute, centred over the items that have it, with a root mean square of one.

    Attributes:
        name: attribute.
        mean: mean of the raw features. `[A]`
        scale: root mean square of the centred features.
    """

    name: str
    mean: tuple[float, ...]
    scale: float = Field(gt=0)

    def scaled(self, raw: np.ndarray, present: np.ndarray) -> np.ndarray:
        """Raw features `[N, A]` in their scale; zeros for items that are not `present` `[N]`."""
        centred = (raw - np.asarray(self.mean)) / self.scale
        return np.where(present[:, None], centred, 0.0)


class NumberEncoder(_Encoder, frozen=True):
    """A number or a date (in days since 1970) by its place among the quantiles of the catalogue: `knots`, ascending."""

    kind: Literal["number"] = "number"
    knots: tuple[float, ...]

    @classmethod
    def fit(cls, column: pl.Series) -> "NumberEncoder":
        """Quantiles of the values that are there."""
        values = _numbers(column)
        known = values[~np.isnan(values)]
        knots = np.unique(np.quantile(known, np.linspace(0, 1, KNOTS))) if len(known) else np.zeros(1)
        raw, present = _triangles(values, knots)
        return cls(name=column.name, knots=tuple(knots.tolist()), **_statistics(raw, present))

    def encode(self, column: pl.Series) -> np.ndarray:
        """`[N, A]`"""
        return self.scaled(*_triangles(_numbers(column), np.asarray(self.knots)))


class CategoryEncoder(_Encoder, frozen=True):
    """Categories by fixed random vectors; those of several, which `|` separates, are summed."""

    kind: Literal["category"] = "category"

    @classmethod
    def fit(cls, column: pl.Series) -> "CategoryEncoder":
        """Mean and scale of the vectors of the catalogue."""
        return cls(name=column.name, **_statistics(*_codes(column)))

    def encode(self, column: pl.Series) -> np.ndarray:
        """`[N, A]`"""
        return self.scaled(*_codes(column))


AttributeEncoder: TypeAlias = Annotated[NumberEncoder | CategoryEncoder, Field(discriminator="kind")]


def fit_attributes(attributes: pl.DataFrame) -> tuple[AttributeEncoder, ...]:
    """An encoder for each attribute of the catalogue that some item has."""
    there = [
        one for one in attributes if one.null_count() < len(one) and not (one.dtype == pl.String and (one == "").all())
    ]
    return tuple((CategoryEncoder if one.dtype == pl.String else NumberEncoder).fit(one) for one in there)


def encode_attributes(encoders: Sequence[AttributeEncoder], items: pl.DataFrame) -> Tensor:
    """Features of the rows of a catalogue by their attributes; those that an item lacks are zero. `[N, A]` float32"""
    blocks = [encoder.encode(items[encoder.name]) for encoder in encoders]
    return torch.from_numpy(np.concatenate([np.zeros((items.height, 0)), *blocks], 1)).float()


def attributes_width(encoders: Sequence[AttributeEncoder]) -> int:
    """Number of features of all attributes."""
    return sum(len(encoder.mean) for encoder in encoders)


def _numbers(column: pl.Series) -> np.ndarray:
    """Values as float64, NaN where there is none. `[N]`"""
    numbers = column.to_physical() if column.dtype == pl.Date else column
    return numbers.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _triangles(values: np.ndarray, knots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Linear interpolation between `knots` `[A]`: how near a value is to each of its two neighbours.

    `[N, A]`, and whether there is a value `[N]`.
    """
    present = ~np.isnan(values)
    place = np.interp(np.nan_to_num(values), knots, np.arange(len(knots)))
    raw = (1 - np.abs(place[:, None] - np.arange(len(knots)))).clip(0)
    return np.where(present[:, None], raw, 0.0), present


def _codes(column: pl.Series) -> tuple[np.ndarray, np.ndarray]:
    """Sums of the vectors of each item's categories, divided by the root of their number, and whether it has any."""
    raw, present = np.zeros((len(column), CODE)), np.zeros(len(column), bool)
    known: dict[str, np.ndarray] = {}
    for row, text in enumerate(column.fill_null("")):
        names = [name.strip() for name in text.split("|") if name.strip()][:MOST_VALUES]
        for name in names:
            if name not in known:
                known[name] = _code(column.name, name)
            raw[row] += known[name]
        if names:
            raw[row] /= np.sqrt(len(names))
            present[row] = True
    return raw, present


def _code(attribute: str, name: str) -> np.ndarray:
    """A random vector of mean square one that depends on the names alone. `[CODE]`"""
    seed = hashlib.blake2b(f"{attribute}\0{name}".encode(), digest_size=8).digest()
    return np.random.default_rng(int.from_bytes(seed, "big")).standard_normal(CODE)


def _statistics(raw: np.ndarray, present: np.ndarray) -> dict[str, tuple[float, ...] | float]:
    """Mean and scale of the rows that are present; a scale of one where they are all alike."""
    rows = raw[present] if present.any() else raw[:0]
    mean = rows.mean(0) if len(rows) else np.zeros(raw.shape[1])
    spread = float(np.sqrt(np.square(rows - mean).mean())) if len(rows) else 0.0
    return {"mean": tuple(mean.tolist()), "scale": spread if spread > 1e-6 else 1.0}
