"""The retrieval score: similarity of the generated latent, plus the collaborative prior where there is one."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from deftrec.config import Config
from deftrec.data import Sequences
from deftrec.diffusion import ItemScorer
from deftrec.ensemble import Model
from deftrec.model import ItemLatents
from deftrec.retrieval.exact import Comparison, Found, Similarity, hide, row_chunks, top
from deftrec.retrieval.prior import LinearPrior
from deftrec.retrieval.text import TextMatch


@dataclass(frozen=True, eq=False)
class Retriever:
    """Scores the whole catalogue for queries.

    score = similarity(x0_hat, z_i) / temperature + weight x (history's linear score of i)

    With a text match the similarity s, a cosine, becomes (1 + s) (1 + pi match) - 1: the hybrid of DeftRec, whose
    similarity is never negative; with pi = 0 it is s again.

    Attributes:
        latents: of the catalogue. `[I, D]`
        similarity: `cosine`, `inner` or `l2`.
        temperature: of the objective's softmax, so that both parts of the score are on the scale of logits.
        prior: None for the latent score alone.
        weight: of the prior.
        recency: p of the prior's (1 + age)^-p.
        scorer: scores items itself, in place of the first term; for heads that have no latent to compare.
        match: compares what the model says of a history with each item's text; None: no words in the score.
        text_weight: pi.
        removed: numbers of items that are no candidates for anybody; None: all are. `[R]` int64
        bonus: what each of the last N items, which came after training, gets on top; None: nothing. `[N]`
        prior_alone: leave the latent out, to show what each part is worth.
    """

    latents: Tensor
    similarity: Similarity
    temperature: float
    prior: LinearPrior | None = None
    weight: float = 0.0
    recency: float = 0.0
    match: TextMatch | None = None
    text_weight: float = 0.0
    removed: Tensor | None = None
    bonus: Tensor | None = None
    prior_alone: bool = False
    scorer: ItemScorer | None = None

    @classmethod
    def of(cls, model: Model, catalogue: ItemLatents, config: Config) -> "Retriever":
        """The latent score of a model, without a prior."""
        temperature = config.objective.temperature
        return cls(catalogue.latents, config.retrieval.similarity, temperature, scorer=model.scorer)

    @cached_property
    def comparison(self) -> Comparison:
        """With the latents, which are made ready once."""
        return Comparison(self.latents, self.similarity)

    def scores(self, queries: Tensor, histories: Sequences, texts: Tensor | None = None) -> Tensor:
        """Scores of every item.

        Args:
            queries: `[N, D]`
            histories: N of them.
            texts: what the model says of each, as `match` encodes it; None: nothing. `[N, E]`

        Returns:
            `[N, I]`
        """
        if self.prior_alone and self.prior is not None:
            return self.prior.scores(histories, self.recency).to(queries.device)
        scores = self.scorer(queries) if self.scorer is not None else self.comparison(queries).div_(self.temperature)
        if self.match is not None and texts is not None and self.text_weight:
            fits = self.match.scores(texts).to(scores.device)
            scores += (1 / self.temperature + scores) * fits * self.text_weight
        if self.prior is not None and self.weight:
            scores = scores.add_(self.prior.scores(histories, self.recency).to(scores.device), alpha=self.weight)
        if self.bonus is not None:
            scores[:, -len(self.bonus) :] += self.bonus.to(scores.device)
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
            if self.removed is not None:
                scores[:, self.removed.to(scores.device)] = float("-inf")
            yield rows, hide(scores, part) if exclude_seen else scores

    def search(
        self, queries: Tensor, histories: Sequences, k: int, exclude_seen: bool, texts: Tensor | None = None
    ) -> Found:
        """The best `k` items of every query, exact, in chunks of users. `[N, D]` -> `Found` of N x k"""
        chunks = self.chunks(queries, histories, exclude_seen, texts)
        return Found.concatenate([top(scores, k) for _, scores in chunks])
