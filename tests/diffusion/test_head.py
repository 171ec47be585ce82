"""The denoiser and the head around it."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from deftrec.config import DiffusionOptions, ObjectiveOptions
from deftrec.diffusion import DiffusionHead, NextItems, Objective, Sampling
from deftrec.diffusion.denoiser import Denoiser, time_features
from deftrec.diffusion.head import EPS_START

D = 6


def make_head(trained: bool = False, **options: Any) -> DiffusionHead:
    """A head; `trained` gives every weight a random value, as nothing is zero after training."""
    head = DiffusionHead(D, DiffusionOptions(width=16, depth=2, **options))
    if trained:
        for parameter in head.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return head


def test_the_denoiser_starts_at_zero_and_learns() -> None:
    denoiser = Denoiser(D, 16, 2)
    x, t, condition = torch.randn(7, D), torch.rand(7), torch.randn(7, D)
    out = denoiser(x, t, condition)
    assert out.shape == (7, D)
    assert torch.equal(out, torch.zeros(7, D))
    out.sum().backward()
    assert denoiser.leave.bias.grad is not None
    assert denoiser.leave.bias.grad.abs().min() > 0


def test_a_trained_denoiser_reads_everything_it_is_given() -> None:
    denoiser = make_head(trained=True).denoiser
    inputs = (torch.randn(7, D), torch.rand(7), torch.randn(7, D))
    for place in range(3):
        changed = list(inputs)
        changed[place] = torch.rand_like(inputs[place])
        assert (denoiser(*inputs) != denoiser(*changed)).any(1).all()


@pytest.mark.parametrize("width", [8, 9])
def test_time_features_tell_times_apart(width: int) -> None:
    features = time_features(torch.linspace(0, 1, 101), width)
    assert features.shape == (101, width)
    assert torch.cdist(features, features).fill_diagonal_(1).min() > 0.01


def test_at_first_the_condition_itself_is_the_answer() -> None:
    x, t, condition = torch.randn(5, D), torch.rand(5), torch.randn(5, D)
    torch.testing.assert_close(make_head().denoise(x, t, condition), F.normalize(condition, dim=-1))


def test_latents_have_unit_norm() -> None:
    head = make_head(trained=True)
    out = head.denoise(torch.randn(5, D), torch.rand(5), torch.randn(5, D))
    torch.testing.assert_close(out.norm(dim=-1), torch.ones(5))
    torch.testing.assert_close(head.item_latents(torch.randn(3, D).half()).norm(dim=-1), torch.ones(3))


def test_noise_has_the_norm_of_a_latent() -> None:
    head = DiffusionHead(64, DiffusionOptions())
    noise = head._noise(2000, torch.device("cpu"))
    assert noise.square().sum(-1).mean() == pytest.approx(1, abs=0.02)


def test_the_predicted_noise_gives_back_x0() -> None:
    head = make_head(prediction="eps")
    x0, noise = F.normalize(torch.randn(9, D), dim=-1), torch.randn(9, D) * D**-0.5
    t = torch.linspace(0, EPS_START, 9)
    head.denoiser.forward = lambda x, t, condition: noise  # type: ignore[method-assign]
    x = head.schedule.corrupt(x0, noise, t)
    torch.testing.assert_close(head.denoise(x, t, torch.zeros(9, D)), x0, atol=1e-4, rtol=1e-4)
    assert head.denoise(noise, torch.ones(9), torch.zeros(9, D)).isfinite().all()  # t = 1: no signal to divide by


@pytest.mark.parametrize("prediction", ["x0", "eps"])
def test_no_gradient_reaches_the_latents_that_are_to_be_found(prediction: str) -> None:
    head = make_head(trained=True, prediction=prediction, pure_noise_share=0.0)
    latents, condition = torch.randn(5, D, requires_grad=True), torch.randn(5, D, requires_grad=True)
    head.training_pair(latents, condition).square().sum(-1).sub(0.5).abs().sum().backward()
    assert latents.grad is None
    assert condition.grad is not None


def test_the_share_of_pure_noise() -> None:
    def pair(share: float, latents: Tensor) -> Tensor:
        torch.manual_seed(4)
        return make_head(trained=True, pure_noise_share=share).training_pair(latents, torch.ones(400, D))

    left, right = F.normalize(torch.randn(400, D), dim=-1), F.normalize(torch.randn(400, D), dim=-1)
    assert torch.equal(pair(1.0, left), pair(1.0, right))  # nothing of the latent is left
    same = (pair(0.75, left) == pair(0.75, right)).all(1).float().mean()
    assert same == pytest.approx(0.75, abs=0.08)
    assert not (pair(0.0, left) == pair(0.0, right)).all(1).any()


def test_conditions_are_dropped_one_by_one_and_in_training_only() -> None:
    head = make_head(condition_dropout=0.3)
    assert head.empty is not None
    with torch.no_grad():
        head.empty.fill_(1.0)
    condition = -torch.ones(1000, D)
    out = head.training_pair(torch.randn(1000, D), condition).sum(-1)  # at first: the condition, normalised
    assert (out > 0).float().mean() == pytest.approx(0.3, abs=0.05)
    sampling = Sampling("ddim", 1, 0, 0.0)
    assert (head.generate(condition, sampling).x0 < 0).all()


def next_items(rows: int = 40, items: int = 9) -> NextItems:
    seen = torch.tensor([[row, item] for row in range(rows) for item in (row % items, (row + 2) % items)])
    targets = (torch.arange(rows) + 1) % items
    return NextItems(
        torch.randn(rows, D), torch.arange(items), F.normalize(torch.randn(items, D), dim=-1), targets, seen, None
    )


def test_the_loss_is_the_sum_of_its_parts() -> None:
    head, objective = make_head(trained=True), Objective(ObjectiveOptions())
    losses = head.losses(next_items(), objective)
    assert set(losses) == {"loss", "error", "negatives"}
    torch.testing.assert_close(losses["loss"], 0.2 * losses["error"] + losses["negatives"])
    losses["loss"].backward()
    assert all(parameter.grad is not None for parameter in head.parameters())


@pytest.mark.parametrize("scale", [0.0, 0.5, 2.0])
def test_guidance_leaves_the_empty_condition_behind(scale: float) -> None:
    head = make_head(condition_dropout=0.1)
    assert head.empty is not None
    torch.nn.init.normal_(head.empty)
    condition = torch.randn(5, D)
    found = head.generate(condition, Sampling("ddim", 1, 0, scale)).x0
    unit, blind = F.normalize(condition, dim=-1), F.normalize(head.empty, dim=-1)
    torch.testing.assert_close(found, F.normalize((1 + scale) * unit - scale * blind, dim=-1))


WAYS = [
    Sampling(sampler, steps, samples, scale)
    for sampler, steps, (samples, scale) in itertools.product(
        ("ddim", "ddpm"), (1, 4), ((0, 0.0), (0, 0.5), (1, 0.0), (3, 0.5))
    )
]


@pytest.mark.parametrize("prediction", ["x0", "eps"])
@pytest.mark.parametrize("sampling", WAYS, ids=str)
@torch.no_grad()
def test_a_row_does_not_depend_on_its_batch(sampling: Sampling, prediction: str) -> None:
    head = make_head(trained=True, condition_dropout=0.1, prediction=prediction)
    condition = torch.randn(6, D)

    def generate(rows: Tensor) -> Tensor:
        return head.generate(rows, sampling, torch.Generator().manual_seed(5)).x0

    together = generate(condition)
    assert together.shape == (6, D)
    torch.testing.assert_close(together.norm(dim=-1), torch.ones(6))
    for n in range(6):
        torch.testing.assert_close(generate(condition[n : n + 1])[0], together[n], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(generate(condition.flip(0)).flip(0), together, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_starts_differ_and_draws_are_averaged() -> None:
    head, condition = make_head(trained=True), torch.randn(4, D)

    def generate(samples: int, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return head.generate(condition, Sampling("ddim", 2, samples, 0.0), generator).x0

    assert torch.equal(generate(0, 0), generate(0, 1))  # from the mean of the noise
    assert not torch.equal(generate(1, 0), generate(1, 1))
    spread = [torch.stack([generate(s, seed) for seed in range(20)]).std(0).mean() for s in (1, 16)]
    assert spread[1] < spread[0] / 2


@torch.no_grad()
def test_the_path_ends_where_the_sample_is() -> None:
    head, condition = make_head(trained=True), torch.randn(4, D)
    for samples in (0, 1, 3):
        sample = head.generate(condition, Sampling("ddim", 5, samples, 0.0, keep_path=True))
        assert sample.path is not None
        assert sample.path.shape == (5, 4, D)
        torch.testing.assert_close(F.normalize(sample.path[-1], dim=-1), sample.x0)
    assert head.generate(condition, Sampling("ddim", 5, 1, 0.0)).path is None
