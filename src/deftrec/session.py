"""Somebody who comes back: every new event is one step of the language model, and then a recommendation."""

from collections.abc import Sequence

import torch

from deftrec.data import Id, Sequences
from deftrec.diffusion import Sampling
from deftrec.errors import ConfigError
from deftrec.inference import Reading
from deftrec.recommendation import Recommendation
from deftrec.recommender import Recommender
from deftrec.retrieval import ExcludeHistory, Queries


class Session:
    """A history that has been read, and goes on.

    Recommends what `Recommender.recommend` does after the same history. What it keeps are keys and values of the
    history, in memory, for as long as it lives; see `deftrec.inference.Reading` for histories longer than the window.

    Args:
        recommender: the run.
        history: external ids, oldest first, one or more.

    Raises:
        ConfigError: the history is empty, or the run's model cannot read on where it stopped.
        DataError: unknown item.
    """

    def __init__(self, recommender: Recommender, history: Sequence[Id]) -> None:
        if not history:
            raise ConfigError("nobody returns from an empty history; give one item or more")
        if recommender.fast is None:
            raise ConfigError(
                "this run reads every history as a whole: its model keeps no keys and values, reads titles, or words "
                "what it reads; ask Recommender.recommend"
            )
        self.recommender = recommender
        self.reading = Reading(recommender.fast, recommender.interactions.item_numbers(history).tolist())

    def take(self, item: Id) -> None:
        """One more event.

        Raises:
            DataError: unknown item.
        """
        [number] = self.recommender.interactions.item_numbers([item])
        self.reading.take(int(number))

    def recommend(self, k: int = 10, *, exclude_seen: bool = True, seed: int | None = None) -> list[Recommendation]:
        """The `k` best items now; arguments as for `Recommender.recommend`."""
        recommender = self.recommender
        generator = torch.Generator(recommender.catalogue.latents.device)
        generator.manual_seed(recommender.config.seed if seed is None else seed)
        latent = self.reading.latent(Sampling.of(recommender.config.diffusion), generator)
        queries = Queries(Sequences.from_lists([self.reading.history]), latent)
        found = recommender.ranker.search(queries, k, (ExcludeHistory(),) if exclude_seen else ())
        return recommender.describe(found, "deftrec")[0]
