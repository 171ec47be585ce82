"""Memory of a training step as the catalogue grows: beside the features it should be flat.

    python benchmarks/training_memory.py

The default recipe on generated features (64 collaborative and 384 text columns) with 20 interactions an item; every
catalogue in a process of its own, which takes two steps. "Features" are the cost of the item table by itself: its
values, their first values, and, where they learn, their gradient, AdamW's two moments and their average.

Expected before measuring: 1.8 KB per item, twice, six times where they learn. Beside them a step keeps the tokenizer's
activations of every candidate, some 5 KB each: of all items up to 49,152, and for larger catalogues of the 16,384 drawn
items and those of the batch, about 100 MB.
"""

import argparse
import subprocess
import sys

import numpy as np
import torch

from process_memory import peak

SIZES = (1_000, 10_000, 50_000, 100_000, 200_000, 1_000_000)
COLLABORATIVE, TEXT, EACH = 64, 384, 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one", type=int, metavar="ITEMS", help="measure one catalogue here")
    options = parser.parse_args()
    if options.one:
        print(*measure(options.one))
        return
    print("    items   candidates   features learn   features, by count   held in training   beside the features")
    for items in SIZES:
        command = [sys.executable, __file__, "--one", str(items)]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        candidates, learn, features, held = map(int, printed.split())
        parts = [features, held, held - features]
        shown = "   ".join(f"{part / 2**20:12,.0f} MiB" for part in parts)
        print(f"{items:9,d} {candidates:12,d} {'yes' if learn else 'no':>16s}   {shown}", flush=True)


def measure(items: int) -> tuple[int, int, int, int]:
    """Candidates of a batch, whether features learn, bytes of the features, and peak memory of two steps."""

    from deftrec.config import Config
    from deftrec.data import Sequences
    from deftrec.ensemble import build_model
    from deftrec.hardware import training_dtype
    from deftrec.recipe import resolve
    from deftrec.sizes import Sizes
    from deftrec.tokenizer import ItemFeatures
    from deftrec.training.average import AveragedWeights
    from deftrec.training.batches import PackedBatches

    sizes = Sizes(positions=(EACH - 1) * items, interactions=EACH * items, users=items, items=items)
    config = resolve(Config(), sizes)
    config = config.model_copy(update={"training": config.training.model_copy(update={"ensemble_size": 1})})
    drawn = np.random.default_rng(0).integers(items, size=2_000 * EACH).astype(np.int32)
    batches = PackedBatches(
        Sequences(drawn, np.arange(2_001, dtype=np.int64) * EACH),
        items,
        max_history=int(config.data.max_history),
        batch_positions=int(config.training.batch_positions),
        objective=config.objective,
        seed=0,
    )
    before = peak()
    columns = COLLABORATIVE + TEXT
    features = ItemFeatures(torch.randn(items, columns), slice(0, COLLABORATIVE), slice(COLLABORATIVE, columns))
    model = build_model(features, config, "items")
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], fused=True)
    average = AveragedWeights(model, config.training.average)
    dtype = training_dtype("auto", torch.device("cpu"))
    _, epoch = batches.epoch(0)
    candidates = 0
    for _, batch in zip(range(2), epoch, strict=False):
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            loss = model(batch)["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        average.update()
        candidates = len(batch.candidates)
    learn = config.tokenizer.trainable_features is True
    return candidates, int(learn), 4 * items * columns * (6 if learn else 2), int(peak() - before)


if __name__ == "__main__":
    main()
