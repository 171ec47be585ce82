"""The retrieval score: a sum of terms, then rules, then the best k."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, TypeVar

import torch
from torch import Tensor

from deftrec.data import Cases, Sequences
from deftrec.errors import ConfigError
from deftrec.evaluation import TargetRanks, ranks_from_scores
from deftrec.retrieval.exact import Found, row_chunks, top
from deftrec.retrieval.lists import make_lists
from deftrec.retrieval.queries import Queries
from deftrec.retrieval.rerank import Reranker
from deftrec.retrieval.rules import Rule
from deftrec.retrieval.terms.base import ExtendedCatalogue, ScoreTerm
from deftrec.retrieval.terms.latent import LatentSimilarity
from deftrec.retrieval.terms.request import RequestTerm
from deftrec.tensors import joined

ScorePart: TypeAlias = Literal["hybrid", "latent", "collaborative_prior"]
"""The whole score, or the latent similarity or the collaborative prior alone."""

PARTS: dict[ScorePart, tuple[str, ...]] = {
    "latent": ("latent", "cold_start_bonus", "repeat_bias"),
    "collaborative_prior": ("collaborative_prior",),
}
"""Terms that make up a part."""

T = TypeVar("T", bound=ScoreTerm)


@dataclass(frozen=True, eq=False)
class Ranker:
    """Ranks a catalogue of `n_items` for queries: a sum of terms, then rules, then a re-ranker.

    `rules` hold for every request; a request may bring more, and a re-ranker of its own.
    """

    n_items: int
    terms: tuple[ScoreTerm, ...]
    rules: tuple[Rule, ...] = ()
    reranker: Reranker | None = None

    # -- composing ---------------------------------------------------------------------------------------------

    def with_term(self, term: ScoreTerm) -> "Ranker":
        """The same ranker with one more term behind the others; a `ConfigError` for a name that it has."""
        if self.term(term.name) is not None:
            raise ConfigError(f"the score has a term {term.name!r} already; give the new one another name")
        return replace(self, terms=(*self.terms, term))

    def with_rules(self, *rules: Rule) -> "Ranker":
        """The same ranker with more rules that hold for every request."""
        return replace(self, rules=(*self.rules, *rules))

    def only(self, names: Collection[str]) -> "Ranker":
        """The ranker with the terms `names` alone."""
        return replace(self, terms=tuple(term for term in self.terms if term.name in names))

    def without(self, *names: str) -> "Ranker":
        """The ranker without the terms `names`."""
        return self.only({term.name for term in self.terms} - {*names})

    def part(self, part: ScorePart) -> "Ranker":
        """The ranker of one part of the score; a `ConfigError` if it has no collaborative prior."""
        if part == "hybrid":
            return self
        if part not in PARTS:
            raise ConfigError(f"the score has no part {part!r}; its parts are hybrid (all terms), {', '.join(PARTS)}")
        if part == "collaborative_prior" and self.term(part) is None:
            raise ConfigError("this run has no collaborative prior: validation chose none, or none was requested")
        return self.only(PARTS[part])

    def term(self, name: str) -> ScoreTerm | None:
        """The term of a name; None where the score has none."""
        return next((term for term in self.terms if term.name == name), None)

    def term_of(self, kind: type[T]) -> T | None:
        """The term of a class; None where the score has none."""
        return next((term for term in self.terms if isinstance(term, kind)), None)

    def with_requests(self, term: RequestTerm) -> "Ranker":
        """The ranker with a request term, in place of one that it has."""
        return self.without(term.name).with_term(term)

    @property
    def latent(self) -> LatentSimilarity:
        """The latent similarity, which every ranker of a model has."""
        term = self.term_of(LatentSimilarity)
        assert term is not None, "a ranker of a model compares latents"
        return term

    # -- scoring -----------------------------------------------------------------------------------------------

    def scores(self, queries: Queries) -> Tensor:
        """Scores of every item, before the rules. `[N, I]`"""
        terms = [term for term in self.terms if term.applies(queries)]
        total = torch.zeros(len(queries), self.n_items, device=queries.latents.device) if not terms else None
        for term in terms:
            scores = term.scores(queries, total)
            if total is None:
                total = scores if scores.ndim == 2 else scores.expand(len(queries), -1).clone()
            else:
                total += scores
        assert total is not None
        return total

    def chunks(self, queries: Queries, rules: Sequence[Rule] = ()) -> Iterator[tuple[slice, Tensor]]:
        """Scores of every item for one slice of the queries after the other; excluded items have `-inf`."""
        for rows in row_chunks(len(queries), self.n_items):
            part = queries.select(rows)
            scores = self.scores(part)
            for rule in (*self.rules, *rules):
                rule.apply(scores, part.histories)
            yield rows, scores

    def search(self, queries: Queries, k: int, rules: Sequence[Rule] = (), reranker: Reranker | None = None) -> Found:
        """The best `k` items of every query, exact, in chunks of queries. `Found` of N x min(k, I)"""
        chosen = self.reranker if reranker is None else reranker
        lists = []
        for rows in row_chunks(len(queries), self.n_items):
            part = queries.select(rows)
            lists.append(make_lists(self.scores(part), part.histories, k, (*self.rules, *rules), chosen))
        return joined(lists)

    def shares(self, queries: Queries, items: Tensor) -> dict[str, Tensor]:
        """Share of each explained term in the lift of `items` `[n]` for one query: by term name, `[n]`, from 0 to 1.

        A term's lift is its contribution to the item less its mean over the catalogue; negative lifts count as 0.
        """
        lifts: dict[str, Tensor] = {}
        total: Tensor | None = None
        for term in (one for one in self.terms if one.applies(queries)):
            scores = term.scores(queries, total)
            scores = scores if scores.ndim == 2 else scores[None]
            total = scores if total is None else total + scores
            if term.explained:
                lifts[term.name] = (scores[0] - scores[0].mean())[items].clamp_min(0)
        whole = torch.stack(list(lifts.values())).sum(0).clamp_min(1e-12)
        return {name: lift / whole for name, lift in lifts.items()}

    # -- after training ----------------------------------------------------------------------------------------

    def refitted(self, training: Sequences, device: torch.device) -> "Ranker":
        """The ranker with every term fitted on other interactions."""
        return replace(self, terms=tuple(term.refitted(training, device) for term in self.terms))

    def extended(self, catalogue: ExtendedCatalogue) -> "Ranker":
        """The ranker for a catalogue with more items behind its own."""
        terms = tuple(term.extended(catalogue) for term in self.terms)
        return replace(self, n_items=len(catalogue.latents), terms=terms)

    def state(self) -> tuple[dict[str, dict[str, Any]], dict[str, Tensor]]:
        """Settings by term, and tensors under `term/tensor`.

        The latent term is rebuilt from the model, and the request term, which is learnt later, has a file of its own.
        """
        saved = [term for term in self.terms if not isinstance(term, LatentSimilarity | RequestTerm)]
        settings = {term.name: term.settings() for term in saved}
        tensors = {f"{term.name}/{key}": value for term in saved for key, value in term.state_dict().items()}
        return settings, tensors

    def with_state(self, settings: dict[str, dict[str, Any]], tensors: dict[str, Tensor]) -> "Ranker":
        """The ranker with the terms that `state` described behind its own; errors as for `ScoreTerm.named`."""
        ranker = self
        for name, values in settings.items():
            prefix = f"{name}/"
            own = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
            ranker = ranker.with_term(ScoreTerm.named(name).from_state(values, own))
        return ranker


def rank_targets(
    ranker: Ranker, queries: Queries, cases: Cases, rules: Sequence[Rule] = (), *, k: int = 0
) -> tuple[TargetRanks, Found]:
    """Rank of each case's target among all items, and the best `k` items of each case (0: no lists)."""
    targets = torch.from_numpy(cases.targets).to(queries.latents.device)
    ranks, found = [], []
    for rows, scores in ranker.chunks(queries, rules):
        ranks.append(ranks_from_scores(scores, targets[rows]))
        found.append(top(scores, k).padded(k))
    return joined(ranks), joined(found)


def target_ranks(ranker: Ranker, queries: Queries, cases: Cases, rules: Sequence[Rule] = ()) -> TargetRanks:
    """The ranks of `rank_targets` alone."""
    return rank_targets(ranker, queries, cases, rules)[0]
