"""Interactions with their catalogue, and the mapping between external ids and internal numbers.

Outside, users and items have the ids of the data's owner (strings or integers). Inside, they are contiguous integers.
Item numbers are assigned in a seeded random order: the order of appearance or of ids would leak through ties.
"""

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Never, TypeAlias

import numpy as np
import polars as pl
from pydantic import BaseModel, BeforeValidator, ValidationError

from deftrec.data.ids import id_sequence
from deftrec.data.sequences import Sequences
from deftrec.data.sources.columns import (
    Place,
    check_id_type,
    decoded,
    refuse_objects,
    same_ids,
    to_polars,
    typed_ids,
)
from deftrec.data.sources.texts import texts
from deftrec.data.sources.times import as_numbers, times
from deftrec.data.stored import read_catalogue, read_events
from deftrec.errors import DataError, in_a_line
from deftrec.files import atomic_directory, printable, recover, write_text
from deftrec.habits import INTERACTIONS, advice
from deftrec.notebook import html_table
from deftrec.records import first_fault

Id: TypeAlias = str | int

INTERACTIONS_FILE = "interactions.parquet"
ITEMS_FILE = "items.parquet"
META_FILE = "meta.json"
FILES = (INTERACTIONS_FILE, ITEMS_FILE, META_FILE)
SKIPPED_FILE = "skipped.csv"  # bad rows that an import left out
CATALOGUE_COLUMNS = ("title", "category", "text")
RELABEL_SEED = 20250412
FIRST_CLOCK = 1e8  # times beyond this are seconds or finer units since 1970: in seconds it is a day of 1973


_Name: TypeAlias = Annotated[str, BeforeValidator(lambda name: printable(name) if isinstance(name, str) else name)]


class Meta(BaseModel, frozen=True, extra="ignore"):
    """Provenance of a data set; the `meta.json` of a data directory.

    Attributes:
        name: short name for tables.
        source: file, URL or other origin.
        sha256: SHA-256 of every file that was read, by name.
        filters: filters that were applied, with their values.
        counts: numbers of users, items, interactions and dropped duplicates.
        tie_seed: seed of the order of interactions of one user at one time.
        domain: kind of the items in a word or two ("movies"), for prompts.
        times: `clock` if times of different users compare, `position` if they only order the items of one user.
    """

    name: _Name = "unnamed"
    source: _Name = "memory"
    sha256: dict[_Name, str] = {}
    filters: dict[str, Any] = {}
    counts: dict[str, int] = {}
    tie_seed: int = 0
    domain: str = "items"
    times: Literal["clock", "position"] = "clock"

    @classmethod
    def read(cls, path: Path) -> "Meta":
        """Read a `meta.json`; a `DataError` names the key of a fault."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            fault = first_fault(error)
        except OSError as error:
            fault = in_a_line(error)
        raise DataError(f"{path}: not the {META_FILE} of a data directory ({fault}); fetch or import it again")


@dataclass(frozen=True, eq=False)
class Interactions:
    """Interactions with their catalogue, under contiguous integer numbers.

    Attributes:
        users: external user ids; the index is the user's number. `[U]`
        catalogue: columns `item` (external id), `title`, `category`, `text` (strings, possibly empty); the row index
            is the item's number. `[I]` rows
        sequences: items of every user in time order. `U` sequences
        times: time of each entry of `sequences.items` in the unit of the source, ascending within a user. `[E]`
        meta: provenance.
    """

    users: pl.Series
    catalogue: pl.DataFrame
    sequences: Sequences
    times: np.ndarray
    meta: Meta

    @classmethod
    def from_frame(
        cls,
        events: Any,
        items: Any = None,
        *,
        user: str = "user",
        item: str = "item",
        time: str = "time",
        meta: Meta | None = None,
    ) -> "Interactions":
        """Build from a data frame of events and, optionally, one of items (polars or pandas).

        Events of one user at one time are ordered randomly by `meta.tie_seed`, because file order and id order leak
        information. Exact duplicates are dropped and counted in `meta.counts["duplicates"]`. Items without a row in
        `items` have empty texts; items without an event are left out. The id 7 matches `"7"` in `items`, not `"007"`.
        Raises a `DataError` if a column is missing, an id or time is null or NaN, or there are no rows.

        Args:
            events: one row per interaction.
            items: columns `item` and any of `title`, `category`, `text`; one row per item.
            user, item, time: column names of `events`.
            meta: provenance.
        """
        meta, events = meta or Meta(), to_polars(events)
        items = None if items is None else to_polars(items)
        for role, column in (("user", user), ("item", item), ("time", time)):
            if column not in events.columns:
                there = ", ".join(events.columns)
                raise DataError(f"{meta.source}: no column {column!r} for the {role}; the columns are {there}")
        if events.height == 0:
            raise DataError(f"{meta.source}: no interactions; check the file and the filters {meta.filters or 'none'}")
        place = Place(meta.source)
        for column in (user, item, time):
            refuse_objects(events[column], place)
        found = times(events[time], place)
        events = events.select(
            typed_ids(events[user], place).alias("user"),
            typed_ids(events[item], place).alias("item"),
            as_numbers(found, place).alias("time"),
        )
        # Decimals are stored as floats, which may merge neighbours.
        finest = found.rank("dense") if found.dtype.is_decimal() else events["time"]
        ordered, duplicates = _ordered(events, finest, meta.tie_seed)
        users = ordered["user"].unique(maintain_order=True)
        catalogue = _catalogue(ordered["item"], items, meta.source)
        counts = {"users": len(users), "items": catalogue.height, "interactions": ordered.height}
        counts["duplicates"] = duplicates + meta.counts.get("duplicates", 0)  # those that a filter dropped before
        meta = meta.model_copy(update={"counts": {**meta.counts, **counts}})
        return cls._assemble(ordered, users, catalogue, meta)

    @classmethod
    def _assemble(cls, ordered: pl.DataFrame, users: pl.Series, catalogue: pl.DataFrame, meta: Meta) -> "Interactions":
        """Number users and items; `ordered` is sorted by user in the order of `users`, then by time."""
        numbers = catalogue.select("item", pl.int_range(pl.len(), dtype=pl.Int32).alias("number"))
        items = ordered.select("item").join(numbers, on="item", how="left", maintain_order="left")["number"]
        lengths = ordered["user"].rle().struct.field("len").to_numpy()
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
        sequences = Sequences(np.ascontiguousarray(items.to_numpy(), dtype=np.int32), offsets)
        return cls(users.alias("user"), catalogue, sequences, ordered["time"].to_numpy(), meta)

    @classmethod
    def load(cls, directory: str | Path) -> "Interactions":
        """Read a data directory written by `save`, `deftrec data fetch` or `deftrec data import`.

        Raises a `DataError` if a file is missing or damaged; the message names the file and the remedy.
        """
        directory = recover(directory)
        missing = next((name for name in FILES if not (directory / name).is_file()), None)
        if missing is not None:
            raise DataError(
                f"{directory}: no {missing}; make a data directory with 'deftrec data fetch' or 'deftrec data import'"
            )
        interactions_file, items_file = directory / INTERACTIONS_FILE, directory / ITEMS_FILE
        meta = Meta.read(directory / META_FILE)
        ordered = read_events(interactions_file)
        catalogue = read_catalogue(items_file, CATALOGUE_COLUMNS, ordered, interactions_file)
        return cls._assemble(ordered, ordered["user"].unique(maintain_order=True), catalogue, meta)

    def save(self, directory: str | Path) -> None:
        """Write `interactions.parquet`, `items.parquet` and `meta.json` into `directory`, atomically.

        Raises a `DataError` if `directory` holds other files, which would be lost.
        """
        directory = check_target(directory)
        with atomic_directory(directory) as temporary:
            for name, table in ((INTERACTIONS_FILE, self.events()), (ITEMS_FILE, self.catalogue)):
                with (temporary / name).open("wb") as file:  # polars writes to no path that is not UTF-8
                    table.write_parquet(file)
            write_text(temporary / META_FILE, self.meta.model_dump_json(indent=2) + "\n")

    def events(self) -> pl.DataFrame:
        """The interactions under external ids, in sequence order: columns `user`, `item`, `time`. `[E]` rows"""
        return pl.DataFrame(
            {
                "user": self.users.gather(self.sequences.owners()),
                "item": self.catalogue["item"].gather(self.sequences.items),
                "time": self.times,
            }
        )

    @property
    def n_users(self) -> int:
        """Number of users."""
        return len(self.users)

    @property
    def n_items(self) -> int:
        """Number of items in the catalogue."""
        return self.catalogue.height

    @property
    def n_interactions(self) -> int:
        """Number of interactions."""
        return len(self.sequences.items)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of sequences, times, ids and texts: equal if and only if a model sees the same data."""
        digest = hashlib.sha256()
        for numbers in (self.sequences.items, self.sequences.offsets, self.times):
            digest.update(numbers.tobytes())
        for column in (self.users, *self.catalogue.select("item", *CATALOGUE_COLUMNS)):
            digest.update("\0".join(column.cast(pl.String).to_list()).encode() + b"\1")
        return digest.hexdigest()

    @cached_property
    def tie_groups(self) -> np.ndarray:
        """The tie group of each entry of `sequences.items`: entries of one user at one time share a number. `[E]`"""
        first = np.zeros(self.n_interactions, bool)
        first[self.sequences.offsets[:-1][self.sequences.lengths > 0]] = True
        first[1:] |= self.times[1:] != self.times[:-1]
        return np.cumsum(first)

    @cached_property
    def days(self) -> np.ndarray | None:
        """The time of each entry of `sequences.items` in days since 1970; None where times have no known unit. `[E]`"""
        if self.units_per_second is None:
            return None
        return np.asarray(self.times / (86_400.0 * self.units_per_second), np.float64)

    @cached_property
    def units_per_second(self) -> int | None:
        """The number of units of time in a second: 1, 10^3, 10^6 or 10^9; None where times have no known unit.

        Times beyond `FIRST_CLOCK` are seconds, milliseconds, microseconds or nanoseconds, by their size.
        """
        newest = float(np.abs(self.times).max(initial=0))
        if self.meta.times == "position" or newest <= FIRST_CLOCK:
            return None
        return int(1000 ** int(np.log10(newest / FIRST_CLOCK) // 3))

    @cached_property
    def number_of_user(self) -> dict[str, int]:
        """Number of each user, by external id as text."""
        return {str(user): number for number, user in enumerate(self.users)}

    @cached_property
    def number_of_item(self) -> dict[str, int]:
        """Number of each item, by external id as text."""
        return {str(item): number for number, item in enumerate(self.catalogue["item"])}

    def user_number(self, user: Id) -> int:
        """The number of an external user id; `17` and `"17"` are the same id. Raises a `DataError` if it is unknown."""
        try:
            return self.number_of_user[str(user)]
        except KeyError:
            known = f"user {user!r} is not among the {self.n_users} users of {self.meta.name}"
            raise DataError(f"{known}; give a history, or add the user's interactions with 'deftrec update'") from None

    def item_numbers(self, items: Iterable[Id]) -> np.ndarray:
        """The numbers of external item ids. `[n]` int64

        Raises a `DataError` if an item is unknown, with its position in the list, or `items` is a single id.
        """
        items = id_sequence(items)
        numbers = [self.number_of_item.get(str(item)) for item in items]
        if None in numbers:
            place = numbers.index(None)
            where = f" (number {place + 1} of the list)" if len(items) > 1 else ""
            raise DataError(f"item {items[place]!r}{where} is not in the catalogue of {self.meta.name}")
        return np.asarray(numbers, dtype=np.int64)

    def item_ids(self, numbers: Sequence[int] | np.ndarray) -> list[Id]:
        """External ids of item numbers."""
        return self.catalogue["item"].gather(np.asarray(numbers, dtype=np.int64)).to_list()

    @property
    def titles(self) -> list[str]:
        """The title of every item, or an empty string. `[I]`"""
        return self.catalogue["title"].to_list()

    def title(self, number: int) -> str:
        """The title of an item, or its id if it has none."""
        return self.catalogue["title"][number] or str(self.catalogue["item"][number])

    def history(self, user: Id) -> list[Id]:
        """The external ids of all items of a user, oldest first."""
        return self.item_ids(self.sequences[self.user_number(user)])

    def __repr__(self) -> str:
        counts = f"{self.n_users:,} users, {self.n_items:,} items, {self.n_interactions:,} interactions"
        return f"Interactions({self.meta.name}: {counts})"

    def _repr_html_(self) -> str:
        first = self.events().head(5)
        return html_table(first.rows(), first.columns, f"{self!r}, the first {first.height}")

    if not TYPE_CHECKING:  # a type checker shall still find wrong names

        def __getattr__(self, name: str) -> Never:
            raise AttributeError(advice("Interactions", name, INTERACTIONS))


def check_target(directory: str | Path) -> Path:
    """Check that a data directory can be written to `directory`, and return the resolved path.

    Raises a `DataError` if it is neither new, nor empty, nor a data directory, or cannot be replaced or written.
    """
    directory = recover(Path(directory).resolve())
    if directory.exists() and not directory.is_dir():
        raise DataError(f"{directory}: is a file; name a directory")
    there = {path.name for path in directory.iterdir()} if directory.exists() else set()
    others = there.difference({*FILES, SKIPPED_FILE})
    if others:
        raise DataError(f"{directory}: is not empty and not a data directory ({min(others)} is in it); name another")
    if directory.is_mount() or directory == Path.cwd():  # a rename replaces the directory
        within = directory / "data"
        raise DataError(f"{directory}: cannot be replaced as a whole; name a new directory in it, such as {within}")
    parent = next(above for above in directory.parents if above.exists())
    if not os.access(parent, os.W_OK):
        raise DataError(f"{directory}: cannot be made, as {parent} cannot be written; name another place")
    return directory


def _ordered(events: pl.DataFrame, tie_groups: pl.Series, tie_seed: int) -> tuple[pl.DataFrame, int]:
    """Sort events by user and time, ties randomly, without exact duplicates; also return the number of duplicates.

    Sorting by all columns first makes the random order independent of the file's order. Ranks sort faster than strings.
    """
    ranks = pl.DataFrame({"user": _ranks(events["user"]), "time": tie_groups, "item": _ranks(events["item"])})
    ranks = ranks.with_row_index("row").sort("user", "time", "item")
    user, time, item = (ranks[name].to_numpy() for name in ("user", "time", "item"))
    tied = np.concatenate([[False], (user[1:] == user[:-1]) & (time[1:] == time[:-1])])
    kept = ~(tied & np.concatenate([[False], item[1:] == item[:-1]]))
    rows, group = ranks["row"].to_numpy()[kept], np.cumsum(~tied)[kept]
    draw = np.random.default_rng(tie_seed).random(len(rows))
    several = np.flatnonzero(np.bincount(group)[group] > 1)
    rows[several] = rows[several[np.lexsort((draw[several], group[several]))]]
    return events[rows], len(kept) - len(rows)


def _ranks(ids: pl.Series) -> pl.Series:
    """The rank of each id among the sorted distinct ids."""
    known = ids.unique().sort()
    if ids.dtype == pl.String:
        return ids.cast(pl.Enum(known)).to_physical()
    return pl.Series(ids.name, np.searchsorted(known.to_numpy(), ids.to_numpy()))


def _catalogue(events: pl.Series, items: pl.DataFrame | None, source: str) -> pl.DataFrame:
    """Make the catalogue of the items of `events` in a seeded random order, with the texts of `items`, if any."""
    known = events.unique().sort()
    order = np.random.default_rng(RELABEL_SEED).permutation(len(known))
    catalogue = pl.DataFrame({"item": known.gather(order)})
    if items is not None and items.height:
        if "item" not in items.columns:
            raise DataError(f"{source}: the items have no column 'item'; the columns are {', '.join(items.columns)}")
        ids, place = items["item"], Place(source)
        check_id_type(ids, place)
        ids = decoded(ids, place) if ids.dtype == pl.Binary else ids
        given = [column for column in CATALOGUE_COLUMNS if column in items.columns]
        metadata = items.select(
            same_ids(ids, catalogue["item"].dtype), *(texts(items[name], place) for name in given)
        ).unique("item", keep="first", maintain_order=True)
        catalogue = catalogue.join(metadata, on="item", how="left", maintain_order="left")
    missing = [pl.lit("").alias(c) for c in CATALOGUE_COLUMNS if c not in catalogue.columns]
    return catalogue.with_columns(missing).select("item", pl.col(CATALOGUE_COLUMNS).fill_null(""))
