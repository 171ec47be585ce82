"""The joint stage of every member: tokenizer, language model and diffusion, on one part of the data."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from deftrec.collaborative import CollaborativeVectors
from deftrec.config import Config
from deftrec.data import Cases, Fit, Interactions, Sequences, Split
from deftrec.data.words import item_categories, item_titles
from deftrec.ensemble import Ensemble, Model, build_member
from deftrec.errors import DataError
from deftrec.incremental.warm_start import WarmStart
from deftrec.language import Preferences, PretrainedLanguageModel
from deftrec.language.stored import load_stored_state, stored_state
from deftrec.model import DeftRec
from deftrec.tokenizer import ItemFeatures
from deftrec.training.batches import PackedBatches
from deftrec.training.distributed import Team
from deftrec.training.loop import Plan, Stage, Trained
from deftrec.training.rationale import RationaleStage
from deftrec.training.sharding import filled, skeleton
from deftrec.training.stages import JointStage
from deftrec.training.trainer import Trainer

WARMUP_STEPS = 100
"""Number of steps of linear learning-rate warm-up."""

FINAL_RATE = 0.1
"""Learning rate at the end of the cosine as a share of its peak."""

CLIP = 5.0
"""Largest norm of the gradient."""

MEMBER_SEEDS = 1_000_003
"""Between the seeds of two members: far from those that anyone gives to two runs."""


@dataclass(frozen=True, eq=False)
class JointTraining:
    """Trains the members of a DeftRec.

    Attributes:
        interactions, split: the data.
        config: no option is `auto` any more.
        validation: cases that choose the epochs.
        start: a run to go on from, with fewer epochs at a lower rate; None: begin anew.
        device: where to train.
        dtype: of matrix products.
        team: processes that share the batches; what comes before the joint stage is the first one's work.
        trainer: trains each stage.
    """

    interactions: Interactions
    split: Split
    config: Config
    validation: Cases
    start: WarmStart | None
    device: torch.device
    dtype: torch.dtype
    team: Team
    trainer: Trainer

    def members(
        self,
        fit: Fit,
        vectors: CollaborativeVectors | None,
        text: torch.Tensor | None,
        chosen: tuple[Trained, ...] | None,
    ) -> tuple[Model, ItemFeatures, tuple[Trained, ...]]:
        """Train every member.

        Args:
            fit: what of the data.
            vectors, text: what tells one item from another; None where there are none.
            chosen: the stages on train whose epochs a refit takes over; None: validation chooses.

        Raises:
            DataError: nothing tells one item from another, or the items have no category to put into words.
        """
        if vectors is None and text is None and self.start is None:
            raise DataError(
                f"{self.interactions.meta.name}: its items have no text and collaborative.encoder is none, so nothing "
                "tells one item from another; set collaborative.encoder to lightgcn"
            )
        members = int(self.config.training.ensemble_size)
        if self.start is None:
            features = [ItemFeatures.build(None if vectors is None else vectors.items, text)] * members
        else:
            sequences = self.split.training(fit)
            features = [self.start.features(n, self.interactions, sequences, text) for n in range(members)]
        trained = [
            self._member(fit, features[member], member, None if chosen is None else chosen[member])
            for member in range(members)
        ]
        models, stages = zip(*trained, strict=True)
        return Ensemble(models) if members > 1 else models[0], features[0], stages

    def _member(self, fit: Fit, features: ItemFeatures, member: int, chosen: Trained | None) -> tuple[DeftRec, Trained]:
        config, options = self.config, self.config.training
        seed = config.seed + MEMBER_SEEDS * member
        prefix, suffix = "" if fit == "train" else "refit-", f"-{member + 1}" if member else ""
        torch.manual_seed(seed)
        titles = item_titles(self.interactions)
        model = build_member(features, config, self.interactions.meta.domain, titles).to(self.device)
        if self.start is not None:
            self.start.load_into(model, member)
        preferences = self._preferences(model)
        if preferences is not None and preferences.options.alone_epochs and self.start is None:
            sequences, name = self.split.training(fit), prefix + "words" + suffix
            plan = self._words_plan(preferences.options.alone_epochs)
            self._alone(RationaleStage(model, sequences, preferences, seed, name), plan)
        batches = PackedBatches(
            self.split.training(fit),
            self.interactions.n_items,
            max_history=model.max_history,
            batch_positions=int(options.batch_positions),
            objective=config.objective,
            seed=seed,
            preferences=preferences,
            tie_groups=self._tie_groups(fit),
        )
        plan = self._plan(chosen)
        empty = skeleton(model) if plan.sharded else None
        stage = JointStage(model, batches, self.validation, config, self.dtype, prefix + "joint" + suffix, self.team)
        trained = self.trainer.train(stage, plan, self.team)
        return model if empty is None else filled(empty, model), trained

    def _tie_groups(self, fit: Fit) -> np.ndarray | None:
        """The moment of each interaction that is fitted; None where no two of a user share one. `[E]` int64"""
        gather, lengths = self.interactions.sequences, self.split.training(fit).lengths
        kept = Sequences(self.interactions.tie_groups, gather.offsets).heads(lengths).items
        return kept if (kept[1:] == kept[:-1]).any() else None

    def _plan(self, chosen: Trained | None) -> Plan:
        """Of the joint stage; `chosen` is the one on train that a refit repeats."""
        options, fine = self.config.training, self.config.fine_tuning
        plan = Plan(
            epochs=int(options.epochs) if self.start is None else fine.epochs,
            learning_rate=float(options.learning_rate) * (1.0 if self.start is None else fine.learning_rate_factor),
            slow_factor=options.language_learning_rate_factor,
            patience=options.patience,
            dtype=self.dtype,
            warmup_steps=WARMUP_STEPS,
            final_rate=FINAL_RATE,
            weight_decay=options.weight_decay,
            clip=CLIP,
            average=options.average,
            accumulation=options.accumulation,
            checkpoint_seconds=options.checkpoint_seconds,
            sharded=options.sharded,
        )
        if chosen is not None:
            return replace(plan, stop_after=chosen.epochs, horizon=chosen.horizon)
        minutes = math.inf if options.minutes is None else options.minutes / int(options.ensemble_size)
        return replace(plan, seconds=60 * minutes)

    def _preferences(self, model: DeftRec) -> Preferences | None:
        """What the model learns to say; None where it learns no words."""
        language = model.language
        writer = model.strategy.writer
        if writer is None or not isinstance(language, PretrainedLanguageModel):
            return None
        categories = item_categories(self.interactions)
        if not any(categories):
            raise DataError(
                f"{self.interactions.meta.name}: no item has a category, so there is no preference to put into words; "
                "set language.reasoning.weight to 0"
            )
        return Preferences(categories, language, writer.options)

    def _words_plan(self, epochs: int) -> Plan:
        """Of what tokens are called, before what comes next."""
        joint = self._plan(None)
        return replace(joint, epochs=epochs, stop_after=epochs, average=0.0, accumulation=1, seconds=math.inf)

    def _alone(self, stage: Stage, plan: Plan) -> None:
        """Train a stage by the first process alone; the others take over its weights."""

        def trained() -> dict[str, torch.Tensor]:
            self.trainer.train(stage, plan)
            return stored_state(stage.module)

        load_stored_state(stage.module, self.team.broadcast(trained))
