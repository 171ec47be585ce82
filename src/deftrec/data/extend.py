"""Add users, items and events to a data set; existing users and items keep their numbers."""

from dataclasses import replace

import numpy as np
import polars as pl

from deftrec.data.interactions import CATALOGUE_COLUMNS, FIRST_CLOCK, Interactions
from deftrec.data.sequences import Sequences
from deftrec.data.sources.columns import Place, as_numbers, first_true, same_ids, times, typed_ids
from deftrec.errors import DataError

UNIT_FACTOR = 100.0  # times that differ from the known ones by this factor are in another unit


def extended(interactions: Interactions, items: pl.DataFrame, events: pl.DataFrame) -> Interactions:
    """Append `items` to the catalogue and insert `events` into the histories.

    New users and items get the next numbers, in the order given. Events are sorted by time within each user; equal
    times follow the existing interactions.

    Args:
        interactions: existing data.
        items: new items, columns `item`, `title`, `category`, `text`.
        events: interactions with known or new items, columns `user`, `item`, `time`; see `conformed_events`.
    """
    if not items.height and not events.height:
        return interactions
    catalogue = pl.concat([interactions.catalogue, items.select("item", *CATALOGUE_COLUMNS)])
    users = pl.concat([interactions.users, events["user"]]).unique(maintain_order=True)
    owner, item = (
        events.select(known.name)
        .join(known.to_frame().with_row_index("number"), on=known.name, how="left", maintain_order="left")["number"]
        .to_numpy()
        for known in (users, catalogue["item"])
    )
    owners = np.concatenate([interactions.sequences.owners(), owner.astype(np.int64)])
    entries = np.concatenate([interactions.sequences.items, item.astype(np.int32)])
    times = np.concatenate([interactions.times, events["time"].to_numpy()])
    order = np.lexsort((times, owners))  # stable
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(owners, minlength=len(users)))])
    counts = {"users": len(users), "items": catalogue.height, "interactions": len(entries)}
    meta = interactions.meta.model_copy(update={"counts": {**interactions.meta.counts, **counts}})
    return replace(
        interactions,
        users=users,
        catalogue=catalogue,
        sequences=Sequences(entries[order], offsets),
        times=times[order],
        meta=meta,
    )


def unknown_events(interactions: Interactions, events: pl.DataFrame) -> pl.DataFrame:
    """The distinct `events` that are not in `interactions` yet, in their order."""
    known = interactions.events()
    if known["time"].dtype != events["time"].dtype:
        known, events = (frame.with_columns(pl.col("time").cast(pl.Float64)) for frame in (known, events))
    key = ["user", "item", "time"]
    return events.unique(key, keep="first", maintain_order=True).join(known, on=key, how="anti", maintain_order="left")


def conform(ids: pl.Series, like: pl.Series, source: str, what: str) -> pl.Series:
    """Cast new ids to the type of the existing ones, `like`: `17` is `"17"`, but `"007"` is not `7`.

    `source` (file or other origin of the new ids) and `what` (`user` or `item`) are for messages. Raises a `DataError`
    if the existing ids are integers, and a new one is not an integer in plain form.
    """
    found = same_ids(ids, like.dtype)
    if like.dtype != pl.String and found.null_count():
        new = ids[first_true(found.is_null())]
        raise DataError(f"{source}: {what} {new!r} is no whole number in plain form, as the {what} ids of this run are")
    return found.alias(like.name)


def conformed_events(events: pl.DataFrame, interactions: Interactions, place: Place) -> pl.DataFrame:
    """Cast `user`, `item` and `time` to the types and the time unit of `interactions`; keep other columns.

    `place` names the rows of `events` in messages. Raises a `DataError` if a column is missing, an id or a time is of
    another type, or the times are in another unit.
    """
    for name in ("user", "item", "time"):
        if name not in events.columns:
            raise DataError(f"{place.file}: no column {name!r}; the columns are {', '.join(events.columns)}")
    found = times(events["time"], place)
    user, item = (typed_ids(events[name], place) for name in ("user", "item"))
    events = events.with_columns(
        conform(user, interactions.users, place.file, "user").alias("user"),
        conform(item, interactions.catalogue["item"], place.file, "item").alias("item"),
        as_numbers(found, place).alias("time"),
    )
    last, newest = np.abs(interactions.times).max(initial=0), events["time"].abs().max()
    if found.dtype.is_temporal() and (interactions.meta.times == "position" or last <= FIRST_CLOCK):
        numbers = f"those of this run's data are numbers up to {last:g}"
        raise DataError(f"{place.file}: its times are dates, and {numbers}; give numbers that continue them")
    if interactions.meta.times == "clock" and last > FIRST_CLOCK and isinstance(newest, int | float) and newest:
        factor = float(newest) / float(last)
        if not 1 / UNIT_FACTOR < factor < UNIT_FACTOR:
            raise DataError(
                f"{place.file}: its times go up to {newest:g}, those of this run to {last:g}: they are in another unit "
                "(dates are read as milliseconds); give times in the unit of the run's data"
            )
    return events
