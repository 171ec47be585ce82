"""Processor milliseconds per user of re-ranking 100 candidates, by re-ranker, on one thread.

    python benchmarks/rerank_speed.py [--users 512] [--items 10000] [--categories 20]

Expected before measuring: under .2 ms a user for every re-ranker at 512 users.
"""

import argparse
import time

import numpy as np
import torch

from deftrec.data import Sequences
from deftrec.data.categories import CategoryTable
from deftrec.retrieval import CANDIDATES, Calibrated, Dpp, Found, Mmr

WIDTH, HISTORY, REPEATS = 64, 50, 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, nargs="+", default=[1, 64, 512])
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--categories", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    vectors = torch.randn(options.items, WIDTH, generator=generator)
    members = np.stack([rng.choice(options.categories, 3, replace=False) for _ in range(options.items)])
    table = CategoryTable([str(n) for n in range(options.categories)], members.astype(np.int64))
    print(f"{'re-ranker':12}", *(f"{users:>5} users" for users in options.users))
    for reranker in (Mmr(0.5, vectors), Dpp(0.5, vectors), Calibrated(0.5, table)):
        cells = []
        for users in options.users:
            items = torch.stack([torch.randperm(options.items, generator=generator)[:CANDIDATES] for _ in range(users)])
            scores = torch.randn(users, CANDIDATES, generator=generator).sort(1, descending=True).values
            histories = Sequences.from_lists([rng.integers(0, options.items, HISTORY) for _ in range(users)])
            seconds = []
            for _ in range(REPEATS):
                began = time.process_time()
                reranker.rerank(Found(items, scores), histories)
                seconds.append(time.process_time() - began)
            cells.append(f"{min(seconds) / users * 1000:8.3f} ms")
        print(f"{type(reranker).__name__.lower():12}", *cells)


if __name__ == "__main__":
    main()
