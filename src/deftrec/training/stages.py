"""The stages of a training: text vectors, collaborative vectors, the joint model."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from deftrec.batch import Batch
from deftrec.collaborative import LightGCN, Triples, draw_triples, spectral_vectors
from deftrec.config import Config, TextOptions
from deftrec.data import Cases, Fit, Sequences
from deftrec.diffusion import Sampling
from deftrec.evaluation import TargetRanks, mean_accuracy
from deftrec.model import DeftRec
from deftrec.pretrained_files.locate import weights_identity
from deftrec.progress import Progress
from deftrec.retrieval import (
    LatentSimilarity,
    Queries,
    Ranker,
    generate_queries,
    latent_ranker,
    seen_rules,
    target_ranks,
)
from deftrec.tensors import to_device
from deftrec.text import sentence_vectors
from deftrec.training.batches import PackedBatches, batch_share
from deftrec.training.cache import CachedStage, StageResult
from deftrec.training.checkpoint import TrainingState
from deftrec.training.distributed import ALONE, Team
from deftrec.training.loop import Plan, Stage
from deftrec.training.workspace import Workspace

LIGHTGCN_RATE = 5e-3  # learning rate of LightGCN
LIGHTGCN_PATIENCE, LIGHTGCN_VALIDATES = 3, 5
"""Validations without a better value before LightGCN stops, and epochs between two validations."""


@dataclass(eq=False)
class TextStage(CachedStage):
    """Sentence vectors of the items' text (empty where there is none), by the model in `folder`.

    `about` is whatever else decides the result, for its key.
    """

    texts: list[str]
    folder: Path
    options: TextOptions
    device: torch.device
    dtype: torch.dtype
    about: dict[str, Any]
    progress: Progress
    name: str = "text"

    def key(self) -> dict[str, Any]:
        """See `CachedStage.key`."""
        weights = weights_identity(self.folder)
        return {**self.about, "weights": weights, "dtype": str(self.dtype), **self.options.model_dump()}

    def run(self) -> StageResult:
        """See `CachedStage.run`; the tensor `text` `[I, E]`."""
        self.progress.begin(self.name, sum(1 for text in self.texts if text))
        vectors = sentence_vectors(
            self.texts,
            self.folder,
            max_tokens=self.options.max_tokens,
            device=self.device,
            dtype=self.dtype,
            on_batch=lambda n: self.progress.advance(self.name, n),
        )
        self.progress.end(self.name)
        return StageResult({"text": vectors})


@dataclass(eq=False)
class CollaborativeVectorsStage(CachedStage):
    """Collaborative vectors: LightGCN for as many epochs as validation or an earlier stage chose, or spectral ones.

    Attributes:
        chosen: the stage on train whose epochs a refit repeats; None: validation chooses.
        about: whatever else decides the result, for its key.
    """

    sequences: Sequences
    fit: Fit
    n_items: int
    validation: Cases
    config: Config
    chosen: TrainingState | None
    device: torch.device
    about: dict[str, Any]
    space: Workspace

    def __post_init__(self) -> None:
        self.name = "collaborative" if self.fit == "train" else "refit-collaborative"

    def key(self) -> dict[str, Any]:
        """See `CachedStage.key`."""
        return {
            **self.about,
            "split": self.config.data.split,
            "fit": self.fit,
            "seed": self.config.seed,
            "validation_users": len(self.validation),
            "epochs": None if self.chosen is None else self.chosen.best_epoch,
            "repeats": self.config.repeats,
            **self.config.collaborative.model_dump(),
        }

    def run(self) -> StageResult:
        """See `CachedStage.run`; the tensors `users` `[U, d]` and `items` `[I, d]`."""
        options = self.config.collaborative
        torch.manual_seed(self.config.seed)
        if options.encoder == "spectral":
            closed = spectral_vectors(self.sequences, self.n_items, options.dim, self.config.seed, self.device)
            return StageResult(vars(closed), asdict(TrainingState()))
        module = LightGCN(self.sequences, self.n_items, options.dim, options.layers, options.l2).to(self.device)
        stage = LightGCNTraining(module, self.sequences, self.validation, self.n_items, self.config, self.name)
        plan = Plan(
            epochs=int(options.epochs),
            learning_rate=LIGHTGCN_RATE,
            patience=LIGHTGCN_PATIENCE,
            validate_every=LIGHTGCN_VALIDATES,
            dtype=torch.float32,
            stop_after=None if self.chosen is None else self.chosen.best_epoch,
            checkpoint_seconds=self.config.training.checkpoint_seconds,
        )
        before = self.space.before
        trained = self.space.train(stage, plan)
        with torch.no_grad():
            vectors = module.propagate()
        # An item without interactions has only its random start: to the tokenizer its vector is missing.
        present = self.sequences.counts(self.n_items) > 0
        items = vectors.items.cpu() * torch.from_numpy(present)[:, None]
        return StageResult({"users": vectors.users.cpu(), "items": items}, asdict(trained), self.space.before - before)


@dataclass(eq=False)
class LightGCNTraining(Stage):
    """LightGCN on the training interactions, validated by its own inner products."""

    module: LightGCN
    sequences: Sequences
    cases: Cases
    n_items: int
    config: Config
    name: str
    dense: bool = False

    def epoch(self, number: int) -> tuple[int, Iterator[Triples]]:
        """See `Stage.epoch`."""
        rng = np.random.default_rng([self.config.seed, number])
        triples = draw_triples(self.sequences, self.n_items, int(self.config.collaborative.batch_size), rng)
        return len(triples), (to_device(one, self.module.base.device) for one in triples)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """See `Stage.validate`."""
        vectors, cases = self.module.propagate(), self.cases
        ranker = Ranker(self.n_items, (LatentSimilarity(vectors.items, similarity="inner"),))
        users = vectors.users[torch.from_numpy(cases.users).to(vectors.users.device)]
        rules = seen_rules(not self.config.repeats)
        return mean_accuracy(target_ranks(ranker, Queries(cases.histories, users), cases, rules))


@dataclass(eq=False)
class JointStage(Stage):
    """Tokenizer, language model and diffusion together, validated by the latent score alone."""

    module: DeftRec
    batches: PackedBatches
    cases: Cases
    config: Config
    dtype: torch.dtype
    name: str
    team: Team = ALONE

    def epoch(self, number: int) -> tuple[int, Iterator[Batch]]:
        """See `Stage.epoch`."""
        steps, batches = self.batches.epoch(number)
        return steps, (to_device(batch, self.module.features.device) for batch in batches)

    def share(self, batch: Batch, team: Team) -> tuple[Batch, float]:
        """See `Stage.share`."""
        return batch_share(batch, team)

    def slow_parameters(self) -> set[nn.Parameter]:
        """See `Stage.slow_parameters`."""
        return set(self.module.language.parameters()) if self.config.language.kind == "pretrained" else set()

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """See `Stage.validate`; every process evaluates some of the users."""
        catalogue = self.module.encode_catalogue()
        cases = self.cases.select(self.team.rows(len(self.cases)))
        sampling, seed = Sampling.of(self.config.diffusion), self.config.seed
        queries = generate_queries(
            self.module, catalogue, cases.histories, sampling=sampling, seed=seed, dtype=self.dtype
        )
        rules = seen_rules(not self.config.repeats)
        ranks = target_ranks(latent_ranker(catalogue, self.config), queries, cases, rules)
        greater, ties = (self.team.gathered(values, len(self.cases)) for values in (ranks.greater, ranks.ties))
        return mean_accuracy(TargetRanks(greater, ties))
