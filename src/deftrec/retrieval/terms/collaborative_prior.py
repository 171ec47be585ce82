"""A linear collaborative model added to the score: co-occurrence, sequence or graph, as validation prefers."""

import itertools
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any, ClassVar, Literal, Self, TypeAlias

import torch
from torch import Tensor

from deftrec.data import Sequences
from deftrec.data.sequences import CONTEXT
from deftrec.progress import Progress
from deftrec.retrieval.choose import Validation, ndcg_by_variant, one_standard_error_rule, record_of
from deftrec.retrieval.exact import history_cells
from deftrec.retrieval.linear import CPU, LinearPrior, Method, ease, graph, slit
from deftrec.retrieval.queries import Queries
from deftrec.retrieval.ranker import Ranker
from deftrec.retrieval.terms.base import ExtendedCatalogue, ScoreTerm

Kind: TypeAlias = Literal["ease", "slit", "graph"]

KEYS = ("kind", "regularisation", "recency")  # settings that every record has
NEIGHBOURS = 512  # largest weights kept for each item
EASE_REGULARISATION = (50.0, 300.0)
SLIT_REGULARISATION = (100.0, 1000.0)  # ridge penalties tried on validation
RECENCY = (0.0, 0.25, 0.5, 1.0)  # values of p in (1 + age)^-p tried on validation, for EASE and the graph
SLIT_RECENCY = (0.5,)  # the value of p with which SLIT is fitted and used
WEIGHTS = (0.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0)  # weights of the term tried on validation


@dataclass(frozen=True)
class PriorSettings:
    """How a linear model is fitted and used.

    Attributes:
        kind: `ease`, `slit` or `graph`.
        regularisation: ridge penalty lambda; 0 for `graph`, which has none.
        recency: p of (1 + age)^-p, the weight of a history item of that age.
        context: whether interactions that are read alone, such as views, are read too.
    """

    kind: Kind
    regularisation: float
    recency: float
    context: bool = True

    def read(self, sequences: Sequences) -> Sequences:
        """The interactions that the model reads: none of those that show a dislike."""
        return sequences.liked() if self.context else sequences.targets()

    def fit(self, training: Sequences, n_items: int, max_items: int, device: torch.device = CPU) -> LinearPrior:
        """Fit the model; dense matrices are computed on `device`, the result is on the CPU."""
        methods: dict[Kind, Method] = {
            "ease": partial(ease, regularisation=self.regularisation),
            "slit": partial(slit, regularisation=self.regularisation, recency=self.recency),
            "graph": graph,
        }
        return LinearPrior.fit(methods[self.kind], self.read(training), n_items, NEIGHBOURS, max_items, device)


@dataclass(frozen=True, eq=False)
class CollaborativePrior(ScoreTerm):
    """weight x sum_h (1 + age_h)^-p B_hi over the items h of the history.

    A linear model knows co-occurrence, not whether a user comes back to an item. Where items of the history are
    candidates (`repeats`), it therefore redistributes the probability that the terms before it give to the other items
    among these, and items of the history keep theirs:

        s'_i = s_i                                                               for i in the history
        s'_i = s_i + w p_i + log sum_j exp s_j - log sum_j exp (s_j + w p_j)     for the others, j over all of them

    Attributes:
        linear: the fitted model.
        chosen: settings of the fit.
        weight: w.
        max_items: largest number of items that take part.
        repeats: whether items of the history are candidates that people come back to.
        record: validation NDCG@10 with the term (`ndcg`) and without (`ndcg_without`), if it was chosen.
    """

    name: ClassVar[str] = "collaborative_prior"

    linear: LinearPrior
    chosen: PriorSettings
    weight: float
    max_items: int
    repeats: bool
    record: dict[str, float] = field(default_factory=dict)

    @classmethod
    def fit(
        cls,
        ranker: Ranker,
        validation: Validation,
        kinds: Literal["any", "ease", "slit", "graph"],
        max_items: int,
        repeats: bool,
        progress: Progress,
    ) -> Self:
        """Choose the best settings on validation, and their weight by `one_standard_error_rule`, on top of `ranker`."""
        device, training, n_items = validation.queries.latents.device, validation.training, ranker.n_items
        fits, task = list(candidates(kinds, training)), "collaborative prior"
        progress.begin(task, len(fits))
        values: dict[tuple[PriorSettings, float], Tensor] = {}
        for group in fits:
            linear = group[0].fit(training, n_items, max_items, device)

            def variants(
                scores: Tensor, queries: Queries, group: list[PriorSettings] = group, linear: LinearPrior = linear
            ) -> Iterator[tuple[tuple[PriorSettings, float], Tensor]]:
                for settings in group:
                    prior = linear.scores(settings.read(queries.histories), settings.recency).to(device)
                    for weight in WEIGHTS:
                        moved = redistributed(scores, prior, weight, queries.histories) if repeats else weight * prior
                        yield (settings, weight), scores + moved

            values |= ndcg_by_variant(ranker, validation, variants)
            progress.advance(task)
        progress.end(task)
        settings, _ = max(values, key=lambda variant: float(values[variant].mean()))
        by_weight = {weight: values[settings, weight] for weight in WEIGHTS}
        weight = one_standard_error_rule(by_weight, size=abs)
        record = record_of(by_weight, weight, 0.0)
        linear = settings.fit(training, n_items, max_items, device) if weight else LinearPrior.empty(n_items)
        return cls(linear, settings, weight, max_items, repeats, record)

    @property
    def reads_total(self) -> bool:  # type: ignore[override]
        """See `ScoreTerm`: true where items of the history are candidates."""
        return self.repeats

    def scores(self, queries: Queries, total: Tensor | None = None) -> Tensor:
        """See `ScoreTerm.scores`; without a `total` nothing is redistributed."""
        read = self.chosen.read(queries.histories)
        prior = self.linear.scores(read, self.chosen.recency).to(queries.latents.device)
        if self.repeats and total is not None:
            return redistributed(total, prior, self.weight, queries.histories)
        return prior.mul_(self.weight)

    def refitted(self, training: Sequences, device: torch.device) -> "CollaborativePrior":
        """See `ScoreTerm.refitted`."""
        return replace(self, linear=self.chosen.fit(training, self.linear.n_items, self.max_items, device))

    def extended(self, catalogue: ExtendedCatalogue) -> "CollaborativePrior":
        """See `ScoreTerm.extended`."""
        return replace(self, linear=self.linear.with_items(catalogue.latents))

    def without_items(self, items: Tensor) -> "CollaborativePrior":
        """The term without the weights that `items` `[n]` give to others."""
        return replace(self, linear=self.linear.without_items(items))

    def settings(self) -> dict[str, Any]:
        """See `ScoreTerm.settings`."""
        rest = {"weight": self.weight, "max_items": self.max_items, "repeats": self.repeats, "record": self.record}
        return {**asdict(self.chosen), **rest, "n_items": self.linear.n_items}

    def state_dict(self) -> dict[str, Tensor]:
        """See `ScoreTerm.state_dict`."""
        return {"items": self.linear.items, "neighbours": self.linear.neighbours, "weights": self.linear.weights}

    @classmethod
    def from_state(cls, settings: dict[str, Any], tensors: dict[str, Tensor]) -> Self:
        """See `ScoreTerm.from_state`."""
        chosen = PriorSettings(**{name: settings[name] for name in (*KEYS, "context") if name in settings})
        rest = (settings[name] for name in ("weight", "max_items", "repeats", "record"))
        return cls(LinearPrior(settings["n_items"], **tensors), chosen, *rest)


def redistributed(scores: Tensor, prior: Tensor, weight: float, histories: Sequences) -> Tensor:
    """Contribution `[N, I]` of a prior that keeps the probability of repeated items; see `CollaborativePrior`.

    Args:
        scores: sum of the terms before the prior. `[N, I]`
        prior: scores of the linear model. `[N, I]`
    """
    cells = history_cells(scores, histories)
    others = scores.clone()
    others[cells] = float("-inf")
    moved = others.add(prior, alpha=weight)
    level = others.logsumexp(1, keepdim=True) - moved.logsumexp(1, keepdim=True)
    contribution = level + weight * prior
    contribution[cells] = 0.0
    return contribution


def candidates(kinds: str, training: Sequences) -> Iterator[list[PriorSettings]]:
    """Settings to try, in groups that one fit serves; without the context too, where training has some."""
    yield from _with_context(kinds)
    if training.roles is not None and (training.roles == CONTEXT).any():
        yield from ([replace(one, context=False) for one in group] for group in _with_context(kinds))


def _with_context(kinds: str) -> Iterator[list[PriorSettings]]:
    """Settings that read everything; SLIT alone is fitted with the recency it is used with."""
    if kinds in {"any", "graph"}:
        yield [PriorSettings("graph", 0.0, recency) for recency in RECENCY]
    if kinds in {"any", "ease"}:
        for regularisation in EASE_REGULARISATION:
            yield [PriorSettings("ease", regularisation, recency) for recency in RECENCY]
    if kinds in {"any", "slit"}:
        for regularisation, recency in itertools.product(SLIT_REGULARISATION, SLIT_RECENCY):
            yield [PriorSettings("slit", regularisation, recency)]
