"""The similarity of the generated latent to every item's latent, as logits."""

from typing import Literal, TypeAlias

from torch import Tensor
from torch.nn.functional import normalize

from deftrec.retrieval.queries import Queries
from deftrec.retrieval.terms.base import ExtendedCatalogue, ScoreTerm

Similarity: TypeAlias = Literal["cosine", "inner"]


class LatentSimilarity(ScoreTerm):
    """similarity(x0_hat, z_i) / temperature (DeftRec, score-based retrieval).

    Args:
        latents: latents of the catalogue. `[I, D]`
        temperature: temperature of the objective's softmax, so that the term is on the scale of logits.
        similarity: `cosine` (default) or `inner`, the inner product, by which LightGCN ranks.
    """

    name = "latent"

    def __init__(self, latents: Tensor, temperature: float = 1.0, similarity: Similarity = "cosine") -> None:
        self.similarity, self.temperature = similarity, temperature
        self.latents = normalize(latents, dim=-1) if similarity == "cosine" else latents

    def scores(self, queries: Queries, total: Tensor | None = None) -> Tensor:
        """See `ScoreTerm.scores`."""
        return self.compared(queries.latents)

    def compared(self, latents: Tensor, items: Tensor | None = None) -> Tensor:
        """Scores of generated latents `[N, D]` against `items` `[c]` (None: all). `[N, c]` or `[N, I]`"""
        chosen = self.latents if items is None else self.latents[items.to(self.latents.device)]
        return (self.directions(latents) @ chosen.T).div_(self.temperature)

    def directions(self, latents: Tensor) -> Tensor:
        """Generated latents as they are compared: of unit norm for the cosine. `[N, D]` -> `[N, D]`"""
        return normalize(latents, dim=-1) if self.similarity == "cosine" else latents

    def extended(self, catalogue: ExtendedCatalogue) -> "LatentSimilarity":
        """See `ScoreTerm.extended`."""
        return LatentSimilarity(catalogue.latents, self.temperature, self.similarity)
