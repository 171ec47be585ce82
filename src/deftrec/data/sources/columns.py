"""Conversion of columns to ids and ratings; an error names the file, the line and the column."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from deftrec.data.ids import ID_RULE, NO_ID
from deftrec.data.sources.faults import BadRowsError, Faults
from deftrec.data.sources.values import as_text, shown
from deftrec.errors import DataError

POLARS_UNITS = ("D", "ms", "us", "ns")  # of times that polars reads; pandas has others, such as seconds

NOT_AN_ID = ["nan", "NaN", "NAN", "null", "NULL", "None", "<NA>"]  # values that programs write for a missing id

MEND = "correct the value or remove the row"

WHOLE = r"^-?[0-9]+(?:\.0*)?$"  # decimals that are integers


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

    def name(self, entry: int) -> str:
        """The name of the record of one entry."""
        return self.describe(entry if self.records is None else int(self.records[entry]))

    def error(self, entry: int, column: str, message: str) -> DataError:
        """Make the error about one entry of one column."""
        return DataError(f"{self.file}: {self.name(entry)}, column {column!r}: {message}")

    def refuse(self, bad: pl.Series, column: pl.Series, what: str, mend: str = MEND) -> None:
        """Raise the error about the first entry of `column` that is `bad`, if there is one.

        With `faults` all bad entries are noted there, and a `BadRowsError` goes to `converted`.
        """
        bad = bad.fill_null(False)
        if not bad.any():
            return
        if self.faults is None:
            entry = first_true(bad)
            [value] = column[entry : entry + 1].to_list()
            raise self.error(entry, column.name, f"{shown(value)} {what}; {mend}")
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
            names = ", ".join(map(shown, there[:20])) + (", ..." if len(there) > 20 else "")
            other = f", or keep the order of the rows with {in_order}" if role == "time" and in_order else ""
            mend = f"name the right one with --{role} COL{other}"
            if any(name[:1].isdigit() for name in there):
                mend += "; if line 1 is no header, name all columns with --columns, such as user,item,-,time"
            raise DataError(f"{file}: no column {column!r} for the {role}; it has {names or 'none'}; {mend}")


def ids(column: pl.Series, place: Place) -> pl.Series:
    """Convert external ids: to integers if every value is an integer in plain form, otherwise to strings.

    `"7"` is an integer and `"007"` is not; `9223372036854775808` (2^63) makes the column unsigned. A column has one
    type, so a single `"A7"` keeps all ids strings. Spaces and any Unicode are part of an id. Raises a `DataError` if an
    id is missing, NaN, not whole, or against the rule of `deftrec.data.ids`.
    """
    column = typed_ids(column, place)
    if column.dtype != pl.String:
        return column
    place.refuse(column.is_in(NOT_AN_ID), column, "is not an id")
    return whole_numbers(column)


def typed_ids(column: pl.Series, place: Place) -> pl.Series:
    """Convert external ids and keep their type: integers (of pandas also whole floats) in 64 bits, the rest as strings.

    Raises a `DataError` if an id is missing, NaN, not whole, or against the rule of `deftrec.data.ids`.
    """
    check_id_type(column, place)
    if column.dtype == pl.Binary:
        column = decoded(column, place)
    if column.dtype.is_float():
        whole = column.is_finite() & (column == column.round(0)) & (column.abs() < exact_to(column.dtype))
        place.refuse(~whole.fill_null(False), column, "is not an id")
        return column.cast(pl.Int64)
    if column.dtype.is_decimal():
        text = column.cast(pl.String)
        place.refuse(~text.str.contains(WHOLE).fill_null(False), text, "is not an id")
        return whole_numbers(text.str.replace(r"\.0*$", ""))
    if column.dtype.is_integer():
        place.refuse(column.is_null(), column, "is not an id")
        return column if column.dtype == pl.UInt64 else _in_64_bits(column)
    text = column.cast(pl.String)
    place.refuse(text.str.contains(NO_ID).fill_null(True), text, "is not an id", f"{ID_RULE}; {MEND}")
    return text


def exact_to(dtype: pl.DataType) -> int:
    """The integer below which a float tells each from its neighbours."""
    return {"Float16": 2**11, "Float32": 2**24}.get(str(dtype), 2**53)


def _in_64_bits(numbers: pl.Series) -> pl.Series:
    """Cast integers to 64 bits, or to strings if one of them has more."""
    found = (numbers.cast(dtype, strict=False) for dtype in (pl.Int64, pl.UInt64))
    return next((one for one in found if one.null_count() == numbers.null_count()), numbers.cast(pl.String))


def check_id_type(column: pl.Series, place: Place) -> None:
    """Check that the values of a column can be ids; a `DataError` if they are lists, records, Booleans or objects."""
    if column.dtype.is_nested() or column.dtype in (pl.Boolean, pl.Object):
        where = f"{place.file}: {place.name(first_true(column.is_not_null()))}, column {column.name!r}"
        raise DataError(f"{where} holds {column.dtype}, which cannot be an id; give strings or integers")


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


def decoded(column: pl.Series, place: Place) -> pl.Series:
    """Decode bytes; a `DataError` if a value is not UTF-8."""
    values = [value or b"" for value in column]
    text = [value.decode("utf-8", "replace") for value in values]
    broken = [one.encode() != value for value, one in zip(values, text, strict=True)]
    place.refuse(pl.Series(broken, dtype=pl.Boolean), column, "is not UTF-8")
    return pl.Series(column.name, text, dtype=pl.String).set(column.is_null(), None)


def to_polars(frame: Any) -> pl.DataFrame:
    """Convert a data frame to polars: polars itself, or any frame with columns `frame[name]`, such as pandas.

    A column of objects that are neither texts nor numbers nor times has the type `pl.Object`; `refuse_objects` names
    the first one. Raises a `DataError` if `frame` is no data frame.
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
    """Convert a pandas column: missing values become null, times with a zone become UTC, mixed types become text."""
    if getattr(column.dtype, "tz", None) is not None:
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    values = column.to_numpy()
    if values.dtype.kind in "mM" and np.datetime_data(values.dtype)[0] not in POLARS_UNITS:
        values = values.astype(f"{values.dtype.kind}8[ms]")
    if values.dtype != object:
        return pl.Series(name, values)
    values = [value if present else None for value, present in zip(values, column.notna(), strict=True)]
    values = [value.tolist() if isinstance(value, np.ndarray) else value for value in values]
    with suppress(TypeError, ValueError, pl.exceptions.PolarsError):
        found = pl.Series(name, values)
        if found.dtype != pl.Object:
            return found
    try:
        return pl.Series(name, [as_text(value) for value in values], dtype=pl.String)
    except TypeError:
        return pl.Series(name, values, dtype=pl.Object)


def refuse_objects(column: pl.Series, place: Place) -> None:
    """Raise the error about the first value that is neither text nor a number nor a time, if there is one."""
    for entry, value in enumerate(column if column.dtype == pl.Object else ()):
        try:
            as_text(value)
        except TypeError as error:
            where, kind = f"{place.file}: {place.name(entry)}, column {column.name!r}", type(value).__name__
            raise DataError(f"{where} holds a {kind}; make it text, a number or a time") from error
