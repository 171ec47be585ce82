"""Files as people have them: without a header, packed, in another encoding, in parts, with events of many kinds."""

import bz2
import gzip
import json
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from deftrec.data.download import sha256_of
from deftrec.data.sources.faults import Faults
from deftrec.data.sources.opening import for_polars
from deftrec.data.sources.tabular import Columns, format_of, read_events, read_items, read_tabular
from deftrec.errors import DataError, MissingExtraError

ROWS = [("u1", "i1", 3.0, 30), ("u2", "ünï", 4.5, 10), ("u1", "i2", 1.0, 20)]
HEADER = ["user", "item", "rating", "time"]
EVENTS = [(user, item, time) for user, item, _, time in ROWS]


def text(separator: str = ",", header: bool = True) -> str:
    return "".join(separator.join(map(str, row)) + "\n" for row in ([HEADER] if header else []) + ROWS)


def zipped(path: Path, **members: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("_", "/"), content)
        archive.writestr("__MACOSX/._events.csv", "of another system")
    return path


@pytest.mark.parametrize(
    ("name", "content", "columns"),
    [
        ("u.data", text("\t", header=False), "user,item,rating,time"),
        ("ratings.dat", text("::", header=False), "user,item,-,time"),
        ("ratings.tsv", text("\t", header=False), "user,item,_,time"),
        ("a.txt", text(";", header=False), "user,item,more,time"),
        ("a.csv", text(header=False), "user_id,movieId,rating,timestamp"),
        ("a.csv.gz", gzip.compress(text(header=False).encode()), "user,item,,time"),
    ],
)
def test_files_without_a_header(name: str, content: str | bytes, columns: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    named = Columns(names=tuple(columns.split(",")))
    assert read_tabular(path, named).events.rows() == EVENTS
    assert read_events(path, named)[0].drop("record").rows() == EVENTS


def test_names_of_columns_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "u.data"
    path.write_text("196\t242\t3\t881250949\n")
    with pytest.raises(DataError, match=r"no column 'user' .*if line 1 is no header, name all columns with --columns"):
        read_tabular(path)
    with pytest.raises(DataError, match=r"line 1 has 4 fields, and 3 columns are named; name all of them, '-' for"):
        read_tabular(path, Columns(names=("user", "item", "time")))
    with pytest.raises(DataError, match=r"column 'user' occurs twice"):
        read_tabular(path, Columns(names=("user", "user", "item", "time")))
    (tmp_path / "a.jsonl").write_text('{"user": 1, "item": 2, "time": 3}\n')
    with pytest.raises(DataError, match=r"a jsonl file names its columns itself; leave out --columns"):
        read_tabular(tmp_path / "a.jsonl", Columns(names=("user",)))


def test_a_long_separator_separates_titles_with_its_characters(tmp_path: Path) -> None:
    path = tmp_path / "movies.dat"
    path.write_text('1::Star Wars: Episode IV (1977)::Action|"Sci-Fi"\n2::"Great" Performances::Drama\n')
    items = read_items(path, Columns(item_names=("item", "title", "genres")))
    assert items.rows() == [
        (1, "Star Wars: Episode IV (1977)", 'Action|"Sci-Fi"'),
        (2, '"Great" Performances', "Drama"),
    ]
    path.write_text("1::A::B\n2::A::B::C\n")
    with pytest.raises(DataError, match=r"line 2: 4 fields where there are 3 columns; correct the line"):
        read_items(path, Columns(item_names=("item", "title", "genres")))


def zstd(content: bytes) -> bytes:
    zstandard = pytest.importorskip("zstandard")
    return bytes(zstandard.ZstdCompressor().compress(content))


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
@pytest.mark.parametrize(
    ("suffix", "pack"),
    [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress), (".zst", zstd)],
)
def test_packed_files(name: str, suffix: str, pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    frame, path = pl.DataFrame(ROWS, schema=HEADER, orient="row"), tmp_path / name
    write = {"a.csv": frame.write_csv, "a.jsonl": frame.write_ndjson, "a.parquet": frame.write_parquet}[name]
    write(path)
    packed = path.with_name(name + suffix)
    packed.write_bytes(pack(path.read_bytes()))
    assert format_of(packed) == format_of(path)
    raw = read_tabular(packed)
    assert raw.events.rows() == EVENTS
    assert raw.sha256 == {packed.name: sha256_of(packed)}


def test_zstd_without_its_library_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    (tmp_path / "a.csv.zst").write_bytes(b"\x28\xb5\x2f\xfd")
    with pytest.raises(MissingExtraError, match=r'needs zstandard: pip install "deftrec\[zstd\]"'):
        read_tabular(tmp_path / "a.csv.zst")


def test_a_damaged_packed_file_is_named(tmp_path: Path) -> None:
    for suffix, pack in ((".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)):
        path = tmp_path / f"a.csv{suffix}"
        content = pack(text().encode() * 1000)
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(DataError, match=f"a.csv{suffix}: cannot be read"):
            read_tabular(path)
    (tmp_path / "a.zip").write_bytes(b"PK\3\4 and nothing else")
    with pytest.raises(DataError, match=r"a\.zip: cannot be read"):
        read_tabular(tmp_path / "a.zip")


def test_the_member_of_a_zip_file(tmp_path: Path) -> None:
    one = zipped(tmp_path / "one.zip", **{"events.csv": text()})
    assert read_tabular(one).events.rows() == EVENTS
    two = zipped(tmp_path / "two.zip", **{"in_events.csv": text(), "in_items.csv": "item,title\ni1,One\n"})
    listed = r"holds 2 files \(in/events\.csv, in/items\.csv\); name one, such as .*two\.zip/in/events\.csv"
    with pytest.raises(DataError, match=listed):
        read_tabular(two)
    raw = read_tabular(two / "in/events.csv", items=two / "in/items.csv")
    assert raw.events.rows() == EVENTS
    assert raw.items is not None
    assert raw.items.rows() == [("i1", "One")]
    assert raw.sha256 == {"two.zip": sha256_of(two)}
    with pytest.raises(DataError, match=r"has no member nope\.csv \(in/events\.csv, in/items\.csv\); name one"):
        read_tabular(two / "nope.csv")
    (tmp_path / "plain.csv").write_text(text())
    with pytest.raises(DataError, match=r"plain\.csv is no zip file, so it has no members"):
        read_tabular(tmp_path / "plain.csv" / "events.csv")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.csv.xz"])
def test_other_encodings_with_a_mark(encoding: str, name: str, tmp_path: Path) -> None:
    pack = {".csv": bytes, ".gz": gzip.compress, ".xz": lzma.compress}[Path(name).suffix]
    (tmp_path / name).write_bytes(pack(text().replace("\n", "\r\n").encode(encoding)))
    assert read_tabular(tmp_path / name).events.rows() == EVENTS


@pytest.mark.parametrize(("encoding", "convert"), [("latin1", "latin1"), ("utf-16-le", "utf-16le")])
def test_other_encodings_without_a_mark_are_named(encoding: str, convert: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(text().encode(encoding))
    with pytest.raises(DataError, match=f"not UTF-8 .*iconv -f {convert} -t utf-8"):
        read_tabular(path)


def test_plain_files_are_streamed_from_their_path(tmp_path: Path) -> None:
    for name, content in (("a.csv", text().encode()), ("b.csv.gz", gzip.compress(text().encode()))):
        (tmp_path / name).write_bytes(content)
        assert for_polars(tmp_path / name) == tmp_path / name
    odd = tmp_path / "a[1].csv"  # polars would take the name for a pattern
    odd.write_text(text())
    assert for_polars(odd) == text().encode()
    assert read_tabular(odd).events.rows() == EVENTS


# -- parts -----------------------------------------------------------------------------------------------------------


def write_parts(folder: Path, kind: str) -> list[tuple[str, str, int]]:
    """Write twelve parts of one row, and files that are none; return the rows in the order of the parts."""
    rows = [(f"u{n}", f"i{n}", n) for n in range(1, 13)]
    folder.mkdir()
    for row in rows:
        frame = pl.DataFrame([row], schema=["user", "item", "time"], orient="row")
        path = folder / f"part-{row[2]}.{kind}"
        {"csv": frame.write_csv, "jsonl": frame.write_ndjson, "parquet": frame.write_parquet}[kind](path)
    for name in ("_SUCCESS", ".part-1.crc", "README.md"):
        (folder / name).write_text("no table")
    return rows


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_directory_and_a_pattern_are_one_table(kind: str, tmp_path: Path) -> None:
    rows = write_parts(tmp_path / "logs", kind)
    raw = read_tabular(tmp_path / "logs")
    assert raw.events.rows() == rows, "part-2 stands before part-10"
    assert len(raw.sha256) == 12
    assert read_tabular(tmp_path / "logs" / f"part-1*.{kind}").events.rows() == [rows[0], *rows[9:]]
    assert read_tabular([tmp_path / "logs" / f"part-{n}.{kind}" for n in (3, 1)]).events.rows() == [rows[2], rows[0]]
    assert read_tabular(tmp_path / "logs", Columns(time=None)).events["time"].to_list() == list(range(12))
    events, place = read_events(tmp_path / "logs")
    assert (
        place.describe(int(events["record"][10]))
        == f"part-11.{kind}, {'row 1' if kind == 'parquet' else 'line 2' if kind == 'csv' else 'line 1'}"
    )


def test_parts_in_several_directories_and_without_a_suffix(tmp_path: Path) -> None:
    for day in ("a", "b"):
        (tmp_path / day / "deep").mkdir(parents=True)
        (tmp_path / day / "deep" / "part-0").write_text(f"user,item,time\n{day},x,1\n")
    with pytest.raises(DataError, match=r"no file in this directory has the name of a table; name one, or --format"):
        read_tabular(tmp_path / "a")
    both = read_tabular([tmp_path / "a", tmp_path / "b"], form="csv")
    assert both.events["user"].to_list() == ["a", "b"], "two files of one name are two files"


def test_empty_parts_are_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    for name, content in (("0.csv", ""), ("1.csv", "user,item,time\n"), ("2.csv", "user,item,time\na,b,1\n")):
        (folder / name).write_text(content)
    assert read_tabular(folder).events.rows() == [("a", "b", 1)]
    (folder / "2.csv").write_text("")
    with pytest.raises(DataError, match=r"no rows; all of its files are empty"):
        read_tabular(folder)


def test_parts_that_differ_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "1.csv").write_text("user,item,time\na,b,1\n")
    (folder / "2.csv").write_text("item,user,time\nb,a,1\na,,1\n")
    with pytest.raises(DataError, match=r"logs: 2\.csv, line 3, column 'user': an empty value is not an id"):
        read_tabular(folder)
    (folder / "3.csv").write_text("user,item\na,b\n")
    with pytest.raises(DataError, match=r"its parts differ: 1\.csv has a column 'time', and 3\.csv has not"):
        read_tabular(folder)
    (folder / "4.jsonl").write_text('{"user": 1}\n')
    with pytest.raises(
        DataError, match=r"files of 2 formats: csv \(1\.csv\), jsonl \(4\.jsonl\); choose with --format"
    ):
        read_tabular(folder)
    with pytest.raises(DataError, match=r"nothing-\*\.csv: no file has such a name"):
        read_tabular(folder / "nothing-*.csv")


def test_parts_of_other_types_are_named(tmp_path: Path) -> None:
    whole, words = ({"user": [one], "item": [1], "time": [1]} for one in (7, "007"))
    pl.DataFrame(whole).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame(words).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"b\.parquet: column 'user' holds String, and Int64 in a\.parquet"):
        read_tabular(tmp_path / "*.parquet")
    pl.DataFrame(whole).cast({"user": pl.Int32, "time": pl.Float64}).write_parquet(tmp_path / "b.parquet")
    assert read_tabular(tmp_path / "*.parquet").events.rows() == [(7, 1, 1), (7, 1, 1)]
    pl.DataFrame(whole | {"time": [2**60]}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"column 'time' holds Float64, and Int64 in a"):
        read_tabular(tmp_path / "*.parquet")


# -- rows of some kinds ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_rows_of_some_events(kind: str, tmp_path: Path) -> None:
    events = ["view", "purchase", "transaction", "view", "purchase"]
    rows = {"user": range(5), "item": [None, 1, 2, None, 3], "time": range(5), "event": events, "shop": [1, 1, 1, 1, 2]}
    frame, path = pl.DataFrame(rows), tmp_path / f"a.{kind}"
    {"csv": frame.write_csv, "jsonl": frame.write_ndjson, "parquet": frame.write_parquet}[kind](path)
    raw = read_tabular(path, where={"event": ["purchase", "transaction"]})
    assert raw.events["user"].to_list() == [1, 2, 4], "rows that are not chosen may be bad"
    assert raw.notes == {"where": {"event": ["purchase", "transaction"]}}
    assert raw.counts == {"not_selected": 2}
    assert read_tabular(path, where={"event": ["purchase"], "shop": ["1"]}).events["user"].to_list() == [1]
    with pytest.raises(DataError, match=r"line 2|row 1|line 1"):
        read_tabular(path)
    with pytest.raises(DataError, match=r"no row has 'buy' in column 'event'; it has 'purchase', 'transaction'"):
        read_tabular(path, where={"event": ["buy"]})
    with pytest.raises(DataError, match=r"no column 'evnt' to choose rows by; it has 'user', .*; correct --where"):
        read_tabular(path, where={"evnt": ["buy"]})
    readings: list[str] = []
    read_tabular(path, where={"event": ["buy", "purchase"]}, on_reading=lambda one: readings.append(str(one)))
    assert "no row has event=buy" in readings[0]


def test_rows_are_chosen_before_bad_ones_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("user,item,time,event\n" + "a,,1,view\n" * 50 + "a,b,1,buy\n" * 50 + "a,,1,buy\n")
    faults = Faults()
    assert read_tabular(path, where={"event": ["buy"]}, faults=faults).events.height == 50
    assert faults.table["place"].to_list() == ["line 102"]


def test_truth_values_are_compared_as_written(tmp_path: Path) -> None:
    frame = pl.DataFrame({"user": [1, 2], "item": [1, 2], "time": [1, 2], "sold": [True, False]})
    frame.write_parquet(tmp_path / "a.parquet")
    frame.write_ndjson(tmp_path / "a.jsonl")
    assert read_tabular(tmp_path / "a.parquet", where={"sold": ["True"]}).events["user"].to_list() == [1]
    assert read_tabular(tmp_path / "a.jsonl", where={"sold": ["true"]}).events["user"].to_list() == [1]


def test_json_lines_in_every_packing_name_their_lines(tmp_path: Path) -> None:
    lines = [json.dumps({"user": "u", "item": "i", "time": n}) for n in range(3)]
    lines[1] = '{"user": "u", "item": "", "time": 1}'
    (tmp_path / "a.jsonl.bz2").write_bytes(bz2.compress("\n".join(lines).encode("utf-16")))
    with pytest.raises(DataError, match=r"line 2, column 'item'"):
        read_tabular(tmp_path / "a.jsonl.bz2")


def test_parts_of_items_may_lack_what_others_have(tmp_path: Path) -> None:
    parts = [
        '{"item": 1, "category": ["x", "y"]}\n{"item": 2}',
        '{"item": 3, "title": "t"}',
        '{"item": 4, "category": null}',
    ]
    parts += ['{"item": 5, "category": "z"}', '{"item": 6, "category": [["v"], ["w"]]}']
    for number, part in enumerate(parts):
        (tmp_path / f"{number}.jsonl").write_text(part)
    items = read_items(tmp_path, Columns()).select("item", "title", "category")
    assert items.rows() == [(1, "", "x|y"), (2, "", ""), (3, "t", ""), (4, "", ""), (5, "", "z"), (6, "", "v|w")]
    (tmp_path / "6.jsonl").write_text('{"item": 7}\n{"item": ["x"], "category": "z"}')
    with pytest.raises(DataError, match=r"6\.jsonl, line 2, column 'item': \[\"x\"\] is not an id"):
        read_items(tmp_path, Columns())


def test_records_are_no_titles(tmp_path: Path) -> None:
    """Nor where a `NaN` lets only Python read the file."""
    for more in ("1", "NaN"):
        (tmp_path / "a.jsonl").write_text(f'{{"item": 1, "name": {{"en": "x"}}, "label": "y", "price": {more}}}\n')
        assert read_items(tmp_path / "a.jsonl", Columns()).select("item", "title").rows() == [(1, "y")]
