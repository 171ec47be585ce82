"""Recall and time of every index beside looking at everything, on the latents of a run or on more that lie like them.

    python benchmarks/index_recall.py RUN --items 100000

Expected before measuring: HNSW finds 95 % of the exact ten or more; IVF-PQ less; exact is fastest on small catalogues.
Candidates are fetched as the service does, four for each item of the list; recall is that of the latent score alone.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch

K = 10


def main() -> None:
    from deftrec.serving.index import OVERFETCH, Approximate, Kind, build_index
    from latents import Asked

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--items", type=int, help="latents to draw around the run's; its own unless said")
    parser.add_argument("--users", type=int, default=200)
    parser.add_argument("--store", default="", help="a PostgreSQL with pgvector, to measure that too")
    options = parser.parse_args()

    asking = Asked.of(options.run, options.users, options.items)
    retriever, asked = asking.retriever, asking.queries.numpy()
    vectors, metric = Approximate.vectors(retriever), Approximate.metric(retriever)
    print(f"{asking.name}: {len(vectors):,} items, {vectors.shape[1]} components, {metric}")
    table, ten = torch.from_numpy(vectors), np.zeros((len(asked), K), np.int64)
    half_norms = 0.0 if metric == "inner" else table.square().sum(-1) / 2
    began = time.perf_counter()
    for n, query in enumerate(torch.from_numpy(asked)):
        ten[n] = (table @ query - half_norms).topk(K).indices.numpy()
    show("exact", 0.0, 1.0, (time.perf_counter() - began) / len(asked))
    kinds: list[Kind] = ["faiss", "faiss-ivfpq", *(["pgvector"] if options.store else [])]  # type: ignore[list-item]
    for kind in kinds:
        began = time.perf_counter()
        index = build_index(kind, vectors, metric, f"benchmark{metric}{len(vectors)}", options.store)
        assert index is not None
        built = time.perf_counter() - began
        began = time.perf_counter()
        found = [index.nearest(query[None], OVERFETCH * K)[0] for query in asked]
        took = (time.perf_counter() - began) / len(asked)
        recall = np.mean([len(set(one) & set(other)) / K for one, other in zip(ten, found, strict=True)])
        show(kind, built, float(recall), took)


def show(name: str, built: float, recall: float, took: float) -> None:
    print(f"{name:12} built in {built:7.2f} s   recall@{K} {recall:.4f}   {1000 * took:8.3f} ms a query", flush=True)


if __name__ == "__main__":
    main()
