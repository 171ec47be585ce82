"""A run's latents, what its users ask for, and larger catalogues that lie like its own."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from deftrec import Recommender
from deftrec.data import Sequences
from deftrec.retrieval import Retriever

PART = 65_536
"""Latents that are drawn at a time."""


@dataclass(frozen=True)
class Asked:
    """Queries and what they are compared with.

    Attributes:
        name: of the data.
        retriever: the latent score alone.
        queries: as the model generates them, of unit length where that is what counts. `[N, D]`
    """

    name: str
    retriever: Retriever
    queries: Tensor

    @classmethod
    def of(cls, run: Path, users: int, items: int | None = None) -> "Asked":
        """What the first `users` of a run ask for, of its own items or of `items` drawn around them."""
        recommender = Recommender.load(run)
        histories = recommender.interactions.sequences
        chosen = [histories[user] for user in range(min(users, len(histories)))]
        queries, retriever = recommender.ask(Sequences.from_lists(chosen)).queries, recommender.retriever_of("latent")
        if retriever.similarity == "cosine":
            queries = normalize(queries, dim=-1)
            retriever = replace(retriever, latents=normalize(retriever.latents, dim=-1))
        if items is not None:
            drawn = drawn_around(retriever.latents.numpy(), items, unit=retriever.similarity == "cosine")
            retriever = replace(retriever, latents=torch.from_numpy(drawn))
        return cls(recommender.interactions.meta.name, retriever, queries)


def drawn_around(vectors: np.ndarray, count: int, unit: bool) -> np.ndarray:
    """Latents of a larger catalogue: each near one of the run's, at a tenth of their spread. `[count, D]` float32"""
    rng = np.random.default_rng(0)
    spread, drawn = 0.1 * vectors.std(), np.empty((count, vectors.shape[1]), np.float32)
    for start in range(0, count, PART):
        part = drawn[start : start + PART]
        rng.standard_normal(out=part, dtype=np.float32)
        part *= spread
        part += vectors[rng.integers(len(vectors), size=len(part))]
        if unit:
            part /= np.linalg.norm(part, axis=1, keepdims=True)
    return drawn
