"""Time and peak memory of preparing very many interactions: read, number, order, write, and read again.

    python benchmarks/prepare_100m.py --interactions 100000000

Generated interactions, not real ones: items by a Zipf law, 25 for a user on average, times at random, integer ids; one
Parquet file, prepared by what `deftrec data import` calls. Each step is measured in a process of its own, by the
seconds of the processor.

Expected before measuring: memory in proportion to interactions, and 100 million of them within 24 GiB.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
from polars.io.plugins import register_io_source

from process_memory import peak

PART = 1_000_000
STEPS = ("import", "load")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--interactions", type=int, default=5_000_000)
    parser.add_argument("--words", action="store_true", help="ids are strings")
    parser.add_argument("--k-core", type=int)
    parser.add_argument("--work", type=Path, help="folder of the files, kept; a temporary one unless said")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        measure(options.step, options.work, options.k_core)
        return
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        generate(work / "events.parquet", options.interactions, options.words)
        print(f"{options.interactions:,} interactions, {(work / 'events.parquet').stat().st_size / 2**20:,.0f} MiB")
        for step in STEPS:
            command = [sys.executable, __file__, "--step", step, "--work", str(work)]
            command += ["--k-core", str(options.k_core)] if options.k_core else []
            subprocess.run(command, check=True)


def measure(step: str, work: Path, k_core: int | None) -> None:
    """Do one step and print what it took."""
    from deftrec.data import Interactions
    from deftrec.data.prepare import prepare
    from deftrec.data.sources.tabular import read_tabular

    before, began = peak(), time.process_time()
    if step == "import":
        interactions = prepare(read_tabular(work / "events.parquet"), name="generated", k_core=k_core)
        interactions.save(work / "data")
    else:
        interactions = Interactions.load(work / "data")
    took = time.process_time() - began
    count = interactions.n_interactions
    print(
        f"{step:8} {took:8.1f} CPU s   peak {peak() / 2**30:6.2f} GiB, {(peak() - before) / count:5.0f} bytes each"
        f"   {interactions.n_users:,} users, {interactions.n_items:,} items, {count:,} kept",
        flush=True,
    )


def generate(path: Path, count: int, words: bool) -> None:
    """Write events a million at a time."""
    users, items = max(1, count // 25), max(1, min(1_000_000, count // 100))
    share = 1 / (np.arange(items) + 10.0)
    chances, named = np.cumsum(share / share.sum()), np.random.default_rng(1).permutation(items)

    def part(start: int) -> pl.DataFrame:
        rng, size = np.random.default_rng([0, start]), min(PART, count - start)
        drawn = named[np.searchsorted(chances, rng.random(size) * chances[-1])]
        frame = pl.DataFrame(
            {"user": rng.integers(users, size=size), "item": drawn, "time": rng.integers(1 << 30, size=size)}
        )
        return frame.with_columns(pl.format("user {}", "user"), pl.format("item {}", "item")) if words else frame

    def stream(
        columns: list[str] | None, predicate: pl.Expr | None, rows: int | None, batch: int | None
    ) -> Iterator[pl.DataFrame]:
        return (part(start) for start in range(0, count, PART))

    register_io_source(stream, schema=part(0).schema).sink_parquet(path)


if __name__ == "__main__":
    main()
