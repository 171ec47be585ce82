"""Errors are one line on stderr and an exit code; help has an example; the start is quick."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from calling import TINY, Call

from deftrec import Interactions
from deftrec.recipe import shipped_recipes

VERBS = [
    "train",
    "update",
    "evaluate",
    "recommend",
    "similar",
    "benchmark",
    "doctor",
    "demo",
    "serve",
    "mcp",
    "api-key",
]


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_an_example(deftrec: Call, verb: str) -> None:
    said = deftrec(verb, "--help")
    assert said.code == 0
    assert f"Example: deftrec {verb}" in said.out


def test_help_and_version_of_all(deftrec: Call) -> None:
    from deftrec import __version__

    for words in ([], ["--help"]):
        said = deftrec(*words)
        assert said.code == 0
        assert all(verb in said.out for verb in [*VERBS, "data"])
    assert __version__ in deftrec("--version").out
    assert deftrec("data").code == 2


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["recommend", "{run}", "--user", "nobody"], 1, "user 'nobody' is not among the 60 users"),
        (["recommend", "{run}", "--history", "i/101,nothing"], 1, "item 'nothing' (number 2 of the list)"),
        (["recommend", "{run}", "--history", '"i/101'], 1, "not a comma-separated list"),
        (["recommend", "{run}"], 1, "give one of --user ID, --history A,B,C, --users FILE and --all-users"),
        (["recommend", "{run}", "--user", "u", "--all-users"], 1, "give one of"),
        (["recommend", "{run}", "--user", "u", "--out", "{tmp}/x.csv"], 1, "give --all-users or --users FILE"),
        (["recommend", "{run}", "--user", "u", "-k", "0"], 2, "-k"),
        (["recommend", "{run}", "--history", "nothing"], 1, "a new item is added to a run with 'deftrec items add'"),
        (
            ["recommend", "{run}", "--all-users", "--out", "{tmp}/all.xlsx"],
            1,
            "name a file .parquet, .csv or .jsonl, or a directory of parts",
        ),
        (["similar", "{run}", "--item", "nothing"], 1, "error: item 'nothing' is not in the catalogue of ring\n"),
        (
            ["evaluate", "{tmp}/absent"],
            1,
            "no run.json; give the directory of a run, which training wrote to --out",
        ),
        (["evaluate", "{tmp}/absent", "--rankings", "x"], 1, "no run.json"),
        (["evaluate", "{run}", "--rankings", "{tmp}/absent.parquet"], 1, "no such file"),
        (["evaluate", "{run}", "--split", "training"], 2, "--split"),
        (["--threads", str(2**40), "evaluate", "{run}"], 2, "less than or equal to 1024"),
        (["similar", "{run}", "--item", "i/101", "--json-file", "{tmp}"], 1, "is a directory; name a file, such as"),
        (["similar", "{run}", "--item", "i/101", "--json-file", ""], 1, ".: is a directory; name a file, such as"),
        (["evaluate", "{run}", "--split"], 2, "requires an argument (deftrec evaluate --help says more)"),
        (["data", "import", "x", "--to"], 2, "(deftrec data import --help says more)"),
        (["--to"], 2, "(deftrec --help says more)"),
        (["train", "--data", "{data}", "--out", "{run}"], 1, "not empty"),
        (["train", "--data", "{data}", "--out", "{tmp}/r", "--set", "training.epoch=3"], 1, "'training.epochs'"),
        (["train", "--data", "{data}", "--out", "{tmp}/r", "--set", "training.epochs"], 1, "write key=value"),
        (["train", "--data", "{data}", "--out", "{tmp}/r", "--set", "training.epochs=-1"], 1, "training.epochs"),
        (
            ["train", "--data", "{data}", "--out", "{tmp}/r", "--recipe", "nanoo"],
            1,
            ", ".join(shipped_recipes()),
        ),
        (["train", "--data", "{tmp}/absent", "--out", "{tmp}/r"], 1, "no interactions.parquet"),
        (["train", "--out", "{tmp}/r"], 2, "--data"),
        (["doctor", "nanoo"], 1, "no recipe 'nanoo'"),
        (["doctor", "{tmp}"], 1, "no config.json; give the directory of a run, or a recipe"),
        (["doctor", "{run}", "--data", "{data}"], 1, "a run has its own data and options; leave out --data and --set"),
        (["doctor", "nano", "--items", "0"], 2, "--items"),
        (["doctor", "nano", "--items", "9" * 20], 2, "--items"),
        (["recommend", "{run}", "--history", "i/101", "--seed", "9" * 30], 2, "--seed"),
        (["trian"], 2, "'train'"),
        (["demo", "--out", "{data}", "--force"], 1, "is no run, so --force does not remove it"),
    ],
)
def test_an_error_is_one_line(
    deftrec: Call, words: list[str], code: int, message: str, run: Path, data: Path, tmp_path: Path
) -> None:
    said = deftrec(*(word.format(run=run, data=data, tmp=tmp_path) for word in words))
    assert said.code == code
    *_, last = said.err.splitlines(keepends=True)
    assert last.startswith("error: ")
    assert message in last
    assert "Traceback" not in said.err
    assert said.out == ""
    assert data.is_dir()


def test_a_start_that_fails_does_not_block_the_corrected_command(deftrec: Call, data: Path, tmp_path: Path) -> None:
    timed = Interactions.load(data)
    replace(timed, meta=timed.meta.model_copy(update={"times": "position"})).save(tmp_path / "data")
    words = ["train", "--data", tmp_path / "data", "--out", tmp_path / "run", *TINY]
    assert "temporal" in deftrec(*words, "--set", "data.split=temporal").err
    assert not (tmp_path / "run").exists()
    assert deftrec(*words).code == 0


def test_an_unfinished_run_says_how_to_go_on(deftrec: Call, tmp_path: Path) -> None:
    (tmp_path / "request.json").write_text("{}")
    assert "training was not finished" in deftrec("evaluate", tmp_path).err


@pytest.mark.parametrize("place", [0, 1, 4])
def test_debug_shows_where_wherever_it_stands(deftrec: Call, run: Path, place: int) -> None:
    words = ["similar", str(run), "--item", "nothing"]
    said = deftrec(*words[:place], "--debug", *words[place:])
    assert said.code == 1
    assert "Traceback" in said.err
    assert "item_numbers" in said.err


def test_an_unexpected_error_is_one_line_that_names_debug(
    deftrec: Call, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("of\nnothing")

    monkeypatch.setattr(sys.modules["deftrec.cli.train"], "measure", broken)
    said = deftrec("train", "--data", data, "--out", tmp_path / "r", *TINY)
    assert said.code == 1
    assert said.err.splitlines()[-1] == "error: unexpected ZeroDivisionError: of nothing (--debug shows where)"


def test_ctrl_c_says_how_to_go_on_and_that_works(
    deftrec: Call, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deftrec.training.stages import JointStage

    validate = JointStage.validate

    def interrupted(self: JointStage) -> dict[str, float]:
        raise KeyboardInterrupt

    monkeypatch.setattr(JointStage, "validate", interrupted)
    out = tmp_path / "my run"
    said = deftrec("train", "--data", data, "--out", out, *TINY, "--seed", 3)
    assert said.code == 130
    last = said.err.splitlines()[-1]
    assert last.startswith("interrupted; go on with: deftrec train --data ")
    assert last.endswith("--seed 3 --resume")
    assert f"'{out}'" in last
    monkeypatch.setattr(JointStage, "validate", validate)
    assert deftrec("train", "--data", data, "--out", out, *TINY, "--seed", 3, "--resume").code == 0
    assert (out / "run.json").is_file()


def test_ctrl_c_elsewhere_is_one_word(deftrec: Call, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from deftrec import Recommender

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Recommender, "similar", interrupted)
    said = deftrec("similar", run, "--item", "i/101")
    assert said.code == 130
    assert said.err.splitlines()[-1] == "interrupted"


@pytest.mark.parametrize("words", [["--help"], ["data", "list"], ["train", "--help"]])
def test_the_start_does_not_wait_for_torch(words: list[str]) -> None:
    code = (
        "import sys; from deftrec.cli import main; code = main(sys.argv[1:]); "
        "heavy = {'torch', 'transformers', 'matplotlib'} & set(sys.modules); "
        "sys.exit(f'loaded {heavy}' if heavy else code)"
    )
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, env={**os.environ})
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - started < 5, "well under a second on a machine at rest"
