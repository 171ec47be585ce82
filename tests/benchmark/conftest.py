"""Shared by the tests of the benchmark: toy data, a request, and systems of known worth."""

from collections.abc import Iterator

import pytest
from benchmark_fakes import FakeSystem, oracle

from deftrec.benchmark import BenchmarkRequest
from deftrec.benchmark.machine import versions
from deftrec.data import Interactions
from toy import ring, tiny_config


@pytest.fixture(autouse=True)
def _clean_checkout() -> Iterator[None]:
    """Tests run from any checkout, also from one with uncommitted changes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("deftrec.benchmark.harness.uncommitted_changes", lambda: None)
        yield


@pytest.fixture
def interactions() -> Interactions:
    return ring(users=80)


@pytest.fixture
def request_(interactions: Interactions) -> BenchmarkRequest:
    return BenchmarkRequest(
        data=interactions.fingerprint,
        split="leave-one-out",
        fits=("train",),
        seens=("exclude",),
        budget_minutes=None,
        config=tiny_config(),
        versions=versions(),
    )


@pytest.fixture
def systems(interactions: Interactions) -> list[FakeSystem]:
    return [
        FakeSystem("deftrec", oracle(interactions, 0.7), parts=["deftrec/latent"]),
        FakeSystem("strong", oracle(interactions, 0.4)),
        FakeSystem("weak", oracle(interactions, 0.1), seeds_matter=False),
    ]
