"""Tables of interactions and items in CSV, Parquet or JSON lines, in one file or several."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import polars as pl

from deftrec.data.catalogue import attribute
from deftrec.data.download import checksums
from deftrec.data.prepare import Raw
from deftrec.data.signals import SIGNALS, signals_of
from deftrec.data.sources.columns import Place, decoded, ids, require
from deftrec.data.sources.faults import Faults
from deftrec.data.sources.jsonlines import JsonLines
from deftrec.data.sources.opening import on_disk, unpacked_name
from deftrec.data.sources.parquet import Parquet
from deftrec.data.sources.parts import Parts, Table, files_of
from deftrec.data.sources.roles import ID_OF_ITEMS, Reading, attribute_columns, candidates, recognise
from deftrec.data.sources.textfile import SEPARATORS, NoRowsError, TextFile
from deftrec.data.sources.texts import words
from deftrec.data.sources.times import NAME_FORM, times
from deftrec.data.sources.values import FOREIGN, shown
from deftrec.errors import DataError

TableFormat: TypeAlias = Literal["csv", "parquet", "jsonl"]
Paths: TypeAlias = str | Path | Sequence[str | Path]

SUFFIXES: dict[str, TableFormat] = {
    **dict.fromkeys((".csv", ".tsv", ".txt", ".dat", ".data"), "csv"),
    **dict.fromkeys((".parquet", ".pq"), "parquet"),
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), "jsonl"),
}
NO_TABLES = {
    **dict.fromkeys((".xlsx", ".xls", ".ods"), "a workbook; save its sheet as CSV in UTF-8"),
    **dict.fromkeys((".tar", ".tgz", ".7z", ".rar"), "an archive; unpack it first"),
    **dict.fromkeys((".db", ".sqlite", ".sqlite3"), "a database; export its table as CSV"),
}
SAY_FORMAT = f"say --format {'|'.join(get_args(TableFormat))}"
MOST_TEXTS = 1.5  # texts of an item, on average, from which they are none of the item's
RENAME = f"rename it, so that it ends in one of {' '.join(SUFFIXES)}"


@dataclass(frozen=True)
class Columns:
    """Columns of the tables of interactions and items, and how their values are written.

    Attributes:
        user, item: columns of ids; an empty name stands for the column that is recognised by its name.
        time: column of times (numbers in any unit, or dates), empty as above; `None` if rows are in order of events.
        value: column of values (ratings, amounts), empty as above, or `None`.
        title, category, text: columns of the items' table (without one, of that of the interactions); `None` stands for
            those that are recognised, if any.
        needs_value: whether an interaction without a value is a bad row.
        kind: column of kinds of events, empty as above, or `None`.
        attributes: columns of attributes of the items; `None` stands for those that are recognised, if any.
        catalogue_item: column of item ids in the items' table; `None` stands for `item`'s name, or one recognised.
        separator: text between the fields of a CSV file; `None`: found in the first line.
        names: column names of a CSV file of interactions that has no header; "-" and "_" stand for ignored columns.
        item_names: column names of a CSV file of items that has no header.
        time_format: `day-first`, `month-first` or a format of `strptime`; see `times`.
    """

    user: str = ""
    item: str = ""
    time: str | None = ""
    value: str | None = None
    title: str | None = None
    category: str | None = None
    text: str | None = None
    catalogue_item: str | None = None
    separator: str | None = None
    names: tuple[str, ...] | None = None
    item_names: tuple[str, ...] | None = None
    time_format: str | None = None
    needs_value: bool = False
    kind: str | None = None
    attributes: tuple[str, ...] | None = None


def format_of(path: Path, mend: str = SAY_FORMAT) -> TableFormat:
    """The format of a table, from its file name without `.gz` and the like.

    Raises a `DataError` that ends with `mend` if the name has no known suffix.
    """
    found = _known_format(path)
    if found is None:
        if what := NO_TABLES.get(unpacked_name(path).suffix.lower()):
            raise DataError(f"{path}: its name is that of {what}; or {mend}")
        raise DataError(f"{path}: its name does not tell its format; {mend}")
    return found


def read_tabular(
    path: Paths,
    columns: Columns = Columns(),
    *,
    form: TableFormat | None = None,
    items: str | Path | None = None,
    describes_items: bool = False,
    where: Mapping[str, Collection[str]] = {},
    faults: Faults | None = None,
    on_reading: Callable[[Reading], None] | None = None,
) -> Raw:
    """Read a table of interactions, and optionally a table of items.

    An id column of a CSV or JSON lines file holds integers if every value is an integer in plain form, and strings
    otherwise: `"007"` stays a string. The types of a Parquet file are kept.

    Args:
        path: table of interactions, one per row: a file, a directory of files, a pattern such as `logs/*.csv`, or a
            list of them. A file may be packed; a member of a zip file is named like a file in a directory.
        columns: names of the columns.
        form: format of `path`; `None` stands for the format of its name.
        items: table of items, one per row, in the format of its name.
        describes_items: whether columns of the interactions that describe items are read where there is no such table.
        where: values of columns; only rows that have one of the values of each are read.
        faults: collection of the bad rows to leave out; `None`: the first one is an error.
        on_reading: called with the columns taken from each table.

    A `DataError` names the file, the line (in Parquet the row) and the column of the fault.
    """
    file = _File.find(path, form)
    table = file.open(columns.separator, columns.names)
    reading = _recognised(file, table, columns)
    columns = _with(columns, reading)
    described = _Descriptions.find(columns, reading, table.schema) if describes_items and items is None else None
    if described is not None:
        reading = described.noted(reading)
    for name in where:
        if name not in table.schema:
            there = ", ".join(map(repr, table.schema))
            raise DataError(f"{file.name}: no column {name!r} to choose rows by; it has {there}; correct --where")
    more = [] if described is None else described.names
    frame = file.read(table, [*reading.columns.values(), *more, *where], faults)
    read = frame.height
    for name, values in where.items():
        frame = _select(frame, name, values, file.name, reading.notes)
    events = events_of(frame, file.place(table, faults), columns)
    if faults is not None:
        faults.settle(file.name, events.height, table.places)
    _note_spaces(events, reading)
    catalogue = None
    if described is not None:
        catalogue, strange = described.catalogue(frame, columns, file.place(table))
        reading.notes.extend(strange)
    if on_reading is not None:
        on_reading(replace(reading, ignored=[name for name in reading.ignored if name not in where]))
    if items is not None:
        catalogue = read_items(items, columns, faults=faults, on_reading=on_reading)
    read_files = [*file.parts.values(), *([] if items is None else _File.find(items).parts.values())]
    sha256 = checksums(*dict.fromkeys(map(on_disk, read_files)))
    kind: Literal["clock", "position"] = "position" if columns.time is None else "clock"
    notes: dict[str, Any] = {"where": {name: list(values) for name, values in where.items()}} if where else {}
    counts = {"not_selected": read - frame.height} if where else {}
    raw = Raw(events, catalogue, Path(file.name).name, sha256, notes, times=kind, counts=counts)
    return raw.noting(faults)


def read_events(
    path: Paths,
    columns: Columns = Columns(),
    *,
    form: TableFormat | None = None,
    on_reading: Callable[[Reading], None] | None = None,
) -> tuple[pl.DataFrame, Place]:
    """Read interactions in the order of their file: columns `record`, `user`, `item`, `time`; and the records' names.

    There are the columns `kind` and `value` too, as far as `columns` names or recognises them. Arguments and errors are
    those of `read_tabular`.
    """
    file = _File.find(path, form)
    table = file.open(columns.separator, columns.names)
    reading = _recognised(file, table, replace(columns, time=columns.time or ""), None)
    columns, place = _with(columns, reading), file.place(table)
    frame = file.read(table, reading.columns.values())
    events = events_of(frame, place, columns)
    _note_spaces(events, reading)
    if on_reading is not None:
        on_reading(reading)
    return events.insert_column(0, frame["record"]), place


def read_users(path: str | Path, *, mend: str = SAY_FORMAT) -> list[Any]:
    """Read the ids of a table with a column of users, in the order of the rows; errors as for `read_tabular`."""
    file = _File.find(path, None, mend)
    table = file.open(None, None, whole=True)
    columns = candidates("user", table.schema)
    if not columns:
        there = ", ".join(map(shown, table.schema))
        raise DataError(f"{file.name}: no column 'user' among {there}; call the ids' column user")
    frame = file.read(table, columns[:1])
    return ids(frame[columns[0]], replace(file.place(table), records=frame["record"])).to_list()


def read_items(
    path: str | Path,
    columns: Columns,
    *,
    form: TableFormat | None = None,
    option: str = "--items-id",
    mend: str = RENAME,
    known: Collection[str] = (),
    faults: Faults | None = None,
    on_reading: Callable[[Reading], None] | None = None,
) -> pl.DataFrame:
    """Read a table of items: column `item`, any of `title`, `category`, `text`, and attributes.

    A brand or author stands before the text, if the column of texts is not named. Arguments and errors are those of
    `read_tabular`; a message names the `option` of the command line for the id column, or the `mend` of an unknown
    format. Columns named like `known` attributes are taken, too.
    """
    path = Path(path)
    file = _File.find(path, form, mend)
    if path.is_file() and not path.stat().st_size:
        raise DataError(f"{path}: no items; the file is empty")
    table = file.open(columns.separator, columns.item_names, whole=True)
    there = table.schema
    keys = [name for name in (columns.item, *candidates("item", there)) if name in there]
    keys += [name for name in there if name.lower() == ID_OF_ITEMS]
    key = columns.catalogue_item or (keys[0] if keys else columns.item or "item")
    if key not in there:
        names = ", ".join(map(repr, there))
        raise DataError(f"{path}: no column {key!r} with the items' ids; it has {names}; name it with {option} COL")
    texts = {"title": columns.title, "category": columns.category, "text": columns.text}
    for role, named in texts.items():
        if named is not None and named not in there:
            raise DataError(f"{path}: no column {named!r} for the {role}; name the right one with --{role} COL")
    roles = {"item": key, **{role: named or "" for role, named in texts.items()}}
    reading = recognise(file.name, there, roles | ({"brand": ""} if columns.text is None else {}))
    taken = {key, *reading.columns.values()} - {reading.columns.get("brand")}
    more = _attributes(columns, there, taken, file.name)
    more += [name for name in known if name in there and name not in (*taken, *more)]
    ignored = [name for name in reading.ignored if name not in more]
    reading = replace(reading, attributes=more, ignored=ignored)
    if columns.catalogue_item is None and key != columns.item and len(keys) > 1:
        reading.notes.append(f"{keys[1]!r} may hold the ids too: {option} names another column")
    frame = file.read(table, dict.fromkeys([*reading.columns.values(), *more]), faults)

    def convert(frame: pl.DataFrame, place: Place) -> pl.DataFrame:
        parts = {"item": ids(frame[key], place)}
        again = ~parts["item"].is_first_distinct()
        place.refuse(again, parts["item"].alias(key), "occurs again", "leave one row")
        parts |= {role: words(frame[name], place) for role, name in reading.columns.items() if role != "item"}
        if "brand" in parts:
            parts["text"] = behind(parts.pop("brand"), parts.get("text"))
        parts |= {name: attribute(frame[name], place) for name in more}
        return pl.DataFrame({name: part.alias(name) for name, part in parts.items()})

    found = file.place(table, faults).converted(frame, convert)
    if faults is not None:
        faults.settle(file.name, found.height, table.places)
    _note_spaces(found, reading)
    if on_reading is not None:
        on_reading(reading)
    return found


def events_of(frame: pl.DataFrame, place: Place, columns: Columns) -> pl.DataFrame:
    """Convert a table to interactions: columns `user`, `item`, `time` and perhaps `kind` and `value`.

    `frame` holds the wanted columns, and `record`, the number of each row in the file. Bad rows go to the faults of
    `place`, if it has some.
    """

    def convert(frame: pl.DataFrame, place: Place) -> pl.DataFrame:
        parts = {"user": ids(frame[columns.user], place), "item": ids(frame[columns.item], place)}
        if columns.time is None:
            parts["time"] = frame["record"].cast(pl.Int64)
        else:
            parts["time"] = times(frame[columns.time], place, columns.time_format, NAME_FORM)
        parts |= {one.name: one for one in signals_of(frame, columns.kind or None, columns.value or None, place)}
        if columns.needs_value and columns.value:
            place.refuse(parts["value"].is_null(), frame[columns.value], "is not a number")
        return pl.DataFrame({name: part.alias(name) for name, part in parts.items()})

    return place.converted(frame, convert)


def behind(brand: pl.Series, text: pl.Series | None) -> pl.Series:
    """Texts with a brand before them, and a full stop between."""
    if text is None:
        return brand
    return brand.zip_with((text == ""), (brand + ". " + text).zip_with(brand != "", text))


def _note_spaces(found: pl.DataFrame, reading: Reading) -> None:
    """Note ids with spaces at their ends, which nobody sees: often they follow the commas of a file."""
    for role in {"user", "item"}.intersection(found.columns):
        column = found[role]
        if column.dtype == pl.String and len(spaced := column.filter(column.str.contains(r"^\s|\s$"))):
            reading.notes.append(f"ids of {reading.columns[role]!r} keep spaces at their ends, as {spaced[0]!r}")


def _decoded(frame: pl.DataFrame, place: Place) -> pl.DataFrame:
    return frame.with_columns(decoded(one, place) for one in frame if one.dtype == pl.Binary)


def _known_format(path: Path) -> TableFormat | None:
    return SUFFIXES.get(unpacked_name(path).suffix.lower())


def _recognised(file: "_File", table: Table, columns: Columns, in_order: str | None = "--order-as-given") -> Reading:
    """The columns of interactions; a `DataError` if one that is needed or named is missing."""
    given = {name: getattr(columns, name) for name in ("user", "item", "time", "kind", "value")}
    reading = recognise(file.name, table.schema, given)
    reading.notes.extend([f"{len(file.parts)} files"] if len(file.parts) > 1 else [])
    needed = [role for role, name in given.items() if name or (name == "" and role not in SIGNALS)]
    wanted = {role: reading.columns.get(role, role) for role in needed}
    try:
        require(table.schema, wanted, file.name, in_order=in_order)
    except DataError as error:
        named = [name for name in table.schema if name]
        if file.form != "csv" or len(named) > 1:
            raise
        between = ", ".join(map(repr, SEPARATORS))
        raise DataError(f"{error}; line 1 must be the header, with one of {between} between its columns") from error
    return reading


def _with(columns: Columns, reading: Reading) -> Columns:
    """The columns with the names of those that were recognised."""
    user, item, time, kind, value = (reading.columns.get(role) for role in ("user", "item", "time", "kind", "value"))
    return replace(columns, user=user or "", item=item or "", time=time, kind=kind, value=value)


def _attributes(columns: Columns, schema: Mapping[str, pl.DataType], taken: Collection[str], file: str) -> list[str]:
    """The columns of attributes: those that are named, or recognised; a `DataError` if one is missing."""
    if columns.attributes is None:
        return attribute_columns(schema, taken)
    for name in columns.attributes:
        if name not in schema:
            there = ", ".join(map(repr, schema))
            raise DataError(f"{file}: no column {name!r} for an attribute; it has {there}; correct --attributes")
    return list(columns.attributes)


@dataclass(frozen=True)
class _Descriptions:
    """Columns of a table of interactions that describe the items.

    Attributes:
        texts: column of each of `title`, `category`, `text`.
        attributes: columns of attributes.
    """

    texts: dict[str, str]
    attributes: list[str]

    @classmethod
    def find(cls, columns: Columns, reading: Reading, schema: Mapping[str, pl.DataType]) -> "_Descriptions | None":
        """Those that are named, or recognised among the columns that have no role; None if there are none."""
        free = {name: schema[name] for name in reading.ignored}
        given = {"title": columns.title or "", "category": columns.category or "", "text": columns.text or ""}
        for role, name in given.items():
            if name and name not in free:
                there = ", ".join(map(repr, free)) or "none"
                raise DataError(
                    f"{reading.file}: no free column {name!r} for the {role}; it has {there}; correct --{role}"
                )
        texts = dict(recognise(reading.file, free, given).columns)
        named = _attributes(columns, free, set(texts.values()), reading.file)
        return cls(texts, named) if texts or named else None

    @property
    def names(self) -> list[str]:
        """All of the columns."""
        return [*self.texts.values(), *self.attributes]

    def noted(self, reading: Reading) -> Reading:
        """What was read, with these columns."""
        ignored = [name for name in reading.ignored if name not in self.names]
        columns = {**reading.columns, **self.texts}
        return replace(reading, columns=columns, attributes=self.attributes, ignored=ignored)

    def catalogue(self, frame: pl.DataFrame, columns: Columns, place: Place) -> tuple[pl.DataFrame, list[str]]:
        """The items of the interactions: the last description of each that is not empty.

        A text that was recognised and differs between the interactions of an item is none of the item's: it is left
        out, and a note says so.
        """
        place, item = replace(place, records=frame["record"]), ids(frame[columns.item], place).alias("item")
        parts, notes = {}, []
        for role, name in self.texts.items():
            text = words(frame[name], place).alias(role)
            distinct = pl.DataFrame([item, text]).filter(pl.col(role) != "").unique()
            if distinct.height > MOST_TEXTS * max(1, distinct["item"].n_unique()) and not getattr(columns, role):
                notes.append(
                    f"{name!r} differs within items, so it is not read as their {role}: --{role} COL names one"
                )
            else:
                parts[role] = text
        parts |= {name: attribute(frame[name], place) for name in self.attributes}
        filled = [one.set(one == "", None) if one.dtype == pl.String else one for one in parts.values()]
        described = [one.alias(name) for name, one in zip(parts, filled, strict=True)]
        table = pl.DataFrame([item, *described])
        return table.group_by("item", maintain_order=True).agg(pl.exclude("item").drop_nulls().last()), notes


def _select(frame: pl.DataFrame, name: str, values: Collection[str], file: str, notes: list[str]) -> pl.DataFrame:
    """The rows that have one of the `values` in a column; values that no row has are noted."""
    column = frame[name]
    if column.dtype.is_nested():
        raise DataError(f"{file}: column {name!r} holds {column.dtype}; --where compares texts and numbers")
    texts = column.cast(pl.String).str.strip_prefix(FOREIGN)
    known = texts.unique()
    wanted = {one.lower() for one in values} if column.dtype == pl.Boolean else set(values)
    absent = sorted(wanted.difference(known))
    if absent == sorted(wanted):
        there = ", ".join(map(repr, known.drop_nulls().sort().head(10)))
        named = " or ".join(map(repr, sorted(wanted)))
        raise DataError(f"{file}: no row has {named} in column {name!r}; it has {there}; correct --where")
    notes += [f"no row has {name}={one}" for one in absent]
    return frame.filter(texts.is_in(sorted(wanted)))


@dataclass(frozen=True)
class _File:
    """The file or files of a table.

    Attributes:
        name: name for messages.
        parts: each file by its name in messages.
        form: format of all files.
    """

    name: str
    parts: dict[str, Path]
    form: TableFormat

    @classmethod
    def find(cls, path: Paths, form: TableFormat | None = None, mend: str = SAY_FORMAT) -> "_File":
        """Find the files of a table; a `DataError` if there is none, or they have several formats."""
        paths = [Path(one) for one in ([path] if isinstance(path, str | Path) else path)]
        name = str(paths[0]) + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")

        def rank(one: Path) -> int:
            """Files of the format come first, and those whose names tell none are only taken where it is given."""
            known = _known_format(one)
            return 2 if known is not None and form in (None, known) else int(known is None and form is not None)

        parts = files_of(paths, rank)
        forms = {part: form or format_of(one, mend) for part, one in parts.items()}
        kinds = sorted(set(forms.values()))
        if len(kinds) > 1:
            named = ", ".join(f"{kind} ({next(part for part in forms if forms[part] == kind)})" for kind in kinds)
            raise DataError(f"{name}: holds files of {len(kinds)} formats: {named}; choose with --format, or a pattern")
        return cls(name, parts, kinds[0])

    def open(self, separator: str | None, names: Sequence[str] | None, *, whole: bool = False) -> Table:
        """Open the table; `names` are the columns of files without a header. For `whole`, see `JsonLines`."""
        names = names and [f"column {n}" if name in ("-", "_", "") else name for n, name in enumerate(names, 1)]
        if names is not None and self.form != "csv":
            raise DataError(f"{self.name}: a {self.form} file names its columns itself; leave out --columns")
        tables = dict[str, Table]()
        for part, path in self.parts.items():
            try:
                tables[part] = self._open(path, separator, names, whole)
            except NoRowsError:
                if len(self.parts) == 1:
                    raise
        if not tables:
            raise NoRowsError(f"{self.name}: no rows; all of its files are empty")
        one = next(iter(tables.values()))
        return one if len(self.parts) == 1 else Parts(self.name, tables, alike=self.form != "jsonl")

    def _open(self, path: Path, separator: str | None, names: Sequence[str] | None, whole: bool) -> Table:
        if self.form == "csv":
            tabs = unpacked_name(path).suffix.lower() == ".tsv"
            return TextFile(path, "\t" if tabs and separator is None else separator, header=names)
        return JsonLines(path, whole=whole) if self.form == "jsonl" else Parquet(path)

    def read(self, table: Table, columns: Iterable[str], faults: Faults | None = None) -> pl.DataFrame:
        """Read columns of a table with `record`; records that are no rows, or no UTF-8, go to `faults`."""
        frame = table.read(list(dict.fromkeys(columns)), None if faults is None else faults.add_record)
        return self.place(table, faults).converted(frame, _decoded)

    def place(self, table: Table, faults: Faults | None = None) -> Place:
        """The names of the rows of the table."""
        return Place(self.name, lambda record: table.places([record])[0], faults=faults)
