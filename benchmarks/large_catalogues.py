"""Exact, HNSW and IVF-PQ at 10 thousand to millions of items: time, recall, memory, build.

    python benchmarks/large_catalogues.py RUN --items 10000 100000 1000000

Latents are drawn around a run's own, queries are those of its users, and every way runs the code of the service: exact
scores the whole catalogue, an index proposes candidates that are scored exactly. Each measurement has a process of its
own; memory is the growth of that process by the index, and times are processor times, so that other work on the machine
counts little: set OMP_NUM_THREADS=1.

Expected before measuring: exact is the fastest up to some ten thousand items and then grows in proportion; HNSW stays
near a millisecond with .95 of the exact ten, for minutes of building at a million; IVF-PQ is a tenth of its size,
builds faster and finds less. HNSW of 10 million takes hours of one core: --kinds leaves it out.
"""

import argparse
import gc
import subprocess
import sys
import time
from pathlib import Path
from typing import get_args

import torch

from deftrec.serving.index import IndexKind
from process_memory import resident

K, BATCH = 10, 32
"""Length of a list; requests that share a batch of a busy service."""
HEADER = "      items  way          built in   adds       ms alone  ms of 32   recall@10"


def main() -> None:
    kinds = [kind for kind in get_args(IndexKind) if kind in {"exact", "faiss", "faiss-ivfpq"}]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 30_000])
    parser.add_argument("--kinds", nargs="+", choices=kinds, default=kinds)
    parser.add_argument("--users", type=int, default=96)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        measure(options.run, options.items[0], options.kinds[0], options.users)
        return
    print(HEADER, flush=True)
    for items in options.items:
        for kind in options.kinds:
            one = ["--items", str(items), "--kinds", kind, "--users", str(options.users), "--here"]
            subprocess.run([sys.executable, __file__, str(options.run), *one], check=True)


@torch.inference_mode()
def measure(run: Path, items: int, kind: IndexKind, users: int) -> None:
    """Print the row of one catalogue and one way."""
    from deftrec import Recommender
    from deftrec.data import Sequences
    from deftrec.retrieval import Found, Queries, top
    from deftrec.serving.index import OVERFETCH, Approximate, build_index
    from index_recall import RecallQueries

    workload = RecallQueries.of(Recommender.load(run), users, items)
    ranker, queries = workload.ranker, workload.queries
    empty = [torch.zeros(0, dtype=torch.int64).numpy()] * max(BATCH, len(queries))

    def exactly(some: torch.Tensor) -> Found:
        return ranker.search(Queries(Sequences.from_lists(empty[: len(some)]), some), K)

    exactly(queries[:1])  # memory of exact scoring is there either way
    gc.collect()
    before, began = resident(), time.process_time()
    vectors, metric = Approximate.vectors(ranker), Approximate.metric(ranker)
    index = build_index(kind, vectors, metric, "benchmark", "")
    built = time.process_time() - began
    del vectors
    gc.collect()
    added = 0.0 if index is None else (resident() - before) / 2**20
    approximate = None if index is None else Approximate(ranker, index)

    def search(some: torch.Tensor) -> torch.Tensor:
        if approximate is None:
            return exactly(some).items
        near = approximate.candidates(some, [OVERFETCH * K] * len(some))
        scored = [approximate.score(query, empty[0], one, True) for query, one in zip(some, near, strict=True)]
        return torch.cat([top(scores[None], K).among(items).items for items, scores in scored])

    search(queries[:1])
    began = time.process_time()
    found = torch.cat([search(query[None]) for query in queries])
    alone = (time.process_time() - began) / len(queries)
    began = time.process_time()
    for part in queries.split(BATCH):
        search(part)
    together = (time.process_time() - began) / len(queries)
    right = exactly(queries).items
    recall = (found[:, :, None] == right[:, None]).any(1).float().mean()
    print(
        f"{items:11,d}  {kind:11} {built:7.1f} s  {added:6.0f} MiB  {1000 * alone:8.3f}  {1000 * together:8.3f}"
        f"   {recall:.4f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
