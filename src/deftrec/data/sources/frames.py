"""Data frames of other libraries as polars."""

from typing import Any

import polars as pl

from deftrec.errors import DataError


def to_polars(frame: Any) -> pl.DataFrame:
    """A polars frame, or anything that gives a column by `frame[name]` (pandas), as a polars frame.

    Raises:
        DataError: it is none, or a column holds what no column can.
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
    """A column of a pandas frame: what is missing there is null, and moments with a zone are those of UTC."""
    if getattr(column.dtype, "tz", None) is not None:
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    values = column.to_numpy()
    if values.dtype != object:
        return pl.Series(name, values)
    found = pl.Series(name, [value if present else None for value, present in zip(values, column.notna(), strict=True)])
    if found.dtype == pl.Object:
        raise DataError(f"column {name!r} holds a {type(values[0]).__name__}; make it text, a number or a time")
    return found
