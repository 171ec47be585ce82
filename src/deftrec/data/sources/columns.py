"""Conversion of columns to ids, times, ratings and texts; an error names the file, the line and the column."""

import html
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from deftrec.data.sources.faults import BadRowsError, Faults, shown
from deftrec.errors import DataError

CATEGORY_SEPARATOR = "|"  # separator between the categories of an item

NOT_AN_ID = ["nan", "NaN", "NAN", "null", "NULL", "None", "<NA>"]  # values that programs write for a missing id

NOT_A_TEXT = ["nan", "NaN", "NAN", "<NA>"]
"""Values that programs write for a missing text; "None" and "null" may be titles."""


def as_row(record: int) -> str:
    """The name of a row of a table, counted from 1."""
    return f"row {record + 1}"


@dataclass(frozen=True)
class Place:
    """Names of the entries of a column that was read from a file, for messages.

    Attributes:
        file: path or name of the file, as the user gave it.
        describe: function from the number of a record, from 0, to its name, such as "line 17" or "row 16".
        records: record number of each entry; `None` if no record of the file was left out.
        faults: collection of the bad rows to leave out; `None` if a bad entry is an error.
    """

    file: str
    describe: Callable[[int], str] = as_row
    records: pl.Series | None = None
    faults: Faults | None = None

    def error(self, entry: int, column: str, message: str) -> DataError:
        """Make the error about one entry of one column."""
        record = entry if self.records is None else int(self.records[entry])
        return DataError(f"{self.file}: {self.describe(record)}, column {column!r}: {message}")

    def refuse(
        self, bad: pl.Series, column: pl.Series, what: str, mend: str = "correct the value or remove the row"
    ) -> None:
        """Raise the error about the first entry of `column` that is `bad`, if there is one.

        With `faults` all bad entries are noted there, and a `BadRowsError` goes to `converted`.
        """
        bad = bad.fill_null(False)
        if not bad.any():
            return
        if self.faults is None:
            raise self.error(first_true(bad), column.name, f"{shown(column[first_true(bad)])} {what}; {mend}")
        records = pl.int_range(len(bad), eager=True) if self.records is None else self.records
        self.faults.add(records.filter(bad), column.name, column.filter(bad), what)
        raise BadRowsError(bad)

    def converted(self, frame: pl.DataFrame, convert: Callable[[pl.DataFrame, "Place"], pl.DataFrame]) -> pl.DataFrame:
        """Convert a table with the column `record`; rows that are refused are left out where there are `faults`.

        Each time that `convert` refuses rows, it begins again without them, as if they had not been in the file.
        """
        while True:
            try:
                return convert(frame, replace(self, records=frame["record"]))
            except BadRowsError as found:
                frame = frame.filter(~found.rows)


def first_true(mask: pl.Series) -> int:
    """The index of the first true entry."""
    return int(mask.arg_max() or 0)


def require(
    there: Iterable[str], wanted: Mapping[str, str], file: str, *, in_order: str | None = "--order-as-given"
) -> None:
    """Check that a table has the `wanted` column of each role; a role is the name of its command-line option.

    Raises a `DataError` if a column is missing, or has two roles. The message names the option, and for times also
    `in_order`, the option for data without times.
    """
    there, role_of = list(there), dict[str, str]()
    for role, column in wanted.items():
        if column in role_of:
            raise DataError(f"{file}: column {column!r} cannot be both {role_of[column]} and {role}; name another")
        role_of[column] = role
        if column not in there:
            names = ", ".join(map(repr, there[:20])) + (", ..." if len(there) > 20 else "")
            other = f", or keep the order of the rows with {in_order}" if role == "time" and in_order else ""
            mend = f"name the right one with --{role} COL{other}"
            if any(name[:1].isdigit() for name in there):
                mend += "; if line 1 is no header, name all columns with --columns, such as user,item,-,time"
            raise DataError(f"{file}: no column {column!r} for the {role}; it has {names or 'none'}; {mend}")


def ids(column: pl.Series, place: Place) -> pl.Series:
    """Convert external ids: to integers if every value is an integer in plain form, otherwise to strings.

    `"7"` is an integer and `"007"` is not; `9223372036854775808` (2^63) makes the column unsigned. A column has one
    type, so a single `"A7"` keeps all ids strings. Spaces and any Unicode are part of an id. Raises a `DataError` if an
    id is missing, empty, NaN or not whole.
    """
    column = typed_ids(column, place)
    if column.dtype != pl.String:
        return column
    place.refuse(column.is_in(NOT_AN_ID), column, "is not an id")
    return whole_numbers(column)


def typed_ids(column: pl.Series, place: Place) -> pl.Series:
    """Convert external ids and keep their type: integers (of pandas also whole floats) in 64 bits, the rest as strings.

    Raises a `DataError` if an id is missing, empty, NaN or not whole.
    """
    check_id_type(column.name, column.dtype, place.file)
    if column.dtype.is_float():
        # Beyond 2^53 a float no longer tells neighbouring integers apart.
        whole = column.is_finite() & (column == column.round(0)) & (column.abs() <= 2**53)
        place.refuse(~whole.fill_null(False), column, "is not an id")
        return column.cast(pl.Int64)
    if column.dtype.is_integer():
        place.refuse(column.is_null(), column, "is not an id")
        return column if column.dtype == pl.UInt64 else column.cast(pl.Int64)
    text = column.cast(pl.String)
    place.refuse(text.is_null() | (text == ""), column, "is not an id")
    return text


def check_id_type(name: str, dtype: pl.DataType, file: str) -> None:
    """Check that the values of a column can be ids; a `DataError` if they are lists, records or Booleans."""
    if dtype.is_nested() or dtype == pl.Boolean:
        raise DataError(f"{file}: column {name!r} holds {dtype}, which cannot be an id; give strings or integers")


def same_ids(ids: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Cast ids to `dtype`, with null for an id that changes: `"17"` is 17, but `"007"`, `"+7"` and 7.5 are not 7."""
    if not ids.dtype.is_float():
        ids = ids.cast(pl.String)
    found = ids.cast(dtype, strict=False)
    return found.set((found.cast(ids.dtype) != ids).fill_null(False), None)


def whole_numbers(text: pl.Series) -> pl.Series:
    """Convert strings to integers if every string is an integer in plain form; otherwise keep the strings."""
    for dtype in (pl.Int64, pl.UInt64):
        numbers = text.cast(dtype, strict=False)
        if numbers.null_count() == text.null_count() and (numbers.cast(pl.String) == text).all():
            return numbers
    return text


def numbers(column: pl.Series, place: Place) -> pl.Series:
    """Convert ratings to floats; a `DataError` if a value is missing or not a finite number."""
    values = column.cast(pl.Float64, strict=False)
    place.refuse(~values.is_finite().fill_null(False), column, "is not a number")
    return values


def words(column: pl.Series, file: str | Path) -> pl.Series:
    """Convert titles, categories and texts: missing values become empty, lists join with `|`, `&amp;` becomes `&`.

    Raises a `DataError` if the column holds records, or lists of lists; the message names `file`.
    """
    if isinstance(column.dtype, pl.List):
        inner = column.list.eval(pl.element().cast(pl.String, strict=False).drop_nulls())
        column = inner.list.join(CATEGORY_SEPARATOR)
    elif column.dtype.is_nested():
        raise DataError(f"{file}: column {column.name!r} holds {column.dtype}; give text or a list of texts")
    text = column.cast(pl.String).fill_null("").str.strip_chars()
    text = text.set(text.is_in(NOT_A_TEXT), "")
    return pl.Series(column.name, [html.unescape(one) if "&" in one else one for one in text], dtype=pl.String)


def to_polars(frame: Any) -> pl.DataFrame:
    """Convert a data frame to polars: polars itself, or any frame with columns `frame[name]`, such as pandas.

    Raises a `DataError` if `frame` is no data frame, or a column holds objects.
    """
    if isinstance(frame, pl.LazyFrame):
        return frame.collect()
    if isinstance(frame, pl.DataFrame):
        return frame
    try:
        return pl.DataFrame([_of_pandas(str(name), frame[name]) for name in frame.columns])
    except (AttributeError, TypeError, ValueError, KeyError, pl.exceptions.PolarsError) as error:
        raise DataError(f"a {type(frame).__name__} is not a data frame that can be read ({error})") from error


def _of_pandas(name: str, column: Any) -> pl.Series:
    """Convert a pandas column: missing values become null, times with a zone become UTC."""
    if getattr(column.dtype, "tz", None) is not None:
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    values = column.to_numpy()
    if values.dtype != object:
        return pl.Series(name, values)
    found = pl.Series(name, [value if present else None for value, present in zip(values, column.notna(), strict=True)])
    if found.dtype == pl.Object:
        raise DataError(f"column {name!r} holds a {type(values[0]).__name__}; make it text, a number or a time")
    return found
