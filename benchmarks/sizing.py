"""From users, items and requests to machines, memory and cost, by unit costs that were measured one by one.

    python benchmarks/sizing.py --users 1000000 --items 100000
    python benchmarks/sizing.py --users 1000000000 --items 10000000 --sample 10000000

Plain arithmetic. Every unit says where it was measured (docs/reference/scale.md holds the commands); what lies beyond
those sizes is assumed to grow in proportion. Prices are assumptions: give your own.
"""

import argparse
import math
from dataclasses import dataclass

from deftrec.serving.index.choice import EXACT_ITEMS

SECONDS, DAYS = 86_400, 30
CORE_MS, GIB = 1e-3, 2**30


@dataclass(frozen=True)
class Units:
    """Measured on one core of the shared machine; nano on ml-100k where it says so.

    Attributes:
        request: milliseconds of a saturated service for a recommendation: HTTP, history, model
            (docs/reference/serving.md, nano).
        event: the same for one event, sent alone.
        ranked: milliseconds of `recommend --all-users` for a user, scoring aside (nano).
        exact: milliseconds of scoring a million items for a request in a batch of 32.
        index: the same by IVF-PQ, of which a third is in proportion to the items: 9 ms were measured at 10 million.
        exact_items: catalogue up to which everything is looked at.
        process: bytes of a process with a small run (libraries, model).
        item: bytes of an item, with its latent, tokens, features and words (default recipe).
        interaction: bytes of an interaction while a run is loaded.
        stored: bytes of an event in PostgreSQL, indexes with it.
    """

    request: float = 5.2
    event: float = 4.9
    ranked: float = 2.1
    exact: float = 6.2
    index: float = 2.3
    exact_items: int = EXACT_ITEMS
    process: float = 0.47 * GIB
    item: float = 2_780
    interaction: float = 58
    stored: float = 217

    def retrieval(self, items: int) -> float:
        """Milliseconds of finding the best items for a request of the service."""
        if items <= self.exact_items:
            return self.exact * items / 1e6
        return self.index * (2 + items / 1e6) / 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--sample", type=int, help="users that the run is trained on and holds; all unless said")
    parser.add_argument("--history", type=int, default=25, help="interactions of a user in the run")
    parser.add_argument("--requests", type=float, default=5, help="of a user and day")
    parser.add_argument("--events", type=float, default=5, help="of a user and day")
    parser.add_argument("--peak", type=float, default=3, help="busiest hour over the mean")
    parser.add_argument("--days", type=int, default=365, help="that events are kept")
    parser.add_argument("--busy", type=float, default=0.5, help="share of the cores that a peak may take")
    parser.add_argument("--cores", type=int, default=8, help="of a machine")
    parser.add_argument("--cell", type=int, default=10_000_000, help="users of one PostgreSQL and its replicas")
    parser.add_argument("--core-hour", type=float, default=0.04, help="price, USD (assumed)")
    parser.add_argument("--gib-hour", type=float, default=0.005, help="price of memory, USD (assumed)")
    parser.add_argument("--gib-month", type=float, default=0.1, help="price of disk, USD (assumed)")
    asked = parser.parse_args()
    for name, value in sized(asked, Units()).items():
        print(f"{name:46} {value}")


def sized(asked: argparse.Namespace, units: Units) -> dict[str, str]:
    """What is needed, by name."""
    requests, events = (asked.users * each / SECONDS * asked.peak for each in (asked.requests, asked.events))
    alone = units.request + units.retrieval(asked.items)
    cores = (requests * alone + events * units.event) * CORE_MS / asked.busy
    cells = math.ceil(asked.users / asked.cell)
    replicas = cells * max(2, math.ceil(cores / asked.cores / cells))  # two, so that one may fail
    sample = asked.sample or asked.users
    memory = units.process + asked.items * units.item + sample * asked.history * units.interaction
    stored = asked.users * asked.events * asked.days * units.stored
    ranked = units.ranked + units.exact * asked.items / 1e6
    batch = asked.users * ranked * CORE_MS / 3600
    hours = 24 * DAYS
    service = replicas * hours * (asked.cores * asked.core_hour + memory / GIB * asked.gib_hour)
    return {
        "requests a second, at the peak": f"{requests:,.0f}",
        "events a second, at the peak": f"{events:,.0f}",
        "core milliseconds a request": f"{alone:.1f}",
        "cores at the peak": f"{cores:,.0f}",
        f"replicas of {asked.cores} cores": f"{replicas:,}",
        "memory of a replica": f"{memory / GIB:,.1f} GiB",
        f"PostgreSQL stores, one for {asked.cell:,} users": f"{cells:,}",
        "events on disk": f"{stored / GIB / cells:,.0f} GiB in each store, {stored / GIB:,.0f} GiB in all",
        "ranking everybody once": f"{batch:,.1f} core hours, {batch * asked.core_hour:,.2f} USD",
        "service in a month": f"{service:,.0f} USD",
        "events in a month": f"{stored / GIB * asked.gib_month:,.0f} USD of disk, without the stores' own cores",
    }


if __name__ == "__main__":
    main()
