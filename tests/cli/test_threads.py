"""Threads: the user's number, else the fastest of a probe; an interrupted run keeps its own."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from calling import Call

from deftrec import Config, Interactions, hardware
from deftrec.cli.threads import VARIABLE, settle_threads
from deftrec.progress import Silent
from deftrec.run import Request, begin_run


@pytest.fixture(autouse=True)
def _free(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No number of threads is given, and the one of the tests comes back."""
    monkeypatch.delenv(VARIABLE)
    yield
    torch.set_num_threads(1)


def found(monkeypatch: pytest.MonkeyPatch, rates: dict[int, float]) -> None:
    monkeypatch.setattr(hardware, "rates_by_threads", lambda: rates)


def test_fewer_threads_are_chosen_where_they_are_faster(
    deftrec: Call, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found(monkeypatch, {2: 13e9, 1: 42e9})
    said = deftrec("similar", run, "--item", "i/101")
    line = "computing with 1 of 2 threads, the fastest beside other work (GFLOP/s by threads: 2: 13, 1: 42); "
    assert line + "--threads N sets it" in said.err
    assert (torch.get_num_threads(), os.environ[VARIABLE]) == (1, "1")


def test_all_threads_are_said_to_the_verbose_only(deftrec: Call, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found(monkeypatch, {2: 80e9, 1: 42e9})
    assert "threads" not in deftrec("similar", run, "--item", "i/101").err
    assert (torch.get_num_threads(), os.environ[VARIABLE]) == (2, "2")
    monkeypatch.delenv(VARIABLE)
    assert "computing with 2 threads" in deftrec("--verbose", "similar", run, "--item", "i/101").err


@pytest.mark.parametrize("place", [0, 1, 4])
def test_the_users_number_wins(deftrec: Call, run: Path, place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    found(monkeypatch, {2: 13e9, 1: 42e9})
    words = ["similar", str(run), "--item", "i/101"]
    said = deftrec(*words[:place], "--threads", 2, *words[place:])
    assert (said.code, torch.get_num_threads(), os.environ[VARIABLE]) == (0, 2, "2")
    assert "threads" not in said.err
    monkeypatch.setenv(VARIABLE, "1")
    torch.set_num_threads(1)
    assert "threads" not in deftrec(*words).err
    assert torch.get_num_threads() == 1
    assert deftrec(*words, "--threads=0").code == 2


def test_an_interrupted_run_goes_on_with_its_number(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert json.loads((run / "request.json").read_text())["threads"] == 1, "as the training of these tests had"
    found(monkeypatch, {4: 80e9, 2: 42e9, 1: 1e9})
    (tmp_path / "request.json").write_text('{"threads": 3}')
    settle_threads(Silent(), tmp_path)
    assert (torch.get_num_threads(), os.environ[VARIABLE]) == (3, "3")
    monkeypatch.delenv(VARIABLE)
    (tmp_path / "request.json").write_text("{}")  # of an older version
    settle_threads(Silent(), tmp_path)
    assert torch.get_num_threads() == 4


def test_another_number_does_not_hinder_a_resumption(data: Path, tmp_path: Path) -> None:
    interactions = Interactions.load(data)
    request = Request(config=Config(), fingerprint=interactions.fingerprint, refit=False)
    assert request.threads == 1
    begin_run(tmp_path / "run", request, interactions, resume=False)
    begin_run(tmp_path / "run", request.model_copy(update={"threads": 8}), interactions, resume=True)


def test_the_probe_measures_all_halves_down_to_one() -> None:
    torch.set_num_threads(6)
    rates = hardware.rates_by_threads(side=32, seconds=0.001)
    assert list(rates) == [6, 3, 1]
    assert all(rate > 0 for rate in rates.values())
    assert torch.get_num_threads() == 6
