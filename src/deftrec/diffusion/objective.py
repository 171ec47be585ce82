"""Training objective: the denoised latent should be close to the next item's latent and far from other items'."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from deftrec.config import ObjectiveOptions
from deftrec.diffusion.softmax import chunked_cross_entropy


@dataclass(frozen=True, eq=False)
class Denoised:
    """Denoised latents and everything that the objective compares them with.

    Attributes:
        x0_hat: denoised latents. `[N, D]`
        latents: latents of the candidate items, with gradients. `[C, D]`
        targets: index of the right item in `latents`. `[N]` int64
        seen: (row, index in `latents`) pairs of items in the row's history, sorted by row. `[M, 2]` int64
        log_q: log probability of each candidate to be sampled; None if all items are candidates. `[C]`
    """

    x0_hat: Tensor
    latents: Tensor
    targets: Tensor
    seen: Tensor
    log_q: Tensor | None

    def errors(self, latents: Tensor) -> Tensor:
        """Squared distances of x0_hat to `latents` `[N, M, D]`. `[N, M]`"""
        return (self.x0_hat[:, None] - latents).square().sum(-1)


@dataclass(frozen=True, eq=False)
class NextItems:
    """Conditions and the items that followed.

    Attributes:
        condition: the language model's condition after each history. `[N, D]`
        candidates: item numbers of the candidates. `[C]` int64
        latents, targets, seen, log_q: see `Denoised`.
    """

    condition: Tensor
    candidates: Tensor
    latents: Tensor
    targets: Tensor
    seen: Tensor
    log_q: Tensor | None

    def __len__(self) -> int:
        return len(self.targets)

    def denoised(self, x0_hat: Tensor) -> Denoised:
        """These items with their denoised latents `[N, D]`."""
        return Denoised(x0_hat, self.latents, self.targets, self.seen, self.log_q)

    def extended(self, condition: Tensor, targets: Tensor, seen: Tensor) -> "NextItems":
        """These items followed by `R` more. `condition` `[R, D]`, `targets` `[R]`, `seen` `[M, 2]`"""
        shifted = seen + torch.tensor([len(self), 0], device=seen.device)
        return replace(
            self,
            condition=torch.cat([self.condition, condition.to(self.condition.dtype)]),
            targets=torch.cat([self.targets, targets]),
            seen=torch.cat([self.seen, shifted]),
        )


class Negatives(ABC):
    """A term of the loss that uses negative items."""

    def __init__(self, options: ObjectiveOptions) -> None:
        self.options = options

    @abstractmethod
    def loss(self, denoised: Denoised) -> Tensor | None:
        """A scalar; None if there is no such term."""

    def _draw(self, denoised: Denoised) -> tuple[Tensor, Tensor]:
        """Random items as indices into the latents `[N, M]`, and a mask of those that are targets or seen `[N, M]`."""
        N, M, C = len(denoised.targets), self.options.negatives_per_target, len(denoised.latents)
        drawn = torch.randint(C, (N, M), device=denoised.targets.device)
        excluded = drawn == denoised.targets[:, None]
        if self.options.mask_seen:
            rows = torch.arange(N, device=drawn.device)[:, None]
            excluded |= torch.isin(rows * C + drawn, denoised.seen[:, 0] * C + denoised.seen[:, 1])
        return drawn, excluded


class NoNegatives(Negatives):
    """The denoising error alone, as in DreamRec."""

    def loss(self, denoised: Denoised) -> None:
        """See `Negatives.loss`."""
        return


class PairwiseNegatives(Negatives):
    """-log sigmoid(error of a negative - error of the positive), squared distances (DeftRec)."""

    def loss(self, denoised: Denoised) -> Tensor:
        """See `Negatives.loss`."""
        drawn, excluded = self._draw(denoised)
        positive = denoised.errors(denoised.latents[denoised.targets, None])  # [N, 1]
        negative = denoised.errors(denoised.latents[drawn])  # [N, M]
        return F.softplus(positive - negative).masked_fill(excluded, 0).sum() / (~excluded).sum().clamp_min(1)


class PreferenceNegatives(Negatives):
    """-log sigmoid((error of the negatives' centroid - error of the positive) / temperature), cosine errors.

    PreferDiff, Liu et al. 2025.
    """

    def loss(self, denoised: Denoised) -> Tensor:
        """See `Negatives.loss`."""
        drawn, excluded = self._draw(denoised)
        centroid = denoised.latents[drawn].masked_fill(excluded[..., None], 0).mean(1)
        positive = 1 - F.cosine_similarity(denoised.x0_hat, denoised.latents[denoised.targets], dim=-1)
        negative = 1 - F.cosine_similarity(denoised.x0_hat, centroid, dim=-1)
        return F.softplus((positive - negative) / self.options.temperature).mean()


class SoftmaxNegatives(Negatives):
    """Softmax over all candidates: -log softmax of -squared distance / (2 temperature).

    If the candidates are a sample of the catalogue, each logit is corrected by its log probability of being sampled
    (logQ, Bengio and Senecal 2008). Without it, popular items would be penalised for being sampled often.
    """

    def loss(self, denoised: Denoised) -> Tensor:
        """See `Negatives.loss`."""
        temperature = self.options.temperature
        bias = -denoised.latents.square().sum(-1) / (2 * temperature)  # constant for unit latents
        if denoised.log_q is not None:
            bias = bias - denoised.log_q
        seen = denoised.seen if self.options.mask_seen else None
        return chunked_cross_entropy(denoised.x0_hat / temperature, denoised.latents, bias, denoised.targets, seen)


NEGATIVES: dict[str, type[Negatives]] = {
    "none": NoNegatives,
    "pairwise": PairwiseNegatives,
    "preference": PreferenceNegatives,
    "softmax": SoftmaxNegatives,
}


class Objective:
    """Weighted denoising error plus the term of the negatives."""

    def __init__(self, options: ObjectiveOptions) -> None:
        self.options = options
        self.negatives = NEGATIVES[options.negatives](options)

    def __call__(self, denoised: Denoised) -> dict[str, Tensor]:
        """Scalars: `loss` and its parts `error` and, if there are any, `negatives`.

        The error has no gradient with respect to its target: with one, all latents shrink into a cone.
        """
        error = denoised.errors(denoised.latents[denoised.targets, None].detach()).mean()
        loss = self.options.error_weight * error
        parts = {"error": error}
        negatives = self.negatives.loss(denoised)
        if negatives is not None:
            parts["negatives"] = negatives
            loss = loss + negatives
        return {"loss": loss, **parts}
