"""Histories in, generated latents out: what the catalogue is scored with."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from deftrec.data import PADDING, Sequences
from deftrec.data.sequences import pad_histories
from deftrec.diffusion import Sampling
from deftrec.ensemble import Model
from deftrec.inference import InferenceModel
from deftrec.language import Layout, TextEngine
from deftrec.model import ItemLatents

PLACES = 8192
"""History places of one batch; histories of like length share a batch, so that little padding is computed."""
WASTE, SMALL = 0.1, 0.1
"""Empty places for each that is filled, at most, where a batch has more than that share of its places."""
CPU_PLACES = 2048
"""The same on a CPU: what one layer hands to the next stays in its caches."""


def generate_queries(
    model: Model,
    catalogue: ItemLatents,
    histories: Sequences,
    *,
    sampling: Sampling,
    seed: int,
    dtype: torch.dtype = torch.float32,
    on_batch: Callable[[int], None] | None = None,
) -> Tensor:
    """The latent of the next item after every history, none of them empty.

    Every batch draws the same noise from `seed`: a history's result does not depend on the others.

    Args:
        dtype: of the matrix products, by autocast; float32 is the reference.
        on_batch: called with the number of histories done since the last call.

    Returns:
        `[N, D]` float32, on the device of the catalogue.
    """
    device = catalogue.latents.device
    queries = torch.empty(len(histories), catalogue.latents.shape[1], device=device)
    with evaluating(model):
        for which, items, layout in batches(model.max_history, histories, device):
            generator = torch.Generator(device).manual_seed(seed)
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                sample = model.generate(catalogue, items, layout, sampling, generator)
            queries[torch.from_numpy(which).to(device)] = sample.x0
            if on_batch:
                on_batch(len(which))
    return queries


def inference_queries(model: InferenceModel, histories: Sequences, *, sampling: Sampling, seed: int) -> Tensor:
    """What `generate_queries` gives, sooner; arguments as there. `[N, D]` float32"""
    order, parts = [], []
    for which, items, layout in batches(model.max_history, histories, model.device):
        generator = torch.Generator(model.device).manual_seed(seed)
        lengths = (layout.segments != PADDING).sum(1)
        order.append(torch.from_numpy(which).to(model.device))
        parts.append(model.generate(items, lengths, sampling, generator))
    latents = torch.cat(parts)
    return torch.empty_like(latents).index_copy_(0, torch.cat(order), latents)


def generate_texts(
    model: Model,
    catalogue: ItemLatents,
    histories: Sequences,
    *,
    dtype: torch.dtype = torch.float32,
    on_batch: Callable[[int], None] | None = None,
    engine: TextEngine | None = None,
) -> list[str]:
    """What the model says of every history, none of them empty; arguments as for `generate_queries`.

    Args:
        engine: generates in the model's place.

    Raises:
        ConfigError: it has learnt no words.
    """
    device, texts = catalogue.latents.device, [""] * len(histories)
    with evaluating(model):
        for which, items, layout in batches(model.max_history, histories, device):
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                said = model.rationales(catalogue, items, layout, engine)
            for n, text in zip(which, said, strict=True):
                texts[n] = text
            if on_batch:
                on_batch(len(which))
    return texts


@contextmanager
def evaluating(model: Model) -> Iterator[None]:
    """Inside the block the model is in evaluation mode; afterwards it is in the mode it was in."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def places_of(device: torch.device) -> int:
    """History places of one batch that suit the device."""
    return CPU_PLACES if device.type == "cpu" else PLACES


def batches(
    max_history: int, histories: Sequences, device: torch.device, most: int | None = None
) -> Iterator[tuple[np.ndarray, Tensor, Layout]]:
    """Which histories share a batch, their newest `max_history` items and their layout; `most` places, or as suits."""
    if most is None:
        most = places_of(device)
    lengths = np.minimum(histories.lengths, max_history)
    order = np.argsort(lengths, kind="stable")
    start = 0
    while start < len(order):
        # Lengths rise, so the last history of a batch is its width.
        rising = lengths[order[start : start + most]]
        places = rising * np.arange(1, len(rising) + 1)
        padded = (places > (1 + WASTE) * rising.cumsum()) & (places > SMALL * most)
        size = max(1, int(np.argmax(np.append((places > most) | padded, True))))
        which = order[start : start + size]
        packed = pad_histories(histories, which, max_history)
        layout = Layout.of(packed).to(device)
        yield which, torch.from_numpy(packed.items).to(device), layout
        start += size
