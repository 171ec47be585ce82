"""Items, updates and fine-tuning from the command line."""

import bz2
import json
import shutil
import zipfile
from pathlib import Path

import pytest
from calling import COMMA, TINY, Call

from deftrec import Recommender
from deftrec.cli import main
from toy import reads_text, tiny_bert


@pytest.fixture(scope="module")
def worded(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that reads its items' words."""
    folder = tmp_path_factory.mktemp("worded")
    text = [f"--set=text.{key}={value}" for key, value in reads_text(tiny_bert(folder / "bert")).items()]
    assert main(["train", "--data", str(data), "--out", str(folder / "run"), "--no-baselines", *TINY, *text]) == 0
    return folder / "run"


@pytest.fixture
def copy(worded: Path, tmp_path: Path) -> Path:
    shutil.copytree(worded, tmp_path / "run")
    return tmp_path / "run"


def test_items_come_and_go(deftrec: Call, copy: Path, tmp_path: Path) -> None:
    file = tmp_path / "new.csv"
    file.write_text("sku,title,category\nnew one,number 1,red\n\nnew two,number 2,old\n")
    said = deftrec("items", "add", copy, "--items", file, "--item", "sku")
    assert (said.code, said.out) == (0, f"{copy}: 2 added; 26 items can be recommended\n"), said.err
    said = deftrec("items", "add", copy, "--items", file, "--item", "sku", "--json")
    assert json.loads(said.out) == {
        "added": 0, "updated": 0, "restored": 0, "unchanged": 2, "trained": 0, "items": 26,
    }  # fmt: skip
    said = deftrec("recommend", copy, "--history", "new one", "-k", 26, "--json")
    found = [one["item"] for one in json.loads(said.out)["recommendations"]]
    assert len(found) == 25
    assert "new two" in found
    said = deftrec("items", "remove", copy, "--items", f'new two,"{COMMA}"')
    assert (said.code, said.out) == (0, f"{copy}: 2 removed; 24 items can be recommended\n"), said.err
    said = deftrec("recommend", copy, "--history", "new one", "-k", 26, "--json")
    assert not {"new two", COMMA} & {one["item"] for one in json.loads(said.out)["recommendations"]}
    said = deftrec("items", "remove", copy, "--items", file, "--item", "sku")
    assert said.out == f"{copy}: 1 removed, 1 were removed already; 23 items can be recommended\n"
    said = deftrec("items", "add", copy, "--items", file, "--item", "sku")
    assert said.out == f"{copy}: 2 restored, 2 unchanged; 25 items can be recommended\n"


def test_the_format_may_be_said(deftrec: Call, copy: Path, tmp_path: Path) -> None:
    items, events = tmp_path / "goods", tmp_path / "today"
    items.write_text(
        '{"item": "new one", "title": ["number", "1"], "category": "red"}\n{"item": "two", "title": "2"}\n'
    )
    events.write_text("user,item,time\nnew,i/101,5\n")
    commands = [
        (["items", "add", copy, "--items", items], "2 added"),
        (["items", "remove", copy, "--items", items], "2 removed"),
        (["update", copy, "--events", events], "1 interactions added"),
    ]
    for (words, done), form in zip(commands, ("jsonl", "jsonl", "csv"), strict=True):
        said = deftrec(*words)
        assert said.code == 1
        assert f"{words[-1]}: its name does not tell its format; say --format csv|parquet|jsonl" in said.err
        assert deftrec(*words, "--format", form).out.startswith(f"{copy}: {done}")
    said = deftrec("data", "import", tmp_path / "today", "--format", "csv", "--items", items, "--to", tmp_path / "d")
    assert "goods: its name does not tell its format; rename it, so that it ends in one of .csv" in said.err


def test_a_long_list_of_items_is_no_file_name(deftrec: Call, copy: Path) -> None:
    said = deftrec("items", "remove", copy, "--items", ",".join(f"item number {n}" for n in range(1000)))
    assert "--items: item 'item number 0' (number 1 of the list) is not in the catalogue" in said.err


def test_an_update_counts_at_once(deftrec: Call, copy: Path, tmp_path: Path) -> None:
    assert deftrec("recommend", copy, "--user", "new", "--json").code == 1
    file = tmp_path / "events.jsonl"
    file.write_text('{"user": "new", "item": "i/101", "time": 5}\n{"user": "new", "item": "i,100", "time": 6}\n')
    said = deftrec("update", copy, "--events", file)
    assert said.out == f"{copy}: 2 interactions added, new users: 1; 482 in all\n", said.err
    said = deftrec("update", copy, "--events", file, "--json")
    assert json.loads(said.out) == {"added": 0, "known": 2, "users": 0, "interactions": 482}
    assert json.loads(deftrec("recommend", copy, "--user", "new", "--json").out)["history"] == ["i/101", "i,100"]


def test_files_come_as_people_have_them(deftrec: Call, copy: Path, tmp_path: Path) -> None:
    """Packed, in another encoding, in parts, without a header: columns are recognised, and what was taken is said."""
    with zipfile.ZipFile(tmp_path / "new.zip", "w") as archive:
        archive.writestr(
            "a/goods.csv", "product_id,product_title,genres,price\nnew one,number 1,red,3\n".encode("utf-16")
        )
        archive.writestr("a/other.csv", "")
    said = deftrec("items", "add", copy, "--items", tmp_path / "new.zip" / "a" / "goods.csv")
    assert said.out == f"{copy}: 1 added; 25 items can be recommended\n", said.err
    assert "item 'product_id', title 'product_title', category 'genres'; ignored: 'price'" in said.err
    said = deftrec("items", "add", copy, "--items", tmp_path / "new.zip")
    assert "holds 2 files (a/goods.csv, a/other.csv); name one" in said.err
    (tmp_path / "days").mkdir()
    for day in (1, 2):
        text = f"userId,itemId,timestamp\nnew,i/10{day},{day}\n"
        (tmp_path / "days" / f"{day}.csv.bz2").write_bytes(bz2.compress(text.encode()))
    said = deftrec("update", copy, "--events", tmp_path / "days")
    assert said.out == f"{copy}: 2 interactions added, new users: 1; 482 in all\n", said.err
    assert "user 'userId', item 'itemId', time 'timestamp'; ignored: nothing; 2 files" in said.err
    assert json.loads(deftrec("recommend", copy, "--user", "new", "--json").out)["history"] == ["i/101", "i/102"]
    (tmp_path / "u.data").write_text("new\tstrange\t3\n")
    said = deftrec("update", copy, "--events", tmp_path / "u.data", "--columns", "user,item,time")
    assert "u.data: line 1, column 'item': 'strange' is not in the catalogue" in said.err
    (tmp_path / "days" / "2.csv.bz2").write_bytes(bz2.compress(b"userId,itemId,timestamp\nnew,strange,3\n"))
    said = deftrec("update", copy, "--events", tmp_path / "days")
    assert "2.csv.bz2, line 2, column 'item': 'strange' is not in the catalogue" in said.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["update", "{run}", "--events", "{tmp}/events.csv"], "events.csv: line 4, column 'item': 'strange' is not in"),
        (["update", "{run}", "--events", "{tmp}/items.csv"], "no column 'user'"),
        (["update", "{tmp}", "--events", "{tmp}/events.csv"], "no run.json"),
        (
            ["items", "add", "{run}", "--items", "{tmp}/items.csv"],
            "its items have no text vectors; give them a title, category or text",
        ),
        (["items", "remove", "{run}", "--items", "strange"], "error: --items: item 'strange' is not in the catalogue"),
        (
            ["items", "remove", "{run}", "--items", "{tmp}/items.csv"],
            "items.csv: item 'fine' (number 1 of the list)",
        ),
        (["items", "remove", "{run}", "--items", "{tmp}/gone.csv"], "no such file"),
        (
            ["train", "--from", "{run}", "--data", "{data}", "--out", "{tmp}/r", "--set", "text.max_tokens=8"],
            "text.max_tokens differs from the run to start from",
        ),
        (["update", "{run}", "--events", "{tmp}/dated.csv"], "dated.csv: its times are dates, and those of this run's"),
        (["items", "add", "{worded}", "--items", "{tmp}/empty.csv"], "empty.csv: no items; the file is empty"),
        (["items", "remove", "{run}", "--items", ""], "names no item"),
        (["items", "add", "{worded}", "--items", "{tmp}/late.jsonl"], "late.jsonl: line 2, column 'title': {\"en\": "),
        (
            ["items", "add", "{worded}", "--items", "{tmp}/tabs.csv"],
            "tabs.csv: line 3, column 'item': 'a\\tb' is not an",
        ),
        (["update", "{run}", "--events", "{tmp}/half.jsonl"], "half.jsonl: line 1, column 'user': \"a\\ud83d\" is not"),
        (["items", "remove", "{run}", "--items", '"lamp'], "--items '\"lamp': not a comma-separated list"),
        (["items", "remove", "{run}", "--items", "{tmp}/plain.csv"], "name it with --item COL"),
        (["items", "add", "{worded}", "--items", "{tmp}/plain.csv", "--item", "sku"], "name it with --item COL"),
        (["update", "{run}", "--events", "{tmp}/events.csv", "--time", "at"], "name the right one with --time COL\n"),
        (["train", "--from", "{tmp}", "--data", "{data}", "--out", "{tmp}/r"], "no run.json"),
        (
            ["train", "--from", "{run}", "--recipe", "nano", "--data", "{data}", "--out", "{tmp}/r"],
            "leave --recipe out",
        ),
        (
            ["train", "--from", "{run}", "--data", "{data}", "--out", "{tmp}/r", "--set", "language.layers=2"],
            "build another model than the run to start from; change only how it is trained",
        ),
    ],
)
def test_errors_name_the_row_and_the_mend(
    deftrec: Call, words: list[str], message: str, run: Path, worded: Path, data: Path, tmp_path: Path
) -> None:
    (tmp_path / "events.csv").write_text("user,item,time\nnew,i/101,1\n\nnew,strange,2\n")
    (tmp_path / "plain.csv").write_text("code,title\nfine,number 1\n")
    (tmp_path / "empty.csv").touch()
    (tmp_path / "late.jsonl").write_text('{"item": "a", "title": ["x"]}\n{"item": "b", "title": {"en": "x"}}\n')
    (tmp_path / "tabs.csv").write_text("item;title\nfine;x\na\tb;x\n")
    (tmp_path / "half.jsonl").write_text('{"user": "a\\ud83d", "item": "i/101", "time": 1}\n')
    (tmp_path / "dated.csv").write_text("user,item,time\nnew,i/101,2024-01-01\n")
    (tmp_path / "items.csv").write_text("item,title\nfine,number 1\nbare,\n")
    said = deftrec(*(word.format(run=run, worded=worded, data=data, tmp=tmp_path) for word in words))
    assert said.code == 1
    assert message in said.err
    assert not (run / "overlay.safetensors").is_file()


def test_training_goes_on_from_a_run(deftrec: Call, run: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "fine"
    said = deftrec("train", "--from", run, "--data", data, "--out", out, "--set", "fine_tuning.epochs=1")
    assert said.code == 0, said.err
    info = json.loads((out / "run.json").read_text())
    before = Recommender.load(run).info
    assert info["start"]["fingerprint"] == before.fingerprint
    assert info["start"]["epochs"] == before.epochs
    assert len(info["start"]["weights"]) == 64
    assert info["epochs"] == {"joint": 1}
    assert json.loads((out / "request.json").read_text())["start"] == info["start"]
    assert not any(line.startswith("collaborative 1/") for line in said.err.splitlines())


def test_training_goes_on_with_what_came_after_the_run(deftrec: Call, copy: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("item,title\nnew one,number 1\n")
    (tmp_path / "today.csv").write_text("user,item,time\nzoe,new one,5\nzoe,i/101,6\nzoe,i/102,7\n")
    assert deftrec("items", "add", copy, "--items", tmp_path / "new.csv").code == 0
    assert deftrec("items", "remove", copy, "--items", "i/103").code == 0
    assert deftrec("update", copy, "--events", tmp_path / "today.csv").code == 0
    out = tmp_path / "fine"
    shutil.copytree(copy, out)
    words = ["train", "--from", copy, "--data", data, "--out", out, "--set", "fine_tuning.epochs=1"]
    said = deftrec(*words)
    assert said.err.endswith(f"{out}: not empty; give another directory, or --overwrite to replace the run in it\n")
    said = deftrec(*words, "--overwrite")
    assert said.code == 0, said.err
    assert "1 items and 3 interactions that came to the run to start from are added" in said.err
    answer = json.loads(deftrec("recommend", out, "--user", "zoe", "-k", 25, "--json").out)
    assert answer["history"] == ["new one", "i/101", "i/102"]
    found = {one["item"] for one in answer["recommendations"]}
    assert len(found) == 21
    assert "i/103" not in found


def test_an_interrupted_fine_tuning_says_how_to_go_on(
    deftrec: Call, run: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "fine"
    with monkeypatch.context() as patched:
        patched.setattr("deftrec.training.workspace.train", stop)
        said = deftrec("train", "--from", run, "--data", data, "--out", out)
    assert f"--from {run} --resume" in said.err
    assert deftrec("train", "--data", data, "--out", out, *TINY, "--resume").code == 1  # another request
    assert deftrec("train", "--from", run, "--data", data, "--out", out, "--resume").code == 0
