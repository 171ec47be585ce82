"""The objective: the denoised latent close to the item that was taken, and far from those that were not."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from deftrec.config import ObjectiveOptions
from deftrec.diffusion.softmax import chunked_cross_entropy


@dataclass(frozen=True, eq=False)
class Denoised:
    """What the objective judges.

    Attributes:
        x0_hat: denoised latents. `[N, D]`
        latents: those of the candidate items, with gradients. `[C, D]`
        targets: the item each x0_hat should be, as a place in `latents`. `[N]` int64
        seen: (row, place in `latents`) pairs that are no negatives, sorted by row. `[M, 2]` int64
        log_q: log probability that a candidate is among the candidates; None where all items are. `[C]`
        snr: signal-to-noise ratio alpha(t)^2 / sigma(t)^2 of what was denoised; None counts all errors alike. `[N]`
    """

    x0_hat: Tensor
    latents: Tensor
    targets: Tensor
    seen: Tensor
    log_q: Tensor | None
    snr: Tensor | None = None

    def errors(self, latents: Tensor) -> Tensor:
        """Squared distances of x0_hat to `latents` `[N, M, D]`, times `snr` where there is one. `[N, M]`

        As x_t = alpha x_0 + sigma eps, the error of a predicted noise is that of its x0_hat times alpha^2 / sigma^2.
        """
        errors = (self.x0_hat[:, None] - latents).square().sum(-1)
        return errors if self.snr is None else errors * self.snr[:, None]


@dataclass(frozen=True, eq=False)
class NextItems:
    """What a head learns from.

    Attributes:
        condition: what the language model made of each history. `[N, D]`
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

    def denoised(self, x0_hat: Tensor, snr: Tensor | None = None) -> Denoised:
        """These items with what was denoised for them. `x0_hat` `[N, D]`, `snr` `[N]`"""
        return Denoised(x0_hat, self.latents, self.targets, self.seen, self.log_q, snr)

    def extended(self, condition: Tensor, targets: Tensor, seen: Tensor) -> "NextItems":
        """These items and `R` more behind them. `condition` `[R, D]`, `targets` `[R]`, `seen` `[M, 2]`"""
        shifted = seen + torch.tensor([len(self), 0], device=seen.device)
        return replace(
            self,
            condition=torch.cat([self.condition, condition.to(self.condition.dtype)]),
            targets=torch.cat([self.targets, targets]),
            seen=torch.cat([self.seen, shifted]),
        )

    def select(self, rows: Tensor) -> "NextItems":
        """Some of the rows. `rows` `[N]` bool"""
        place = rows.cumsum(0) - 1
        row, item = self.seen[rows[self.seen[:, 0]]].unbind(1)
        seen = torch.stack([place[row], item], 1)
        return NextItems(self.condition[rows], self.candidates, self.latents, self.targets[rows], seen, self.log_q)


class Negatives(ABC):
    """How negative interactions enter the objective."""

    def __init__(self, options: ObjectiveOptions) -> None:
        self.options = options

    @abstractmethod
    def loss(self, denoised: Denoised) -> Tensor | None:
        """A scalar, or None where there is no such term."""

    def _draw(self, denoised: Denoised) -> tuple[Tensor, Tensor]:
        """Places of random items `[N, M]`, and which of them are no negatives: targets, seen items. `[N, M]` bool"""
        N, M, C = len(denoised.targets), self.options.negatives_per_target, len(denoised.latents)
        drawn = torch.randint(C, (N, M), device=denoised.targets.device)
        none = drawn == denoised.targets[:, None]
        if self.options.mask_seen:
            rows = torch.arange(N, device=drawn.device)[:, None]
            none |= torch.isin(rows * C + drawn, denoised.seen[:, 0] * C + denoised.seen[:, 1])
        return drawn, none


class NoNegatives(Negatives):
    """Plain denoising (DreamRec-like): the error alone."""

    def loss(self, denoised: Denoised) -> None:
        """See `Negatives.loss`."""
        return


class PairwiseNegatives(Negatives):
    """-log sigmoid(error of a negative - error of the positive), squared distances (DeftRec)."""

    def loss(self, denoised: Denoised) -> Tensor:
        """See `Negatives.loss`."""
        drawn, none = self._draw(denoised)
        positive = denoised.errors(denoised.latents[denoised.targets, None])  # [N, 1]
        negative = denoised.errors(denoised.latents[drawn])  # [N, M]
        return F.softplus(positive - negative).masked_fill(none, 0).sum() / (~none).sum().clamp_min(1)


class PreferenceNegatives(Negatives):
    """-log sigmoid((error of the negatives' centroid - error of the positive) / temperature), cosine errors.

    PreferDiff, Liu et al. 2025.
    """

    def loss(self, denoised: Denoised) -> Tensor:
        """See `Negatives.loss`."""
        drawn, none = self._draw(denoised)
        centroid = denoised.latents[drawn].masked_fill(none[..., None], 0).mean(1)
        positive = 1 - F.cosine_similarity(denoised.x0_hat, denoised.latents[denoised.targets], dim=-1)
        negative = 1 - F.cosine_similarity(denoised.x0_hat, centroid, dim=-1)
        return F.softplus((positive - negative) / self.options.temperature).mean()


class SoftmaxNegatives(Negatives):
    """Every candidate is a negative: -log softmax of -error / (2 temperature), error the squared distance.

    With candidates that are a sample of the catalogue, each logit is corrected by its log probability of being drawn
    (logQ, Bengio and Senecal 2008), so that popular items are not punished for being drawn often.
    """

    def loss(self, denoised: Denoised) -> Tensor:
        """See `Negatives.loss`."""
        temperature = self.options.temperature
        bias = -denoised.latents.square().sum(-1) / (2 * temperature)  # constant on the sphere
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
    """Denoising error plus the term of the negatives, weighted as configured."""

    def __init__(self, options: ObjectiveOptions) -> None:
        self.options = options
        self.negatives = NEGATIVES[options.negatives](options)

    def __call__(self, denoised: Denoised) -> dict[str, Tensor]:
        """Scalars: `loss`, and its parts `error` and (if there is one) `negatives`.

        The error's target carries no gradient: with one, all latents shrink into a cone, where every error is small.
        """
        error = denoised.errors(denoised.latents[denoised.targets, None].detach()).mean()
        loss = self.options.error_weight * error
        parts = {"error": error}
        negatives = self.negatives.loss(denoised)
        if negatives is not None:
            parts["negatives"] = negatives
            loss = loss + self.options.negatives_weight * negatives
        return {"loss": loss, **parts}

    def contrast(self, denoised: Denoised) -> Tensor:
        """The weighted term of the negatives alone; zero where there is none."""
        negatives = self.negatives.loss(denoised)
        return denoised.x0_hat.new_zeros(()) if negatives is None else self.options.negatives_weight * negatives
