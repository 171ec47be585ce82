"""Shared by the tests of data."""

from pathlib import Path

import pytest
from flaky_server import served

__all__ = ["served"]


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test touches the user's cache."""
    monkeypatch.setenv("DEFTREC_HOME", str(tmp_path / "home"))
