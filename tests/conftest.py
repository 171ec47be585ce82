"""Shared by all tests."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from hub import Hub, serving

# The same examples on every machine, and no failure because a machine is busy.
settings.register_profile("deftrec", deadline=None, derandomize=True)
settings.load_profile("deftrec")
# Tiny tensors, and two workers on two cores: a second thread only costs, here and in the processes that tests start.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.pop("COLUMNS", None)  # pytest-xdist sets it: terminals of 80 columns
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving(tmp_path / "cache", monkeypatch) as served:
        yield served


def pytest_configure(config: pytest.Config) -> None:
    # Tests ask for fp32 on purpose: their references are exact.
    config.addinivalue_line("filterwarnings", "ignore:training in fp32 leaves this machine's bf16")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep a file's tests in one process, except pages of the documentation: long, independent, so they start first."""
    for item in items:
        page = item.name if item.path.name == "test_readme.py" else ""
        item.add_marker(pytest.mark.xdist_group(f"{item.path}{page}"))
    items.sort(key=lambda item: item.path.name != "test_readme.py")  # stable
