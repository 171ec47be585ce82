"""A user session: every new event is one step of the language model."""

from collections.abc import Sequence

import numpy as np
import torch

from deftrec.data import Id, Sequences
from deftrec.diffusion import Sampling
from deftrec.errors import ConfigError
from deftrec.inference import Reading
from deftrec.recommendation import Recommendation
from deftrec.recommender import Recommender
from deftrec.retrieval import Queries, seen_rules


class Session:
    """A history (external ids, oldest first, one or more) that has been read and grows by events.

    Recommends the same items as `Recommender.recommend` after the same history. Keys and values of the history stay in
    memory; `deftrec.inference.Reading` describes histories longer than `data.max_history`. Raises a `ConfigError` if
    the history is empty, or the run's model cannot continue from keys and values; and a `DataError` for an unknown
    item.
    """

    def __init__(self, recommender: Recommender, history: Sequence[Id]) -> None:
        if not history:
            raise ConfigError("a session needs a history; give one item or more")
        if recommender.fast is None:
            raise ConfigError(
                "this run reads every history as a whole (its model keeps no keys and values, reads titles or "
                "generates a rationale); call Recommender.recommend"
            )
        self.recommender = recommender
        self.reading = Reading(recommender.fast, recommender.interactions.item_numbers(history).tolist())

    def add(self, item: Id) -> None:
        """Add an event to the history; a `DataError` for an unknown item."""
        [number] = self.recommender.interactions.item_numbers([item])
        self.reading.add(int(number))

    def recommend(self, k: int = 10, *, exclude_seen: bool = True, seed: int | None = None) -> list[Recommendation]:
        """The `k` best items after the history so far; arguments as for `Recommender.recommend`."""
        recommender = self.recommender
        generator = torch.Generator(recommender.catalogue.latents.device)
        generator.manual_seed(recommender.config.seed if seed is None else seed)
        residuals = recommender.residuals([np.array(self.reading.history)])
        latent = self.reading.latent(Sampling.of(recommender.config.diffusion), generator, residuals)
        queries = Queries(Sequences.from_lists([self.reading.history]), latent)
        found = recommender.ranker.search(queries, k, seen_rules(exclude_seen))
        return recommender.lists.describe(found)[0]
