"""Generated latents of histories, which the catalogue is scored with."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from deftrec.data import Sequences
from deftrec.data.sequences import pad_histories
from deftrec.diffusion import Sampling
from deftrec.ensemble import Model
from deftrec.inference import InferenceModel
from deftrec.language import Layout, TextEngine
from deftrec.model import ItemLatents
from deftrec.modes import evaluating
from deftrec.tensors import to_device


@dataclass(frozen=True, eq=False)
class EncodedRequest:
    """A request in words, as score terms read it: P parts, wanted ones with positive weights.

    Attributes:
        vectors: sentence vectors of the parts. `[P, E]`
        learnt: weights of the learnt similarity of request and item. `[P]`
        cosine: weights of the cosine with the items' own sentence vectors. `[P]`
        items, values: items that have words of the request, and what their score gets added. Each `[n]`
    """

    vectors: Tensor
    learnt: Tensor
    cosine: Tensor
    items: Tensor
    values: Tensor


@dataclass(frozen=True, eq=False)
class Queries:
    """N histories, oldest item first, with the latents that the model generated for the next item.

    Attributes:
        histories: `N`
        latents: `[N, D]`
        requests: request in words of each query, None for a query without; None: no query has one. `N`
    """

    histories: Sequences
    latents: Tensor
    requests: tuple[EncodedRequest | None, ...] | None = None

    def __len__(self) -> int:
        return len(self.latents)

    def select(self, rows: slice) -> "Queries":
        """Consecutive queries."""
        if rows == slice(0, len(self)):
            return self
        requests = None if self.requests is None else self.requests[rows]
        return Queries(self.histories.select(range(rows.start, rows.stop)), self.latents[rows], requests)

    def with_requests(self, requests: Sequence[EncodedRequest | None]) -> "Queries":
        """The same queries with requests in words, one for each or None."""
        given = tuple(requests) if any(one is not None for one in requests) else None
        return replace(self, requests=given)

    def head(self, n: int) -> "Queries":
        """The first `n` queries."""
        return self.select(slice(0, min(n, len(self))))


PLACES = 8192
"""History positions of one batch on a GPU; histories of similar length share a batch, which limits padding."""
WASTE, SMALL = 0.1, 0.1  # largest share of padding, for batches that fill more than the second share of their positions
CPU_PLACES = 2048  # history positions of one batch on a CPU: activations stay in its caches


def generate_queries(
    model: Model,
    catalogue: ItemLatents,
    histories: Sequences,
    *,
    sampling: Sampling,
    seed: int,
    dtype: torch.dtype = torch.float32,
    residuals: Tensor | None = None,
) -> Queries:
    """Generate the latent of the next item for every history, none of them empty, on the device of the catalogue.

    Every batch draws the same noise from `seed`, so that a history's result does not depend on the others. `dtype` is
    the type of the matrix products, by autocast; float32 (default) is the reference. `residuals` `[N, M, d]` are added
    to the conditions of the members.
    """
    device = catalogue.latents.device
    latents = torch.empty(len(histories), catalogue.latents.shape[1], device=device)
    with evaluating(model):
        for which, items, layout in batches(model.max_history, histories, device):
            generator = torch.Generator(device).manual_seed(seed)
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                sample = model.generate(catalogue, items, layout, sampling, generator, _rows(residuals, which))
            latents[torch.from_numpy(which).to(device)] = sample.x0
    return Queries(histories, latents)


def inference_queries(
    model: InferenceModel, histories: Sequences, *, sampling: Sampling, seed: int, residuals: Tensor | None = None
) -> Queries:
    """The result of `generate_queries`, faster; arguments as there."""
    order, parts = [], []
    for which, items, layout in batches(model.max_history, histories, model.device):
        generator = torch.Generator(model.device).manual_seed(seed)
        lengths = layout.lengths
        order.append(torch.from_numpy(which).to(model.device))
        parts.append(model.generate(items, lengths, sampling, generator, _rows(residuals, which), layout.events))
    latents = torch.cat(parts)
    return Queries(histories, torch.empty_like(latents).index_copy_(0, torch.cat(order), latents))


def _rows(residuals: Tensor | None, which: np.ndarray) -> Tensor | None:
    return None if residuals is None else residuals[torch.from_numpy(which).to(residuals.device)]


def generate_texts(
    model: Model, catalogue: ItemLatents, histories: Sequences, engine: TextEngine | None = None
) -> list[str]:
    """Generate a rationale for every history, none of them empty, by `engine` or by the model itself.

    Raises a `ConfigError` if the model has learnt no rationales.
    """
    device, texts = catalogue.latents.device, [""] * len(histories)
    with evaluating(model):
        for which, items, layout in batches(model.max_history, histories, device):
            for n, text in zip(which, model.rationales(catalogue, items, layout, engine), strict=True):
                texts[n] = text
    return texts


def places_of(device: torch.device) -> int:
    """History positions of one batch for a device."""
    return CPU_PLACES if device.type == "cpu" else PLACES


def batches(
    max_history: int, histories: Sequences, device: torch.device, most: int | None = None
) -> Iterator[tuple[np.ndarray, Tensor, Layout]]:
    """Numbers of the histories of each batch, their newest `max_history` items and their layout.

    A batch has at most `most` positions (None: `places_of(device)`).
    """
    most = most or places_of(device)
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
        yield which, torch.from_numpy(packed.items).to(device), to_device(Layout.of(packed), device)
        start += size
