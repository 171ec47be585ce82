"""Filters between the raw events of a source and `Interactions`, with a record of what they dropped."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import polars as pl

from deftrec.data.interactions import Interactions, Meta
from deftrec.data.signals import SIGNALS
from deftrec.data.sources.faults import Faults
from deftrec.data.sources.texts import CATEGORY_SEPARATOR
from deftrec.data.split import leave_one_out
from deftrec.errors import DataError

TAGS_AN_ITEM = 5


@dataclass(frozen=True)
class Raw:
    """Unfiltered content of a source, under external ids.

    Attributes:
        events: columns `user`, `item`, `time` and, if the source has them, `kind` and `value` (ratings, amounts); one
            row each.
        items: columns `item`, any of `title`, `category`, `text`, and attributes; `None` if there is no catalogue.
        notes: filters that the source itself applied, for `Meta.filters`.
        source, sha256, times: see `Meta`.
        counts: numbers of rows that the source itself left out, for `Meta.counts`.
        tags: columns `user`, `item`, `tag`, one row per tag that a user gave an item, for `tag_categories`; or `None`.
    """

    events: pl.DataFrame
    items: pl.DataFrame | None
    source: str
    sha256: dict[str, str] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    times: Literal["clock", "position"] = "clock"
    tags: pl.DataFrame | None = None
    counts: dict[str, int] = field(default_factory=dict)

    def noting(self, faults: Faults | None) -> "Raw":
        """The same content with a note of the bad rows that were left out, if there are some."""
        if faults is None or not faults.counts:
            return self
        counts = {**self.counts, "skipped": faults.table.height}
        return replace(self, notes={**self.notes, "skipped": faults.counts}, counts=counts)


def prepare(
    raw: Raw,
    *,
    name: str,
    domain: str = "items",
    min_rating: float | None = None,
    k_core: int | None = None,
    tie_seed: int = 0,
) -> Interactions:
    """Filter and number the events of a source.

    The rating filter comes first, then the k-core of the distinct interactions. `Meta.counts` records what is dropped.
    Tags become categories last, when each user's evaluation targets are known. Raises a `DataError` if the source has
    no ratings to filter by, or the filters leave nothing.

    Args:
        raw: content of the source.
        name, domain, tie_seed: see `Meta`.
        min_rating: minimum rating of an interaction that is kept.
        k_core: minimum number of kept interactions of every kept user and item.
    """
    events = raw.events
    filters: dict[str, Any] = dict(raw.notes)
    counts = {"raw_interactions": events.height, **raw.counts}
    if min_rating is not None:
        if "value" not in events.columns:
            raise DataError(f"{raw.source}: has no ratings to filter by; name their column with --value COL")
        events, filters["min_rating"] = events.filter(pl.col("value") >= min_rating), min_rating
    signals = {name: name for name in SIGNALS if name in events.columns}
    columns = ["user", "item", "time", *signals]
    if k_core is not None:
        # Any order will do: `Interactions.from_frame` sorts.
        unique = events.lazy().select(columns).unique().collect(engine="streaming")
        counts["duplicates"] = events.height - unique.height
        events, filters["k_core"] = keep_core(unique, k_core), k_core
    if events.height == 0:
        applied = ", ".join(f"{key} {value}" for key, value in filters.items()) or "no filter"
        raise DataError(f"{raw.source}: no interactions are left of {raw.events.height} ({applied}); relax the filters")
    provenance = {"source": raw.source, "sha256": raw.sha256, "times": raw.times, "filters": filters, "counts": counts}
    meta = Meta(name=name, domain=domain, tie_seed=tie_seed, **provenance)
    interactions = Interactions.from_frame(events.select(columns), raw.items, **signals, meta=meta)
    if raw.tags is not None:
        interactions = replace(interactions, catalogue=tag_categories(interactions, raw.tags))
    return interactions


def tag_categories(interactions: Interactions, tags: pl.DataFrame) -> pl.DataFrame:
    """The catalogue with the most frequent `tags` of each item as categories, at most `TAGS_AN_ITEM`; ties go by name.

    A user's tags of the two leave-one-out targets are left out. Otherwise the text of an item that nobody else has
    tagged would give the answer away. Tags of unknown users or items are ignored.
    """
    sequences, split = interactions.sequences, leave_one_out(interactions)
    owners = sequences.owners()
    targets = np.arange(len(owners)) >= (sequences.offsets[:-1] + split.train_end)[owners]
    categories = (
        tags.join(interactions.events().filter(targets), on=["user", "item"], how="anti")
        .group_by("item", "tag")
        .agg(pl.len().alias("times"))
        .sort("item", "times", "tag", descending=[False, True, False])
        .group_by("item", maintain_order=True)
        .agg(pl.col("tag").head(TAGS_AN_ITEM).str.join(CATEGORY_SEPARATOR).alias("category"))
    )
    return (
        interactions.catalogue.drop("category")
        .join(categories, on="item", how="left", maintain_order="left")
        .with_columns(pl.col("category").fill_null(""))
        .select(interactions.catalogue.columns)
    )


def keep_core(events: pl.DataFrame, k: int) -> pl.DataFrame:
    """The largest part of `events` in which every `user` and `item` has `k` or more; a `DataError` if `k` < 1."""
    if k < 1:
        raise DataError(f"k-core needs a positive number, not {k}; give at least 1")
    while True:
        kept = events.filter((pl.len().over("item") >= k) & (pl.len().over("user") >= k))
        if kept.height == events.height:
            return kept
        events = kept
