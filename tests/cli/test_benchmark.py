"""`deftrec benchmark` as a script would call it."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from calling import TINY, Call

from deftrec import Interactions
from deftrec.benchmark import systems
from deftrec.benchmark.machine import UncommittedChanges
from deftrec.cli.benchmark import DEFAULTS
from deftrec.cli.options import command_line
from deftrec.errors import DeftRecError


@pytest.fixture(autouse=True)
def _clean_checkout() -> Iterator[None]:
    """Tests run from any checkout, also from one with uncommitted changes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("deftrec.benchmark.harness.uncommitted_changes", lambda: None)
        yield


CLASSIC = ["--models", "popularity,item-knn", "--seeds", "1"]


@pytest.fixture
def peers_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """No environment is made, and every peer fails with a reason."""

    def fail(*_: object, **__: object) -> None:
        raise DeftRecError("there is no registry")

    monkeypatch.setattr(systems, "run_peer", fail)


def test_everything_from_data_to_report(
    deftrec: Call, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With real peers, in the environment that `tests/evaluation/test_peers.py` uses too."""
    monkeypatch.undo()  # the home of a test of its own would be without any environment
    out = tmp_path / "report"
    words = ["benchmark", "--data", data, "--out", out, *CLASSIC, *TINY]
    said = deftrec(*words)
    assert said.code == 0, said.err
    assert {file.name for file in out.iterdir()} == {
        "README.md",
        "index.html",
        "results.json",
        "results-train-keep.json",
        "results-refit-exclude.json",
        "results-refit-keep.json",
        "work",
    }
    result = json.loads((out / "results.json").read_text())
    assert (result["dataset"], result["fit"], result["seen"]) == ("ring", "train", "exclude")
    names = {row["name"] for row in result["models"]}
    assert names == {"deftrec", "deftrec/latent", "deftrec/collaborative_prior", "popularity", "item-knn"}
    assert result["command"].startswith(f"deftrec benchmark --data {data} --out {out} --models popularity,item-knn")
    assert "--seeds" not in result["command"], "a default is left out"
    for name in names:
        assert said.out.count(f"  {name} ") == 4
    assert said.out.count("times the NDCG@10 of the best peer, item-knn") == 4
    assert "[3/3] item-knn" in said.err
    again = deftrec(*words, "--json")
    assert again.code == 0
    assert again.err.count("finished before") == 3
    assert json.loads(again.out)["models"] == result["models"]


def test_a_failure_is_an_exit_code_and_the_rest_is_reported(
    deftrec: Call, data: Path, tmp_path: Path, peers_fail: None
) -> None:
    one = ["--fit", "train", "--seen", "exclude", "--budget", "2"]
    said = deftrec("benchmark", "--data", data, "--out", tmp_path / "r", "--models", "ease,lightgcn", *one, *TINY)
    assert said.code == 1
    assert said.err.splitlines()[-1] == "error: ease, seed 0 could not be measured: there is no registry"
    result = json.loads((tmp_path / "r" / "results.json").read_text())
    assert {row["name"] for row in result["models"]} >= {"deftrec", "lightgcn"}
    assert result["budget_minutes"] == 2
    assert "Not measured" in (tmp_path / "r" / "index.html").read_text()
    assert "  lightgcn " in said.out


def test_a_row_of_ones_own(deftrec: Call, data: Path, tmp_path: Path, peers_fail: None) -> None:
    whole = Interactions.load(data)
    frame = pl.DataFrame({"user": whole.users, "item": [whole.history(user)[-1] for user in whole.users], "score": 1.0})
    frame.write_parquet(tmp_path / "mine.parquet")
    one = ["--fit", "train+validation", "--seen", "keep", "--rankings", f"mine={tmp_path / 'mine.parquet'}"]
    said = deftrec("benchmark", "--data", data, "--out", tmp_path / "r", "--models", "deftrec", *one, *TINY)
    assert said.code == 0, said.err
    assert "best peer, mine (rankings from a file, with an unknown fit)" in " ".join(said.out.split())
    result = json.loads((tmp_path / "r" / "results.json").read_text())
    assert (result["fit"], result["seen"]) == ("train+validation", "keep")
    assert next(row for row in result["models"] if row["name"] == "mine")["metrics"]["hr@10"] == 1


def test_clones_are_dropped_on_demand(deftrec: Call, data: Path, tmp_path: Path, peers_fail: None) -> None:
    whole = Interactions.load(data)
    clones = pl.DataFrame(
        [(f"clone {n}", item, time) for n in range(12) for time, item in enumerate(whole.history(whole.users[0]))],
        schema=["user", "item", "time"],
        orient="row",
    )
    events = pl.concat([whole.events(), clones.with_columns(pl.col("time").cast(whole.events()["time"].dtype))])
    Interactions.from_frame(events, meta=whole.meta).save(tmp_path / "data")
    one = ["--fit", "train", "--seen", "exclude", "--models", "lightgcn", "--without-clones"]
    said = deftrec("benchmark", "--data", tmp_path / "data", "--out", tmp_path / "r", *one, *TINY)
    assert said.code == 0, said.err
    assert "13 clones dropped of 72 users" in said.err
    result = json.loads((tmp_path / "r" / "results.json").read_text())
    assert result["users"] == 59
    assert "10 users or more" in result["data"]["filters"]["clones"]
    said = deftrec("benchmark", "--data", tmp_path / "data", "--out", tmp_path / "r", *one[:-1], *TINY)
    assert "holds another benchmark (it is of other data)" in said.err


def test_uncommitted_changes_need_consent(
    deftrec: Call, data: Path, tmp_path: Path, peers_fail: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = UncommittedChanges(tmp_path, "+a = 2\n", ())
    monkeypatch.setattr("deftrec.benchmark.harness.uncommitted_changes", lambda: changes)
    words = ["benchmark", "--data", data, "--out", tmp_path / "r", "--models", "lightgcn"]
    words += ["--fit", "train", "--seen", "exclude", *TINY]
    said = deftrec(*words)
    assert said.code == 1
    assert "has uncommitted changes" in said.err.splitlines()[-1]
    said = deftrec(*words, "--allow-dirty")
    assert said.code == 0, said.err
    result = json.loads((tmp_path / "r" / "results.json").read_text())
    assert (tmp_path / "r" / result["uncommitted"]).read_text() == "+a = 2\n"
    assert result["command"].endswith("--allow-dirty")


def test_ctrl_c_says_how_to_go_on(deftrec: Call, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(systems.DeftRecSystem, "run", interrupted)
    said = deftrec("benchmark", "--data", data, "--out", tmp_path / "r", *TINY)
    assert said.code == 130
    assert said.err.splitlines()[-1] == "interrupted; the same command continues with the unfinished work"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--models", "popularity,itemknn"], "no model is called 'itemknn'; did you mean 'item-knn'?"),
        (["--seeds", "0"], "0 seeds: a benchmark needs 1 or more"),
        (["--budget", "0"], "a budget of 0 minutes is not positive"),
        (["--rankings", "mine"], "write NAME=FILE"),
        (["--rankings", "mine=absent.parquet"], "no such file"),
        (["--rankings", "mine=x", "--rankings", "mine=y"], "another file has that name"),
        (["--rankings", "ease=x.parquet"], "a system has that name"),
        (["--recipe", "nanoo"], "no recipe 'nanoo'"),
        (["--set", "training.epoch=1"], "did you mean 'training.epochs'?"),
        (["--data", "{tmp}/absent"], "no interactions.parquet; make a data directory with"),
        (["--out", "{data}"], "not empty, and no benchmark that could continue"),
        (["--split", "temporal"], "no temporal split"),
    ],
)
def test_errors_are_one_line_and_come_before_any_training(
    deftrec: Call, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.setattr(systems.DeftRecSystem, "run", lambda *_: pytest.fail("nothing is to be trained"))
    if words == ["--split", "temporal"]:
        whole = Interactions.load(data)
        Interactions.from_frame(whole.events(), meta=whole.meta.model_copy(update={"times": "position"})).save(
            tmp_path / "untimed"
        )
        words = [*words, "--data", str(tmp_path / "untimed")]
    given = [word.format(data=data, tmp=tmp_path) for word in words]
    said = deftrec("benchmark", "--data", data, "--out", tmp_path / "r", *given)
    assert said.code == 1
    assert message in said.err.splitlines()[-1]
    assert said.err.splitlines()[-1].startswith("error: ")
    assert not (tmp_path / "r").exists()


def test_without_matplotlib_the_tables_are_shown(
    deftrec: Call, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    one = ["--fit", "train", "--seen", "keep", "--models", "lightgcn"]
    said = deftrec("benchmark", "--data", data, "--out", tmp_path / "r", *one, *TINY)
    assert said.code == 0
    assert 'no page: drawing the report needs matplotlib: pip install "deftrec[report]"' in said.err
    assert "  lightgcn " in said.out
    assert (tmp_path / "r" / "README.md").is_file()


def test_the_command_can_be_repeated() -> None:
    folders = {"data": Path("my data"), "out": Path("out")}
    options = {"models": None, "seeds": 3, "budget": 2.5, "set": ["a.b=1", "c=2"], "fit": "both"}
    assert command_line("benchmark", DEFAULTS, **folders, **options, without_clones=True) == (
        "deftrec benchmark --data 'my data' --out out --seeds 3 --budget 2.5 --set a.b=1 --set c=2 --without-clones"
    )
    assert command_line("train", {}, seed=0, refit=False) == "deftrec train --seed 0"
