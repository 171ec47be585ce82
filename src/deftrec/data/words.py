"""What the catalogue says of its items: titles, categories, and all of it in one line."""

import polars as pl

from deftrec.data.interactions import Interactions


def item_titles(interactions: Interactions) -> list[str]:
    """Of every item, empty where it has none."""
    return interactions.catalogue["title"].to_list()


def item_categories(interactions: Interactions) -> list[list[str]]:
    """Of every item, in the order of the catalogue; `a|b` are two."""
    return [[part.strip() for part in one.split("|") if part.strip()] for one in interactions.catalogue["category"]]


def item_texts(interactions: Interactions) -> list[str]:
    """Title, category and text of each item in one line; empty where there is nothing."""
    return texts_of(interactions.catalogue)


def texts_of(catalogue: pl.DataFrame) -> list[str]:
    """The same of the rows of a catalogue: columns `title`, `category`, `text`."""
    rows = catalogue.select("title", "category", "text").rows()
    return [". ".join(part.replace("|", ", ") for part in row if part) for row in rows]
