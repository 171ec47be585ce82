"""Facts about kinds, values and times of interactions, and attributes of items."""

from typing import Any

import numpy as np
import polars as pl
from pydantic import BaseModel

from deftrec.data.catalogue import lacking
from deftrec.data.interactions import Interactions
from deftrec.data.kinds import default_roles
from deftrec.data.sequences import DAY
from deftrec.errors import ConfigError

QUANTILES = {"p10": 0.1, "median": 0.5, "p90": 0.9, "max": 1.0}
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
NO_ROLE = "no role"


class KindDescription(BaseModel, frozen=True):
    """Number of `events` of a kind, and its default `role`; "no role" where its name tells none."""

    events: int
    role: str


class AttributeDescription(BaseModel, frozen=True):
    """One attribute of the items.

    Attributes:
        type: `number`, `date` or `category`.
        missing: share of the items without it.
        distinct: number of distinct values.
        low, high: smallest and largest number or date, as text; empty for categories.
    """

    type: str
    missing: float
    distinct: int
    low: str = ""
    high: str = ""


class SignalsDescription(BaseModel, frozen=True):
    """Signals of a data set; empty where it has none of them.

    Attributes:
        kinds: each kind of event, the most frequent first.
        values: minimum, mean, maximum and share of missing values.
        attributes: each attribute of the items.
        gaps: quantiles of the seconds between two events of a user.
        hours: share of the events in each hour of the day, UTC, from 0. 24
        weekdays: share of the events on each day of the week, from Monday. 7
    """

    kinds: dict[str, KindDescription] = {}
    values: dict[str, float] = {}
    attributes: dict[str, AttributeDescription] = {}
    gaps: dict[str, float] = {}
    hours: tuple[float, ...] = ()
    weekdays: tuple[float, ...] = ()


def describe_signals(interactions: Interactions) -> SignalsDescription:
    """Compute the facts about signals and attributes."""
    return SignalsDescription(
        kinds=describe_kinds(interactions),
        values=_values(interactions),
        attributes={column.name: _attribute(column) for column in interactions.attributes},
        **_times(interactions),
    )


def describe_kinds(interactions: Interactions) -> dict[str, KindDescription]:
    """Each kind of event, the most frequent first."""
    if "kind" not in interactions.signals.columns:
        return {}
    counts = dict(interactions.signals["kind"].value_counts().sort("count", "kind", descending=[True, False]).rows())
    try:
        roles: dict[str, Any] = dict(default_roles(counts, {}))
    except ConfigError:
        roles = {}
        for kind in counts:  # one by one, as a single strange kind hides the others
            try:
                roles |= default_roles([kind, "purchase"], {})
            except ConfigError:
                continue
    return {kind: KindDescription(events=count, role=roles.get(kind, NO_ROLE)) for kind, count in counts.items()}


def _values(interactions: Interactions) -> dict[str, float]:
    if "value" not in interactions.signals.columns:
        return {}
    values = interactions.signals["value"]
    known = values.drop_nulls().to_numpy()
    facts = {} if not len(known) else {"min": known.min(), "mean": known.mean(), "max": known.max()}
    return {**{name: float(one) for name, one in facts.items()}, "missing": values.null_count() / max(1, len(values))}


def _attribute(column: pl.Series) -> AttributeDescription:
    text = column.dtype == pl.String
    known = column.filter(~lacking(column))
    ends = ("", "") if text or not len(known) else (str(known.min()), str(known.max()))
    kind = "category" if text else "date" if column.dtype == pl.Date else "number"
    missing = 1 - len(known) / max(1, len(column))
    return AttributeDescription(type=kind, missing=missing, distinct=known.n_unique(), low=ends[0], high=ends[1])


def _times(interactions: Interactions) -> dict[str, Any]:
    days, sequences = interactions.days, interactions.sequences
    if days is None or not len(days):
        return {}
    gaps = np.diff(days) * DAY
    inside = np.ones(len(gaps), bool)
    inside[sequences.offsets[1:-1][(sequences.offsets[1:-1] > 0) & (sequences.offsets[1:-1] < len(days))] - 1] = False
    known = gaps[inside]
    hours = np.bincount((np.floor(days * 24) % 24).astype(np.int64), minlength=24)
    weekdays = np.bincount((np.floor(days) + 3).astype(np.int64) % 7, minlength=7)  # 1970 began on a Thursday
    return {
        "gaps": {name: float(np.quantile(known, q)) for name, q in QUANTILES.items()} if len(known) else {},
        "hours": tuple((hours / hours.sum()).tolist()),
        "weekdays": tuple((weekdays / weekdays.sum()).tolist()),
    }
