"""Intervals cover what they should, and comparisons do not depend on who is called first."""

import numpy as np
import pytest
import torch

from deftrec.evaluation import intervals
from deftrec.evaluation.intervals import bootstrap_interval, paired_bootstrap, paired_over_seeds


def test_intervals_cover_the_true_mean_about_95_times_of_100() -> None:
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(300):
        low, high = bootstrap_interval(torch.from_numpy(rng.random(200) < 0.3).double(), samples=400)
        covered += low <= 0.3 <= high
    # Binomial(300, .95) lies within 272..298 with probability .998.
    assert 272 <= covered <= 298


def test_width_is_that_of_the_standard_error() -> None:
    values = torch.randn(4000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    low, high = bootstrap_interval(values, samples=4000)
    assert (high - low) / 2 == pytest.approx(1.96 * float(values.std()) / 4000**0.5, rel=0.06)
    assert low < float(values.mean()) < high


def test_a_seed_decides_the_interval_and_chunks_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.rand(500, generator=torch.Generator().manual_seed(2))
    one = bootstrap_interval(values, seed=5)
    assert bootstrap_interval(values, seed=5) == one
    assert bootstrap_interval(values, seed=6) != one
    monkeypatch.setattr(intervals, "_CHUNK", 7 * 500)
    assert bootstrap_interval(values, seed=5) == pytest.approx(one, abs=1e-12)


def test_equal_values_have_an_interval_of_no_width() -> None:
    assert bootstrap_interval(torch.full((9,), 0.25)) == (0.25, 0.25)


@pytest.mark.parametrize("values", [torch.zeros(0), torch.tensor([1.0, torch.nan]), torch.zeros(2, 2)])
def test_values_without_a_mean_are_refused(values: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="one finite value for each of at least one user"):
        bootstrap_interval(values)


def test_grouping_close_values_hides_nothing() -> None:
    values = torch.rand(20_000, generator=torch.Generator().manual_seed(6), dtype=torch.float64) ** 8
    assert len(intervals._distinct(values.numpy())[0]) <= 4097
    low, high = bootstrap_interval(values, samples=4000)
    assert (high - low) / 2 == pytest.approx(1.96 * float(values.std()) / 20_000**0.5, rel=0.05)
    assert (low + high) / 2 == pytest.approx(float(values.mean()), abs=(high - low) / 20)


@pytest.mark.parametrize(("users", "levels"), [(300, 3), (9000, 10**9)])  # the second is grouped
def test_exchanging_the_systems_exchanges_the_signs_exactly(users: int, levels: int) -> None:
    generator = torch.Generator().manual_seed(4)
    first = torch.randint(0, levels + 1, (users,), generator=generator).double() / levels
    second = torch.randint(0, levels + 1, (users,), generator=generator).double() / levels
    there, back = paired_bootstrap(first, second), paired_bootstrap(second, first)
    assert back.difference == -there.difference
    assert back.p == there.p
    assert (-back.ci95[1], -back.ci95[0]) == pytest.approx(there.ci95, abs=1e-15)


def test_a_real_difference_is_found_and_none_is_not() -> None:
    generator = torch.Generator().manual_seed(8)
    base = torch.rand(2000, generator=generator)
    better = paired_bootstrap(base + 0.02 + 0.01 * torch.randn(2000, generator=generator), base)
    assert better.difference == pytest.approx(0.02, abs=0.002)
    assert better.ci95[0] > 0
    assert better.p == pytest.approx(2 / 1001)
    same = paired_bootstrap(base, base)
    assert (same.difference, same.ci95, same.p) == (0.0, (0.0, 0.0), 1.0)


def test_pairing_matters() -> None:
    """Users differ far more than systems do: what the paired test finds, two separate intervals would not."""
    generator = torch.Generator().manual_seed(9)
    base = torch.rand(500, generator=generator)
    other = base + 0.01
    low, high = bootstrap_interval(base)
    assert low < float(other.mean()) < high
    assert paired_bootstrap(other, base).p < 0.01


def test_p_is_uniform_enough_when_there_is_no_difference() -> None:
    rng = np.random.default_rng(10)
    found = sum(
        paired_bootstrap(torch.from_numpy(rng.random(100)), torch.from_numpy(rng.random(100)), samples=300).p < 0.05
        for _ in range(300)
    )
    assert 4 <= found <= 30  # 15 expected


def test_paired_values_need_the_same_users() -> None:
    with pytest.raises(ValueError, match="paired values need the same users"):
        paired_bootstrap(torch.zeros(3), torch.zeros(4))


def test_seeds_are_averaged_before_users_are_paired() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = (list(torch.rand(seeds, 50, generator=generator, dtype=torch.float64)) for seeds in (3, 1))
    found = paired_over_seeds(first, second)
    assert found == paired_bootstrap(torch.stack(first).mean(0), second[0])
    assert (found.first, found.second) == (pytest.approx(sum(first).mean() / 3), pytest.approx(second[0].mean()))
    assert found.difference == pytest.approx(found.first - found.second)
