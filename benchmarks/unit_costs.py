"""Units of `sizing.py`: CPU milliseconds of ranking a user in bulk; time and disk of keeping an event.

    python benchmarks/unit_costs.py RUN --store postgresql://USER:PASSWORD@HOST/NAME

The store must be empty: its size is divided by the number of events written. CPU time is that of this process, without
the database.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import sqlalchemy as sa

BATCH = 1_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--store", help="URL of an empty store; default: a new SQLite file")
    parser.add_argument("--events", type=int, default=60_000)
    options = parser.parse_args()
    ranked(options.run)
    with tempfile.TemporaryDirectory() as folder:
        kept(options.store or f"sqlite:///{folder}/events.sqlite", options.events)


def ranked(run: Path) -> None:
    """Print the time of one user of `recommend --all-users`."""
    from deftrec import Recommender

    recommender = Recommender.load(run)
    users = recommender.interactions.n_users
    list(recommender.recommend_all(10, users=recommender.interactions.users[:200]))
    began = time.process_time()
    list(recommender.recommend_all(10))
    print(f"ranking a user in bulk  {1000 * (time.process_time() - began) / users:.2f} CPU ms", flush=True)


def kept(url: str, count: int) -> None:
    """Print the time of an event in a batch, and its disk."""
    from deftrec.serving.store import Event, SqlStore

    rng, store = np.random.default_rng(0), SqlStore(url)
    users, items = rng.integers(count // 20, size=count), rng.integers(100_000, size=count)
    events = [Event(f"order-{n}", f"user-{users[n]}", str(items[n]), 1.7e9 + n) for n in range(count)]
    began = time.process_time()
    for start in range(0, count, BATCH):
        store.append(events[start : start + BATCH])
    print(f"an event in a batch     {1000 * (time.process_time() - began) / count:.3f} CPU ms")
    store.close()
    engine = sa.create_engine(url)
    asked = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
    if engine.dialect.name == "postgresql":
        asked = (
            "SELECT sum(pg_total_relation_size(oid)) FROM pg_class "
            "WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
        )
    with engine.connect() as connection:
        print(f"an event on disk        {float(connection.exec_driver_sql(asked).scalar_one()) / count:.0f} bytes")


if __name__ == "__main__":
    main()
