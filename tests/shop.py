"""A shop whose truth is known: purchases go around a ring of items, views and skips in between say nothing of it."""

import numpy as np
import polars as pl

from deftrec import Interactions
from deftrec.data import Meta

ITEMS = 20
START = 1_700_000_000  # seconds since 1970


def shop_events(users: int = 150, seed: int = 0, rounds: int = 5) -> pl.DataFrame:
    """After the purchase of an item comes that of its successor; before each stand up to two views of anything.

    Every fourth user skips an item once. Columns `user`, `item`, `time` (seconds, an hour apart), `kind`, `price`.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        time, place = START + 100_000 * user, int(rng.integers(ITEMS))
        for n in range(rounds):
            steps = [(int(rng.integers(ITEMS)), "view") for _ in range(int(rng.integers(0, 3)))]
            if n == 1 and user % 4 == 0:
                steps.append(((place + ITEMS // 2) % ITEMS, "skip"))
            for item, kind in [*steps, (place, "purchase")]:
                rows.append((f"u{user}", f"i{item}", time, kind, 10.0 * (item + 1)))
                time += 3600
            place = (place + 1) % ITEMS
    return pl.DataFrame(rows, schema=["user", "item", "time", "kind", "price"], orient="row")


def shop(users: int = 150, seed: int = 0) -> Interactions:
    """The events as data, whose items have a title, a brand of four, a price, and stock of every other item."""
    items = [
        {"item": f"i{n}", "title": f"thing {n}", "brand": f"brand {n % 4}", "price": 10.0 * (n + 1), "stock": n % 2}
        for n in range(ITEMS)
    ]
    events = shop_events(users, seed).drop("price")
    return Interactions.from_frame(events, pl.DataFrame(items), kind="kind", meta=Meta(name="shop"))
