"""From the events of a source to `Interactions`: filters, and a record of what they did."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import polars as pl

from deftrec.data.interactions import Interactions, Meta
from deftrec.data.sources.columns import CATEGORY_SEPARATOR
from deftrec.data.split import leave_one_out
from deftrec.errors import DataError

TAGS_AN_ITEM = 5


@dataclass(frozen=True)
class Raw:
    """What a source holds, under external ids, nothing filtered.

    Attributes:
        events: columns `user`, `item`, `time` and, where the source has ratings, `rating`. One row an interaction.
        items: columns `item` and any of `title`, `category`, `text`; `None` where the source has no catalogue.
        source: where it came from, in words.
        sha256: of every file that was read.
        notes: what a user should know about the source's own treatment, for `Meta.filters`.
        times: whether `time` is a clock, or a position that only orders each user's interactions.
        tags: columns `user`, `item`, `tag`: what users called items, one row each time, of which `tag_categories` makes
            the items' categories; `None` where the source has none.
    """

    events: pl.DataFrame
    items: pl.DataFrame | None
    source: str
    sha256: dict[str, str] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    times: Literal["clock", "position"] = "clock"
    tags: pl.DataFrame | None = None


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

    The order is: exact duplicates, then the rating, then the k-core. What is dropped is counted in `Meta.counts`.
    Tags become categories last, when it is known what each user is asked for.

    Args:
        raw: what the source holds.
        name: what the data is called in tables.
        domain: what the items are, in a word ("movies"); prompts use it.
        min_rating: keep interactions with at least this rating.
        k_core: keep users and items with at least this many interactions among what is kept; repeated until it holds.
        tie_seed: orders interactions of one user at one moment.

    Raises:
        DataError: the source has no ratings to filter by, or the filters leave nothing.
    """
    events = raw.events
    filters: dict[str, Any] = dict(raw.notes)
    counts = {"raw_interactions": events.height}
    if min_rating is not None:
        if "rating" not in events.columns:
            raise DataError(f"{raw.source}: has no ratings to filter by; name their column with --rating COL")
        events = events.filter(pl.col("rating") >= min_rating)
        filters["min_rating"] = min_rating
    columns = ["user", "item", "time"]
    if k_core is not None:
        unique = (
            events.lazy().select(columns).unique().collect(engine="streaming")
        )  # their order says nothing; see Interactions.from_frame
        counts["duplicates"] = events.height - unique.height
        events = keep_core(unique, k_core)
        filters["k_core"] = k_core
    if events.height == 0:
        applied = ", ".join(f"{key} {value}" for key, value in filters.items()) or "no filter"
        raise DataError(f"{raw.source}: no interactions are left of {raw.events.height} ({applied})")
    meta = Meta(
        name=name,
        source=raw.source,
        sha256=raw.sha256,
        filters=filters,
        counts=counts,
        tie_seed=tie_seed,
        domain=domain,
        times=raw.times,
    )
    interactions = Interactions.from_frame(events.select(columns), raw.items, meta=meta)
    if counts.get("duplicates"):  # dropped here already, before they could be counted there
        total = {**interactions.meta.counts, "duplicates": counts["duplicates"]}
        interactions = replace(interactions, meta=interactions.meta.model_copy(update={"counts": total}))
    if raw.tags is not None:
        interactions = replace(interactions, catalogue=tag_categories(interactions, raw.tags))
    return interactions


def tag_categories(interactions: Interactions, tags: pl.DataFrame) -> pl.DataFrame:
    """The catalogue, the category of each item its most frequent tags, at most `TAGS_AN_ITEM`, equal ones by name.

    What users called the items that leave-one-out asks them for, the last two of each, is left out: an item that
    nobody else has tagged would wear its answer in its text. The order is the one after all filters and ties.

    Args:
        interactions: what is asked.
        tags: columns `user`, `item`, `tag`, ids as in `interactions`; others than theirs are ignored.
    """
    sequences, split = interactions.sequences, leave_one_out(interactions)
    owners = sequences.owners()
    asked = np.arange(len(owners)) >= (sequences.offsets[:-1] + split.train_end)[owners]
    categories = (
        tags.join(interactions.events().filter(asked), on=["user", "item"], how="anti")
        .group_by("item", "tag")
        .agg(pl.len().alias("times"))
        .sort("item", "times", "tag", descending=[False, True, False])
        .group_by("item", maintain_order=True)
        .agg(pl.col("tag").head(TAGS_AN_ITEM).str.join(CATEGORY_SEPARATOR).alias("category"))
    )
    return (
        interactions.catalogue.drop("category")
        .join(categories, on="item", how="left", maintain_order="left")
        .select("item", "title", pl.col("category").fill_null(""), "text")
    )


def keep_core(events: pl.DataFrame, k: int) -> pl.DataFrame:
    """The k-core: the largest part of `events` in which every user and every item has at least `k` events.

    Args:
        events: columns `user` and `item`, one row an interaction.
        k: at least 1.

    Raises:
        DataError: `k` is not positive.
    """
    if k < 1:
        raise DataError(f"k-core needs a positive number, not {k}")
    while True:
        kept = events.filter((pl.len().over("item") >= k) & (pl.len().over("user") >= k))
        if kept.height == events.height:
            return kept
        events = kept
