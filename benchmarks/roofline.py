"""Share of the machine's limits that each stage of a recommendation reaches: reading, denoising, scoring.

    python benchmarks/roofline.py runs/nano

On paper: operations and bytes of one user by stage, and the least time that the machine's matrix rate allows. Then
measured: time of each stage, and its share of the matrix rate and of the copy bandwidth. Bytes are those that every
operation reads and writes, as if no cache held anything.

Expected before measuring: docs/reference/performance.md.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from deftrec import Recommender
from deftrec.data import Sequences
from deftrec.data.sequences import PADDING
from deftrec.diffusion import Sampling
from deftrec.doctor import examine, subject_of
from deftrec.flops import counting
from deftrec.hardware import inference_dtype
from deftrec.inference.reader import Reader
from deftrec.retrieval import Queries, top
from deftrec.retrieval.queries import batches
from machine_rates import Rates, measure_rates, seconds

K = 10
MOVES_NOTHING = {
    "view",
    "expand",
    "permute",
    "transpose",
    "t",
    "slice",
    "select",
    "split",
    "unsqueeze",
    "detach",
    "alias",
}


class Moved(TorchDispatchMode):
    """Counts the bytes that operations inside the block read and write.

    Attributes:
        bytes: number of bytes so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if function._schema.name.removeprefix("aten::").strip("_") not in MOVES_NOTHING:
            touched = tree_leaves((args, kwargs, result))
            self.bytes += sum(one.numel() * one.element_size() for one in touched if isinstance(one, Tensor))
        return result


@dataclass
class Stage:
    """Work of one stage.

    Attributes:
        work: floating-point operations.
        moved: bytes read and written.
        took: seconds.
    """

    work: int = 0
    moved: int = 0
    took: float = 0.0

    def add(self, rounds: int, device: torch.device, run: Callable[..., Any], *arguments: Any) -> Any:
        """Count and time one call of `run`, and return its result."""
        with counting() as work:
            run(*arguments)
        with Moved() as moved:
            result = run(*arguments)
        self.work += work.get_total_flops()
        self.moved += moved.bytes
        self.took += min(seconds(partial(run, *arguments), device) for _ in range(rounds))
        return result


@torch.no_grad()
def stages(recommender: Recommender, histories: Sequences, rounds: int) -> dict[str, Stage]:
    """Run every batch through every stage of the fast path, one stage after the other."""
    fast, ranker, sampling = recommender.fast, recommender.ranker, Sampling.of(recommender.config.diffusion)
    if fast is None:
        raise SystemExit(
            "this run has no fast path: its condition contains a rationale, its model reads titles, or caches no keys"
        )
    found = {name: Stage() for name in ("item and user tokens", "language model", "denoising", "scoring", "top-k")}
    for which, items, layout in batches(fast.max_history, histories, fast.device):
        lengths, part = (layout.segments != PADDING).sum(1), histories.select(which)
        conditions = []
        for member in fast.members:
            ways, _ = found["item and user tokens"].add(rounds, fast.device, member.tokens, items.clamp_min(0))
            last = lengths * ways.shape[2] - 1
            conditions.append(
                found["language model"].add(rounds, fast.device, read, member.reader, ways.flatten(1, 2), last)
            )
        generator = torch.Generator(fast.device)
        latents = found["denoising"].add(rounds, fast.device, fast.latents, conditions, sampling, generator)
        scores = found["scoring"].add(rounds, fast.device, ranker.scores, Queries(part, latents))
        found["top-k"].add(rounds, fast.device, top, scores, K)
    return found


def read(reader: Reader, ways: Tensor, last: Tensor) -> Tensor:
    """Read tokens after the prompt, with an empty cache."""
    return reader.read(ways, last, reader.begin(len(ways)))


def show(found: dict[str, Stage], users: int, rates: Rates, dtype: torch.dtype) -> None:
    """Print one line per stage, and one for all of them."""
    whole = Stage(*(sum(getattr(one, name) for one in found.values()) for name in ("work", "moved", "took")))
    print(
        f"{'stage':22} {'MFLOP':>9} {'MB moved':>9} {'us, least':>10} {'us':>9} {'GFLOP/s':>8} {'of rate':>8}"
        f" {'of copy':>8}"
    )
    for name, stage in [*found.items(), ("together", whole)]:
        # Denoising and scoring run in float32 in every precision.
        rate = rates.of(dtype) if name in {"item and user tokens", "language model"} else rates.fp32
        rate = rates.of(dtype) if name == "together" else rate
        print(
            f"{name:22} {stage.work / users / 1e6:9.3f} {stage.moved / users / 1e6:9.3f}"
            f" {1e6 * stage.work / rate / users:10.1f} {1e6 * stage.took / users:9.1f}"
            f" {stage.work / stage.took / 1e9:8.1f} {stage.work / stage.took / rate:8.0%}"
            f" {stage.moved / stage.took / rates.copy:8.0%}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--users", type=int, default=128, help="number of users, evenly from short to long histories")
    parser.add_argument("--precision", choices=["auto", "bf16", "fp32"], nargs="+", default=["fp32", "auto"])
    parser.add_argument("--rounds", type=int, default=2, help="repetitions of every measurement; the best counts")
    options = parser.parse_args()
    paper = examine(subject_of(str(options.run)))
    print(f"{options.run}: {paper.language_model}, {paper.items:,} items, {paper.members} member(s)")
    print(
        "on paper, the plain path and a full window: "
        + ", ".join(f"{name} {work / 1e6:.2f} MFLOP" for name, work in paper.flops_per_user.items())
    )
    for precision in options.precision:
        recommender = Recommender.load(options.run, precision=precision)
        device = recommender.catalogue.latents.device
        dtype, rates = inference_dtype(precision, device), measure_rates(device)
        sequences = recommender.interactions.sequences
        order = np.argsort(sequences.lengths, kind="stable")
        users = order[np.linspace(0, len(order) - 1, min(options.users, len(order))).astype(int)]
        histories = sequences.select(users)
        read_each = np.minimum(histories.lengths, recommender.model.max_history).mean()
        print(
            f"\n{precision} ({dtype}), {len(users)} users, {read_each:.0f} items read each;"
            f" fp32 {rates.fp32 / 1e9:.0f} GFLOP/s, bf16 {rates.bf16 / 1e9:.0f} GFLOP/s,"
            f" copies {rates.copy / 1e9:.0f} GB/s"
        )
        show(stages(recommender, histories, options.rounds), len(users), rates, dtype)


if __name__ == "__main__":
    main()
