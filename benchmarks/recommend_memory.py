"""Peak memory of `recommend --all-users` at 10 thousand and 1 million items: it must not grow with users x items.

    python benchmarks/recommend_memory.py

Expected before measuring: scores are held for a chunk of users (128 MiB) and for the copies of top-K; the rest is the
interpreter, the interactions and the item tables, linear in items. users x items in float32 would be
40 GB at 10 k users and 1 M items.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import torch


def measure(users: int, items: int) -> None:
    """Print the peak resident memory before and after ranking all users, in MiB."""
    from deftrec import Config, Interactions, Recommender
    from deftrec.data import Meta, make_split
    from deftrec.ensemble import build_model
    from deftrec.evaluation import write_rankings
    from deftrec.retrieval import latent_ranker
    from deftrec.run import Run, RunInfo
    from deftrec.tokenizer import ItemFeatures
    from deftrec.training.fit import resolve

    rng = np.random.default_rng(0)
    length = -(-items // users) + 5  # every item occurs, so that the catalogue has the wanted size
    drawn = np.resize(rng.permutation(items), users * length)
    events = pl.DataFrame(
        {"user": np.repeat(np.arange(users), length), "item": drawn, "time": np.tile(np.arange(length), users)}
    )
    interactions = Interactions.from_frame(events, meta=Meta(name=f"synthetic {users} x {items}"))
    config = Config()
    config = resolve(config, interactions, make_split(interactions, "leave-one-out"))
    torch.manual_seed(0)
    features = ItemFeatures.build(torch.randn(items, 64), None)
    model = build_model(features, config, "items").eval()
    info = RunInfo(
        dataset=interactions.meta.name,
        fingerprint=interactions.fingerprint,
        fit="train",
        collaborative_width=64,
        text_width=0,
        terms={},
        epochs={},
        validation=0.0,
        history={},
        seconds={},
        parameters=0,
        environment={},
        revision=None,
    )
    catalogue = model.encode_catalogue()
    assert features.scaling is not None
    run = Run(interactions, config, info, model, catalogue, latent_ranker(catalogue, config), features.scaling)
    recommender = Recommender(run)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    with tempfile.TemporaryDirectory() as folder:
        write_rankings(Path(folder) / "rankings.parquet", recommender.recommend_all(10))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{users:8,d} {items:10,d} {before:10,.0f} {after:10,.0f} {users * items * 4 / 2**20:14,.0f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--one", type=int, nargs=2, metavar=("USERS", "ITEMS"), help="measure one size here")
    options = parser.parse_args()
    if options.one:
        measure(*options.one)
        return
    print("   users      items  before MiB   peak MiB  all scores MiB")
    for users, items in ((2_000, 10_000), (20_000, 10_000), (2_000, 1_000_000), (10_000, 1_000_000)):
        subprocess.run([sys.executable, __file__, "--one", str(users), str(items)], check=True)


if __name__ == "__main__":
    main()
