"""Samplers against the `diffusers` package, and against what they should generate."""

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from torch import Tensor

from deftrec.diffusion import DDIMSampler, DDPMSampler
from deftrec.diffusion.sampler import SAMPLERS
from deftrec.diffusion.schedule import SCHEDULES, NoiseSchedule

GRID = 1000
EVERY_SCHEDULE = pytest.mark.parametrize("schedule", [kind() for kind in SCHEDULES.values()], ids=SCHEDULES)
EVERY_SAMPLER = pytest.mark.parametrize("name", SAMPLERS)


def betas(schedule: NoiseSchedule) -> list[float]:
    """Our schedule as `diffusers` takes one: index n stands for the time (n + 1) / 1000."""
    left = schedule.alpha(torch.arange(GRID + 1, dtype=torch.float64) / GRID).square()
    return (1 - left[1:] / left[:-1]).tolist()


def network(x: Tensor, t: float) -> Tensor:
    """Some denoiser: smooth, and different at every time."""
    weight = torch.linspace(-1, 1, x.shape[-1] ** 2, dtype=x.dtype).reshape(x.shape[-1], -1)
    return torch.tanh(x @ weight * (0.5 + t)) + 0.3 * t


def run_oracle(
    oracle: DDIMScheduler | DDPMScheduler, steps: int, noise: Tensor, generator: torch.Generator
) -> tuple[Tensor, list[Tensor]]:
    """What `diffusers` generates, and its x after every step."""
    oracle.set_timesteps(steps)
    x, path = noise, []
    for timestep in oracle.timesteps:
        x0 = network(x, (int(timestep) + 1) / GRID)
        x = oracle.step(x0, int(timestep), x, generator=generator).prev_sample
        path.append(x0)
    return x, path


@EVERY_SCHEDULE
@pytest.mark.parametrize("steps", [1, 2, 5, 50])
def test_ddim_is_that_of_diffusers(schedule: NoiseSchedule, steps: int) -> None:
    oracle = DDIMScheduler(
        num_train_timesteps=GRID,
        trained_betas=betas(schedule),
        clip_sample=False,
        prediction_type="sample",  # at zero signal only x0 can be predicted: noise says nothing of it
        timestep_spacing="trailing",
    )
    noise = torch.randn(4, 3, 6)
    expected, path = run_oracle(oracle, steps, noise, torch.Generator())
    ours = DDIMSampler(schedule, steps).sample(network, noise, keep_path=True)
    assert ours.path is not None
    assert len(ours.path) == len(path) == steps
    torch.testing.assert_close(ours.path, torch.stack(path), atol=2e-4, rtol=2e-4)
    torch.testing.assert_close(ours.x0, expected, atol=2e-4, rtol=2e-4)


@EVERY_SCHEDULE
@pytest.mark.parametrize("steps", [1, 2, 5, 50])
def test_ddpm_is_that_of_diffusers(schedule: NoiseSchedule, steps: int) -> None:
    oracle = DDPMScheduler(
        num_train_timesteps=GRID,
        trained_betas=betas(schedule),
        clip_sample=False,
        prediction_type="sample",
        timestep_spacing="trailing",
    )
    noise = torch.randn(1, 3, 6)  # one row: ours shares its draws between rows
    expected, path = run_oracle(oracle, steps, noise, torch.Generator().manual_seed(3))
    ours = DDPMSampler(schedule, steps).sample(network, noise, torch.Generator().manual_seed(3), keep_path=True)
    assert ours.path is not None
    torch.testing.assert_close(ours.path, torch.stack(path), atol=5e-4, rtol=5e-4)
    torch.testing.assert_close(ours.x0, expected, atol=5e-4, rtol=5e-4)


@EVERY_SCHEDULE
def test_ddpm_draws_have_the_variance_of_the_noise(schedule: NoiseSchedule) -> None:
    x, x0 = torch.randn(2, 3, 4), torch.randn(2, 3, 4)

    def step(variance: float) -> Tensor:
        sampler = DDPMSampler(schedule, 10, noise_variance=variance)
        return sampler.step(x, x0, 0.7, 0.4, torch.Generator().manual_seed(0))

    mean = step(0.0)
    torch.testing.assert_close(step(0.25) - mean, (step(1.0) - mean) / 2)
    torch.testing.assert_close((step(1.0) - mean)[0], (step(1.0) - mean)[1])  # rows share their draws


@EVERY_SAMPLER
@pytest.mark.parametrize("start", [1.0, 0.98])
def test_times_fall_evenly_and_never_reach_zero(name: str, start: float) -> None:
    for steps in (1, 3, 100):
        times = SAMPLERS[name](SCHEDULES["cosine"](), steps, start).times()
        assert len(times) == steps
        assert times[0] == start
        assert all(later > earlier for later, earlier in pairwise(times))
        assert times[-1] == pytest.approx(start / steps)


@EVERY_SAMPLER
@EVERY_SCHEDULE
@pytest.mark.parametrize("steps", [1, 7])
def test_a_denoiser_that_knows_the_answer_is_believed(name: str, schedule: NoiseSchedule, steps: int) -> None:
    answer = torch.randn(5, 1, 4)
    sampler = SAMPLERS[name](schedule, steps, noise_variance=0.25)
    found = sampler.sample(lambda x, t: answer.expand_as(x), torch.randn(5, 2, 4), torch.Generator().manual_seed(0))
    assert torch.equal(found.x0, answer.expand(5, 2, 4))


@pytest.mark.parametrize("name", ["ddim", "ddpm"])
@EVERY_SCHEDULE
def test_an_ideal_denoiser_gives_back_the_distribution(name: str, schedule: NoiseSchedule) -> None:
    """Latents N(m, v) under noise of variance 1 / D have a linear ideal denoiser, so all can be computed."""
    dim, mean, variance = 4, torch.tensor([1.0, -1.0, 0.5, 0.0]), 0.09

    def ideal(x: Tensor, t: float) -> Tensor:
        alpha = float(schedule.alpha(torch.tensor(t, dtype=torch.float64)))
        gain = alpha * variance / (alpha**2 * variance + (1 - alpha**2) / dim)
        return mean + gain * (x - alpha * mean)

    noise = torch.randn(1, 8000, dim) * dim**-0.5
    sampler = SAMPLERS[name](schedule, 200, noise_variance=1 / dim)
    found = sampler.sample(ideal, noise, torch.Generator().manual_seed(0)).x0[0]
    torch.testing.assert_close(found.mean(0), mean, atol=0.02, rtol=0)
    torch.testing.assert_close(found.var(0), torch.full((dim,), variance), atol=0, rtol=0.08)


@pytest.mark.parametrize("steps", [2, 9])
def test_draws_come_from_the_generator_alone(steps: int) -> None:
    def draw(seed: int, make: Callable[..., DDPMSampler | DDIMSampler]) -> Tensor:
        noise = torch.ones(2, 3, 4)
        return make(SCHEDULES["cosine"](), steps).sample(network, noise, torch.Generator().manual_seed(seed)).x0

    state = torch.get_rng_state()
    assert torch.equal(draw(1, DDPMSampler), draw(1, DDPMSampler))
    assert not torch.equal(draw(1, DDPMSampler), draw(2, DDPMSampler))
    assert torch.equal(draw(1, DDIMSampler), draw(2, DDIMSampler))
    assert torch.equal(state, torch.get_rng_state())
