"""The objective against formulas written by hand."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from deftrec.config import ObjectiveOptions
from deftrec.diffusion import NextItems, Objective

N, C, D = 6, 9, 4


@dataclass(frozen=True, eq=False)
class Denoised:
    """Denoised latents and what the objective compares them with; see `NextItems`."""

    x0_hat: Tensor
    latents: Tensor
    targets: Tensor
    seen: Tensor
    log_q: Tensor | None


def case(unit: bool = True, seen: Tensor | None = None) -> Denoised:
    x0_hat, latents = torch.randn(N, D), torch.randn(C, D)
    if unit:
        x0_hat, latents = F.normalize(x0_hat, dim=-1), F.normalize(latents, dim=-1)
    none = torch.zeros(0, 2, dtype=torch.int64)
    return Denoised(
        x0_hat.requires_grad_(),
        latents.requires_grad_(),
        torch.randint(C, (N,)),
        none if seen is None else seen,
        None,
    )


def objective(**options: Any) -> Callable[[Denoised], dict[str, Tensor]]:
    loss = Objective(ObjectiveOptions(**options))

    def of(case: Denoised) -> dict[str, Tensor]:
        candidates = torch.arange(len(case.latents))
        items = NextItems(case.x0_hat, candidates, case.latents, case.targets, case.seen, case.log_q)
        return loss(case.x0_hat, items)

    return of


def drawn(denoised: Denoised, count: int, seed: int) -> list[list[int]]:
    """The negatives that the objective draws from this random state, without those that are the target."""
    torch.manual_seed(seed)
    places = torch.randint(C, (N, count)).tolist()
    return [[p for p in row if p != int(t)] for row, t in zip(places, denoised.targets, strict=True)]


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def error(x: Tensor, z: Tensor) -> float:
    return sum((a - b) ** 2 for a, b in zip(x.tolist(), z.tolist(), strict=True))


def mean_error(denoised: Denoised) -> float:
    pairs = zip(denoised.x0_hat.detach(), denoised.latents.detach()[denoised.targets], strict=True)
    return sum(error(x, z) for x, z in pairs) / N


def test_none_is_the_weighted_error_alone() -> None:
    denoised = case(unit=False)
    parts = objective(negatives="none", error_weight=0.3)(denoised)
    assert set(parts) == {"loss", "error"}
    assert parts["error"].item() == pytest.approx(mean_error(denoised), rel=1e-5)
    assert parts["loss"].item() == pytest.approx(0.3 * mean_error(denoised), rel=1e-5)


def test_pairwise_compares_squared_errors() -> None:
    denoised = case(unit=False)
    negatives = drawn(denoised, 16, seed=2)
    terms = [
        math.log1p(math.exp(error(x, denoised.latents[t]) - error(x, denoised.latents[n])))
        for x, t, row in zip(denoised.x0_hat, denoised.targets, negatives, strict=True)
        for n in row
    ]
    assert len(terms) < 16 * N  # some draws hit the target, and do not count
    torch.manual_seed(2)
    parts = objective(negatives="pairwise", negatives_per_target=16)(denoised)
    assert parts["negatives"].item() == pytest.approx(sum(terms) / len(terms), rel=1e-4)
    assert parts["loss"].item() == pytest.approx(0.2 * mean_error(denoised) + sum(terms) / len(terms), rel=1e-4)


def test_preference_compares_cosines_with_the_centroid() -> None:
    denoised = case(unit=False)
    negatives = drawn(denoised, 12, seed=3)
    terms = []
    for x, t, row in zip(denoised.x0_hat, denoised.targets, negatives, strict=True):
        centroid = denoised.latents[row].mean(0)
        margin = F.cosine_similarity(x, denoised.latents[t], dim=0) - F.cosine_similarity(x, centroid, dim=0)
        terms.append(math.log1p(math.exp(-margin.item() / 0.5)))
    torch.manual_seed(3)
    parts = objective(negatives="preference", negatives_per_target=12, temperature=0.5)(denoised)
    assert parts["negatives"].item() == pytest.approx(sum(terms) / N, rel=1e-4)


@pytest.mark.parametrize("unit", [True, False])
def test_softmax_is_over_errors_to_every_item(unit: bool) -> None:
    denoised = case(unit)
    temperature = 0.4
    errors = (denoised.x0_hat[:, None] - denoised.latents).square().sum(-1)
    expected = -(-errors / (2 * temperature)).log_softmax(1).gather(1, denoised.targets[:, None]).mean()
    parts = objective(temperature=temperature)(denoised)
    torch.testing.assert_close(parts["negatives"], expected)


def test_seen_items_are_no_negatives_where_asked() -> None:
    seen = torch.tensor([[0, 1], [0, 2], [3, 5]])
    denoised = case(seen=seen)
    denoised.targets.fill_(8)
    logits = denoised.x0_hat @ denoised.latents.T / 0.07
    masked = logits.index_put((seen[:, 0], seen[:, 1]), torch.tensor(-torch.inf))
    torch.testing.assert_close(objective()(denoised)["negatives"], F.cross_entropy(masked, denoised.targets))
    without = objective(mask_seen=False)(denoised)["negatives"]
    torch.testing.assert_close(without, F.cross_entropy(logits, denoised.targets))


@pytest.mark.parametrize("negatives", ["pairwise", "preference"])
def test_seen_items_are_not_drawn_either(negatives: str) -> None:
    """All items but the target and one other are seen: whatever is drawn, that one is the only negative."""
    denoised = case()
    other = (denoised.targets + 1) % C
    rows, places = torch.cartesian_prod(torch.arange(N), torch.arange(C)).T
    seen = (places != denoised.targets[rows]) & (places != other[rows])
    masked = replace(denoised, seen=torch.stack([rows[seen], places[seen]], 1))
    term = objective(negatives=negatives, negatives_per_target=500)(masked)["negatives"]
    pairs = zip(denoised.x0_hat.detach(), denoised.targets.tolist(), other.tolist(), strict=True)
    z = denoised.latents.detach()
    if negatives == "pairwise":
        wanted = [softplus(error(x, z[t]) - error(x, z[o])) for x, t, o in pairs]
        assert term.item() == pytest.approx(sum(wanted) / N, rel=0.05)  # as often drawn for one row as for another
    else:
        cosine = F.cosine_similarity
        wanted = [softplus(float(cosine(x, z[o], dim=0) - cosine(x, z[t], dim=0)) / 0.07) for x, t, o in pairs]
        assert term.item() == pytest.approx(sum(wanted) / N, rel=1e-4)


def test_no_gradient_reaches_the_latents_through_the_error() -> None:
    denoised = case()
    objective(negatives="none")(denoised)["loss"].backward()
    assert denoised.latents.grad is None
    assert denoised.x0_hat.grad is not None
    for negatives in ("pairwise", "preference", "softmax"):
        gradients = []
        for weight in (0.0, 50.0):
            torch.manual_seed(0)
            one = case()
            objective(negatives=negatives, error_weight=weight)(one)["loss"].backward()
            assert one.latents.grad is not None
            assert one.latents.grad.abs().sum() > 0
            gradients.append(one.latents.grad)
        torch.testing.assert_close(gradients[0], gradients[1])


def test_a_corrected_sample_stands_for_the_catalogue() -> None:
    """Items are kept by chance; with logQ the mean gradient is that of the whole catalogue, without it is not."""
    items, rows = 300, 40
    latents, x0_hat = F.normalize(torch.randn(items, 8), dim=-1), F.normalize(torch.randn(rows, 8), dim=-1)
    targets = torch.randint(20, (rows,))
    chance = torch.where(torch.arange(items) < 20, 1.0, torch.rand(items) * 0.7 + 0.1)
    none = torch.zeros(0, 2, dtype=torch.int64)
    loss = objective(temperature=0.3, error_weight=0.0)

    def run(keep: Tensor, log_q: Tensor | None) -> tuple[float, Tensor]:
        query = x0_hat.clone().requires_grad_()
        value = loss(Denoised(query, latents[keep], targets, none, log_q))["loss"]
        value.backward()
        assert query.grad is not None
        return value.item(), query.grad

    full, gradient = run(torch.arange(items), None)
    samples = [(torch.rand(items) < chance).nonzero()[:, 0] for _ in range(300)]
    corrected = [run(keep, chance[keep].log()) for keep in samples]
    plain = [run(keep, None) for keep in samples]

    def distance(runs: list[tuple[float, Tensor]]) -> float:
        mean = torch.stack([one for _, one in runs]).mean(0)
        return float((mean - gradient).norm() / gradient.norm())

    assert sum(value for value, _ in corrected) / len(samples) == pytest.approx(full, rel=0.01)
    assert distance(corrected) < 0.05
    assert sum(value for value, _ in plain) / len(samples) < 0.9 * full
    assert distance(plain) > 2 * distance(corrected)
