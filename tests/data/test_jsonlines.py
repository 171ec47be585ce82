"""JSON lines as programs write them: the right value, or an error with file, line and key."""

import gzip
from pathlib import Path

import polars as pl
import pytest

from deftrec.data.sources.jsonlines import JsonLines
from deftrec.data.sources.tabular import Columns, read_events, read_items, read_tabular
from deftrec.errors import DataError

GOOD = '{"user":"u","item":"x","time":1,"rating":4}\n'
LONG = GOOD * 1500  # more lines than types are inferred from
BOM = b"\xef\xbb\xbf"


def write(tmp_path: Path, text: str | bytes, name: str = "a.jsonl") -> Path:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("packed", [False, True])
def test_a_byte_order_mark_is_no_part_of_the_first_key(packed: bool, tmp_path: Path) -> None:
    events, items = BOM + GOOD.encode(), BOM + b'{"item":"x","title":"t"}\n'
    if packed:
        events, items = gzip.compress(events), gzip.compress(items)
    path, catalogue = write(tmp_path, events), write(tmp_path, items, "items.jsonl.gz" if packed else "items.jsonl")
    assert read_tabular(path).events.rows() == [("u", "x", 1)]
    assert read_items(catalogue, Columns()).rows() == [("x", "t")]


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "1e999", '"\\ud83d"', '"\\ude00"', '{"a":NaN}', "true", "[[1]]"])
@pytest.mark.parametrize("start", [GOOD, LONG], ids=["early", "late"])
def test_a_key_that_nobody_reads_may_hold_anything(value: str, start: str, tmp_path: Path) -> None:
    path = write(tmp_path, start + f'{{"user":"v","item":"y","time":2,"rating":5,"more":{value}}}\n')
    events = read_tabular(path, Columns(value="rating")).events
    assert events.rows()[0] == ("u", "x", 1, 4.0)
    assert events.rows()[-1] == ("v", "y", 2, 5.0)
    assert events.height == start.count("\n") + 1
    items = "".join(f'{{"item":{n}}}\n' for n in range(start.count("\n"))) + f'{{"item":-1,"title":"t","more":{value}}}'
    assert read_items(write(tmp_path, items), Columns()).rows()[-1] == (-1, "t")


@pytest.mark.parametrize("value", ["true", "false", "[]", '["x"]', "{}", '{"id":1}', "NaN", "Infinity", "null", '""'])
@pytest.mark.parametrize("start", ["", GOOD, LONG], ids=["first", "early", "late"])
def test_what_is_no_id_is_named_with_its_line(value: str, start: str, tmp_path: Path) -> None:
    line = start.count("\n") + 1
    shown = {"null": "an empty value", '""': "an empty value", '{"id":1}': '{"id": 1}'}.get(value, value)
    for key in ("user", "item"):
        row = {"user": '"u"', "item": '"x"', key: value}
        path = write(tmp_path, start + f'{{"user":{row["user"]},"item":{row["item"]},"time":1}}\n')
        for read in (read_tabular, read_events):
            with pytest.raises(DataError) as found:
                read(path)
            assert f"a.jsonl: line {line}, column '{key}': {shown} is not an id" in str(found.value)


@pytest.mark.parametrize("value", ["true", "[1]", '{"$date":1}', "NaN", "Infinity"])
@pytest.mark.parametrize(("key", "kind"), [("time", "time"), ("rating", "number")])
def test_what_is_no_time_or_rating_is_named_with_its_line(key: str, kind: str, value: str, tmp_path: Path) -> None:
    row = {"time": "1", "rating": "1", key: value}
    last = f'{{"user":"u","item":"x","time":{row["time"]},"rating":{row["rating"]}}}\n'
    with pytest.raises(DataError) as found:
        read_tabular(write(tmp_path, LONG + last), Columns(value="rating"))
    shown = '{"$date": 1}' if value == '{"$date":1}' else value
    assert f"a.jsonl: line 1501, column '{key}': {shown} is not a {kind}" in str(found.value)


@pytest.mark.parametrize("half", ["a\\ud83d!", "a\\ud83e!", "\\ude00", "\\ud83d\\ud83d"])
def test_half_a_character_is_no_part_of_an_id_and_never_nul(half: str, tmp_path: Path) -> None:
    path = write(tmp_path, GOOD + f'{{"user":"{half}","item":"x","time":1}}\n')
    with pytest.raises(DataError) as found:
        read_tabular(path)
    assert f"a.jsonl: line 2, column 'user': \"{half}\" is not an id" in str(found.value)
    items = read_items(write(tmp_path, f'{{"item":1,"title":"{half}","category":["{half}","b"]}}\n'), Columns())
    assert items["title"].item().count("\ufffd") == half.count("\\u")
    assert items["category"].item().endswith("|b")
    assert "\0" not in items["category"].item()


def test_whole_characters_and_words_of_json_are_ids(tmp_path: Path) -> None:
    ids = ["\\ud83d\\ude00", "true", "[1]", "{}", "[]", "\\u00e9", "NaN!"]
    lines = "".join(f'{{"user":"{one}","item":"x","time":{n}}}\n' for n, one in enumerate(ids))
    events = read_tabular(write(tmp_path, lines)).events
    assert events["user"].to_list() == ["😀", "true", "[1]", "{}", "[]", "é", "NaN!"]
    assert events["time"].to_list() == list(range(len(ids)))


def test_numbers_keep_their_digits(tmp_path: Path) -> None:
    large = [9007199254740993, 2**64 - 1, 1]
    lines = "".join(f'{{"item":{one},"title":{one}}}\n' for one in large) + '{"item":7.0,"title":2.5}\n'
    items = read_items(write(tmp_path, lines), Columns())
    assert items.rows() == [*((one, str(one)) for one in large), (7, "2.5")]
    larger = "".join(f'{{"item":{one}}}\n' for one in (2**64, 1))
    assert read_items(write(tmp_path, larger), Columns())["item"].to_list() == [str(2**64), "1"]


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (['["x","y"]', '"z"', "[]", '"[]"', "null", '["w"]'], ["x|y", "z", "", "[]", "", "w"]),
        (['["x","y"]', "[]", "null", '["[z]"]'], ["x|y", "", "", "[z]"]),
        (['[["x","y"],["z"]]', "[[]]", "[]"], ["x|y|z", "", ""]),
        (['[["x","y"],"z"]', '[[["w"]]]', '"v"'], ["x|y|z", "w", "v"]),
        (['[1,2.5,true,null,""," a "]', "7", "true"], ["1|2.5|true|a", "7", "true"]),
        (["NaN", '"nan"', '"None"'], ["", "", "None"]),
    ],
)
@pytest.mark.parametrize("before", [0, 1500], ids=["early", "late"])
def test_lists_and_texts_may_mix(values: list[str], texts: list[str], before: int, tmp_path: Path) -> None:
    lines = [f'{{"item":"{n}","category":"c"}}\n' for n in range(before)]
    lines += [f'{{"item":"i{n}","category":{value},"title":{value}}}\n' for n, value in enumerate(values)]
    items = read_items(write(tmp_path, "".join(lines)), Columns()).tail(len(values))
    assert items["category"].to_list() == items["title"].to_list() == texts


@pytest.mark.parametrize("value", ['{"en":"x"}', '[{"name":"x"}]', '["a",[{}]]'])
@pytest.mark.parametrize("others", ['"c"', '["c"]', '[["c"]]', '{"en":"y"}', None])
def test_a_record_is_no_text(value: str, others: str | None, tmp_path: Path) -> None:
    more = "" if others is None or others.startswith("{") else f',"category":{others}'
    lines = f'{{"item":"a"{more}}}\n\n{{"item":"b","category":{value}}}\n'
    with pytest.raises(DataError, match=r"a\.jsonl: line 3, column 'category': .* is neither text nor a list of texts"):
        read_items(write(tmp_path, lines), Columns())


def test_a_key_may_come_late(tmp_path: Path) -> None:
    lines = "".join(f'{{"item":{n}}}\n' for n in range(1500)) + '{"item":-1,"title":"t"}\n'
    items = read_items(write(tmp_path, lines), Columns())
    assert items.filter(pl.col("item") == -1)["title"].item() == "t"
    assert set(items["title"].head(1500)) == {""}


@pytest.mark.parametrize("extra", ["", ',"p":NaN'])
def test_lines_that_are_no_objects_may_be_left_out(extra: str, tmp_path: Path) -> None:
    path = write(tmp_path, f"{GOOD}oops\n\n[1]\n" + GOOD.replace("}", extra + "}").replace('"u"', '"v"'))
    broken: list[tuple[int, str, str]] = []
    frame = JsonLines(path).read(["user"], lambda *what: broken.append(what))
    assert frame.rows() == [(0, "u"), (3, "v")]
    assert broken == [(1, "oops", "not a JSON object"), (2, "[1]", "not a JSON object")]
    with pytest.raises(DataError, match="line 2: not JSON"):
        JsonLines(path).read(["user"])
    with pytest.raises(DataError, match="line 1: not JSON"):
        JsonLines(write(tmp_path, "oops\n"))
