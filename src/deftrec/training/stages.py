"""What is trained: the collaborative encoder, then DeftRec itself."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from deftrec.collaborative import LightGCN, Triples, draw_triples
from deftrec.config import Config
from deftrec.data import Cases, Sequences
from deftrec.diffusion import Sampling
from deftrec.evaluation.metrics import TargetRanks, accuracy, ranks_from_scores
from deftrec.model import Batch, DeftRec
from deftrec.retrieval import Retriever, generate_queries
from deftrec.training.batches import PackedBatches, batch_to
from deftrec.training.loop import Stage


class CollaborativeStage(Stage):
    """LightGCN on the training interactions, validated by its own inner products."""

    def __init__(
        self, module: LightGCN, sequences: Sequences, cases: Cases, n_items: int, config: Config, name: str
    ) -> None:
        self.name, self.module = name, module
        self.lightgcn, self.sequences, self.cases, self.n_items = module, sequences, cases, n_items
        self.batch_size, self.seed = int(config.collaborative.batch_size), config.seed
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
        return mean_accuracy(target_ranks(retriever, queries, self.cases, exclude_seen=True))


class JointStage(Stage):
    """Tokenizer, language model and diffusion together, validated by the latent score alone."""

    def __init__(
        self, module: DeftRec, batches: PackedBatches, cases: Cases, config: Config, dtype: torch.dtype, name: str
    ) -> None:
        self.name, self.module = name, module
        self.model, self.batches, self.cases, self.config, self.dtype = module, batches, cases, config, dtype
        self.device = module.features.device

    def epoch(self, number: int) -> tuple[int, Iterator[Batch]]:
        """See `Stage.epoch`."""
        steps, batches = self.batches.epoch(number)
        return steps, (batch_to(batch, self.device) for batch in batches)

    def slow_parameters(self) -> set[nn.Parameter]:
        """See `Stage.slow_parameters`."""
        return set(self.model.language.parameters()) if self.config.language.kind == "pretrained" else set()

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """See `Stage.validate`."""
        catalogue = self.model.encode_catalogue()
        queries = generate_queries(
            self.model,
            catalogue,
            self.cases.histories,
            window=int(self.config.data.window),
            sampling=Sampling.of(self.config.diffusion),
            seed=self.config.seed,
            dtype=self.dtype,
        )
        retriever = Retriever.of(self.model, catalogue, self.config)
        return mean_accuracy(target_ranks(retriever, queries, self.cases, exclude_seen=True))


def target_ranks(retriever: Retriever, queries: torch.Tensor, cases: Cases, exclude_seen: bool) -> TargetRanks:
    """Where each target stands among all items, in chunks of users."""
    targets = torch.from_numpy(cases.targets).to(queries.device)
    chunks = retriever.chunks(queries, cases.histories, exclude_seen)
    return TargetRanks.concatenate([ranks_from_scores(scores, targets[rows]) for rows, scores in chunks])


def mean_accuracy(ranks: TargetRanks) -> dict[str, float]:
    """HR@10 and NDCG@10, means over all cases."""
    values = accuracy(ranks, cutoffs=(10,))
    return {name: float(values[name].mean()) for name in ("hr@10", "ndcg@10")}
