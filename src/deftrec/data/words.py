"""Texts of the catalogue: titles, categories, and the complete text of an item in one line."""

import polars as pl

from deftrec.data.interactions import Interactions


def item_categories(interactions: Interactions) -> list[list[str]]:
    """The categories of every item, in the order of the catalogue; `a|b` are two categories. `[I]`"""
    return [[part.strip() for part in one.split("|") if part.strip()] for one in interactions.catalogue["category"]]


def texts_of(catalogue: pl.DataFrame) -> list[str]:
    """Title, category and text of every row in one line, from columns `title`, `category` and `text`."""
    rows = catalogue.select("title", "category", "text").rows()
    return [". ".join(part.replace("|", ", ") for part in row if part) for row in rows]
