"""Cost of one more event of a returning user with cached keys and values, against reading the whole history.

    python benchmarks/returning_user.py --recipe nano
    python benchmarks/returning_user.py --recipe minilm --lengths 20 100 480

Weights, histories and catalogue are random, which does not change what is computed. `plain` is the reference, `whole`
the fast path over the whole history, `read on` the cached one. Lengths must fit the model: all-MiniLM-L6-v2 reads 512
tokens.

Expected before measuring: docs/reference/performance.md.
"""

import argparse
import statistics
from functools import partial

import torch

from deftrec.data import Sequences
from deftrec.diffusion import Sampling
from deftrec.ensemble import build_member
from deftrec.hardware import default_device, inference_dtype
from deftrec.inference import InferenceModel, Reading
from deftrec.recipe import load_recipe, resolve
from deftrec.retrieval import generate_queries, inference_queries
from deftrec.sizes import Sizes
from deftrec.tokenizer import ItemFeatures
from machine_rates import seconds

ITEMS = 1682


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", default="nano")
    parser.add_argument("--lengths", type=int, nargs="+", default=[20, 100, 500])
    parser.add_argument("--events", type=int, default=10)
    parser.add_argument("--precision", choices=["auto", "bf16", "fp32"], default="fp32")
    options = parser.parse_args()
    room = max(options.lengths) + options.events
    config = load_recipe(options.recipe, [f"data.max_history={room}", "tokenizer.users=folded"])
    config = resolve(config, Sizes(positions=100_000, interactions=100_000, users=1000, items=ITEMS))
    torch.manual_seed(0)
    device, sampling = default_device(), Sampling.of(config.diffusion)
    model = build_member(ItemFeatures.build(torch.randn(ITEMS, 64), None), config, "movies").to(device).eval()
    if model.max_history < room:
        raise SystemExit(
            f"{options.recipe} reads {model.max_history} items; give --lengths up to "
            f"{model.max_history - options.events}"
        )
    catalogue = model.encode_catalogue()
    fast = InferenceModel(model, catalogue, inference_dtype(options.precision, device))
    print(f"{options.recipe}, {options.precision}, milliseconds an event, median of {options.events}")
    print(f"{'history':>8} {'plain':>9} {'whole':>9} {'read on':>9} {'plain /':>8} {'whole /':>8}")
    for length in options.lengths:
        history = torch.randint(ITEMS, (length + options.events,)).tolist()
        reading, times = Reading(fast, history[:length]), {"plain": [], "whole": [], "on": []}
        for n, item in enumerate(history[length:], start=1):
            asked = Sequences.from_lists([history[: length + n]])
            plain = partial(generate_queries, model, catalogue, asked, sampling=sampling, seed=0)
            times["plain"].append(1000 * seconds(plain, device))
            whole = partial(inference_queries, fast, asked, sampling=sampling, seed=0)
            times["whole"].append(1000 * seconds(whole, device))
            times["on"].append(1000 * seconds(partial(read_on, reading, item, sampling), device))
        plain_ms, whole_ms, on_ms = (statistics.median(taken) for taken in times.values())
        ratios = f"{plain_ms / on_ms:8.1f} {whole_ms / on_ms:8.1f}"
        print(f"{length:8d} {plain_ms:9.2f} {whole_ms:9.2f} {on_ms:9.2f} {ratios}")


def read_on(reading: Reading, item: int, sampling: Sampling) -> None:
    reading.add(item)
    reading.latent(sampling)


if __name__ == "__main__":
    main()
