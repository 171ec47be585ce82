"""Shared by the tests of the command line: toy data and a tiny trained run."""

from pathlib import Path

import polars as pl
import pytest
from calling import COMMA, HOSTILE, TINY, Call, Said

from deftrec.cli import main
from deftrec.data import Interactions, Meta
from toy import ring


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEFTREC_HOME", str(tmp_path / "home"))


@pytest.fixture(autouse=True)
def _no_baselines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings measure none, as their environment would be installed first; `test_baselines.py` has its own."""
    monkeypatch.setattr("deftrec.cli.baselines.BASELINES", {})


@pytest.fixture
def deftrec(capsys: pytest.CaptureFixture[str]) -> Call:
    def call(*arguments: object) -> Said:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return Said(code, *capsys.readouterr())

    return call


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy ring under ids with spaces and a comma, and titles that would be markup anywhere."""
    events = ring(users=60, strings=True).events()
    events = events.with_columns(pl.col("item").replace("i/100", COMMA))
    names = events["item"].unique().sort()
    titles = pl.Series([HOSTILE.format(n, n) for n in range(len(names))])
    items = pl.DataFrame({"item": names, "title": titles, "category": "red|old"})
    folder = tmp_path_factory.mktemp("data") / "ring"
    Interactions.from_frame(events, items, meta=Meta(name="ring")).save(folder)
    return folder


@pytest.fixture(scope="session")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "ring"
    assert main(["train", "--data", str(data), "--out", str(folder), "--no-baselines", *TINY]) == 0
    return folder
