"""A ring whose items say who comes next, so that text alone can tell where a new item belongs; and a run on it."""

from pathlib import Path
from typing import Any

import polars as pl

from deftrec import Interactions, Recommender
from deftrec.data import Meta
from toy import ring, tiny_bert, tiny_config

NEW = pl.DataFrame(
    {
        "item": [900, 901, 902],
        "title": ["red number 103", "number 110 old", "blue new items"],
        "category": ["red|old", "red", ""],
        "text": ["", "", "a person who likes green"],
    }
)


def fitted(folder: Path, data: Interactions | None = None, **groups: Any) -> Recommender:
    """A tiny run with text vectors beside the collaborative ones, written into `folder / "run"`."""
    bert = tiny_bert(folder / "bert")
    options: dict[str, Any] = {
        "text": {"model": str(bert)},
        "tokenizer": {"drop_collaborative": 0.5},
        "training": {"epochs": 3},
    }
    config = tiny_config(**{**options, **groups})
    return Recommender.fit(data or ring(users=80), config, out=folder / "run")


def events(rows: list[tuple[int, int, int]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["user", "item", "time"], orient="row")


def named(data: Interactions, name: str) -> Interactions:
    return Interactions.from_frame(data.events(), data.catalogue, meta=Meta(name=name))
