"""Training of the reasoner: it learns to state preferences (LoRA), then the residual on the states of its own words."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from deftrec.config import Config, ReasonerOptions
from deftrec.data import PADDING, Cases, Fit, Interactions, Sequences, Split
from deftrec.data.sequences import pad_histories
from deftrec.diffusion import NextItems, Sampling
from deftrec.ensemble import Model, members_of, own_catalogues, side_by_side
from deftrec.evaluation import mean_accuracy
from deftrec.language import Layout
from deftrec.model import ItemLatents
from deftrec.modes import evaluating
from deftrec.reasoning import (
    ItemWords,
    Reasoner,
    Reasoning,
    ReasoningStore,
    Residual,
    StoredReasoning,
    build_reasoner,
    reasoner_identity,
    statement,
)
from deftrec.retrieval import Queries, latent_ranker, seen_rules, target_ranks
from deftrec.tokenizer import ItemFeatures
from deftrec.training.loop import Plan, Stage
from deftrec.training.workspace import Workspace

STORE = "reasoning.sqlite"

STATEMENT_EPOCHS = 1
"""Passes over the examples; a statement is drawn anew in each."""

RESIDUAL_EPOCHS, RESIDUAL_PATIENCE, RESIDUAL_RATE, RESIDUAL_DECAY = 30, 6, 1e-3, 0.1
"""Passes over the pairs, validations without a better value before the end, rate and weight decay of the residual."""

WARMUP_STEPS, FINAL_RATE, CLIP = 10, 0.1, 1.0
"""Batches of linear warm-up, learning rate at the end as a share of its peak, largest norm of the gradient."""

SCALED = 64
"""Histories that the scale of the states is taken from before training."""

LATER = 6
"""Number of items after a history that its statement may tell something of."""

ROWS = 16
"""Histories of a batch of statements."""

CHUNK = 256
"""Histories whose conditions are computed at once."""


@dataclass(frozen=True, eq=False)
class Examples:
    """Histories of train, cut at random positions, and what is known of them.

    Attributes:
        histories: items before the cut, at most those that the small model reads. `N`
        later: items after the cut, the target first. `N`
    """

    histories: list[np.ndarray]
    later: list[np.ndarray]

    def __len__(self) -> int:
        return len(self.histories)

    @classmethod
    def draw(cls, sequences: Sequences, count: int, max_history: int, rng: np.random.Generator) -> "Examples":
        """`count` examples of users with two interactions or more; every user once before anyone twice."""
        users = (sequences.lengths > 1).nonzero()[0]
        rounds = -(-count // len(users))
        drawn = np.concatenate([rng.permutation(users) for _ in range(rounds)])[:count]
        histories, later = [], []
        for user in drawn:
            items = sequences[int(user)].astype(np.int64)
            cut = int(rng.integers(1, len(items)))
            histories.append(items[max(0, cut - max_history) : cut])
            later.append(items[cut : cut + LATER])
        return cls(histories, later)


@torch.no_grad()
def small_conditions(model: Model, catalogue: ItemLatents, histories: Sequence[np.ndarray], last: int) -> Tensor:
    """Condition of every member at the newest `last` items of each history, the newest at the end. `[N, last, M, d]`

    Zero before the first item of a history that is shorter.
    """
    device = catalogue.latents.device
    pairs = list(zip(members_of(model), own_catalogues(model, catalogue), strict=True))
    conditions = torch.zeros(len(histories), last, len(pairs), pairs[0][0].language.width, device=device)
    order = sorted(range(len(histories)), key=lambda n: len(histories[n]))
    sequences = Sequences.from_lists(list(histories))
    with evaluating(model):
        for start in range(0, len(order), CHUNK):
            which = order[start : start + CHUNK]
            packed = pad_histories(sequences, np.array(which), model.max_history)
            items, layout = torch.from_numpy(packed.items).to(device), Layout.of(packed)
            layout = Layout(layout.segments.to(device), layout.positions.to(device))
            lengths = (layout.segments != PADDING).sum(1)
            for m, (member, own) in enumerate(pairs):
                hidden = member.condition(own.ways, own.features, items, layout).float()
                for row, (n, length) in enumerate(zip(which, lengths.tolist(), strict=True)):
                    kept = min(last, length)
                    conditions[n, last - kept :, m] = hidden[row, length - kept : length]
    return conditions


@dataclass(frozen=True, eq=False)
class Pairs:
    """Training pairs of the residual: the small model's conditions, the reasoner's states, and the next items.

    Attributes:
        conditions: `[N, M, d]`
        states: `[N, 2 D]`
        targets: next items. `[N]` int64
        seen: (pair, item) of items in the history of a pair, other than its target, sorted by pair. `[S, 2]` int64
    """

    conditions: Tensor
    states: Tensor
    targets: Tensor
    seen: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def select(self, rows: Tensor) -> "Pairs":
        """Some pairs, `[n]` int64, in rising order."""
        place = torch.full((len(self),), PADDING, device=rows.device)
        place[rows] = torch.arange(len(rows), device=rows.device)
        seen = self.seen[place[self.seen[:, 0]] != PADDING]
        seen = torch.stack([place[seen[:, 0]], seen[:, 1]], 1)
        return Pairs(self.conditions[rows], self.states[rows], self.targets[rows], seen)


class ResidualLoss(nn.Module):
    """Mean loss over the members of the small model, which are frozen, under their conditions plus the residual."""

    def __init__(self, residual: Residual, model: Model, catalogue: ItemLatents) -> None:
        super().__init__()
        self.residual = residual
        # In a tuple: these are no parts of what is trained.
        self.small = (list(zip(members_of(model), own_catalogues(model, catalogue), strict=True)),)

    def forward(self, pairs: Pairs) -> dict[str, Tensor]:
        """`loss` and its parts, scalars."""
        conditions = pairs.conditions + self.residual(pairs.states)  # [N, M, d]
        device, [members] = pairs.targets.device, self.small
        candidates = torch.arange(len(members[0][1].latents), device=device)
        sums: dict[str, Tensor] = {}
        for m, (member, catalogue) in enumerate(members):
            items = NextItems(conditions[:, m], candidates, catalogue.latents, pairs.targets, pairs.seen, None)
            for name, value in member.diffusion.losses(items, member.objective).items():
                sums[name] = sums.get(name, torch.zeros((), device=device)) + value / len(members)
        return sums


class StatementTask(nn.Module):
    """Loss of a reasoner's statements beside that of the next items under the residual of its hidden states."""

    def __init__(self, reasoner: Reasoner, following: ResidualLoss) -> None:
        super().__init__()
        self.reasoner, self.following = reasoner, following

    def forward(self, batch: "StatementBatch") -> dict[str, Tensor]:
        """`loss` and its parts `statement` and `next item`, scalars."""
        reasoner = self.reasoner
        reading = reasoner.lay_out(batch.histories, batch.texts)
        hidden = reasoner.hidden(reading)
        written = reasoner.statement_loss(hidden, reading, batch.texts)
        rows, places = (reading.items != PADDING).nonzero(as_tuple=True)
        read = hidden[rows, reading.items[rows, places]].float()  # [N, D], in the order of the pairs
        states = torch.cat([read, self.following.residual.mean[read.shape[1] :].expand_as(read)], 1)
        following = self.following(replace(batch.pairs, states=states))["loss"]
        return {"loss": written + following, "statement": written, "next item": following}


@dataclass(frozen=True, eq=False)
class StatementBatch:
    """Histories, token ids of their statements, and the pairs at each of the items read (their states are not used)."""

    histories: list[np.ndarray]
    texts: list[list[int]]
    pairs: Pairs


def pairs_of(
    examples: Examples, which: Sequence[int], conditions: Tensor, window: int, states: Tensor | None = None
) -> Pairs:
    """The pairs at the newest `window` items of some examples, the oldest item of each first.

    Args:
        conditions: result of `small_conditions` for all examples.
        states: states of the reasoner at each pair, in this order `[N, 2 D]`; None: none.
    """
    kept, targets, seen = [], [], []
    for n in which:
        history, following = examples.histories[n], int(examples.later[n][0])
        count = min(window, len(history))
        for place in range(len(history) - count, len(history)):
            target = int(history[place + 1]) if place + 1 < len(history) else following
            before = np.unique(history[: place + 1])
            seen.append(np.stack([np.full(len(before), len(targets)), before], 1)[before != target])
            targets.append(target)
        kept.append(conditions[n, window - count :])
    joined = torch.cat(kept)
    device = joined.device
    return Pairs(
        joined,
        joined.new_zeros(len(joined), 0) if states is None else states,
        torch.tensor(targets, device=device),
        torch.from_numpy(np.concatenate(seen)).to(device),
    )


class StatementStage(Stage):
    """Statements of histories of train, drawn anew in words every epoch, and the next items beside them."""

    name = "statements"

    def __init__(
        self, task: StatementTask, examples: Examples, words: ItemWords, conditions: Tensor, seed: int
    ) -> None:
        self.module, self.examples, self.words, self.conditions, self.seed = task, examples, words, conditions, seed

    def epoch(self, number: int) -> tuple[int, Iterator[StatementBatch]]:
        """See `Stage.epoch`."""
        rng = np.random.default_rng([self.seed, number])
        reasoner, examples = self.module.reasoner, self.examples
        window = reasoner.history
        alike = np.argsort([len(history[-window:]) for history in examples.histories], kind="stable")
        parts = np.array_split(alike, max(1, -(-len(alike) // ROWS)))

        def build(part: np.ndarray) -> StatementBatch:
            histories = [examples.histories[n] for n in part]
            later = [examples.later[n] for n in part]
            facts = [
                self.words.facts(history[-window:].tolist(), after.tolist())
                for history, after in zip(histories, later, strict=True)
            ]
            texts = [reasoner.spelled(statement(one, rng)) for one in facts]
            return StatementBatch(histories, texts, pairs_of(examples, part.tolist(), self.conditions, window))

        return len(parts), (build(parts[n]) for n in rng.permutation(len(parts)))

    def validate(self) -> dict[str, float]:
        """No metrics: the stage runs for a fixed number of passes."""
        return {}


class ResidualStage(Stage):
    """The residual alone, on states computed once; `validate` measures the next items of `cases` by the latent score."""

    name = "residual"
    dense = False

    def __init__(
        self,
        loss: ResidualLoss,
        pairs: Pairs,
        model: Model,
        catalogue: ItemLatents,
        cases: Cases,
        conditions: Tensor,
        states: Tensor,
        config: Config,
    ) -> None:
        self.module, self.pairs, self.model, self.catalogue = loss, pairs, model, catalogue
        self.cases, self.conditions, self.states, self.config = cases, conditions, states, config

    def epoch(self, number: int) -> tuple[int, Iterator[Pairs]]:
        """See `Stage.epoch`."""
        rng = np.random.default_rng([self.config.seed, number])
        order = rng.permutation(len(self.pairs))
        parts = np.array_split(order, max(1, len(order) // 512))
        device = self.pairs.targets.device
        return len(parts), (self.pairs.select(torch.from_numpy(np.sort(part)).to(device)) for part in parts)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """See `Stage.validate`."""
        residuals = self.module.residual(self.states)
        sampling = Sampling.of(self.config.diffusion)
        parts = []
        with evaluating(self.model):
            for m, member in enumerate(members_of(self.model)):
                generator = torch.Generator(residuals.device).manual_seed(self.config.seed)
                condition = self.conditions[:, m] + residuals[:, m]
                parts.append(member.diffusion.generate(condition, sampling, generator).x0)
        queries = Queries(self.cases.histories, parts[0] if len(parts) == 1 else side_by_side(parts))
        ranker = latent_ranker(self.catalogue, self.config)
        return mean_accuracy(target_ranks(ranker, queries, self.cases, seen_rules(not self.config.repeats)))


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

    def train(self, features: ItemFeatures, model: Model, catalogue: ItemLatents) -> StoredReasoning:
        """The reasoner with its residual, and a store with its statements of the validation histories."""
        options, space, seed = self.options, self.space, self.config.seed
        torch.manual_seed(seed)
        reasoner = build_reasoner(features, self.config.tokenizer, options, self.interactions).to(self.device)
        first = members_of(model)[0]
        residual = Residual(2 * reasoner.language.width, len(members_of(model)), first.language.width).to(self.device)
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        loss = ResidualLoss(residual, model, catalogue)
        training, rng = self.split.training("train"), np.random.default_rng(seed)
        examples = Examples.draw(training, options.examples, model.max_history, rng)
        conditions = small_conditions(model, catalogue, examples.histories, reasoner.history)
        residual.standardise(self._untrained_states(reasoner, examples))
        words = ItemWords.of(self.interactions)
        stage = StatementStage(StatementTask(reasoner, loss), examples, words, conditions, seed)
        plan = Plan(
            epochs=STATEMENT_EPOCHS,
            stop_after=STATEMENT_EPOCHS,
            learning_rate=options.learning_rate,
            patience=STATEMENT_EPOCHS,
            dtype=self.dtype,
            warmup_steps=WARMUP_STEPS,
            final_rate=FINAL_RATE,
            clip=CLIP,
            checkpoint_seconds=self.config.training.checkpoint_seconds,
        )
        space.train(stage, plan)
        reasoner.eval()
        identity = reasoner_identity(reasoner, options)
        store = ReasoningStore(None if space.folder is None else space.folder / STORE, identity)
        stored = StoredReasoning(reasoner, residual, store, reasoner.history)
        self.fit_residual(stored, loss, model, catalogue, "train")
        return stored

    def fit_residual(
        self, stored: StoredReasoning, loss: ResidualLoss, model: Model, catalogue: ItemLatents, fit: Fit
    ) -> None:
        """Fit the residual on states of histories that the reasoner reads now; validation keeps it or leaves it zero."""
        options, config, space = self.options, self.config, self.space
        residual, reasoner = stored.residual, stored.reasoner
        rng = np.random.default_rng([config.seed, 1])
        examples = Examples.draw(self.split.training(fit), options.users, model.max_history, rng)
        cases = self.validation.head(options.users)
        space.progress.begin("reasoning", len(examples) + len(cases))
        advance = partial(space.progress.advance, "reasoning")
        read = reasoner.reason(examples.histories, advance)
        asked = stored.reason(list(cases.histories), advance)
        space.progress.end("reasoning")
        residual.standardise(read.states)
        nn.init.zeros_(residual.linear.weight)
        conditions = small_conditions(model, catalogue, examples.histories, reasoner.history)
        states = _states_of_pairs(read, residual)
        pairs = pairs_of(examples, range(len(examples)), conditions, reasoner.history, states)
        ends = small_conditions(model, catalogue, list(cases.histories), 1)[:, 0]
        stage = ResidualStage(loss, pairs, model, catalogue, cases, ends, asked.states, config)
        before = stage.validate()["ndcg@10"]
        plan = Plan(
            epochs=RESIDUAL_EPOCHS,
            learning_rate=RESIDUAL_RATE,
            patience=RESIDUAL_PATIENCE,
            dtype=torch.float32,
            weight_decay=RESIDUAL_DECAY,
            warmup_steps=WARMUP_STEPS,
            checkpoint_seconds=config.training.checkpoint_seconds,
        )
        trained = space.train(stage, plan)
        if trained.best_value <= before:
            nn.init.zeros_(residual.linear.weight)

    @torch.no_grad()
    def _untrained_states(self, reasoner: Reasoner, examples: Examples) -> Tensor:
        """States of some histories before training, without statements: their scale is what is wanted."""
        with evaluating(reasoner):
            reading = reasoner.lay_out(examples.histories[:SCALED])
            hidden = reasoner.hidden(reading).float()
        rows, places = (reading.items != PADDING).nonzero(as_tuple=True)
        read = hidden[rows, reading.items[rows, places]]
        return torch.cat([read, read], 1)


def _states_of_pairs(read: Reasoning, residual: Residual) -> Tensor:
    """States at every item of histories: the mean statement before the newest item, which has the history's own."""
    assert read.items is not None, "the states were computed now"
    N, L, D = read.items.shape
    states = torch.cat([read.items, residual.mean[D:].expand(N, L, D)], -1)
    states[:, -1] = read.states
    present = read.items.abs().sum(-1) > 0  # [N, L]
    return states[present]
