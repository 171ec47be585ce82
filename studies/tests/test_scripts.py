"""The smaller studies run from end to end on a toy run, and print a row for every setting."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from studies import beyond_accuracy, cold_start_bonus, faithfulness, lists, rationale, sampling_steps, search

from deftrec import Recommender
from toy import checkerboard, ring, tiny_bert, tiny_config

FAST = {"training": {"epochs": 2}, "collaborative": {"epochs": 2}}
Script = Callable[..., str]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("script") / "run"
    Recommender.fit(ring(users=60), tiny_config(**FAST, diffusion={"condition_dropout": 0.1}), out=folder)
    return folder


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Script:
    """Calls the `main` of a script with words of a command line; what it prints."""

    def call(main: Callable[[], None], *words: object) -> str:
        monkeypatch.setattr(sys, "argv", ["script", *map(str, words)])
        main()
        return capsys.readouterr().out

    return call


def test_sampling_steps(script: Script, run: Path) -> None:
    lines = script(sampling_steps.main, run, "--steps", 1, 2).splitlines()
    rows = [line.split() for line in lines[3:]]
    assert [tuple(row[:3]) for row in rows] == [
        (sampler, str(samples), steps) for sampler, samples in sampling_steps.WAYS for steps in "12"
    ]
    assert rows[0][3:] == [*rows[0][3:4], "+0.0000", "1.000"]  # the run's own sampling


def test_beyond_accuracy(script: Script, run: Path) -> None:
    lines = script(beyond_accuracy.main, run, "--guidance", 0, 0.5, "--popularity", 1).splitlines()
    rows = [[float(cell) for cell in line.split()] for line in lines[2:]]
    assert [row[:2] for row in rows] == [[0, 0], [0.5, 0], [0, 1]]
    assert rows[2][5] >= rows[0][5], "subtracting popularity makes lists more novel"


def test_faithfulness(script: Script, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faithfulness, "SHORTEST", 4)
    assert "10 users, 3 items removed; the rank was 1" in script(faithfulness.main, run, "--users", 10)
    monkeypatch.setattr(faithfulness, "SHORTEST", 40)
    with pytest.raises(SystemExit, match="no test user has a history of 40 items"):
        script(faithfulness.main, run)


def test_rationale_of_a_run_without_one(script: Script, run: Path) -> None:
    shown = script(rationale.main, run)
    assert "latent" in shown
    assert "category named" not in shown


def test_the_price_of_a_bonus(script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cold_start_bonus, "BONUSES", (0.0, 50.0))
    ring(users=60).save(tmp_path / "data")
    bert = tiny_bert(tmp_path / "bert")
    recipe = tmp_path / "tiny.yaml"
    options = tiny_config(**FAST, text={"model": str(bert)}, retrieval={"prior": "none"})
    recipe.write_text(options.model_dump_json())
    lines = script(cold_start_bonus.main, "--data", tmp_path / "data", "--recipe", recipe).splitlines()
    first, last = (line.split() for line in lines[-2:])
    assert float(last[1]) >= float(first[1])
    assert float(last[-1]) < float(first[-1]), "with an endless bonus unseen items come before all seen ones"


def test_lists_against_the_last_ten_items(script: Script, tmp_path: Path) -> None:
    data = checkerboard(users=24, items=80, length=30)
    data.save(tmp_path / "data")
    (tmp_path / "tiny.yaml").write_text(tiny_config(**FAST).model_dump_json())
    words = ["--data", tmp_path / "data", "--recipe", tmp_path / "tiny.yaml", "--out", tmp_path / "out", "--seeds", 1]
    shown = script(lists.main, *words)
    assert "checkerboard: 24 users, 1 seeds" in shown
    rows = json.loads((tmp_path / "out" / "lists.json").read_text())["rows"]
    assert {row["name"] for row in rows} == {"none", "auto", *(f"mmr {s}" for s in ("0.25", "0.5", "1", "2"))} | {
        f"dpp {s}" for s in ("0.25", "0.5", "1")
    }, "without categories nothing is calibrated"
    plain = next(row for row in rows if (row["part"], row["name"]) == ("test", "none"))
    assert (plain["recall"]["difference"], plain["recall"]["p"]) == (0, 1)
    # Ten of the 20 items of the user's colour that are not in the history are the held-out ones.
    assert 0.3 < plain["recall"]["mean"] < 0.8
    assert script(lists.main, *words) == shown, "finished seeds are read"
    cut = lists.shortened(data, np.arange(3))
    assert cut.sequences.lengths.tolist() == [10] * 3 + [30] * 21
    assert [cut.sequences[n].tolist() for n in (0, 5)] == [data.sequences[0][:10].tolist(), data.sequences[5].tolist()]


def test_a_search_continues_its_log(script: Script, tmp_path: Path) -> None:
    ring(users=60).save(tmp_path / "data")
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(tiny_config(**FAST).model_dump_json())
    words = ["--data", tmp_path / "data", "--recipe", recipe, "--log", tmp_path / "log.jsonl"]
    words += ["--shared", tmp_path / "shared"]
    script(search.main, *words, "--trials", 1)
    [first] = search.read_log(tmp_path / "log.jsonl")
    tried = {key: first["options"][f"language.{key}"] for key in ("width", "layers")}
    assert tried == {"width": 64, "layers": 1}, "the point of the space that is nearest to the recipe comes first"
    assert first["options"]["training.learning_rate"] == 6e-3
    script(search.main, *words, "--trials", 1)
    assert search.read_log(tmp_path / "log.jsonl") == [first]
