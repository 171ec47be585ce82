"""More users, items and events behind those that are there: no number that anybody holds changes."""

from dataclasses import replace

import numpy as np
import polars as pl

from deftrec.data.interactions import CATALOGUE_COLUMNS, Interactions, as_times, same_ids
from deftrec.data.sequences import Sequences
from deftrec.data.sources.columns import Place, times
from deftrec.errors import DataError

CLOCK, UNITS = 1e8, 100.0
"""Times past the first are of a clock, three years after 1970 in seconds; those that differ by the second as a factor
are not in one unit."""


def extended(interactions: Interactions, items: pl.DataFrame, events: pl.DataFrame) -> Interactions:
    """`interactions` with `items` behind the catalogue and `events` in the histories.

    Users and items keep their numbers, new ones follow in the order given. An event goes where its time puts it among
    those of its user, behind those of the same moment.

    Args:
        interactions: what is there.
        items: new ones: `item`, `title`, `category`, `text`.
        events: `user`, `item`, `time`, of items of either kind; ids as `conform` gives them.
    """
    if not items.height and not events.height:
        return interactions
    catalogue = pl.concat([interactions.catalogue, items.select("item", *CATALOGUE_COLUMNS)])
    old = interactions.users
    users = pl.concat([old, events["user"].unique(maintain_order=True).filter(~_among(events["user"], old))])
    numbers = {
        name: known.rename(name).to_frame().with_row_index("number")
        for name, known in (("user", users), ("item", catalogue["item"]))
    }
    owner, item = (
        events.select(name).join(numbers[name], on=name, how="left", maintain_order="left")["number"].to_numpy()
        for name in ("user", "item")
    )
    owners = np.concatenate([interactions.sequences.owners(), owner.astype(np.int64)])
    taken = np.concatenate([interactions.sequences.items, item.astype(np.int32)])
    times = np.concatenate([interactions.times, events["time"].to_numpy()])
    order = np.lexsort((times, owners))  # stable
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(owners, minlength=len(users)))])
    counts = {"users": len(users), "items": catalogue.height, "interactions": len(taken)}
    meta = interactions.meta.model_copy(update={"counts": {**interactions.meta.counts, **counts}})
    return replace(
        interactions,
        users=users,
        catalogue=catalogue,
        sequences=Sequences(taken[order], offsets),
        times=times[order],
        meta=meta,
    )


def unknown_events(interactions: Interactions, events: pl.DataFrame) -> pl.DataFrame:
    """The `events` that are not in `interactions` yet, each once, in their order."""
    known = interactions.events()
    if known["time"].dtype != events["time"].dtype:
        known, events = (frame.with_columns(pl.col("time").cast(pl.Float64)) for frame in (known, events))
    key = ["user", "item", "time"]
    return events.unique(key, keep="first", maintain_order=True).join(known, on=key, how="anti", maintain_order="left")


def conform(ids: pl.Series, like: pl.Series, source: str, what: str) -> pl.Series:
    """Ids in the form of those that are there: `17` and `"17"` are the same id, `"007"` and `7` are two.

    Raises:
        DataError: those are whole numbers, and one of these is none, or not written in its plain form.
    """
    found = same_ids(ids, like.dtype)
    if like.dtype != pl.String and found.null_count():
        row = int(found.is_null().arg_max() or 0)
        raise DataError(
            f"{source}: {what} {ids[row]!r} is no whole number in plain form, as the {what} ids of this run are"
        )
    return found.alias(like.name)


def conformed_events(events: pl.DataFrame, interactions: Interactions, source: str) -> pl.DataFrame:
    """`user`, `item` and `time` in the form of those of `interactions`; other columns stay.

    Raises:
        DataError: an id or a time is of another kind, or the times are in another unit.
    """
    tie_groups = times(events["time"], Place(source))
    events = events.with_columns(
        conform(events["user"], interactions.users, source, "user").alias("user"),
        conform(events["item"], interactions.catalogue["item"], source, "item").alias("item"),
        as_times(tie_groups, source).alias("time"),
    )
    last, newest = np.abs(interactions.times).max(initial=0), events["time"].abs().max()
    if tie_groups.dtype.is_temporal() and (interactions.meta.times == "position" or last <= CLOCK):
        raise DataError(
            f"{source}: its times are dates, and those of this run's data are numbers up to {last:g}: give numbers "
            "that go on from them"
        )
    if interactions.meta.times == "clock" and last > CLOCK and isinstance(newest, int | float) and newest:
        factor = float(newest) / float(last)
        if not 1 / UNITS < factor < UNITS:
            raise DataError(
                f"{source}: its times go up to {newest:g}, those of this run to {last:g}: they are in another unit "
                "(dates are read as milliseconds); give times in the unit of the run's data"
            )
    return events


def _among(column: pl.Series, known: pl.Series) -> pl.Series:
    """Which of the distinct values of `column`, in order, are `known` too."""
    return column.unique(maintain_order=True).is_in(known.implode())
