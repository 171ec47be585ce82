"""Signals of an interaction besides user, item and time: its kind, and its value (a rating, an amount)."""

import polars as pl

from deftrec.data.sources.columns import MEND, Place
from deftrec.data.sources.texts import texts
from deftrec.errors import DataError

SIGNALS = ("kind", "value")
"""Columns of events that hold signals."""

LONGEST_KIND = 64  # characters of a kind
MOST_KINDS = 100  # kinds of one data set: more of them are mostly the values of another column


def signals_of(events: pl.DataFrame, kind: str | None, value: str | None, place: Place) -> list[pl.Series]:
    """The columns `kind` and `value` of events, from their columns of these names; None: there is none.

    Raises a `DataError` for an empty kind, too many kinds, and a value that is neither missing nor a finite number.
    """
    found = []
    if kind is not None:
        found.append(kinds_in(events[kind], place).alias("kind"))
    if value is not None:
        found.append(values_in(events[value], place).alias("value"))
    return found


def kinds_in(column: pl.Series, place: Place) -> pl.Series:
    """Convert kinds of events to text."""
    kinds = texts(column, place)
    place.refuse(kinds == "", column, "is not a kind of event")
    place.refuse(kinds.str.len_chars() > LONGEST_KIND, column, f"is longer than the {LONGEST_KIND} letters of a kind")
    if (number := kinds.n_unique()) > MOST_KINDS:
        example = ", ".join(map(repr, kinds.unique(maintain_order=True).head(3)))
        raise place.error(
            0,
            column.name,
            f"it holds {number:,} kinds of events ({example}, ...), and {MOST_KINDS} is the most; name the column of "
            "kinds, such as event_type, or leave it out",
        )
    return kinds


def values_in(column: pl.Series, place: Place) -> pl.Series:
    """Convert values of events to float64; missing and empty ones are null, and so is NaN."""
    if column.dtype.is_nested() or column.dtype.is_temporal() or column.dtype in (pl.Object, pl.Binary):
        where = f"{place.file}: column {column.name!r} holds {column.dtype}"
        raise DataError(f"{where}, which are no numbers; give numbers, or name another column")
    text = column.dtype == pl.String
    missing = column.is_null() | (column.str.strip_chars().is_in(["", "nan", "NaN", "null"]) if text else False)
    values = column.cast(pl.Float64, strict=False).fill_nan(None)
    bad = (values.is_null() & ~missing & _is_number_or_text(column)) | values.is_infinite()
    comma = text and bool(column.filter(bad.fill_null(False)).str.contains(r"^\s*[+-]?[0-9]+,[0-9]+\s*$").any())
    place.refuse(bad, column, "is not a number", "write decimals with a point" if comma else MEND)
    return values


def _is_number_or_text(column: pl.Series) -> pl.Series:
    """Whether each entry is anything but NaN."""
    return ~column.is_nan() if column.dtype.is_float() else pl.Series([True]).new_from_index(0, len(column))
