"""`deftrec reason` on a tiny run, and on one without a reasoner."""

import sys
from pathlib import Path

import pytest
from calling import Call

from deftrec import Recommender
from reasoned import fit, forget, speak_up
from toy import ring


@pytest.fixture(scope="module")
def reasoned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reasoned")
    fit(folder, ring(users=60))
    speak_up(folder / "run")
    return folder / "run"


def test_it_stores_what_is_missing(deftrec: Call, reasoned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forget(reasoned)
    first, everybody = (len({tuple(one[-4:]) for one in list(ring(users=60).sequences)[:n]}) for n in (20, 60))
    monkeypatch.setattr(sys.modules["deftrec.cli.reason"], "BATCH", 8)  # the package has the verb under this name
    said = deftrec("reason", reasoned, "--users", 20, "--no-statements")
    assert said.code == 0, said.err
    assert said.out == f"{reasoned}: reasoning of 20 users is stored; {first} states computed now\n"
    assert "states 20 in" in said.err
    said = deftrec("reason", reasoned)
    assert said.code == 0, said.err
    made = f"{everybody - first} states and {everybody} statements computed now"
    assert said.out == f"{reasoned}: reasoning of 60 users is stored; {made}\n"
    assert deftrec("reason", reasoned).out.endswith("; 0 states and 0 statements computed now\n")

    loaded = Recommender.load(reasoned)
    assert loaded.run.reasoning is not None
    loaded.run.reasoning.wait = False
    histories = list(loaded.interactions.sequences)
    added = loaded.residuals(histories)
    assert added is not None
    assert added.flatten(1).any(1).all()
    assert len(loaded.run.reasoning.store) == everybody


def test_a_run_without_a_reasoner_is_told_how_to_get_one(deftrec: Call, run: Path) -> None:
    said = deftrec("reason", run)
    assert said.code == 1
    assert said.err.splitlines()[-1] == (
        f"error: {run}: this run has no reasoner; train one with 'deftrec train --recipe deftrec'"
    )


@pytest.mark.parametrize(
    "given",
    [
        ("--engine", "openai"),
        ("--engine", "openai", "--model", "m"),
        ("--base-url", "http://localhost/v1"),
        ("--model", "m"),
    ],
)
def test_a_server_needs_its_address_and_a_model(deftrec: Call, reasoned: Path, given: tuple[str, ...]) -> None:
    said = deftrec("reason", reasoned, *given)
    assert said.code == 1
    assert "--engine openai needs --base-url and --model, which no other engine has" in said.err


def test_a_server_that_is_down_leaves_the_store_as_it_was(deftrec: Call, reasoned: Path) -> None:
    forget(reasoned)
    down = ("--engine", "openai", "--base-url", "http://127.0.0.1:9/v1", "--model", "m")
    said = deftrec("reason", reasoned, "--users", 4, *down)
    assert said.code == 1
    assert "http://127.0.0.1:9/v1: cannot be reached" in said.err.splitlines()[-1]
    loaded = Recommender.load(reasoned)
    assert loaded.run.reasoning is not None
    assert {loaded.run.reasoning.store.get(one[-4:]).text for one in loaded.interactions.sequences} == {None}
