"""What is trained: the collaborative encoder, then DeftRec itself."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from deftrec.batch import Batch
from deftrec.collaborative import LightGCN, Triples, draw_triples
from deftrec.config import Config
from deftrec.data import Cases, Sequences
from deftrec.diffusion import Sampling
from deftrec.evaluation import TargetRanks, mean_accuracy
from deftrec.model import DeftRec
from deftrec.retrieval import Retriever, generate_queries
from deftrec.retrieval.ranks import target_ranks
from deftrec.training.batches import PackedBatches, batch_share, batch_to
from deftrec.training.distributed import ALONE, Team
from deftrec.training.loop import Stage


class CollaborativeStage(Stage):
    """LightGCN on the training interactions, validated by its own inner products."""

    dense = False

    def __init__(
        self, module: LightGCN, sequences: Sequences, cases: Cases, n_items: int, config: Config, name: str
    ) -> None:
        self.name, self.module = name, module
        self.lightgcn, self.sequences, self.cases, self.n_items = module, sequences, cases, n_items
        self.batch_size, self.seed = int(config.collaborative.batch_size), config.seed
        self.exclude_seen = not config.repeats
        self.device = module.base.device

    def epoch(self, number: int) -> tuple[int, Iterator[Triples]]:
        """See `Stage.epoch`."""
        rng = np.random.default_rng([self.seed, number])
        triples = draw_triples(self.sequences, self.n_items, self.batch_size, rng)
        return len(triples), (
            Triples(*(column.to(self.device) for column in (one.users, one.positives, one.negatives)))
            for one in triples
        )

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """See `Stage.validate`."""
        vectors = self.lightgcn.propagate()
        retriever = Retriever(vectors.items, "inner", 1.0)
        queries = vectors.users[torch.from_numpy(self.cases.users).to(self.device)]
        return mean_accuracy(target_ranks(retriever, queries, self.cases, self.exclude_seen))


class JointStage(Stage):
    """Tokenizer, language model and diffusion together, validated by the latent score alone."""

    def __init__(
        self,
        module: DeftRec,
        batches: PackedBatches,
        cases: Cases,
        config: Config,
        dtype: torch.dtype,
        name: str,
        team: Team = ALONE,
    ) -> None:
        self.name, self.module, self.team = name, module, team
        self.model, self.batches, self.cases, self.config, self.dtype = module, batches, cases, config, dtype
        self.device = module.features.device

    def epoch(self, number: int) -> tuple[int, Iterator[Batch]]:
        """See `Stage.epoch`."""
        steps, batches = self.batches.epoch(number)
        return steps, (batch_to(batch, self.device) for batch in batches)

    def share(self, batch: Batch, team: Team) -> tuple[Batch, float]:
        """See `Stage.share`."""
        return batch_share(batch, team)

    def slow_parameters(self) -> set[nn.Parameter]:
        """See `Stage.slow_parameters`."""
        return set(self.model.language.parameters()) if self.config.language.kind == "pretrained" else set()

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """See `Stage.validate`; every process asks for some of the users."""
        catalogue = self.model.encode_catalogue()
        cases = self.cases.select(self.team.rows(len(self.cases)))
        queries = generate_queries(
            self.model,
            catalogue,
            cases.histories,
            sampling=Sampling.of(self.config.diffusion),
            seed=self.config.seed,
            dtype=self.dtype,
        )
        retriever = Retriever.of(self.model, catalogue, self.config)
        ranks = target_ranks(retriever, queries, cases, exclude_seen=not self.config.repeats)
        greater, ties = (self.team.gathered(values, len(self.cases)) for values in (ranks.greater, ranks.ties))
        return mean_accuracy(TargetRanks(greater, ties))
