"""Frozen weights in fp32 on every machine: references are exact."""

from collections.abc import Iterator

import pytest

from deftrec.reasoning import build


@pytest.fixture(autouse=True, scope="session")
def _fp32() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "multiplies_bf16", lambda device: False)
        yield
