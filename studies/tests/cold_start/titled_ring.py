"""A ring of items whose titles a random language model tells apart."""

import polars as pl

from deftrec import Interactions
from deftrec.data import Meta
from toy import WORDS, ring


def titled_ring(users: int) -> Interactions:
    data = ring(users=users, items=30)
    titles = [f"{WORDS[n % 20]} {WORDS[n // 2 % 20]} {WORDS[n * 7 % 20]}" for n in range(data.n_items)]
    catalogue = data.catalogue.sort("item").with_columns(title=pl.Series(titles), category=pl.lit(""))
    return Interactions.from_frame(data.events(), catalogue, meta=Meta(name="titled"))
