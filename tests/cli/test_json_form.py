"""`--json` prints and `--json-file FILE` writes, in every verb."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from calling import Call

from deftrec.cli import app
from deftrec.cli.console import give


def verbs(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every verb with its path."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path, command
    for name, one in (inner or {}).items():
        yield from verbs(one, (*path, name))


def test_all_verbs_have_the_same_form() -> None:
    found = {
        path: {name: one for one in verb.params for name in one.opts}
        for path, verb in verbs(typer.main.get_command(app))
    }
    json_verbs = {path for path, options in found.items() if "--json" in options}
    assert {("evaluate",), ("recommend",), ("train",), ("data", "list"), ("items", "add")} <= json_verbs
    for path in json_verbs:
        assert found[path]["--json"].is_flag, path
        assert not found[path]["--json-file"].is_flag, path
    assert {path for path, options in found.items() if "--json-file" in options} == json_verbs


@pytest.mark.parametrize(
    "words",
    [
        ["evaluate", "{run}"],
        ["similar", "{run}", "--item", "i/101"],
        ["recommend", "{run}", "--history", "i/101"],
        ["data", "describe", "{data}"],
        ["data", "list"],
        ["options", "retrieval"],
        ["doctor", "nano"],
    ],
)
def test_the_file_holds_what_is_printed(deftrec: Call, data: Path, run: Path, tmp_path: Path, words: list[str]) -> None:
    words = [word.format(run=run, data=data) for word in words]
    both = deftrec(*words, "--json", "--json-file", tmp_path / "both.json")
    assert json.loads(both.out) == json.loads((tmp_path / "both.json").read_text(encoding="utf-8"))
    written = deftrec(*words, "--json-file", tmp_path / "file.json")
    assert json.loads((tmp_path / "file.json").read_text(encoding="utf-8")) == json.loads(both.out)
    assert written.out, "text is printed too"
    assert not written.out.startswith(("{", "["))


def test_numbers_that_json_lacks_are_null(capsys: pytest.CaptureFixture[str]) -> None:
    assert give({"a": float("nan"), "b": [float("inf"), 1.5]}, as_json=True, file=None)
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None, 1.5]}


@pytest.mark.parametrize("old", [["--json", "{tmp}/x.json"], ["--json={tmp}/x.json"]])
@pytest.mark.parametrize("verb", [["evaluate", "{run}"], ["similar", "{run}", "--item", "i/101"], ["data", "list"]])
def test_the_old_spelling_is_told_the_new_one(
    deftrec: Call, run: Path, tmp_path: Path, verb: list[str], old: list[str]
) -> None:
    said = deftrec(*(word.format(run=run, tmp=tmp_path) for word in [*verb, *old]))
    assert said.code == 2
    assert f"--json takes no value and prints to stdout: write --json-file {tmp_path}/x.json (" in said.err
    assert not (tmp_path / "x.json").exists()


def test_a_dash_is_told_too(deftrec: Call, run: Path) -> None:
    assert (
        "--json takes no value and prints to stdout: write --json alone ("
        in deftrec("evaluate", run, "--json", "-").err
    )
    assert "--json takes no value" not in deftrec("evaluate", run, "another", "--json").err
