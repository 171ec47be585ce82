"""Memory of LightGCN: bytes per edge and node, while its graph is built and while it is trained.

    python benchmarks/graph_memory.py

Random bipartite graphs, the default width and layers; every size in a process of its own, which builds the graph and
trains on it. Memory is fitted by least squares as bytes x distinct edges + bytes x nodes.

Expected before measuring: the built graph keeps 24 bytes per edge (number and value, both ways) and its building
several times that; a node costs its base vector five times (weights, gradient, two moments, their sum over the layers)
and the layers that the gradient needs.
"""

import argparse
import subprocess
import sys
import time

import numpy as np
import torch

from process_memory import peak

SIZES = ((50_000, 10_000, 20), (50_000, 10_000, 60), (200_000, 40_000, 5), (200_000, 40_000, 20), (400_000, 20_000, 5))
"""Users, items, interactions of a user."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one", type=int, nargs=3, metavar=("USERS", "ITEMS", "EACH"), help="measure one size here")
    options = parser.parse_args()
    if options.one:
        print(*measure(*options.one))
        return
    rows = []
    print("     nodes      edges   graph built   after a step   CPU s a step")
    for size in SIZES:
        command = [sys.executable, __file__, "--one", *map(str, size)]
        edges, built, trained, took = map(
            float, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        )
        nodes = size[0] + size[1]
        rows.append((edges, nodes, built, trained))
        print(
            f"{nodes:10,d} {edges:10,.0f} {built / 2**20:9,.0f} MiB {trained / 2**20:10,.0f} MiB {took:12.2f}",
            flush=True,
        )
    table = np.array(rows)
    for name, column in (("building", 2), ("training", 3)):
        (edge, node), *_ = np.linalg.lstsq(table[:, :2], table[:, column])
        print(f"{name}: {edge:.0f} bytes an edge + {node:.0f} bytes a node")


def measure(users: int, items: int, each: int) -> tuple[int, float, float, float]:
    """Distinct edges, peak memory of building, peak of all, seconds of the processor for a step."""
    from deftrec.collaborative import LightGCN, Triples
    from deftrec.config import CollaborativeOptions
    from deftrec.data import Sequences

    options = CollaborativeOptions()
    drawn = np.random.default_rng(0).integers(items, size=users * each).astype(np.int32)
    sequences = Sequences(drawn, np.arange(users + 1, dtype=np.int64) * each)
    before = peak()
    model = LightGCN(sequences, items, options.dim, options.layers, options.l2)
    built = peak() - before
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    batch = Triples(*(torch.arange(1000) % size for size in (users, items, items)))
    began = time.process_time()
    for _ in range(2):  # the second one has the optimiser's moments beside the gradient
        model(batch)["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.adjacency.values().numel() // 2, built, peak() - before, (time.process_time() - began) / 2


if __name__ == "__main__":
    main()
