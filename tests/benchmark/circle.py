"""Data that is easy for whoever looks at the newest item."""

import numpy as np
import polars as pl

from deftrec.data.interactions import Interactions, Meta


def circle(users: int, items: int) -> Interactions:
    """Everybody walks a circle of items from a place of their own, and now and then jumps."""
    rng = np.random.default_rng(0)
    jumps = rng.integers(0, items, (users, 9)) * (rng.random((users, 9)) < 0.15)
    rows = [
        {"user": f"u{user}", "item": f"i{(user + step + jumps[user, step]) % items}", "time": 100 * step + user}
        for user in range(users)
        for step in range(4 + user % 5)
    ]
    titles = pl.DataFrame({"item": [f"i{n}" for n in range(items)], "title": [f"number {n}" for n in range(items)]})
    return Interactions.from_frame(pl.DataFrame(rows), titles, meta=Meta(name="circle"))
