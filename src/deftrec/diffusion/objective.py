"""Training objective: the denoised latent should be close to the next item's latent and far from other items'."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from deftrec.config import ObjectiveOptions
from deftrec.data import PADDING
from deftrec.diffusion.softmax import chunked_cross_entropy


@dataclass(frozen=True, eq=False)
class NextItems:
    """Conditions and the items that followed.

    Attributes:
        condition: the language model's condition after each history. `[N, D]`
        candidates: item numbers of the candidates. `[C]` int64
        latents: latents of the candidates, with gradients. `[C, D]`
        targets: index of the right item among the candidates. `[N]` int64
        seen: (row, index among the candidates) pairs of items in the row's history, sorted by row. `[M, 2]` int64
        log_q: log probability of each candidate to be sampled; None if all items are candidates. `[C]`
        weights: weight of each target, 1 on average; None: all weigh the same. `[N]` float32
        disliked: candidates that the user of each row dislikes, `PADDING` where there are fewer; None: none is known.
            `[N, M]` int64
    """

    condition: Tensor
    candidates: Tensor
    latents: Tensor
    targets: Tensor
    seen: Tensor
    log_q: Tensor | None
    weights: Tensor | None = None
    disliked: Tensor | None = None

    def mean(self, values: Tensor) -> Tensor:
        """Mean over the targets, by their weights. `[N]` -> scalar"""
        return values.mean() if self.weights is None else (values * self.weights).mean()

    def extended(self, condition: Tensor, targets: Tensor, seen: Tensor) -> "NextItems":
        """These items followed by `R` more. `condition` `[R, D]`, `targets` `[R]`, `seen` `[M, 2]`"""
        shifted = seen + torch.tensor([len(self.targets), 0], device=seen.device)
        return replace(
            self,
            condition=torch.cat([self.condition, condition.to(self.condition.dtype)]),
            targets=torch.cat([self.targets, targets]),
            seen=torch.cat([self.seen, shifted]),
            weights=None if self.weights is None else F.pad(self.weights, (0, len(targets)), value=1.0),
            disliked=None if self.disliked is None else F.pad(self.disliked, (0, 0, 0, len(targets)), value=PADDING),
        )

    def errors(self, x0_hat: Tensor, latents: Tensor) -> Tensor:
        """Squared distances of denoised latents `[N, D]` to `latents` `[N, M, D]`. `[N, M]`"""
        return (x0_hat[:, None] - latents).square().sum(-1)


class Objective:
    """Weighted denoising error plus the term of the negatives."""

    def __init__(self, options: ObjectiveOptions) -> None:
        self.options = options

    def __call__(self, x0_hat: Tensor, items: NextItems) -> dict[str, Tensor]:
        """Losses of denoised latents `[N, D]`, scalars: `loss` and its parts `error` and, if any, `negatives`.

        The error has no gradient with respect to its target: with one, all latents shrink into a cone.
        """
        error = items.mean(items.errors(x0_hat, items.latents[items.targets, None].detach())[:, 0])
        parts = {"loss": self.options.error_weight * error, "error": error}
        if self.options.negatives != "none":
            parts["negatives"] = NEGATIVES[self.options.negatives](x0_hat, items, self.options)
            parts["loss"] = parts["loss"] + parts["negatives"]
        if items.disliked is not None and self.options.disliked_weight:
            parts["disliked"] = disliked(x0_hat, items, self.options)
            parts["loss"] = parts["loss"] + self.options.disliked_weight * parts["disliked"]
        return parts


NegativeTerm: TypeAlias = Callable[[Tensor, NextItems, ObjectiveOptions], Tensor]
"""(denoised latents `[N, D]`, next items, options) -> scalar"""


def pairwise(x0_hat: Tensor, items: NextItems, options: ObjectiveOptions) -> Tensor:
    """-log sigmoid(error of a negative - error of the positive), squared distances (DeftRec)."""
    drawn, excluded = _draw(items, options)
    positive = items.errors(x0_hat, items.latents[items.targets, None])  # [N, 1]
    negative = items.errors(x0_hat, items.latents[drawn])  # [N, M]
    losses = F.softplus(positive - negative).masked_fill(excluded, 0)
    if items.weights is not None:
        losses = losses * items.weights[:, None]
    return losses.sum() / (~excluded).sum().clamp_min(1)


def preference(x0_hat: Tensor, items: NextItems, options: ObjectiveOptions) -> Tensor:
    """-log sigmoid((error of the negatives' centroid - error of the positive) / temperature), cosine errors.

    PreferDiff, Liu et al. 2025.
    """
    drawn, excluded = _draw(items, options)
    centroid = items.latents[drawn].masked_fill(excluded[..., None], 0).mean(1)
    positive = 1 - F.cosine_similarity(x0_hat, items.latents[items.targets], dim=-1)
    negative = 1 - F.cosine_similarity(x0_hat, centroid, dim=-1)
    return items.mean(F.softplus((positive - negative) / options.temperature))


def softmax(x0_hat: Tensor, items: NextItems, options: ObjectiveOptions) -> Tensor:
    """Softmax over all candidates: -log softmax of -squared distance / (2 temperature).

    If the candidates are a sample of the catalogue, each logit is corrected by its log probability of being sampled
    (logQ, Bengio and Senecal 2008). Without it, popular items would be penalised for being sampled often.
    """
    bias = -items.latents.square().sum(-1) / (2 * options.temperature)  # constant for unit latents
    if items.log_q is not None:
        bias = bias - items.log_q
    seen = items.seen if options.mask_seen else None
    return chunked_cross_entropy(
        x0_hat / options.temperature, items.latents, bias, items.targets, seen, weights=items.weights
    )


def disliked(x0_hat: Tensor, items: NextItems, options: ObjectiveOptions) -> Tensor:
    """-log sigmoid((similarity of the target - similarity of an item that the user dislikes) / temperature), scalar.

    Mean over all pairs of a target and a disliked item; 0 where there is none.
    """
    assert items.disliked is not None, "some user dislikes something"
    others = items.latents[items.disliked.clamp_min(0)]  # [N, M, D]
    there = (items.disliked != PADDING) & (items.disliked != items.targets[:, None])
    right = (x0_hat * items.latents[items.targets]).sum(-1, keepdim=True)
    wrong = (x0_hat[:, None] * others).sum(-1)  # [N, M]
    losses = F.softplus((wrong - right) / options.temperature).masked_fill(~there, 0)
    return losses.sum() / there.sum().clamp_min(1)


NEGATIVES: dict[str, NegativeTerm] = {"pairwise": pairwise, "preference": preference, "softmax": softmax}


def _draw(items: NextItems, options: ObjectiveOptions) -> tuple[Tensor, Tensor]:
    """Random candidates `[N, M]` int64, and a mask of those that are targets or seen `[N, M]`."""
    N, C = len(items.targets), len(items.latents)
    drawn = torch.randint(C, (N, options.negatives_per_target), device=items.targets.device)
    excluded = drawn == items.targets[:, None]
    if options.mask_seen:
        rows = torch.arange(N, device=drawn.device)[:, None]
        excluded |= torch.isin(rows * C + drawn, items.seen[:, 0] * C + items.seen[:, 1])
    return drawn, excluded
