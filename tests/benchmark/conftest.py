"""Shared by the tests of the benchmark: toy data, a request, and systems of known worth."""

import pytest
from benchmark_fakes import FakeSystem, oracle

from deftrec.benchmark import Request
from deftrec.benchmark.machine import versions
from deftrec.data import Interactions
from toy import ring, tiny_config


@pytest.fixture
def interactions() -> Interactions:
    return ring(users=80)


@pytest.fixture
def request_(interactions: Interactions) -> Request:
    return Request(
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
