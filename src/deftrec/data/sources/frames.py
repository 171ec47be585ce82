"""Conversion of data frames of other libraries to polars."""

from typing import Any

import polars as pl

from deftrec.errors import DataError


def to_polars(frame: Any) -> pl.DataFrame:
    """Convert a data frame to polars: polars itself, or any frame with columns `frame[name]`, such as pandas.

    Raises:
        DataError: `frame` is no data frame, or a column holds objects.
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
