"""The joint stage of every member of the ensemble: tokenizer, language model and diffusion, on one part of the data."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from deftrec.collaborative import CollaborativeVectors
from deftrec.config import Config
from deftrec.data import Cases, Fit, Interactions, Sequences, Split
from deftrec.data.words import item_categories
from deftrec.ensemble import Model, build_member, model_of
from deftrec.errors import DataError
from deftrec.incremental import WarmStart
from deftrec.language import Preferences, PretrainedLanguageModel
from deftrec.language.stored import load_stored_state, stored_state
from deftrec.model import DeftRec
from deftrec.tokenizer import ItemFeatures
from deftrec.training.batches import PackedBatches
from deftrec.training.checkpoint import TrainingState
from deftrec.training.loop import Plan
from deftrec.training.rationale import RationaleStage
from deftrec.training.sharding import refilled, without_weights
from deftrec.training.stages import JointStage
from deftrec.training.workspace import Workspace

MEMBER_SEEDS = 1_000_003  # distance between the seeds of two members: far from the seeds that anyone gives to two runs

WARMUP_STEPS, FINAL_RATE, CLIP = 100, 0.1, 5.0
"""Batches of linear warm-up, learning rate at the end as a share of its peak, largest norm of the gradient."""


def member_name(name: str, member: int) -> str:
    """Name of a member's stage: `joint`, `joint-2`, ..."""
    return f"{name}-{member + 1}" if member else name


@dataclass(frozen=True, eq=False)
class JointTraining:
    """Trains the members of a DeftRec with resolved options; `validation` cases choose the epochs.

    With a run to continue from (`start`), there are fewer epochs at a lower rate.
    """

    interactions: Interactions
    split: Split
    config: Config
    validation: Cases
    start: WarmStart | None
    device: torch.device
    dtype: torch.dtype
    space: Workspace

    def features(
        self,
        fit: Fit,
        vectors: CollaborativeVectors | None,
        text: torch.Tensor | None,
        attributes: torch.Tensor | None = None,
    ) -> list[ItemFeatures]:
        """Item features that each member starts from.

        They are the collaborative `vectors`, sentence vectors `text` `[I, E]`, and `attributes` `[I, A]`. Raises a
        `DataError` if nothing distinguishes one item from another.
        """
        members = int(self.config.training.ensemble_size)
        if self.start is not None:
            sequences = self.split.training(fit)
            return [self.start.features(n, self.interactions, sequences, text) for n in range(members)]
        if vectors is None and text is None and attributes is None:
            raise DataError(
                f"{self.interactions.meta.name}: its items have no text and collaborative.encoder is none, so nothing "
                "distinguishes one item from another; set collaborative.encoder to lightgcn"
            )
        return [ItemFeatures.build(None if vectors is None else vectors.items, text, attributes)] * members

    def train(
        self, fit: Fit, features: list[ItemFeatures], chosen: tuple[TrainingState, ...] | None
    ) -> tuple[Model, tuple[TrainingState, ...]]:
        """Train a member on each of `features`, for the epochs of the stages `chosen` or those that validation chooses.

        Raises a `DataError` if a rationale is to be learnt and the items have no category.
        """
        repeated = chosen or [None] * len(features)
        trained = [self._member(fit, own, n, repeated[n]) for n, own in enumerate(features)]
        models, stages = zip(*trained, strict=True)
        return model_of(models), stages

    def _member(
        self, fit: Fit, features: ItemFeatures, member: int, chosen: TrainingState | None
    ) -> tuple[DeftRec, TrainingState]:
        config, options, team = self.config, self.config.training, self.space.team
        seed, prefix = config.seed + MEMBER_SEEDS * member, "" if fit == "train" else "refit-"
        torch.manual_seed(seed)
        titles = self.interactions.titles
        model = build_member(features, config, self.interactions.meta.domain, titles).to(self.device)
        if model.event_tokens is not None and (values := self.split.training(fit).columns.get("value")) is not None:
            model.event_tokens.fit_values(torch.from_numpy(values))
        if self.start is not None:
            self.start.load_into(model, member)
        preferences = self._preferences(model)
        if preferences is not None and preferences.options.alone_epochs and self.start is None:
            self._rationale_alone(model, fit, preferences, seed, member_name(f"{prefix}rationale", member))
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
        empty = without_weights(model) if plan.sharded else None
        name = member_name(f"{prefix}joint", member)
        stage = JointStage(model, batches, self.validation, config, self.dtype, name, team)
        trained = self.space.train(stage, plan, team)
        return model if empty is None else refilled(empty, model), trained

    def _tie_groups(self, fit: Fit) -> np.ndarray | None:
        """Tie group of each fitted interaction; None where no two interactions of a user have the same time. `[E]`"""
        everything, lengths = self.interactions.sequences, self.split.training(fit).lengths
        kept = Sequences(self.interactions.tie_groups, everything.offsets).heads(lengths).items
        return kept if (kept[1:] == kept[:-1]).any() else None

    def _plan(self, chosen: TrainingState | None) -> Plan:
        """Plan of the joint stage; `chosen` is the stage on train that a refit repeats."""
        options, fine = self.config.training, None if self.start is None else self.config.fine_tuning
        plan = Plan(
            epochs=int(options.epochs) if fine is None else fine.epochs,
            learning_rate=float(options.learning_rate) * (1.0 if fine is None else fine.learning_rate_factor),
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
            return replace(plan, stop_after=chosen.best_epoch, horizon=chosen.horizon)
        minutes = math.inf if options.minutes is None else options.minutes / int(options.ensemble_size)
        return replace(plan, seconds=60 * minutes)

    def _preferences(self, model: DeftRec) -> Preferences | None:
        """Rationales that the model learns; None where it learns none."""
        language, writer = model.language, model.strategy.writer
        if writer is None or not isinstance(language, PretrainedLanguageModel):
            return None
        categories = item_categories(self.interactions)
        if not any(categories):
            raise DataError(
                f"{self.interactions.meta.name}: no item has a category, so there is no preference to put into words; "
                "set language.reasoning.weight to 0"
            )
        return Preferences(categories, language, writer.options)

    def _rationale_alone(self, model: DeftRec, fit: Fit, preferences: Preferences, seed: int, name: str) -> None:
        """Train the rationale alone on the main process; the other processes receive its weights."""
        plan, epochs = self._plan(None), preferences.options.alone_epochs
        plan = replace(plan, epochs=epochs, stop_after=epochs, average=0.0, accumulation=1, seconds=math.inf)
        stage = RationaleStage(model, self.split.training(fit), preferences, seed, name)

        def trained() -> dict[str, torch.Tensor]:
            self.space.train(stage, plan)
            return stored_state(stage.module)

        load_stored_state(stage.module, self.space.team.broadcast(trained))
