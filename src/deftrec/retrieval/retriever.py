"""The retrieval score: similarity of the generated latent, and the collaborative prior where there is one."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from deftrec.config import Config
from deftrec.data import Sequences
from deftrec.ensemble import Model
from deftrec.errors import ConfigError
from deftrec.model import ItemLatents
from deftrec.retrieval.exact import LAST, Comparison, Found, Similarity, hide, raised, row_chunks, top
from deftrec.retrieval.linear import LinearPrior
from deftrec.retrieval.terms.text_match import TextMatch

ScorePart: TypeAlias = Literal["hybrid", "latent", "prior"]


@dataclass(frozen=True, eq=False)
class Retriever:
    """Scores the whole catalogue for queries.

    score = similarity(x0_hat, z_i) / temperature + weight x (history's linear score of i) + trend_i

    Seen items get `again` on top. Where they are taken again (`repeats`) the prior orders the others alone (`fused`).

    With a text match the similarity s, a cosine, becomes (1 + s) (1 + pi match) - 1: the hybrid of DeftRec, whose
    similarity is never negative; with pi = 0 it is s again.

    Attributes:
        latents: of the catalogue. `[I, D]`
        similarity: `cosine`, `inner` or `l2`.
        temperature: of the objective's softmax, so that both parts of the score are on the scale of logits.
        prior: None for the latent score alone.
        weight: of the prior.
        recency: p of the prior's (1 + age)^-p.
        trend: of each item but the last ones, which came after training (`trend_scores`); None: nothing. `[<= I]`
        repeats: the model was trained to recommend seen items too, as they are taken again.
        again: what seen items get on top; `LAST` puts them after all others.
        match: compares what the model says of a history with each item's text; None: no words in the score.
        text_weight: pi.
        removed: numbers of items that are no candidates for anybody. `[R]` int64
        bonus: what each of the last N items, which came after training, gets on top; None: nothing. `[N]`
        prior_alone: leave the latent out, to show what each part is worth.
    """

    latents: Tensor
    similarity: Similarity
    temperature: float
    prior: LinearPrior | None = None
    weight: float = 0.0
    recency: float = 0.0
    trend: Tensor | None = None
    repeats: bool = False
    again: float = 0.0
    match: TextMatch | None = None
    text_weight: float = 0.0
    removed: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    bonus: Tensor | None = None
    prior_alone: bool = False

    @classmethod
    def of(cls, model: Model, catalogue: ItemLatents, config: Config) -> "Retriever":
        """The latent score of a model, without a prior."""
        return cls(
            catalogue.latents,
            "cosine",
            config.objective.temperature,
            repeats=config.repeats,
            again=LAST if config.seen_last else 0.0,
        )

    def part(self, part: ScorePart) -> "Retriever":
        """What scores by one part alone; `hybrid` is the whole.

        Raises:
            ConfigError: there is no prior.
        """
        if part == "hybrid":
            return self
        if part == "latent":
            return replace(self, prior=None, weight=0.0, trend=None, text_weight=0.0)
        if self.prior is None:
            raise ConfigError("this run has no collaborative prior: validation chose none, or none was asked for")
        # What validation chose to put on top is of the whole score's scale.
        return replace(self, prior_alone=True, again=0.0 if self.repeats else self.again)

    @cached_property
    def comparison(self) -> Comparison:
        """With the latents, which are made ready once."""
        return Comparison(self.latents, self.similarity)

    @cached_property
    def constant(self) -> Tensor | None:
        """What each item gets whatever was asked: the trend, and the bonus of later ones. None: nothing. `[I]`"""
        if self.trend is None and self.bonus is None:
            return None
        total = torch.zeros(len(self.latents))
        if self.trend is not None:
            total[: len(self.trend)] += self.trend.cpu()
        if self.bonus is not None:
            total[-len(self.bonus) :] += self.bonus.cpu()
        return total

    def scores(self, queries: Tensor, histories: Sequences, texts: Tensor | None = None) -> Tensor:
        """Scores of every item.

        Args:
            queries: `[N, D]`
            histories: N of them.
            texts: what the model says of each, as `match` encodes it; None: nothing. `[N, E]`

        Returns:
            `[N, I]`
        """
        scores = self._sum(queries, histories, texts)
        return raised(scores, histories, self.again) if self.again else scores

    def _sum(self, queries: Tensor, histories: Sequences, texts: Tensor | None) -> Tensor:
        """All parts of the score together; see `scores`."""
        if self.prior_alone and self.prior is not None:
            return self.prior.scores(histories, self.recency).to(queries.device)
        scores = self.comparison(queries).div_(self.temperature)
        if self.match is not None and texts is not None and self.text_weight:
            fits = self.match.scores(texts).to(scores.device)
            scores += (1 / self.temperature + scores) * fits * self.text_weight
        if self.prior is not None and self.weight:
            prior = self.prior.scores(histories, self.recency).to(scores.device)
            scores = fused(scores, prior, self.weight, histories if self.repeats else None)
        if self.constant is not None:
            scores += self.constant.to(scores.device)
        return scores

    def chunks(
        self, queries: Tensor, histories: Sequences, exclude_seen: bool, texts: Tensor | None = None
    ) -> Iterator[tuple[slice, Tensor]]:
        """Scores of every item for one slice of users after the other.

        Items that were removed are `-inf`, and seen ones if they are excluded.
        """
        for rows in row_chunks(len(queries), len(self.latents)):
            part = histories.select(range(rows.start, rows.stop))
            scores = self.scores(queries[rows], part, None if texts is None else texts[rows])
            scores[:, self.removed.to(scores.device)] = float("-inf")
            yield rows, hide(scores, part) if exclude_seen else scores

    def search(
        self, queries: Tensor, histories: Sequences, k: int, exclude_seen: bool, texts: Tensor | None = None
    ) -> Found:
        """The best `k` items of every query, exact, in chunks of users. `[N, D]` -> `Found` of N x k"""
        chunks = self.chunks(queries, histories, exclude_seen, texts)
        return Found.concatenate([top(scores, k) for _, scores in chunks])


def fused(scores: Tensor, prior: Tensor, weight: float, repeated: Sequences | None) -> Tensor:
    """Latent scores with a prior's.

    A linear prior knows what goes together, not whether something is taken again: added to every item it moves all
    seen ones down or up. So where they are candidates it shares anew, among the items that are not in a history, what
    probability the latent scores give to these together, and the history's items keep theirs:

        s'_i = s_i                                          for i in the history
        s'_i = s_i + w p_i + log sum_j exp s_j - log sum_j exp (s_j + w p_j)    for the others, j over all of them

    Args:
        scores: of the latent, as logits; they may be overwritten. `[N, I]`
        prior: `[N, I]`
        weight: w.
        repeated: histories whose items are candidates; None: they are not, or the prior knows them too.

    Returns:
        `[N, I]`
    """
    if repeated is None:
        return scores.add_(prior, alpha=weight)
    others = hide(scores.clone(), repeated)
    moved = others.add(prior, alpha=weight)
    level = others.logsumexp(1, keepdim=True) - moved.logsumexp(1, keepdim=True)
    return torch.where(others == float("-inf"), scores, moved + level)
