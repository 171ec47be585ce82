"""`deftrec requests`, and `deftrec recommend --request`."""

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from calling import Call

from deftrec import Interactions, Recommender
from deftrec.errors import ConfigError
from deftrec.requests import ReadRequest, RequestReader
from toy import ring
from worded import fitted

COLOURS = ("red", "green", "blue")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has not learnt to read requests, every third of its items of one colour."""
    data = ring(users=60)
    items = data.catalogue.with_columns(category=pl.Series([COLOURS[n % 3] for n in range(data.n_items)]))
    folder = tmp_path_factory.mktemp("asked")
    fitted(folder, Interactions.from_frame(data.events(), items, meta=data.meta))
    return folder / "run"


@pytest.fixture
def asked(bare: Path, tmp_path: Path, deftrec: Call) -> Path:
    run = tmp_path / "run"
    shutil.copytree(bare, run)
    said = deftrec("requests", run)
    assert said.code == 0, said.err
    assert "validation NDCG@10 under category requests: " in said.out
    assert f"deftrec recommend {run} --user ID --request WORDS" in " ".join(said.out.split())
    return run


def test_a_request_changes_the_list_and_says_how_it_was_read(deftrec: Call, asked: Path) -> None:
    user = Interactions.load(asked / "data").users[0]
    plain = json.loads(deftrec("recommend", asked, "--user", user, "-k", 5, "--json").out)
    said = deftrec("recommend", asked, "--user", user, "-k", 5, "--request", "red, no blue", "--guidance", 4, "--json")
    assert said.code == 0, said.err
    found = json.loads(said.out)
    assert (found["request"], found["understood"]) == ("red, no blue", ["wanted: red (red)", "excluded: category blue"])
    assert "request" not in plain
    assert [one["item"] for one in found["recommendations"]] != [one["item"] for one in plain["recommendations"]]
    shown = deftrec("recommend", asked, "--user", user, "--request", "red, no blue", "--explain").out
    assert "request: wanted: red (red); excluded: category blue" in shown
    assert "request " in shown.split("influenced by")[1]


@pytest.mark.parametrize("words", [["--user", "u"], ["--history", ""], ["--all-users"]])
def test_a_request_is_read_once(deftrec: Call, asked: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    read, times = RequestReader.read, list[str]()

    def counted(self: RequestReader, text: str, guidance: float = 1.0) -> ReadRequest:
        times.append(text)
        return read(self, text, guidance)

    monkeypatch.setattr(RequestReader, "read", counted)
    user = str(Interactions.load(asked / "data").users[0])
    said = deftrec("recommend", asked, *(user if one == "u" else one for one in words), "--request", "red, no blue")
    assert said.code == 0, said.err
    assert times == ["red, no blue"]


@pytest.mark.parametrize(
    ("text", "guidance"), [(1, 1.0), (["red"], 1.0), ("red", "x"), ("red", float("nan")), ("red", True)]
)
def test_a_request_is_a_text_and_its_weight_a_number(asked: Path, text: Any, guidance: Any) -> None:
    with pytest.raises(ConfigError, match=r"(request|guidance) is .*; give a (text|number)"):
        Recommender.load(asked).recommend(history=[], request=text, guidance=guidance)


def test_a_request_alone_is_a_search(deftrec: Call, asked: Path) -> None:
    said = deftrec("recommend", asked, "--request", "green", "-k", 3, "--json")
    assert said.code == 0, said.err
    catalogue = Interactions.load(asked / "data").catalogue
    green = set(catalogue.filter(category="green")["item"])
    assert {one["item"] for one in json.loads(said.out)["recommendations"]} <= green


def test_everybody_gets_what_is_asked_for(deftrec: Call, asked: Path) -> None:
    user = Interactions.load(asked / "data").users[0]
    words = ["--request", "something green", "--guidance", "3", "-k", "2"]
    said = deftrec("recommend", asked, "--all-users", "--format", "jsonl", *words)
    rows = [json.loads(line) for line in said.out.splitlines()]
    alone = json.loads(deftrec("recommend", asked, "--user", user, *words, "--json").out)["recommendations"]
    assert [row["item"] for row in rows if row["user"] == user] == [one["item"] for one in alone]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--user", "U", "--request", ""), "the request has no words"),
        (("--user", "U", "--request", "red, no red"), "wants 'red' and does not want it"),
        (("--user", "U", "--request", "red", "--guidance", 9), "guidance is 9"),
        (("--all-users", "--out", "parts", "--request", "red"), "a directory of parts takes all users and no --titles"),
        (("--user", "U", "--request", "red", "--continue", 3), "--continue lists items one after the other"),
    ],
)
def test_what_cannot_be_read_is_refused(
    deftrec: Call, asked: Path, arguments: tuple[object, ...], message: str
) -> None:
    user = Interactions.load(asked / "data").users[0]
    said = deftrec("recommend", asked, *(user if one == "U" else one for one in arguments))
    assert said.code == 1
    assert message in said.err


def test_a_run_that_has_not_learnt_says_how(deftrec: Call, bare: Path) -> None:
    said = deftrec("recommend", bare, "--history", "", "--request", "red")
    assert said.code == 1
    assert "deftrec requests RUN" in said.err
