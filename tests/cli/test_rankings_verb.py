"""`deftrec recommend` for many users: who they are, the formats of the rows, and the rules of the lists."""

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from calling import COMMA, Call

from deftrec import Interactions, Recommender

USERS = ["u 1000", "u 1007", "u 1003"]


def rows_of(text: str, form: str) -> list[dict[str, Any]]:
    """The rows of CSV or JSON lines, ranks and scores as numbers."""
    read = csv.DictReader(io.StringIO(text)) if form == "csv" else map(json.loads, text.splitlines())
    return [{**row, "rank": int(row["rank"]), "score": float(row["score"])} for row in read]


@pytest.mark.parametrize("form", ["csv", "jsonl"])
@pytest.mark.parametrize("place", ["stdout", "suffix", "named"])
def test_rows_of_everybody(
    deftrec: Call, run: Path, tmp_path: Path, form: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deftrec.list_making.USERS_AT_ONCE", 25)  # one header, whatever the chunks
    out = tmp_path / (f"all.{form}" if place == "suffix" else "all")
    words = [] if place == "stdout" else ["--out", out]
    words += [] if place == "suffix" else ["--format", form]
    said = deftrec("recommend", run, "--all-users", "-k", 3, "--titles", *words)
    assert said.code == 0, said.err
    if place != "stdout":
        assert said.out == f"{out}: up to 3 items for each of 60 users\n"
    rows = rows_of(said.out if place == "stdout" else out.read_text(encoding="utf-8"), form)
    assert len(rows) == 60 * 3
    assert list(rows[0]) == ["user", "item", "rank", "score", "title"]
    recommender = Recommender.load(run)
    alone = recommender.recommend(rows[-1]["user"], 3)
    assert [row["item"] for row in rows[-3:]] == [one.item for one in alone]
    assert [row["title"] for row in rows[-3:]] == [one.title for one in alone]
    assert [row["score"] for row in rows[-3:]] == pytest.approx([one.score for one in alone], abs=1e-3)


def test_csv_is_the_default_of_stdout_and_ids_with_commas_are_quoted(deftrec: Call, run: Path) -> None:
    said = deftrec("recommend", run, "--all-users", "-k", 24, "--seen", "keep")
    assert said.out.splitlines()[0] == "user,item,rank,score"
    assert f'"{COMMA}"' in said.out
    assert {row["item"] for row in rows_of(said.out, "csv")} == set(Interactions.load(run / "data").catalogue["item"])


def test_titles_are_written_to_parquet(deftrec: Call, run: Path, tmp_path: Path) -> None:
    deftrec("recommend", run, "--all-users", "-k", 2, "--titles", "--out", tmp_path / "all.parquet")
    table = pl.read_parquet(tmp_path / "all.parquet")
    assert table.columns == ["user", "item", "rank", "score", "title"]
    assert table["title"].str.starts_with("[bold]number").all()
    assert deftrec("evaluate", run, "--rankings", tmp_path / "all.parquet").code == 0, "and is still read"


@pytest.mark.parametrize("kind", ["txt", "none", "stdin", "csv", "jsonl", "parquet"])
def test_users_of_a_file(deftrec: Call, run: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file: Path = {"none": tmp_path / "ids", "stdin": Path("-")}.get(kind, tmp_path / f"ids.{kind}")
    table = pl.DataFrame({"note": ["a", "b", "c"], "user_id": USERS})
    lines = "\ufeff" * (kind == "txt") + "\n".join(USERS) + "\n\n"
    if kind == "stdin":
        monkeypatch.setattr("sys.stdin", io.StringIO(lines))
    elif kind in {"txt", "none"}:
        file.write_text(lines, encoding="utf-8")
    else:
        {"csv": table.write_csv, "jsonl": table.write_ndjson, "parquet": table.write_parquet}[kind](file)
    said = deftrec("recommend", run, "--users", file, "-k", 2)
    assert said.code == 0, said.err
    assert list(dict.fromkeys(row["user"] for row in rows_of(said.out, "csv"))) == USERS
    written = deftrec("recommend", run, "--users", file, "-k", 2, "--out", tmp_path / "x.csv", "--json")
    assert kind == "stdin" or json.loads(written.out) == {"out": str(tmp_path / "x.csv"), "users": 3, "k": 2}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("ids.csv.gz", gzip.compress(b"user_id\nu 1000\nu 1007\nu 1003\n")),
        ("ids.csv", "user_id\nu 1000\nu 1007\nu 1003\n".encode("utf-16")),
        ("ids.csv", b"note;user_id\na;u 1000\nb;u 1007\nc;u 1003\n"),
        ("IDS.CSV", b"\xef\xbb\xbfuser_id\r\nu 1000\r\nu 1007\r\nu 1003\r\n"),
        ("ids.tsv", b"user_id\tnote\nu 1000\ta\nu 1007\tb\nu 1003\tc\n"),
        ("ids.json", b'\xef\xbb\xbf{"user":"u 1000","x":NaN}\n{"user":"u 1007"}\n{"user":"u 1003"}\n'),
        ("ids.gz", gzip.compress(b"u 1000\nu 1007\nu 1003\n")),
        ("ids.txt", "u 1000\r\nu 1007\r\nu 1003".encode("utf-16")),
    ],
)
def test_users_come_in_the_forms_of_an_import(
    deftrec: Call, run: Path, tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    said = deftrec("recommend", run, "--users", tmp_path / name, "-k", 1)
    assert said.code == 0, said.err
    assert [row["user"] for row in rows_of(said.out, "csv")] == USERS


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("ids.csv", b"user,note\nu 1000,a\n,b\n", "ids.csv: line 3, column 'user': an empty value is not an id"),
        ("ids.jsonl", b'{"user":"u 1000"}\n{"user":["u 1007"]}\n', "ids.jsonl: line 2, column 'user'"),
        ("ids.json", b'["u 1000", "u 1007"]', "ids.json: line 1: not a JSON object; write one object a line"),
        ("ids.csv", b"user,note\nu 1000,a,b\n", "ids.csv: line 2: 3 fields where there are 2 columns"),
        ("ids", "u 1000\u2028u 1007\n".encode(), "id 1, 'u 1000\\u2028u 1007', is not among"),
        ("ids", b"SQLite format 3\0", "is an SQLite database; export its table as CSV"),
    ],
)
def test_a_fault_in_a_file_of_users_is_named(
    deftrec: Call, run: Path, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    said = deftrec("recommend", run, "--users", tmp_path / name)
    assert said.code == 1
    assert "--users" in said.err
    assert message in said.err


@pytest.mark.parametrize(
    "words",
    [
        ["--category", "red"],
        ["--allow", "i/101,i/102,i/103"],
        ["--deny", "i/101,i/102"],
        ["--offset", 2],
        ["--seed", 3],
    ],
)
def test_lists_of_many_take_the_options_of_one(deftrec: Call, run: Path, tmp_path: Path, words: list[object]) -> None:
    (tmp_path / "ids").write_text(USERS[0], encoding="utf-8")
    many = deftrec("recommend", run, "--users", tmp_path / "ids", "-k", 3, *words)
    assert many.code == 0, many.err
    one = json.loads(deftrec("recommend", run, "--user", USERS[0], "-k", 3, *words, "--json").out)["recommendations"]
    assert one
    rows = rows_of(many.out, "csv")
    assert [(row["item"], row["rank"]) for row in rows] == [(row["item"], row["rank"]) for row in one]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--users", "{tmp}/absent"], "absent: no such file or directory"),
        (["--users", "{tmp}/empty"], "empty: names no user; give one id a line"),
        (
            ["--users", "{tmp}/strange"],
            "strange: id 2, 'nobody', is not among the run's 60 users; leave the id out, or add",
        ),
        (["--users", "{tmp}/other.csv"], "other.csv: no column 'user' among 'a', 'b'; call the ids' column user"),
        (["--users", "{tmp}/binary"], "binary: not UTF-16"),
        (["--all-users", "--format", "parquet"], "give --out FILE.parquet"),
        (["--all-users", "--format", "csv", "--out", "{tmp}/x.parquet"], "x.parquet: is no file of --format csv"),
        (["--all-users", "--format", "csv", "--out", "{tmp}"], "is no file of --format csv"),
        (["--all-users", "--json"], "for rows give --format jsonl"),
        (["--users", "{tmp}/strange", "--out", "{tmp}/parts"], "a directory of parts takes all users"),
        (["--user", "u 1000", "--titles"], "give --all-users or --users FILE"),
        (["--user", "u 1000", "--format", "csv"], "give --all-users or --users FILE"),
        (["--all-users", "--users", "{tmp}/strange"], "give one of --user ID"),
        (["--all-users", "--allow", "nothing"], "item 'nothing' is not in the catalogue of ring; a new item is added"),
        (["--all-users", "--category", "blue"], "no item has the category 'blue'"),
    ],
)
def test_what_is_wrong_is_named(deftrec: Call, run: Path, tmp_path: Path, words: list[str], message: str) -> None:
    (tmp_path / "empty").write_text("\n \n", encoding="utf-8")
    (tmp_path / "strange").write_text(f"{USERS[0]}\nnobody\n", encoding="utf-8")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    before = {path.name for path in tmp_path.iterdir()}
    said = deftrec("recommend", run, *(word.replace("{tmp}", str(tmp_path)) for word in words))
    assert said.code == 1
    assert message in said.err
    assert said.out == ""
    assert {path.name for path in tmp_path.iterdir()} <= before | {"home"}, "nothing half-written"


def test_items_similar_to_several(deftrec: Call, run: Path) -> None:
    both = json.loads(deftrec("similar", run, "--item", "i/101", "--item", COMMA, "-k", 2, "--json").out)
    alone = [json.loads(deftrec("similar", run, "--item", item, "-k", 2, "--json").out) for item in ("i/101", COMMA)]
    assert both == alone
    assert deftrec("similar", run, "--item", "i/101", "--item", COMMA).out.count("similar to: ") == 2
