"""Training targets per second: a target at every position against one target per history, same model, same process.

    python benchmarks/targets_per_second.py --data data/ml-100k

Expected before measuring: a batch costs the same in both forms except for the objective, so the ratio is close to the
mean number of targets in a history, about 80 of 128 on MovieLens-100K, less the cost of the softmax.
"""

import argparse
import statistics
import time
from dataclasses import replace

import torch

from deftrec.batch import Batch
from deftrec.config import Config
from deftrec.data import PADDING, Interactions, make_split
from deftrec.ensemble import build_model
from deftrec.hardware import default_device, training_dtype
from deftrec.recipe import load_recipe
from deftrec.tensors import to_device
from deftrec.tokenizer import ItemFeatures
from deftrec.training.batches import PackedBatches
from deftrec.training.fit import resolve


def rate(interactions: Interactions, config: Config, every: bool, batches: int, repeats: int) -> float:
    """Median targets per second over `repeats` rounds of `batches` training steps.

    Args:
        interactions: the data.
        config: options, resolved.
        every: whether every position has a target, or only the last of each history.
        batches: number of steps of a round.
        repeats: number of rounds, after a first one that does not count.
    """
    split = make_split(interactions, config.data.split)
    device = default_device()
    dtype = training_dtype("auto", device)
    torch.manual_seed(0)
    features = ItemFeatures.build(torch.randn(interactions.n_items, 64), None)
    model = build_model(features, config, interactions.meta.domain).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    source = PackedBatches(
        split.training("train"),
        interactions.n_items,
        max_history=int(config.data.max_history),
        batch_positions=int(config.training.batch_positions),
        objective=config.objective,
        seed=0,
    )
    rates = []
    for round_number in range(repeats + 1):
        _, epoch = source.epoch(round_number)
        started, done = time.perf_counter(), 0
        for _, batch in zip(range(batches), epoch, strict=False):
            batch = to_device(batch if every else with_last_targets(batch), device)
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                loss = model(batch)["loss"]
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            done += int((batch.targets != PADDING).sum())
        rates.append(done / (time.perf_counter() - started))
    return statistics.median(rates[1:])


def with_last_targets(batch: Batch) -> Batch:
    """The batch with the last target of each history alone."""
    has_target, segments = batch.targets != PADDING, batch.layout.segments
    following = torch.zeros_like(has_target)
    following[:, :-1] = has_target[:, 1:] & (segments[:, 1:] == segments[:, :-1])
    return replace(batch, targets=batch.targets.masked_fill(following, PADDING))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--recipe", default="default")
    parser.add_argument("--batches", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    interactions = Interactions.load(options.data)
    config = load_recipe(options.recipe, ["training.ensemble_size=1"])
    config = resolve(config, interactions, make_split(interactions, config.data.split))
    every, last = (rate(interactions, config, every, options.batches, options.repeats) for every in (True, False))
    print(f"{interactions.meta.name}, histories of {config.data.max_history} items, {config.language.kind}:")
    print(f"every position: {every:10,.0f} targets/s")
    print(f"last only:      {last:10,.0f} targets/s")
    print(f"ratio:          {every / last:10.1f}")


if __name__ == "__main__":
    main()
