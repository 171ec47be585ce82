"""The catalogue: the texts of the items, and their attributes (price, brand, stock, date of publication)."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from deftrec.data.sources.columns import Place, check_id_type, decoded, same_ids
from deftrec.data.sources.texts import texts, words
from deftrec.errors import DataError

CATALOGUE_COLUMNS = ("title", "category", "text")
DERIVED = ("item", "popularity", "age")  # names that rules give to columns of their own
RELABEL_SEED = 20250412
LONGEST_NAME = 64  # characters of the name of an attribute

PRICE = r"^(?:[€$£¥]|[A-Z]{3})? ?([-+]?[0-9][0-9,]*(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?) ?(?:[€$£¥]|[A-Z]{3})?$"
"""A number with a currency before or behind it; commas separate thousands."""

DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}"
MOSTLY = 0.5  # share of numbers from which a column of texts is one of numbers


def attribute(column: pl.Series, place: Place) -> pl.Series:
    """Convert an attribute of items to numbers (float64), dates, or texts in which `|` separates several categories.

    Texts that are numbers, prices such as "$12.99" or ISO dates become these. Missing values and NaN become null, in
    texts empty. Raises a `DataError` if a value is infinite or a record, or if some texts of a column of numbers are
    none.
    """
    dtype = column.dtype
    if dtype == pl.Boolean:
        return column.cast(pl.String).fill_null("")
    if dtype.is_temporal():
        return _dates(column)
    if dtype.is_numeric():
        return _numbers(column.cast(pl.Float64), column, place)
    text = words(column, place)
    filled = text.filter(text != "")
    if dtype.is_nested() or not len(filled):
        return text
    if filled.str.contains(DATE).all() and (found := _parsed_dates(text)) is not None:
        return found
    plain = text.str.strip_chars().str.extract(PRICE, 1).str.replace_all(",", "", literal=True)
    values = plain.cast(pl.Float64, strict=False)
    if len(values.drop_nulls()) <= MOSTLY * len(filled):
        return text
    others = values.is_null() & (text != "")
    place.refuse(others, column, "is not a number, as most values of this column are")
    return _numbers(values, column, place)


def _numbers(values: pl.Series, column: pl.Series, place: Place) -> pl.Series:
    place.refuse(values.is_infinite().fill_null(False), column, "is not a finite number")
    return values.fill_nan(None).alias(column.name)


def _dates(column: pl.Series) -> pl.Series:
    return column.cast(pl.Date, strict=False)


def _parsed_dates(text: pl.Series) -> pl.Series | None:
    """The days of ISO dates; None if one is no date."""
    days = text.str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False)
    return days if days.null_count() == (text == "").sum() else None


def lacking(column: pl.Series) -> pl.Series:
    """Whether each item lacks an attribute: a number or date that is null, or a text that is empty or null. `[I]`"""
    return column.fill_null("") == "" if column.dtype == pl.String else column.is_null()


def check_names(names: Sequence[str], source: str) -> None:
    """Check the names of attributes; a `DataError` for one that is taken, empty or too long, or stands twice."""
    for n, name in enumerate(names):
        if name in (*DERIVED, *CATALOGUE_COLUMNS) or name in names[:n]:
            raise DataError(f"{source}: no attribute can have the name {name!r}, which is taken; rename the column")
        if not name or len(name) > LONGEST_NAME:
            raise DataError(
                f"{source}: {name[:20]!r}... is no name of 1 to {LONGEST_NAME} characters; rename the column"
            )


def catalogue_of(events: pl.Series, items: pl.DataFrame | None, source: str) -> pl.DataFrame:
    """Make the catalogue of the items of `events` in a seeded random order.

    `items` may have the column `item`, any of `title`, `category`, `text`, and further columns, the attributes. Items
    without a row there have empty texts and no attributes.
    """
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
        more = [name for name in items.columns if name not in ("item", *CATALOGUE_COLUMNS)]
        check_names(more, source)
        metadata = items.select(
            same_ids(ids, catalogue["item"].dtype),
            *(texts(items[name], place) for name in given),
            *(attribute(items[name], place) for name in more),
        ).unique("item", keep="first", maintain_order=True)
        catalogue = catalogue.join(metadata, on="item", how="left", maintain_order="left")
    return with_all_columns(catalogue)


def with_all_columns(catalogue: pl.DataFrame) -> pl.DataFrame:
    """The catalogue with every text column, in the usual order; missing texts are empty."""
    missing = [pl.lit("").alias(c) for c in CATALOGUE_COLUMNS if c not in catalogue.columns]
    more = [name for name in catalogue.columns if name not in ("item", *CATALOGUE_COLUMNS)]
    texts = [name for name in more if catalogue[name].dtype == pl.String]
    catalogue = catalogue.with_columns(missing).with_columns(pl.col(*CATALOGUE_COLUMNS, *texts).fill_null(""))
    return catalogue.select("item", *CATALOGUE_COLUMNS, *more)


def attributes_of(catalogue: pl.DataFrame) -> pl.DataFrame:
    """The attributes alone; no column where there are none."""
    return catalogue.drop("item", *CATALOGUE_COLUMNS)
