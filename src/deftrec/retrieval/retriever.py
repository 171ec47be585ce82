"""The retrieval score: similarity of the generated latent, plus the collaborative prior where there is one."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from deftrec.config import Config
from deftrec.data import Sequences
from deftrec.diffusion import ItemScorer
from deftrec.ensemble import Model
from deftrec.model import ItemLatents
from deftrec.retrieval.exact import Found, Similarity, hide, row_chunks, similarity_scores, top
from deftrec.retrieval.prior import LinearPrior


@dataclass(frozen=True, eq=False)
class Retriever:
    """Scores the whole catalogue for queries.

    score = similarity(x0_hat, z_i) / temperature + weight x (history's linear score of i)

    Attributes:
        latents: of the catalogue. `[I, D]`
        similarity: `cosine`, `inner` or `l2`.
        temperature: of the objective's softmax, so that both parts of the score are on the scale of logits.
        prior: None for the latent score alone.
        weight: of the prior.
        recency: p of the prior's (1 + age)^-p.
        scorer: scores items itself, in place of the first term; for heads that have no latent to compare.
        prior_alone: leave the latent out, to show what each part is worth.
    """

    latents: Tensor
    similarity: Similarity
    temperature: float
    prior: LinearPrior | None = None
    weight: float = 0.0
    recency: float = 0.0
    prior_alone: bool = False
    scorer: ItemScorer | None = None

    @classmethod
    def of(cls, model: Model, catalogue: ItemLatents, config: Config) -> "Retriever":
        """The latent score of a model, without a prior."""
        temperature = config.objective.temperature
        return cls(catalogue.latents, config.retrieval.similarity, temperature, scorer=model.scorer)

    def scores(self, queries: Tensor, histories: Sequences) -> Tensor:
        """Scores of every item. `[N, D]` -> `[N, I]`"""
        if self.prior_alone and self.prior is not None:
            return self.prior.scores(histories, self.recency).to(queries.device)
        if self.scorer is not None:
            scores = self.scorer(queries)
        else:
            scores = similarity_scores(queries, self.latents, self.similarity) / self.temperature
        if self.prior is not None and self.weight:
            scores = scores.add_(self.prior.scores(histories, self.recency).to(scores.device), alpha=self.weight)
        return scores

    def chunks(self, queries: Tensor, histories: Sequences, exclude_seen: bool) -> Iterator[tuple[slice, Tensor]]:
        """Scores of every item for one slice of users after the other, seen items `-inf` if they are excluded."""
        for rows in row_chunks(len(queries), len(self.latents)):
            part = histories.select(range(rows.start, rows.stop))
            scores = self.scores(queries[rows], part)
            yield rows, hide(scores, part) if exclude_seen else scores

    def search(self, queries: Tensor, histories: Sequences, k: int, exclude_seen: bool) -> Found:
        """The best `k` items of every query, exact, in chunks of users. `[N, D]` -> `Found` of N x k"""
        return Found.concatenate([top(scores, k) for _, scores in self.chunks(queries, histories, exclude_seen)])
