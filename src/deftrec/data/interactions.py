"""Interactions with their catalogue, and the mapping between external ids and internal numbers.

Outside, users and items have the ids of the data's owner (strings or integers). Inside, they are contiguous integers.
Item numbers are assigned in a seeded random order: the order of appearance or of ids would leak through ties.
"""

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Never, TypeAlias

import numpy as np
import polars as pl
from pydantic import BaseModel, BeforeValidator, ValidationError

from deftrec.data.catalogue import CATALOGUE_COLUMNS, attributes_of, catalogue_of
from deftrec.data.ids import id_sequence
from deftrec.data.sequences import DAY, Sequences
from deftrec.data.signals import SIGNALS, signals_of
from deftrec.data.sources.columns import Place, refuse_objects, to_polars, typed_ids
from deftrec.data.sources.times import as_numbers, times
from deftrec.data.stored import read_catalogue, read_events
from deftrec.errors import DataError, in_a_line
from deftrec.files import atomic_directory, printable, recover, write_text
from deftrec.habits import INTERACTIONS, advice
from deftrec.notebook import html_table
from deftrec.records import first_fault

if TYPE_CHECKING:
    from deftrec.data.kinds import EventRoles

Id: TypeAlias = str | int

INTERACTIONS_FILE = "interactions.parquet"
ITEMS_FILE = "items.parquet"
META_FILE = "meta.json"
FILES = (INTERACTIONS_FILE, ITEMS_FILE, META_FILE)
SKIPPED_FILE = "skipped.csv"  # bad rows that an import left out
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
        catalogue: columns `item` (external id), `title`, `category`, `text` (strings, possibly empty), then attributes
            (numbers, dates, or texts in which `|` separates categories); the row index is the item's number. `[I]` rows
        sequences: items of every user in time order. `U` sequences
        times: time of each entry of `sequences.items` in the unit of the source, ascending within a user. `[E]`
        meta: provenance.
        signals: columns `kind` (string, such as "purchase") and `value` (float64, null: none), as far as the data have
            them, of each entry of `sequences.items`. `[E]` rows
        roles: how the columns of `sequences` were made (`deftrec.data.kinds.with_roles`); None: they have none.
    """

    users: pl.Series
    catalogue: pl.DataFrame
    sequences: Sequences
    times: np.ndarray
    meta: Meta
    signals: pl.DataFrame = field(default_factory=pl.DataFrame)
    roles: "EventRoles | None" = None

    @classmethod
    def from_frame(
        cls,
        events: Any,
        items: Any = None,
        *,
        user: str = "user",
        item: str = "item",
        time: str = "time",
        kind: str | None = None,
        value: str | None = None,
        meta: Meta | None = None,
    ) -> "Interactions":
        """Build from a data frame of events and, optionally, one of items (polars or pandas).

        Events of one user at one time are ordered randomly by `meta.tie_seed`, because file order and id order leak
        information. Exact duplicates are dropped and counted in `meta.counts["duplicates"]`. Items without a row in
        `items` have empty texts; items without an event are left out. The id 7 matches `"7"` in `items`, not `"007"`.
        Raises a `DataError` if a column is missing, an id or time is null or NaN, or there are no rows.

        Args:
            events: one row per interaction.
            items: columns `item`, any of `title`, `category`, `text`, and attributes; one row per item.
            user, item, time: column names of `events`.
            kind, value: column names of what kind of event each is, and of its rating or amount; None: there are none.
            meta: provenance.
        """
        meta, events = meta or Meta(), to_polars(events)
        items = None if items is None else to_polars(items)
        named = {"user": user, "item": item, "time": time, "kind": kind, "value": value}
        for role, column in named.items():
            if column is not None and column not in events.columns:
                there = ", ".join(events.columns)
                raise DataError(f"{meta.source}: no column {column!r} for the {role}; the columns are {there}")
        if events.height == 0:
            raise DataError(f"{meta.source}: no interactions; check the file and the filters {meta.filters or 'none'}")
        place = Place(meta.source)
        for column in filter(None, named.values()):
            refuse_objects(events[column], place)
        found = times(events[time], place)
        events = events.select(
            typed_ids(events[user], place).alias("user"),
            typed_ids(events[item], place).alias("item"),
            as_numbers(found, place).alias("time"),
            *signals_of(events, kind, value, place),
        )
        # Decimals are stored as floats, which may merge neighbours.
        finest = found.rank("dense") if found.dtype.is_decimal() else events["time"]
        ordered, duplicates = _ordered(events, finest, meta.tie_seed)
        users = ordered["user"].unique(maintain_order=True)
        catalogue = catalogue_of(ordered["item"], items, meta.source)
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
        signals = ordered.select(name for name in SIGNALS if name in ordered.columns)
        return cls(users.alias("user"), catalogue, sequences, ordered["time"].to_numpy(), meta, signals)

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
        catalogue = read_catalogue(items_file, ordered, interactions_file)
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
        """The interactions under external ids, in sequence order: `user`, `item`, `time`, and `signals`. `[E]` rows"""
        return pl.DataFrame(
            {
                "user": self.users.gather(self.sequences.owners()),
                "item": self.catalogue["item"].gather(self.sequences.items),
                "time": self.times,
            }
        ).hstack(self.signals)

    def with_columns(self, roles: "EventRoles", **columns: np.ndarray) -> "Interactions":
        """The same interactions whose sequences have `columns`, made by `roles`."""
        return replace(self, sequences=self.sequences.with_columns(**columns), roles=roles)

    def signals_where(self, kept: np.ndarray) -> pl.DataFrame:
        """The signals of the interactions that are `kept`, `[E]` bool."""
        return self.signals.filter(kept) if self.signals.columns else self.signals

    @property
    def events_schema(self) -> pl.DataFrame:
        """`events` without any row."""
        signals = self.signals.clear() if self.signals.columns else self.signals
        ids = {"user": self.users.clear(), "item": self.catalogue["item"].clear(), "time": self.times[:0]}
        return pl.DataFrame(ids).hstack(signals)

    def where(self, kept: np.ndarray) -> "Interactions":
        """The interactions that are `kept`, `[E]` bool, with the whole catalogue; users without any are left out."""
        ordered = self.events().filter(kept)
        users = ordered["user"].unique(maintain_order=True)
        counts = {**self.meta.counts, "users": len(users), "interactions": ordered.height}
        meta = self.meta.model_copy(update={"counts": counts})
        return self._assemble(ordered, users, self.catalogue, meta)

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
        """SHA-256 of sequences, times, ids, texts, signals and attributes: equal if a model sees the same data."""
        digest = hashlib.sha256()
        for numbers in (self.sequences.items, self.sequences.offsets, self.times):
            digest.update(numbers.tobytes())
        for column in (self.users, *self.catalogue.select("item", *CATALOGUE_COLUMNS)):
            digest.update("\0".join(column.cast(pl.String).to_list()).encode() + b"\1")
        for column in (*self.signals, *self.attributes):
            values = column.cast(pl.String).fill_null("\2")
            digest.update("\0".join([column.name, *values]).encode() + b"\1")
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
        return np.asarray(self.times / (DAY * self.units_per_second), np.float64)

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

    @property
    def attributes(self) -> pl.DataFrame:
        """The attributes of the items: the columns of the catalogue behind the texts. `[I]` rows"""
        return attributes_of(self.catalogue)

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
    ranks = ranks.hstack([events[name].rank("dense") for name in SIGNALS if name in events.columns])
    ranks = ranks.with_row_index("row").sort(ranks.columns, nulls_last=True)
    user, time, *others = (ranks[name].fill_null(0).to_numpy() for name in ranks.columns[1:])
    tied = np.concatenate([[False], (user[1:] == user[:-1]) & (time[1:] == time[:-1])])
    again = np.logical_and.reduce([one[1:] == one[:-1] for one in others])
    kept = ~(tied & np.concatenate([[False], again]))
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
