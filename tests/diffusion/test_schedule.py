"""Noise schedules: variance preserving, nothing left at the end, and the linear one as `diffusers` rescales it."""

import math

import pytest
import torch
from diffusers import DDIMScheduler
from hypothesis import given
from hypothesis import strategies as st

from deftrec.diffusion.schedule import SCHEDULES, NoiseSchedule

EVERY = pytest.mark.parametrize("schedule", [kind() for kind in SCHEDULES.values()], ids=SCHEDULES)


@EVERY
@given(times=st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_signal_and_noise_share_one_variance(schedule: NoiseSchedule, times: list[float]) -> None:
    t = torch.tensor(times, dtype=torch.float64)
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    torch.testing.assert_close(alpha.square() + sigma.square(), torch.ones_like(t))
    assert alpha.min() >= 0
    assert alpha.max() <= 1
    assert alpha.shape == t.shape


@EVERY
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ends_are_exact(schedule: NoiseSchedule, dtype: torch.dtype) -> None:
    ends = torch.tensor([0.0, 1.0], dtype=dtype)
    assert schedule.alpha(ends).tolist() == [1.0, 0.0]
    assert schedule.sigma(ends).tolist() == [0.0, 1.0]


@EVERY
def test_signal_falls_all_the_way(schedule: NoiseSchedule) -> None:
    t = torch.linspace(0, 1, 1001, dtype=torch.float64)
    assert (schedule.alpha(t).diff() < 0).all()
    assert (schedule.sigma(t).diff() > 0).all()


@EVERY
def test_corruption_mixes_row_by_row(schedule: NoiseSchedule) -> None:
    x0, noise = torch.randn(3, 5), torch.randn(3, 5)
    x = schedule.corrupt(x0, noise, torch.tensor([0.0, 0.5, 1.0]))
    assert torch.equal(x[0], x0[0])
    assert torch.equal(x[2], noise[2])
    alpha = float(schedule.alpha(torch.tensor(0.5)))
    torch.testing.assert_close(x[1], alpha * x0[1] + math.sqrt(1 - alpha**2) * noise[1])


def test_cosine_walks_the_circle_at_constant_speed() -> None:
    schedule, t = SCHEDULES["cosine"](), torch.linspace(0, 1, 11, dtype=torch.float64)
    angles = torch.atan2(schedule.sigma(t), schedule.alpha(t))
    torch.testing.assert_close(angles, t * math.pi / 2)


def test_linear_is_what_diffusers_makes_of_linear_betas() -> None:
    oracle = DDIMScheduler(
        num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02, beta_schedule="linear", rescale_betas_zero_snr=True
    )
    t = torch.arange(1, 1001, dtype=torch.float64) / 1000
    ours = SCHEDULES["linear"]().alpha(t)
    # Ours is continuous in time, theirs a product of 1000 steps: they may differ by one step.
    torch.testing.assert_close(ours, oracle.alphas_cumprod.double().sqrt(), atol=1e-3, rtol=0)
    assert oracle.alphas_cumprod[-1] == 0
