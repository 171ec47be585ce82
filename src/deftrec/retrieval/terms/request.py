"""The request term: how likely an item is asked for in these words, log P(request | item)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deftrec.retrieval.queries import EncodedRequest, Queries
from deftrec.retrieval.terms.base import ExtendedCatalogue, ScoreTerm

WIDTH, HIDDEN = 128, 256
"""Width in which requests and items are compared, and of the perceptron of the items."""

FIRST_SCALE = 8.0
"""Scale of the learnt similarity before training."""


class RequestHead(nn.Module):
    """Compares requests with items: s cos(Q r, K(e, z)) for sentence vectors r and e, and the item's latent z.

    Q and the linear part of K begin as the same projection onto the principal components of the items' sentence
    vectors; the perceptron of K begins at zero.

    Args:
        sentences: width E of sentence vectors.
        latents: width D of the items' latents.
    """

    mean: Tensor

    def __init__(self, sentences: int, latents: int) -> None:
        super().__init__()
        width = min(WIDTH, sentences)
        self.register_buffer("mean", torch.zeros(sentences))
        self.query, self.key = (nn.Linear(sentences, width, bias=False) for _ in range(2))
        self.expand, self.contract = nn.Linear(sentences + latents, HIDDEN), nn.Linear(HIDDEN, width)
        self.log_scale = nn.Parameter(torch.tensor(FIRST_SCALE).log())
        nn.init.zeros_(self.contract.weight)
        nn.init.zeros_(self.contract.bias)

    @torch.no_grad()
    def fit_components(self, sentences: Tensor) -> None:
        """Set both projections to the principal components of the items' sentence vectors `[I, E]`."""
        read = sentences[sentences.abs().sum(1) > 0]
        self.mean.copy_(read.mean(0))
        _, _, components = torch.linalg.svd(read - self.mean, full_matrices=False)
        for one in (self.query, self.key):
            one.weight.zero_()
            rows = components[: len(one.weight)]
            one.weight[: len(rows)] = rows

    def keys(self, sentences: Tensor, latents: Tensor) -> Tensor:
        """Items as they are compared, of unit norm. `[I, E]` and `[I, D]` -> `[I, W]`"""
        more = self.contract(F.gelu(self.expand(torch.cat([sentences, latents], 1))))
        return F.normalize(self.key(sentences - self.mean) + more, dim=-1)

    def queries(self, requests: Tensor) -> Tensor:
        """Requests as they are compared, of norm s. `[N, E]` -> `[N, W]`"""
        return F.normalize(self.query(requests - self.mean), dim=-1) * self.log_scale.exp()


@dataclass(frozen=True, eq=False)
class RequestTerm(ScoreTerm):
    """Adds log P(request | item), up to a constant, where a query has a request in words; nothing elsewhere.

    By Bayes' rule log P(item | history, request) is the score of the history plus this. It has three parts, weighted by
    the request: the learnt similarity of `RequestHead`, the cosine of both sentence vectors, and the items that have
    words of the request.

    Attributes:
        head: learnt similarity.
        sentences: sentence vectors of the items, of unit norm; zeros without text. `[I, E]`
        latents: latents of the items. `[I, D]`
        weights: chosen weights of the three parts by kind of request: `learnt`, `cosine`, `words`.
        sentence_model: name of the model that encodes items and requests.
        record: NDCG@10 on validation under requests, by kind, with the term and without.
        categories: categories whose meaning is known, in the order of `meanings`. `C`
        meanings: sentence vectors of the categories, for requests that name none. `[C, E]`
        related: words that a language model related to each category; empty: none was asked.
    """

    name: ClassVar[str] = "request"

    head: RequestHead
    sentences: Tensor
    latents: Tensor
    weights: dict[str, dict[str, float]]
    sentence_model: str
    record: dict[str, dict[str, float]]
    categories: tuple[str, ...]
    meanings: Tensor
    related: dict[str, list[str]]
    keys: Tensor

    @classmethod
    def of(
        cls,
        head: RequestHead,
        sentences: Tensor,
        latents: Tensor,
        weights: dict[str, dict[str, float]],
        sentence_model: str,
        record: dict[str, dict[str, float]],
        categories: Sequence[str] = (),
        meanings: Tensor | None = None,
        related: dict[str, list[str]] | None = None,
    ) -> Self:
        """The term of a trained head."""
        with torch.no_grad():
            keys = head.eval().keys(sentences, latents)
        meanings = sentences[:0] if meanings is None else meanings
        about = (tuple(categories), meanings, related or {})
        return cls(head, sentences, latents, weights, sentence_model, record, *about, keys)

    def applies(self, queries: Queries) -> bool:
        """See `ScoreTerm.applies`."""
        return queries.requests is not None

    def scores(self, queries: Queries, total: Tensor | None = None) -> Tensor:
        """See `ScoreTerm.scores`. `[N, I]`"""
        scores = torch.zeros(len(queries), len(self.keys), device=self.keys.device)
        same: dict[int, Tensor] = {}  # many queries may share one request
        for row, request in enumerate(queries.requests or ()):
            if request is not None:
                if id(request) not in same:
                    same[id(request)] = self.of_request(request)
                scores[row] = same[id(request)]
        return scores

    @torch.no_grad()
    def of_request(self, request: EncodedRequest) -> Tensor:
        """What a request adds to every item. `[I]`"""
        added = torch.zeros(len(self.keys), device=self.keys.device)
        if len(request.vectors):
            vectors = request.vectors.to(self.keys.device)
            learnt = request.learnt.to(vectors)[:, None] * self.head.queries(vectors)
            added += self.keys @ learnt.sum(0)
            added += self.sentences @ (request.cosine.to(vectors)[:, None] * vectors).sum(0)
        return added.index_add_(0, request.items.to(added.device), request.values.to(added))

    def extended(self, catalogue: ExtendedCatalogue) -> "RequestTerm":
        """See `ScoreTerm.extended`; added items are read by their sentence vectors."""
        more = len(catalogue.latents) - len(self.sentences)
        added = catalogue.sentences
        if added is None:
            added = self.sentences.new_zeros(more, self.sentences.shape[1])
        sentences = torch.cat([self.sentences, F.normalize(added.to(self.sentences), dim=-1)])
        latents = F.normalize(catalogue.latents, dim=-1)
        with torch.no_grad():
            keys = torch.cat([self.keys, self.head.keys(sentences[-more:], latents[-more:])])
        return replace(self, sentences=sentences, latents=latents, keys=keys)

    def settings(self) -> dict[str, Any]:
        """See `ScoreTerm.settings`."""
        names = ("weights", "sentence_model", "record", "categories", "related")
        return {name: getattr(self, name) for name in names}

    def state_dict(self) -> dict[str, Tensor]:
        """See `ScoreTerm.state_dict`; without the latents, which are the model's."""
        vectors = {"sentences": self.sentences.half(), "meanings": self.meanings.half()}
        return {**vectors, **{f"head.{k}": v for k, v in self.head.state_dict().items()}}

    @classmethod
    def restored(cls, settings: dict[str, Any], tensors: dict[str, Tensor], latents: Tensor) -> Self:
        """Rebuild a term from `settings`, `state_dict` and the items' latents `[I, D]`."""
        head = RequestHead(tensors["sentences"].shape[1], latents.shape[1])
        head.load_state_dict({name[5:]: tensor for name, tensor in tensors.items() if name.startswith("head.")})
        sentences, meanings = tensors["sentences"].to(latents), tensors["meanings"].to(latents)
        return cls.of(head.to(latents.device), sentences, latents, **settings, meanings=meanings)
