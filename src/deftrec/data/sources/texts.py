"""Conversion of columns to titles, categories and texts of items; an error names the file, the row and the column."""

import html
from typing import Any

import polars as pl

from deftrec.data.sources.columns import Place, decoded
from deftrec.data.sources.values import FOREIGN, read_foreign, texts_in

CATEGORY_SEPARATOR = "|"  # separator between the categories of an item

NOT_A_TEXT = ["nan", "NaN", "NAN", "<NA>"]
"""Values that programs write for a missing text; "None" and "null" may be titles."""


def words(column: pl.Series, place: Place) -> pl.Series:
    """Convert titles, categories and texts of a file: as `texts`, without "nan" and the like, and `&amp;` is `&`."""
    text = texts(column, place)
    text = text.set(text.is_in(NOT_A_TEXT), "")
    return pl.Series(column.name, [html.unescape(one) if "&" in one else one for one in text], dtype=pl.String)


def texts(column: pl.Series, place: Place) -> pl.Series:
    """Convert to text: missing values become empty, lists join with `|`, lists of lists too.

    Numbers are written in digits, and broken characters as U+FFFD. Raises a `DataError` if a value is a record, or
    bytes that are not UTF-8.
    """
    if column.dtype == pl.Binary:
        column = decoded(column, place)
    if column.dtype.is_nested() or column.dtype == pl.Object:
        column = _joined(column, place)
    text = column.cast(pl.String).fill_null("")
    foreign = text.str.starts_with(FOREIGN)
    if foreign.any():
        values = [read_foreign(one) if one.startswith(FOREIGN) else one for one in text]
        text = text.zip_with(~foreign, _join(values, text, place))
    return text.str.replace_all("\0", "\ufffd", literal=True).str.strip_chars()


def _joined(column: pl.Series, place: Place) -> pl.Series:
    """Join the texts of lists."""
    flat = column.arr.to_list() if isinstance(column.dtype, pl.Array) else column
    while isinstance(flat.dtype, pl.List) and isinstance(flat.dtype.inner, pl.List):
        flat = flat.list.eval(pl.element().explode())
    if not isinstance(flat.dtype, pl.List) or flat.dtype.inner.is_nested() or flat.dtype.inner == pl.Binary:
        return _join(column.to_list(), column, place)
    one = pl.element().cast(pl.String).str.strip_chars()
    return flat.list.eval(one.filter(one != "")).list.join(CATEGORY_SEPARATOR)


def _join(values: list[Any], column: pl.Series, place: Place) -> pl.Series:
    """Join the texts in each of the `values`, which `column` shows in a message."""
    joined: list[str | None] = []
    for value in values:
        try:
            joined.append(CATEGORY_SEPARATOR.join(texts_in(value)))
        except TypeError:
            joined.append(None)
    found = pl.Series(column.name, joined, dtype=pl.String)
    place.refuse(found.is_null(), column, "is neither text nor a list of texts")
    return found.fill_null("")
