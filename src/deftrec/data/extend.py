"""Add users, items and events to a data set; existing users and items keep their numbers."""

from dataclasses import replace

import numpy as np
import polars as pl

from deftrec.data.interactions import Interactions
from deftrec.data.kinds import with_roles, without_ignored
from deftrec.data.sequences import Sequences
from deftrec.data.signals import SIGNALS, signals_of
from deftrec.data.sources.columns import Place, first_true, same_ids, typed_ids
from deftrec.data.sources.times import as_numbers, times
from deftrec.data.split import Cases
from deftrec.errors import DataError

MICROSECONDS = 1_000_000  # in a second
EXACT = 2**53  # greatest integer up to which floats are exact
UNIT_FACTOR = 100.0  # times that differ from the known ones by this factor are in another unit


def extended(
    interactions: Interactions, items: pl.DataFrame, events: pl.DataFrame, attributes: pl.DataFrame | None = None
) -> Interactions:
    """Append `items` to the catalogue and insert `events` into the histories.

    New users and items get the next numbers, in the order given. Events are sorted by time within each user; equal
    times follow the existing interactions.

    Args:
        interactions: existing data.
        items: new items, with the columns of the catalogue.
        events: interactions with known or new items, columns `user`, `item`, `time`; see `conformed_events`.
        attributes: other attributes of existing items, columns `item` and all attributes; None: they keep theirs.
    """
    if attributes is not None and attributes.height:
        catalogue = interactions.catalogue.update(attributes, on="item", include_nulls=True)
        interactions = replace(interactions, catalogue=catalogue)
    if not items.height and not events.height:
        return interactions
    return _merged(interactions, items, events)[0]


def next_cases(interactions: Interactions, events: pl.DataFrame) -> Cases:
    """Cases whose target is each user's first target of `events` with an interaction before it, here or there.

    The history is everything before the target. `events` has known items and the columns `user`, `item`, `time`; see
    `conformed_events`.
    """
    merged, order = _merged(interactions, interactions.catalogue.clear(), events)
    sequences, is_new = merged.sequences, order >= interactions.n_interactions
    owners = sequences.owners()
    places = np.arange(len(owners)) - sequences.offsets[:-1][owners]
    candidates = np.flatnonzero(is_new & sequences.predictable())
    users, first = np.unique(owners[candidates], return_index=True)
    return Cases.at(sequences, users, places[candidates[first]])


def _merged(interactions: Interactions, items: pl.DataFrame, events: pl.DataFrame) -> tuple[Interactions, np.ndarray]:
    """`extended`, and the place of each entry among the old entries followed by the events. `[E + n]` int64"""
    events = without_ignored(events, interactions.roles)
    catalogue = pl.concat([interactions.catalogue, items.select(interactions.catalogue.columns)])
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
    sequences = Sequences(entries[order], offsets)
    signals = pl.concat([interactions.signals, events.select(interactions.signals.columns)])
    signals = signals[order] if signals.columns else signals
    merged = Interactions(users, catalogue, sequences, times[order], meta, signals)
    return (merged if interactions.roles is None else with_roles(merged, interactions.roles)), order


def unknown_events(interactions: Interactions, events: pl.DataFrame) -> pl.DataFrame:
    """The distinct `events` that are not in `interactions` yet, in their order."""
    known = interactions.events()
    if known["time"].dtype != events["time"].dtype:
        known, events = (frame.with_columns(pl.col("time").cast(pl.Float64)) for frame in (known, events))
    key = [name for name in ("user", "item", "time", *SIGNALS) if name in known.columns]
    return events.unique(key, keep="first", maintain_order=True).join(
        known, on=key, how="anti", nulls_equal=True, maintain_order="left"
    )


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

    Dates are converted to that unit, and those that it merges are put in their order. `place` names the rows of
    `events` in messages. Raises a `DataError` if a column is missing, an id or a time is of another type, or the times
    are in another unit.
    """
    for name in ("user", "item", "time"):
        if name not in events.columns:
            there = ", ".join(events.drop("record", strict=False).columns)
            raise DataError(f"{place.file}: no column {name!r}; the columns are {there}")
    user, item = (typed_ids(events[name], place) for name in ("user", "item"))
    dates = found = times(events["time"], place)
    known, unit = pl.Series(interactions.times[:0]).dtype, interactions.units_per_second
    last = np.abs(interactions.times).max(initial=0)
    if dates.dtype.is_temporal():
        if unit is None:
            numbers = f"those of this run's data are numbers up to {last:g}"
            raise DataError(f"{place.file}: its times are dates, and {numbers}; give numbers that continue them")
        if known.is_float():
            found = as_numbers(dates, place, MICROSECONDS) / (MICROSECONDS / unit)
    events = events.with_columns(
        conform(user, interactions.users, place.file, "user").alias("user"),
        conform(item, interactions.catalogue["item"], place.file, "item").alias("item"),
        _as_known(as_numbers(found, place, unit), known, last, place.file).alias("time"),
        *_conformed_signals(events, interactions, place),
    )
    if dates.dtype.is_temporal():
        events = events[dates.arg_sort()]
    newest = events["time"].abs().max()
    if unit is not None and isinstance(newest, int | float) and newest:
        factor = float(newest) / float(last)
        if not 1 / UNIT_FACTOR < factor < UNIT_FACTOR:
            raise DataError(
                f"{place.file}: its times go up to {newest:g}, those of this run to {last:g}: they are in another "
                "unit; give times in the unit of the run's data, or dates"
            )
    return events


def _conformed_signals(events: pl.DataFrame, interactions: Interactions, place: Place) -> list[pl.Series]:
    """The signals that the interactions have, of new events; a `DataError` for a kind without a role.

    Where there are kinds, each event needs one; a value may be missing.
    """
    wanted, roles = interactions.signals.columns, interactions.roles
    if "kind" in wanted and "kind" not in events.columns:
        kinds = ", ".join(interactions.signals["kind"].unique().sort())
        raise DataError(f"{place.file}: no column 'kind', and this run's interactions have kinds: {kinds}")
    kind, value = (name if name in wanted and name in events.columns else None for name in SIGNALS)
    found = signals_of(events, kind, value, place)
    if found and found[0].name == "kind" and roles is not None:
        known = list(roles.kinds)
        strange = ~found[0].is_in(known)
        place.refuse(strange, events["kind"], f"is no kind of this run, which are {', '.join(known)}")
    if "value" in wanted and value is None:
        found.append(pl.Series("value", [None], dtype=pl.Float64).new_from_index(0, events.height))
    return found


def _as_known(times: pl.Series, known: pl.DataType, last: float, source: str) -> pl.Series:
    """Cast times to the type of those `known` where both hold the same numbers.

    Raises a `DataError` if only some are whole, and the whole ones are too large to be floats.
    """
    whole = times.cast(known, strict=False)
    if (whole.cast(times.dtype) == times).all():
        return whole
    largest = max(float(last), float(times.abs().max() or 0))  # type: ignore[arg-type]
    if largest > EXACT:
        fault = "some of its times are whole numbers, and some of them or of this run's are not"
        raise DataError(f"{source}: {fault}; beyond 2^53 they do not compare: give times like those of the run")
    return times
