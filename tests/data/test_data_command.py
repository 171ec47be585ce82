"""`deftrec data` as a script would call it."""

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from deftrec.cli.data import app
from deftrec.data import Interactions
from deftrec.data.download import UnreachableError
from deftrec.data.sources import base, movielens
from deftrec.errors import ConfigError, DataError, DownloadError

EVENTS = "uid,sku,ts,stars\nu1,i1,3,5\nu1,i2,1,4\nu1,i2,1,4\nu2,i1,2,1\n"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments])


def ok(*arguments: object) -> Result:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture
def events(tmp_path: Path) -> Path:
    path = tmp_path / "clicks.csv"
    path.write_text(EVENTS)
    return path


COLUMNS = ["--user", "uid", "--item", "sku", "--time", "ts"]


def test_list_names_size_licence_and_citation() -> None:
    shown = ok("list").stdout
    for word in ("ml-100k", "lastfm", "amazon-2023/CATEGORY", "100,000 ratings", "md5", "recorded", "Harper"):
        assert word in shown
    listed = json.loads(ok("list", "--json").stdout)
    first = next(one for one in listed if one["name"] == "ml-1m")
    assert first["files"][0]["checksum"] == "md5:c4d9eecfca2ab87c1945afe126590906"
    assert {"licence", "citation", "size", "homepage"} <= set(first)


def test_import_and_describe(events: Path, tmp_path: Path) -> None:
    items = tmp_path / "goods.csv"
    items.write_text("id,label\ni1,Lamp\n")
    target = tmp_path / "shop"
    result = ok(
        "import", events, *COLUMNS, "--items", items, "--items-id", "id", "--title", "label", "--domain", "goods",
        "--to", target,
    )  # fmt: skip
    assert (
        "2 users, 2 items, 3 interactions (1 duplicates dropped, 1 items without title, texts for 1 of 2 items)"
        in result.stdout
    )
    assert "reading" in result.stderr
    interactions = Interactions.load(target)
    assert interactions.history("u1") == ["i2", "i1"]
    assert (interactions.meta.name, interactions.meta.domain) == ("clicks", "goods")
    assert set(interactions.meta.sha256) == {"clicks.csv", "goods.csv"}
    shown = ok("describe", target).stdout
    assert "clicks" in shown
    assert "interactions" in shown
    facts = json.loads(ok("describe", target, "--json").stdout)
    assert (facts["users"], facts["duplicates_dropped"], facts["untitled"]) == (2, 1, 1)


def test_import_reports_json(events: Path, tmp_path: Path) -> None:
    result = ok("import", events, *COLUMNS, "--rating", "stars", "--min-rating", 4, "--json", "--to", tmp_path / "d")
    meta = json.loads(result.stdout)
    assert meta["counts"]["users"] == 1
    assert meta["filters"] == {"min_rating": 4.0}
    assert meta["directory"] == str(tmp_path / "d")


def test_the_seed_of_ties_is_an_option(tmp_path: Path) -> None:
    path = tmp_path / "ties.csv"
    path.write_text("user,item,time\n" + "".join(f"u,{n},0\n" for n in range(20)))
    histories = []
    for seed in (0, 0, 1):
        ok("import", path, "--tie-seed", seed, "--to", tmp_path / "d")
        histories.append(Interactions.load(tmp_path / "d").history("u"))
    assert histories[0] == histories[1] != histories[2]


def test_import_guesses_directories(tmp_path: Path) -> None:
    reference = tmp_path / "toys"
    reference.mkdir()
    (reference / "test.txt").write_text("0 1 2 3\n")
    ok("import", reference, "--to", tmp_path / "a")
    assert Interactions.load(tmp_path / "a").history(0) == [1, 2, 3]
    atomic = tmp_path / "atomic"
    atomic.mkdir()
    (atomic / "x.inter").write_text("user_id:token\titem_id:token\ttimestamp:float\n1\t2\t3\n")
    ok("import", atomic, "--to", tmp_path / "b")
    assert Interactions.load(tmp_path / "b").history(1) == [2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{events}", "--user", "user"], "no column 'user'"),
        (["{events}", *COLUMNS, "--rating", "rating", "--min-rating", "3"], "no column 'rating'.*--value COL"),
        (["{events}", *COLUMNS, "--k-core", "9"], "no interactions are left of 4"),
        (["{events}", *COLUMNS, "--format", "parquet"], "not a Parquet file"),
        (["{tmp}"], "its parts differ: goods.csv has a column 'item', and clicks.csv has not"),
        (["{tmp}/absent"], "no such file"),
        (["{tmp}", "--format", "reference", "--user", "x"], "no columns to name.*; leave out --user$"),
        (["{tmp}", "--format", "reference", "--order-as-given"], "leave out --order-as-given$"),
        (
            ["{tmp}", "--format", "reference", "--items", "no.csv", "--title", "t", "--separator", ","],
            "leave out --items, --title, --separator$",
        ),
        (["{tmp}/x.inter", "--format", "recbole", "--items", "no.csv"], r"in a \.item file .*; leave out --items$"),
        (["{events}", *COLUMNS, "--items-id", "label"], "without --items FILE .*; leave out --items-id$"),
        (["{events}", *COLUMNS, "--title", "label"], "no free column 'label' for the title; .*; correct --title$"),
        (["{events}", *COLUMNS, "--where", "stars="], "--where 'stars=': not of the form COL=A,B"),
        (["{events}", *COLUMNS, "--where", "stars"], "--where 'stars': not of the form COL=A,B"),
        (["{events}", "{events}", "--format", "reference"], "the reference format is one directory or file"),
        (["{events}", *COLUMNS, "--order-as-given"], "give either --time COL or --order-as-given"),
        (
            ["{events}", *COLUMNS, "--items", "{tmp}/goods.csv"],
            r"goods\.csv: none of its ids, such as 'lamp', is one of the 2 items",
        ),
    ],
)
def test_errors_are_for_the_user(arguments: list[str], message: str, events: Path, tmp_path: Path) -> None:
    (tmp_path / "goods.csv").write_text("item,title\nlamp,Lamp\n")
    filled = [one.format(events=events, tmp=tmp_path) for one in arguments]
    result = run("import", *filled, "--to", tmp_path / "new")
    assert result.exit_code == 1
    assert isinstance(result.exception, DataError | ConfigError)
    assert "\n" not in str(result.exception)
    with pytest.raises((DataError, ConfigError), match=message):
        raise result.exception
    assert not (tmp_path / "new").exists()


def test_times_before_all_dates_are_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("user,item,time\na,b,-90000000000\na,c,5\n")
    assert "2 interactions (2 items without title)\n" in ok("import", path, "--to", tmp_path / "d").stdout


def test_a_foreign_directory_is_left_alone(events: Path, tmp_path: Path) -> None:
    result = run("import", events, *COLUMNS, "--to", tmp_path)
    assert "not a data directory" in str(result.exception)
    assert events.exists()


def test_fetch_says_what_it_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "wheel" / "recbole" / "dataset_example" / "ml-100k"
    folder.mkdir(parents=True)
    (folder / "ml-100k.inter").write_text(
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t2\t3\t4\n1\t3\t5\t5\n"
    )
    (folder / "ml-100k.item").write_text("item_id:token\tmovie_title:token_seq\n2\tTwo\n3\tThree\n")

    def unreachable(url: str, *_: object, **__: object) -> Path:
        raise UnreachableError(f"{url}: cannot be reached")

    monkeypatch.setattr(base, "download", unreachable)
    monkeypatch.setattr(movielens, "fetch_from_wheel", lambda *_: tmp_path / "wheel")
    result = ok("fetch", "ml-100k", "--to", tmp_path / "d", "--min-rating", 4)
    assert "wheel instead" in result.stderr
    assert "1 users, 1 items, 1 interactions" in result.stdout
    assert Interactions.load(tmp_path / "d").title(0) == "Three"
    failed = run("fetch", "ml-1m", "--to", tmp_path / "e")
    assert isinstance(failed.exception, DownloadError)
    assert "did you mean" in str(run("fetch", "ml-1000k", "--to", tmp_path / "e").exception)


@pytest.mark.parametrize("command", ["list", "fetch", "import", "describe"])
def test_help_has_an_example(command: str) -> None:
    assert f"Example: deftrec data {command}" in ok(command, "--help").stdout
