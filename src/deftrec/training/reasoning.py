"""Training of the reasoner: it learns to state preferences (LoRA), then the residual on the states of its own words."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from deftrec.config import Config, ReasonerOptions
from deftrec.data import Cases, Fit, Interactions, Sequences, Split
from deftrec.diffusion import NextItems, Sampling
from deftrec.ensemble import Model, members_of, own_catalogues, side_by_side
from deftrec.evaluation.metrics import accuracy
from deftrec.model import ItemLatents
from deftrec.modes import evaluating, frozen
from deftrec.pretrained_files.origin import origin_of
from deftrec.reasoning import (
    Reasoner,
    ReasoningStore,
    Residual,
    Standardised,
    StoredReasoning,
    build_reasoner,
    reasoner_identity,
    statement,
)
from deftrec.retrieval import Queries, latent_ranker, seen_rules, target_ranks
from deftrec.run import STORE, ReasonerInfo
from deftrec.training.checkpoint import TrainingState
from deftrec.training.loop import Plan, Stage
from deftrec.training.pairs import Pairs, pairs_of, places_of, small_conditions
from deftrec.training.workspace import Workspace

STATEMENT_EPOCHS, STATEMENT_RATE = 1, 4e-3
"""Passes over the examples, in each of which a statement is drawn anew, and peak learning rate of the adapters."""

READ_USERS = 1024
"""Largest number of users of validation whose histories are read in training."""

RESIDUAL_EPOCHS, RESIDUAL_PATIENCE, RESIDUAL_RATE, RESIDUAL_DECAY = 30, 6, 3e-4, 0.1
"""Passes over the pairs, validations without a better value before the end, rate and weight decay of a residual."""

WARMUP_STEPS, FINAL_RATE, CLIP = 5, 0.1, 1.0
"""Batches of linear warm-up, learning rate at the end as a share of its peak, largest norm of the gradient."""

FEWEST_PAIRS = 2
"""Training pairs below which a residual stays at zero: their spread is not known."""

LATER = 6
"""Number of items after a history that its statement may tell something of."""

ROWS, PAIRS = 16, 512
"""Histories of a batch of statements, and pairs of a batch of the residual."""


class StatementTask(nn.Module):
    """Language-modelling loss of a reasoner's statements."""

    def __init__(self, reasoner: Reasoner) -> None:
        super().__init__()
        self.reasoner = reasoner

    def forward(self, batch: "StatementBatch") -> dict[str, Tensor]:
        """`loss`, scalar: mean cross-entropy per token."""
        reading = self.reasoner.lay_out(batch.histories, batch.texts)
        return {"loss": self.reasoner.statement_loss(self.reasoner.hidden(reading), reading, batch.texts)}


@dataclass(frozen=True, eq=False)
class StatementBatch:
    """Histories (item numbers, oldest first), and token ids of their statements."""

    histories: list[np.ndarray]
    texts: list[list[int]]


class StatementStage(Stage):
    """Statements of histories of train, cut at random positions; every user once before anyone twice.

    Args:
        reasoner: reasoner that learns to write them.
        sequences: interactions of train, with two items or more of one user at least.
        examples: number of histories.
        seed: seed of the histories and of the sentences.
    """

    name = "statements"

    def __init__(self, reasoner: Reasoner, sequences: Sequences, examples: int, seed: int) -> None:
        self.module, self.reasoner, self.seed = StatementTask(reasoner), reasoner, seed
        rng = np.random.default_rng(seed)
        users = (sequences.lengths > 1).nonzero()[0]
        drawn = np.concatenate([rng.permutation(users) for _ in range(-(-examples // len(users)))])[:examples]
        cuts = rng.integers(1, sequences.lengths[drawn])
        pairs = [(sequences[int(user)].astype(np.int64), int(cut)) for user, cut in zip(drawn, cuts, strict=True)]
        self.histories = [items[max(0, cut - reasoner.history) : cut] for items, cut in pairs]
        self.later = [items[cut : cut + LATER] for items, cut in pairs]

    def epoch(self, number: int) -> tuple[int, Iterator[StatementBatch]]:
        """See `Stage.epoch`."""
        rng = np.random.default_rng([self.seed, number])
        alike = np.argsort([len(history) for history in self.histories], kind="stable")
        parts = np.array_split(alike, max(1, -(-len(alike) // ROWS)))

        def build(part: np.ndarray) -> StatementBatch:
            facts = [self.reasoner.words.facts(self.histories[n].tolist(), self.later[n].tolist()) for n in part]
            texts = [self.reasoner.spelled(statement(one, rng)) for one in facts]
            return StatementBatch([self.histories[n] for n in part], texts)

        return len(parts), (build(parts[n]) for n in rng.permutation(len(parts)))

    def validate(self) -> dict[str, float]:
        """No metrics: the stage runs for a fixed number of passes."""
        return {}


class ResidualLoss(nn.Module):
    """Mean loss over the members of the small model, which are frozen, under their conditions plus the residual."""

    def __init__(self, residual: Residual, model: Model, catalogue: ItemLatents) -> None:
        super().__init__()
        self.residual = residual
        # In a tuple: these are no parts of what is trained.
        self.small = (list(zip(members_of(model), own_catalogues(model, catalogue), strict=True)),)

    def forward(self, pairs: Pairs) -> dict[str, Tensor]:
        """`loss` and its parts, scalars."""
        conditions = pairs.conditions + self.residual(pairs.states, pairs.content)  # [N, M, d]
        device, [members] = pairs.targets.device, self.small
        candidates = torch.arange(len(members[0][1].latents), device=device)
        sums: dict[str, Tensor] = {}
        for m, (member, catalogue) in enumerate(members):
            items = NextItems(conditions[:, m], candidates, catalogue.latents, pairs.targets, pairs.seen, None)
            for name, value in member.diffusion.losses(items, member.objective).items():
                sums[name] = sums.get(name, torch.zeros((), device=device)) + value / len(members)
        return sums


class ResidualStage(Stage):
    """One part of a residual, on states computed once; `validate` measures the latent score on `cases`.

    Args:
        name: name of the stage.
        loss: loss of the residual, of which `part` is trained.
        pairs: pairs of train.
        cases: validation cases, with their conditions, states and content in `asked`.
        config: seed, sampling, and the treatment of seen items.
    """

    dense = False

    def __init__(
        self,
        name: str,
        loss: ResidualLoss,
        part: nn.Module,
        pairs: Pairs,
        cases: Cases,
        asked: Pairs,
        catalogue: ItemLatents,
        config: Config,
    ) -> None:
        self.name, self.module, self.loss, self.pairs = name, loss, loss, pairs
        self.cases, self.asked, self.catalogue, self.config = cases, asked, catalogue, config
        loss.requires_grad_(False)
        part.requires_grad_(True)

    def epoch(self, number: int) -> tuple[int, Iterator[Pairs]]:
        """See `Stage.epoch`."""
        order = np.random.default_rng([self.config.seed, number]).permutation(len(self.pairs))
        parts = np.array_split(order, max(1, len(order) // PAIRS))
        device = self.pairs.targets.device
        return len(parts), (self.pairs.select(torch.from_numpy(np.sort(part)).to(device)) for part in parts)

    @torch.no_grad()
    def values(self) -> Tensor:
        """NDCG@10 of every validation case by the latent score. `[N]`"""
        [members], asked, parts = self.loss.small, self.asked, []
        conditions = asked.conditions + self.loss.residual(asked.states, asked.content)
        for m, (member, _) in enumerate(members):
            generator = torch.Generator(conditions.device).manual_seed(self.config.seed)
            with evaluating(member):
                sample = member.diffusion.generate(conditions[:, m], Sampling.of(self.config.diffusion), generator)
            parts.append(sample.x0)
        queries = Queries(self.cases.histories, side_by_side(parts))
        rules = seen_rules(not self.config.repeats)
        return accuracy(target_ranks(latent_ranker(self.catalogue, self.config), queries, self.cases, rules))["ndcg@10"]

    def validate(self) -> dict[str, float]:
        """See `Stage.validate`."""
        return {"ndcg@10": float(self.values().mean())}


@dataclass(frozen=True, eq=False)
class Reasoned:
    """A trained reasoner behind its store, its record, and its stages by name."""

    reasoning: StoredReasoning
    info: ReasonerInfo
    stages: dict[str, TrainingState]


@dataclass(frozen=True, eq=False)
class ReasonerTraining:
    """Trains a reasoner beside a trained small model, and the residual that adds its states to the model's conditions.

    The small model stays as it is, and so does its accuracy where validation chooses no residual.
    """

    interactions: Interactions
    split: Split
    config: Config
    validation: Cases
    device: torch.device
    dtype: torch.dtype
    space: Workspace

    @property
    def options(self) -> ReasonerOptions:
        """The reasoner's options."""
        assert self.config.reasoner is not None, "there is a reasoner"
        return self.config.reasoner

    def train(self, model: Model, catalogue: ItemLatents) -> Reasoned:
        """The reasoner with its residual."""
        options, space, seed = self.options, self.space, self.config.seed
        torch.manual_seed(seed)
        base = origin_of(options.language)
        assert base is not None, "a reasoner is a pre-trained model"
        first = members_of(model)[0]
        features, block = first.features.values.detach(), first.item_tokenizer.masking.block
        reasoner = build_reasoner(features, block, self.config.tokenizer, options, self.interactions)
        reasoner, training = reasoner.to(self.device), self.split.training("train")
        stage = StatementStage(reasoner, training, options.examples, seed)
        plan = Plan(
            epochs=STATEMENT_EPOCHS,
            stop_after=STATEMENT_EPOCHS,
            learning_rate=STATEMENT_RATE,
            patience=STATEMENT_EPOCHS,
            dtype=self.dtype,
            warmup_steps=WARMUP_STEPS,
            final_rate=FINAL_RATE,
            clip=CLIP,
            checkpoint_seconds=self.config.training.checkpoint_seconds,
        )
        stages = {"statements": space.train(stage, plan)}
        identity = reasoner_identity(reasoner.eval(), options)
        store = ReasoningStore(None if space.folder is None else space.folder.parent / STORE, identity)
        stored = StoredReasoning(reasoner, self._residual(reasoner, model), store, options.history)
        fitted, values = self._fit_residual(stored, model, catalogue, "train", {})
        info = ReasonerInfo(base=base, identity=identity, validation=values)
        return Reasoned(stored, info, stages | fitted)

    def refit(self, reasoned: Reasoned, model: Model, catalogue: ItemLatents) -> StoredReasoning:
        """The same reasoner with a residual for the refitted small model, for as many passes as validation chose."""
        before = reasoned.reasoning
        residual = self._residual(before.reasoner, model)
        stored = StoredReasoning(before.reasoner, residual, before.store, before.history)
        used = {"residual": before.residual.history.is_used, "statement residual": before.residual.statement.is_used}
        if any(used.values()):
            chosen = {name: reasoned.stages[name] for name, wanted in used.items() if wanted}
            self._fit_residual(stored, model, catalogue, "train+validation", chosen)
        return stored

    def _residual(self, reasoner: Reasoner, model: Model) -> Residual:
        members = members_of(model)
        return Residual(reasoner.language.width, len(members), members[0].language.width).to(self.device)

    def _fit_residual(
        self,
        stored: StoredReasoning,
        model: Model,
        catalogue: ItemLatents,
        fit: Fit,
        chosen: dict[str, TrainingState],
    ) -> tuple[dict[str, TrainingState], dict[str, float]]:
        """Fit both parts of the residual, of the states and then of the statements; validation keeps what helps.

        Half of the users stop the training. A part is kept if the other half's gain exceeds its standard error, as for
        the terms of the score; that of the statements, which has fewer users, twice its standard error.

        Every history before a validation target is read once. A state knows only the items up to its own, so this
        gives the states of train too.

        Args:
            stored: the reasoner, whose residual is fitted in place and whose store is filled.
            fit: part of the data whose items are targets.
            chosen: stages of a fit on train, whose epochs a refit repeats; empty: validation chooses.

        Returns:
            States of the trainings by name, and NDCG@10 on validation: without a residual, and after each stage.
        """
        options, config, residual, window = self.options, self.config, stored.residual, stored.history
        cases, prefix = self.validation.head(READ_USERS), "refit-" if chosen else ""
        read = [  # with the target
            np.append(history, target).astype(np.int64)[-1 - max(model.max_history, window) :]
            for history, target in zip(cases.histories, cases.targets, strict=True)
        ]
        histories = [one[:-1] for one in read]
        states = self._states(stored, histories, f"{prefix}reading")
        conditions = small_conditions(model, catalogue, histories, window)
        ends = self.split.training(fit).lengths[cases.users] - cases.histories.lengths - 1 + [len(one) for one in read]
        places = places_of(read, ends, min(window, model.max_history))
        if len(places) < FEWEST_PAIRS:
            self.space.progress.say(f"{len(places)} training pairs are too few for a residual, which stays at zero")
            return {}, {}
        residual.history.fit_scale(states[states.abs().sum(-1) > 0])
        pairs = pairs_of(read, places, conditions, states)
        asked = pairs_of(read, [(n, len(one) - 2) for n, one in enumerate(read)], conditions, states)
        loss = ResidualLoss(residual, model, catalogue)
        trained: dict[str, TrainingState] = {}
        values: dict[str, float] = {}

        def train(name: str, part: Standardised, pairs: Pairs, cases: Cases, asked: Pairs, margin: float) -> None:
            halves = torch.arange(len(cases)), torch.arange(len(cases))
            if len(cases) > 1:  # users who stop the training, and others who decide on its result
                halves = halves[0][::2], halves[1][1::2]
            stage, decision = (
                ResidualStage(
                    f"{prefix}{name}",
                    loss,
                    part,
                    pairs,
                    cases.select(rows.numpy()),
                    asked.select(rows),
                    catalogue,
                    config,
                )
                for rows in halves
            )
            before = decision.values()
            values.setdefault("none", float(before.mean()))
            with frozen(model):
                trained[name] = self.space.train(stage, self._plan(chosen.get(name)))
            gain = decision.values() - before
            error = float(gain.std() / len(gain) ** 0.5) if len(gain) > 1 else 0.0
            if not chosen and float(gain.mean()) <= margin * error:
                part.zero()
            values[name] = float(decision.values().mean())

        if not chosen or "residual" in chosen:
            train("residual", residual.history, pairs, cases, asked, 1.0)
        if options.spoken and (not chosen or "statement residual" in chosen):
            # Statements cost a hundred times the state: they are kept where they help beyond their noise.
            last = [place for place in dict(places).items() if place[0] < options.spoken]
            some = cases.head(options.spoken)
            if len(last) < FEWEST_PAIRS:
                return trained, values
            own = self._with_content(stored, read, last, pairs_of(read, last, conditions, states), prefix)
            ends_of_some = [(n, len(read[n]) - 2) for n in range(len(some))]
            asked = pairs_of(read, ends_of_some, conditions, states)
            asked = self._with_content(stored, read, ends_of_some, asked, prefix)
            assert own.content is not None, "statements were made"
            residual.statement.fit_scale(own.content)
            train("statement residual", residual.statement, own, some, asked, 2.0)
        return trained, values

    def _plan(self, chosen: TrainingState | None) -> Plan:
        return Plan(
            epochs=RESIDUAL_EPOCHS,
            stop_after=None if chosen is None else chosen.best_epoch,
            learning_rate=RESIDUAL_RATE,
            patience=RESIDUAL_PATIENCE,
            dtype=torch.float32,
            weight_decay=RESIDUAL_DECAY,
            warmup_steps=WARMUP_STEPS,
            checkpoint_seconds=self.config.training.checkpoint_seconds,
        )

    def _states(self, stored: StoredReasoning, histories: list[np.ndarray], task: str) -> Tensor:
        """States at the newest items of histories, the last of which go into the store. `[N, window, D]`"""
        progress = self.space.progress
        progress.begin(task, len(histories))
        with evaluating(stored.reasoner):
            states = stored.reasoner.read(histories, partial(progress.advance, task))
        progress.end(task)
        stored.store.put_states([one[-stored.history :] for one in histories], states[:, -1])
        return states

    def _with_content(
        self, stored: StoredReasoning, read: list[np.ndarray], places: list[tuple[int, int]], pairs: Pairs, prefix: str
    ) -> Pairs:
        """The pairs at these places with the content of the statements made there."""
        progress, task = self.space.progress, f"{prefix}speaking"
        progress.begin(task, len(places))
        made = stored.statements([read[n][: place + 1] for n, place in places], partial(progress.advance, task))
        progress.end(task)
        return replace(pairs, content=made.content)
