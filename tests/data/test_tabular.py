"""Anybody's tables: what is read, and what is said of those that cannot be."""

import gzip
from datetime import date, datetime
from pathlib import Path

import polars as pl
import pytest

from deftrec.data import Interactions
from deftrec.data.prepare import Raw, prepare
from deftrec.data.sources.tabular import Columns, format_of, read_events, read_tabular
from deftrec.errors import DataError

GOOD = "user,item,time,rating\nu1,i1,3,5\nu1,i2,1,4.5\nu2,i1,2,1\n"


def write(tmp_path: Path, text: str | bytes, name: str = "events.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", GOOD),
        ("a.csv", "\ufeff" + GOOD.replace("\n", "\r\n")),
        ("a.csv", GOOD.replace("u1,i2", "\n\nu1,i2") + "\n,,,\n"),
        ("a.tsv", GOOD.replace(",", "\t")),
        ("a.csv", GOOD.replace(",", ";")),
        ("a.csv", GOOD.replace("u1", '"u1"')),
        ("a.csv.gz", gzip.compress(GOOD.encode(), mtime=0)),
        ("a.csv", "extra,rating,time,item,user\n,5,3,i1,u1\nx,4.5,1,i2,u1\ny,1,2,i1,u2\n"),
        (
            "a.jsonl",
            '{"user":"u1","item":"i1","time":3,"rating":5,"more":[1]}\n\n'
            '{"item":"i2","user":"u1","time":1,"rating":4.5}\n{"user":"u2","item":"i1","time":2,"rating":1}',
        ),
    ],
)
def test_the_same_events_however_they_are_written(name: str, content: str | bytes, tmp_path: Path) -> None:
    raw = read_tabular(write(tmp_path, content, name), Columns(value="rating"))
    assert raw.events.rows() == [("u1", "i1", 3, 5.0), ("u1", "i2", 1, 4.5), ("u2", "i1", 2, 1.0)]
    assert prepare(raw, name="x").history("u1") == ["i2", "i1"]


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {"user": ["007", "7"], "item": [2**63, 1], "time": [datetime(2024, 1, 2), datetime(2024, 1, 1)]}
    )
    frame = frame.with_columns(pl.col("item").cast(pl.UInt64))
    frame.write_parquet(tmp_path / "a.parquet")
    interactions = prepare(read_tabular(tmp_path / "a.parquet"), name="x")
    assert interactions.history("007") == [2**63]
    assert interactions.times.tolist() == [1704153600000, 1704067200000]


@pytest.mark.parametrize(
    ("ids", "kept"),
    [
        (["1", "22", "-3"], [1, 22, -3]),
        (["9223372036854775807", "1"], [2**63 - 1, 1]),
        (["9223372036854775808", "1"], [2**63, 1]),
        (["18446744073709551616", "1"], ["18446744073709551616", "1"]),
        (["-1", "9223372036854775808"], ["-1", "9223372036854775808"]),
        (["007", "7"], ["007", "7"]),
        (["+7", "8"], ["+7", "8"]),
        (["1.0", "2"], ["1.0", "2"]),
        (["1", "A"], ["1", "A"]),
        ([" a b ", "ünï☃ö", "日本"], [" a b ", "ünï☃ö", "日本"]),
        (["nancy", "Null island"], ["nancy", "Null island"]),
    ],
)
def test_ids_are_integers_only_if_all_are_plain(ids: list[str], kept: list[object], tmp_path: Path) -> None:
    lines = "".join(f'"{one}",x,{n}\n' for n, one in enumerate(ids))
    events = read_tabular(write(tmp_path, "user,item,time\n" + lines)).events
    assert events["user"].to_list() == kept
    rows = "".join(f'{{"user":"{one}","item":"x","time":{n}}}\n' for n, one in enumerate(ids))
    events = read_tabular(write(tmp_path, rows, "a.jsonl")).events
    assert events["user"].to_list() == kept
    interactions = prepare(read_tabular(write(tmp_path, "user,item,time\n" + lines)), name="x")
    assert sorted(map(str, interactions.users)) == sorted(map(str, kept))
    for one in ids:
        assert interactions.history(one) == ["x"]


@pytest.mark.parametrize(
    ("times", "seconds"),
    [
        (["1", "2"], [1, 2]),
        (["1.5", "2"], [1.5, 2.0]),
        (["1e3", "-2"], [1000.0, -2.0]),
        (["2024-01-02", "1969-12-31"], [1704153600000, -86400000]),
        (["2024-01-02 00:00:01", "2024-01-02 00:00:02.500"], [1704153601000, 1704153602500]),
        (["2024-01-02T00:00:01Z", "2024-01-02T00:00:02Z"], [1704153601000, 1704153602000]),
        (["2024-01-02T10:00", "2024-1-2 9:59"], [1704189600000, 1704189540000]),
        (["2024-01-02", "2024-01-02 10:00", "2024-01-02T00:00:01"], [1704153600000, 1704189600000, 1704153601000]),
        (["2024-01-02T10:00:00+02:00", "2024-01-01 20:00-0330"], [1704182400000, 1704151800000]),
        (["2024-01-02T10:00:00.5+02", "2024-01-02T10:00Z"], [1704182400500, 1704189600000]),
    ],
)
def test_times_are_numbers_or_dates(times: list[str], seconds: list[float], tmp_path: Path) -> None:
    lines = "".join(f"u{n},x,{one}\n" for n, one in enumerate(times))
    interactions = prepare(read_tabular(write(tmp_path, "user,item,time\n" + lines)), name="x")
    assert interactions.times.tolist() == seconds


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"a\.csv: no rows; the file is empty"),
        ("\n\n", r"a\.csv: no rows"),
        ("user,item,time\n", r"a\.csv: nothing below the header"),
        ("who,item,time\na,b,1\n", r"no column 'user' for the user; it has 'who', 'item', 'time'; .*--user COL"),
        ("user,item,when\na,b,1\n", r"no column 'time' .*--time COL, or .*--order-as-given"),
        ("user,item,time,time\na,b,1,2\n", r"line 1: column 'time' occurs twice"),
        ("user,item,time\na,b,1\n,b,2\n", r"a\.csv: line 3, column 'user': an empty value is not an id"),
        ("user,item,time\na,b,1\n\n\na,,2\n", r"line 5, column 'item': an empty value is not an id"),
        ("user,item,time\na,b,1\nnan,b,2\n", r"line 3, column 'user': 'nan' is not an id"),
        ("user,item,time\na,b,1\na,NaN,2\n", r"line 3, column 'item': 'NaN' is not an id"),
        ("user,item,time\na,b,1\na,b\n", r"line 3, column 'time': an empty value is not a time"),
        ("user,item,time\na,b,1\na,b,soon\n", r"line 3, column 'time': 'soon' is not a time"),
        ("user,item,time\na,b,1\na,b,inf\n", r"line 3, column 'time': 'inf' is not a time"),
        ("user,item,time\na,b,2024-01-01\na,b,2024-13-01\n", r"line 3, column 'time': '2024-13-01' is not a time"),
        (
            "user,item,time\na,b,2024-01-01\na,b,1704067200\na,b,2024-01-01\n",
            r"line 3, .*'1704067200' is written unlike",
        ),
        (
            "user,item,time\na,b,2024-01-01T10:00Z\na,b,2024-02-30T10:00Z\n",
            r"line 3, .*'2024-02-30T10:00Z' is not a time",
        ),
        (
            "user,item,time\na,b,2024-01-01T10:00Z\na,b,2024-01-01T10:00Z\na,b,2024-01-01 10:00\n",
            r"line 4, column 'time': '2024-01-01 10:00' is written unlike the others",
        ),
        ('user,item,note,time\na,c,"a\nb",1\nd,e,f,x\n', r"line 4, column 'time': 'x' is not a time"),
        ("user,item,time\na,b,1\na,b,2,3\n", r"line 3: 4 fields where there are 3 columns"),
        ('user,item,time\na,b,1\na,"Q" b,2\nc,d,3\n', r"line 3: a stray quote, .*its quotes doubled"),
        ('user\titem\ttime\n"a\nb"\tc\t1\na\t"Q" b\t2\n', r"line 4: a stray quote, it seems \('\\t' expected"),
        ('user,item,time\na,"b,2\nc,d,3\n', r"line 2: a stray quote"),
        (b"user,item,time\nA,\xe9,1\n", r"not UTF-8 .*iconv"),
        (b"us\xe9r,item,time\nA,b,1\n", r"not UTF-8 .*iconv"),
        (b"\x1f\x8bnot gzip", r"cannot be read"),
    ],
)
def test_what_is_wrong_with_a_csv_file_is_named(content: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_tabular(write(tmp_path, content, "a.csv"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        ("\n", "the file is empty"),
        ('{"user":1}\n', "no column 'item' for the item; it has 'user'"),
        ('{"user":1,"item":2,"time":3}\n\n{"user":1,"item":2}\n', "line 3, column 'time': an empty value"),
        ('{"user":1,"item":2,"time":3}\n{"user":null,"item":2,"time":3}\n', "line 2, column 'user': an empty value"),
        ('{"user":1,"item":2,"time":3}\n{"user":1,\n', r"line 2: not JSON"),
        ('{"user":1,"item":2,"time":3}\n[1,2,3]\n', "line 2: not a JSON object"),
        ("user,item,time\n1,2,3\n", "line 1: not JSON"),
        (
            '[{"user":1,"item":2,"time":3}]\n',
            "line 1: not a JSON object; write one object a line; an array is not read",
        ),
        ('[\n  {"user":1,"item":2,"time":3}\n]\n', "line 1: not a JSON object; write one object a line"),
        ('{"user":1,"item":2,"time":"x"}\n', "line 1, column 'time': 'x' is not a time"),
        ('{"user":true,"item":2,"time":1}\n', "line 1, column 'user': true is not an id"),
        ('{"user":1,"item":{"id":2},"time":1}\n', "line 1, column 'item': {\"id\": 2} is not an id"),
    ],
)
def test_what_is_wrong_with_json_lines_is_named(content: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_tabular(write(tmp_path, content, "a.jsonl"))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"user": [1.0, None], "item": [1, 2], "time": [1, 2]}, "row 2, column 'user': an empty value is not an id"),
        ({"user": [1.0, float("nan")], "item": [1, 2], "time": [1, 2]}, "row 2, column 'user': nan is not an id"),
        ({"user": [1.0, 1.5], "item": [1, 2], "time": [1, 2]}, r"row 2, column 'user': 1\.5 is not an id"),
        ({"user": [1.0, 2.0**60], "item": [1, 2], "time": [1, 2]}, "row 2, column 'user'"),
        ({"user": [[1], [2]], "item": [1, 2], "time": [1, 2]}, "column 'user' holds .* cannot be an id"),
        ({"user": [1, 2], "item": [1, 2], "time": [1.0, float("inf")]}, "row 2, column 'time': inf is not a time"),
        ({"user": [1, 2], "item": [1, 2], "time": [date(2024, 1, 1), None]}, "row 2, column 'time'"),
        ({"user": [], "item": [], "time": []}, "no rows; the file is empty|no interactions; check the file"),
    ],
)
def test_what_is_wrong_with_a_table_is_named(columns: dict[str, list[object]], message: str, tmp_path: Path) -> None:
    frame = pl.DataFrame(columns)
    frame.write_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=message):
        read_tabular(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=message):
        Interactions.from_frame(frame)


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.csv", "user,item,when\na,b,1\n"), ("a.jsonl", '{"user":"a","item":"b","when":1}\n'), ("a.parquet", "")],
)
def test_updates_are_not_told_of_an_option_they_lack(name: str, content: str, tmp_path: Path) -> None:
    path = write(tmp_path, content, name)
    if name == "a.parquet":
        pl.DataFrame({"user": ["a"], "item": ["b"], "when": [1]}).write_parquet(path)
    with pytest.raises(DataError, match=r"no column 'time' for the time; .*name the right one with --time COL$"):
        read_events(path)
    with pytest.raises(DataError, match=r"or keep the order of the rows with --order-as-given$"):
        read_tabular(path)


def test_a_file_must_be_there_and_of_its_format(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_tabular(tmp_path / "absent.csv")
    with pytest.raises(DataError, match="not a Parquet file"):
        read_tabular(write(tmp_path, "user", "a.parquet"))
    with pytest.raises(DataError, match=r"say --format csv\|parquet\|jsonl"):
        format_of(Path("events.xls"))
    assert format_of(Path("events.CSV.gz")) == "csv"


def test_rows_may_be_in_order_without_times(tmp_path: Path) -> None:
    path = write(tmp_path, "user,item\nb,3\na,1\nb,3\nb,1\n")
    interactions = prepare(read_tabular(path, Columns(time=None)), name="x")
    assert interactions.history("b") == [3, 3, 1]
    assert interactions.meta.times == "position"


# -- the items -------------------------------------------------------------------------------------------------------


def test_items_come_with_their_words(tmp_path: Path) -> None:
    items = '{"sku":"i1","name":" Tom &amp; Jerry ","kind":["cartoon","cat"]}\n{"sku":"i9","name":"unused","kind":[]}\n'
    columns = Columns(catalogue_item="sku", title="name", category="kind")
    raw = read_tabular(write(tmp_path, GOOD), columns, items=write(tmp_path, items, "items.jsonl"))
    interactions = prepare(raw, name="x")
    rows = {row["item"]: row for row in interactions.catalogue.rows(named=True)}
    assert set(rows) == {"i1", "i2"}
    assert (rows["i1"]["title"], rows["i1"]["category"]) == ("Tom & Jerry", "cartoon|cat")
    assert (rows["i2"]["title"], rows["i2"]["category"], rows["i2"]["text"]) == ("", "", "")
    assert set(raw.sha256) == {"events.csv", "items.jsonl"}


@pytest.mark.parametrize(
    ("content", "columns", "message"),
    [
        ("code,title\ni1,A\n", Columns(), r"items\.csv: no column 'item' .*--items-id COL"),
        ("item,title\ni1,A\ni1,B\n", Columns(), r"items\.csv: line 3, column 'item': 'i1' occurs again; leave one row"),
        ("item,title\ni1,A\n,B\n", Columns(), r"items\.csv: line 3, column 'item'"),
        ("item,name\ni1,A\n", Columns(title="label"), r"no column 'label' for the title"),
        ("", Columns(), r"items\.csv: no items; the file is empty"),
    ],
)
def test_what_is_wrong_with_the_items_is_named(content: str, columns: Columns, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_tabular(write(tmp_path, GOOD), columns, items=write(tmp_path, content, "items.csv"))


# -- frames and filters ----------------------------------------------------------------------------------------------


def test_frames_of_another_library() -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"user": [1, 1], "item": ["a", "b"], "time": [2, 1]})
    assert Interactions.from_frame(table).history(1) == ["b", "a"]
    with pytest.raises(DataError, match="a list is not a data frame"):
        Interactions.from_frame([1, 2])


def test_what_pandas_says_in_its_own_way() -> None:
    pandas = pytest.importorskip("pandas")
    times = pandas.to_datetime(["2020-01-02", "2020-01-01", "2020-01-03"]).tz_localize("Europe/Berlin")
    events = pandas.DataFrame({"user": [1, 1, 2], "item": pandas.Categorical(["a", "b", "c"]), "time": times})
    items = pandas.DataFrame({"item": ["a", "b", "c"], "title": ["x", float("nan"), None]})
    found = Interactions.from_frame(events, items)
    assert found.history(1) == ["b", "a"]
    assert found.times[0] == 1_577_833_200_000  # the first of January begins an hour earlier in Berlin
    assert dict(zip(*found.catalogue.select("item", "title"), strict=True)) == {"a": "x", "b": "", "c": ""}
    objects = events.assign(user=[object(), object(), object()])
    with pytest.raises(DataError, match="column 'user' holds a object; make it text, a number or a time"):
        Interactions.from_frame(objects)


def test_frames_of_another_library_are_interactions() -> None:
    pandas = pytest.importorskip("pandas")
    events = pandas.DataFrame({"user": [1, 1], "item": ["a", "b"], "time": [2, 1]})
    items = pandas.DataFrame({"item": ["a"], "title": ["x"]})
    found = Interactions.from_frame(events, items)
    assert found.history(1) == ["b", "a"]
    assert found.title(int(found.item_numbers(["a"])[0])) == "x"


def test_a_quote_in_the_middle_of_a_text_means_itself(tmp_path: Path) -> None:
    items = 'item,title\nb,"a, ""b"""\n\nc,Monitor 5" wide\n'
    events = "user,item,time\n1,b,1\n1,c,2\n"
    raw = read_tabular(write(tmp_path, events), items=write(tmp_path, items, "items.csv"))
    assert raw.items is not None
    assert raw.items.rows() == [("b", 'a, "b"'), ("c", 'Monitor 5" wide')]
    with pytest.raises(DataError, match="line 4, column 'item': an empty value"):
        read_tabular(write(tmp_path, events), items=write(tmp_path, items.replace("c,M", ",M"), "items.csv"))


def test_a_long_text_is_a_text(tmp_path: Path) -> None:
    items = f"item,title\nb,{'x' * 140_000}\nc,y,z\n"
    with pytest.raises(DataError, match="line 3: 3 fields where there are 2 columns"):
        read_tabular(write(tmp_path, GOOD), items=write(tmp_path, items, "items.csv"))


def test_what_pandas_writes_for_no_title_is_none(tmp_path: Path) -> None:
    events = write(tmp_path, "user,item,time\n1,b,1\n1,c,2\n1,d,3\n")
    raw = read_tabular(events, items=write(tmp_path, "item,title\nb,nan\nc,<NA>\nd,None\n", "items.csv"))
    assert raw.items is not None
    assert raw.items["title"].to_list() == ["", "", "None"]


def test_a_column_has_one_role(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="column 'item' cannot be both user and item"):
        read_tabular(write(tmp_path, GOOD), Columns(user="item"))


def test_a_separator_separates(tmp_path: Path) -> None:
    for wrong in ("", '"', "\n"):
        with pytest.raises(DataError, match=r"the separator .* cannot separate fields"):
            read_tabular(write(tmp_path, GOOD), Columns(separator=wrong))
    tabs = write(tmp_path, GOOD.replace(",", "\t"))
    assert read_tabular(tabs, Columns(separator="\\t")).events.equals(read_tabular(tabs).events)


def test_filters_are_applied_and_recorded(tmp_path: Path) -> None:
    raw = read_tabular(write(tmp_path, GOOD), Columns(value="rating"))
    interactions = prepare(raw, name="x", min_rating=4.5)
    assert interactions.meta.filters == {"min_rating": 4.5}
    assert interactions.meta.counts == {
        "raw_interactions": 3, "users": 1, "items": 2, "interactions": 2, "duplicates": 0
    }  # fmt: skip
    with pytest.raises(DataError, match=r"no interactions are left of 3 \(min_rating 9\)"):
        prepare(raw, name="x", min_rating=9)
    with pytest.raises(DataError, match=r"has no ratings to filter by.*--value"):
        prepare(read_tabular(write(tmp_path, GOOD)), name="x", min_rating=1)


def test_the_core_is_iterative() -> None:
    # c and z keep each other only as long as a has z: one pass would leave b with a single item.
    pairs = [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y"), ("c", "y"), ("c", "z"), ("d", "z")]
    users, items = zip(*pairs, strict=True)
    frame = pl.DataFrame({"user": users, "item": items, "time": range(7)})
    interactions = prepare(Raw(frame, None, "memory"), name="x", k_core=2)
    assert interactions.users.to_list() == ["a", "b"]
    assert sorted(interactions.catalogue["item"]) == ["x", "y"]
    with pytest.raises(DataError, match=r"no interactions are left of 7 \(k_core 3\)"):
        prepare(Raw(frame, None, "memory"), name="x", k_core=3)


def test_duplicates_do_not_make_a_core() -> None:
    frame = pl.DataFrame({"user": ["a"] * 4, "item": ["x", "x", "x", "y"], "time": [1, 1, 1, 2]})
    with pytest.raises(DataError, match="no interactions are left"):
        prepare(Raw(frame, None, "memory"), name="x", k_core=2)
    interactions = prepare(Raw(frame, None, "memory"), name="x", k_core=1)
    assert interactions.meta.counts["duplicates"] == 2
    assert interactions.n_interactions == 2
