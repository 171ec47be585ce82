"""Files that people have and no format foresees: other programs' files, several files in one, values of other kinds."""

import io
import os
import zipfile
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from deftrec import DataError, Interactions
from deftrec.data.sources.columns import Place
from deftrec.data.sources.roles import Reading
from deftrec.data.sources.tabular import Columns, read_events, read_items, read_tabular
from deftrec.data.sources.times import times

HEADER = "user,item,time\n"
ROWS = "".join(f"u{user},i{item},{60 * item}\n" for user in range(3) for item in range(4))


def zipped(**members: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, one in members.items():
            archive.writestr(name, one)
    return content.getvalue()


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# -- files of other programs -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"PAR1" + bytes(8), "is a Parquet file; let its name end in .parquet"),
        ("a.csv", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(8), "is an Excel workbook; save its sheet as CSV"),
        ("a.csv", zipped(**{"[Content_Types].xml": b"<a/>", "xl/workbook.xml": b""}), "is an Excel workbook; save"),
        ("a.csv", b"SQLite format 3\0" + bytes(8), "is an SQLite database; export its table as CSV"),
        ("a.csv", b"%PDF-1.4\n%\xe2\xe3", "is a PDF file; export its table"),
        ("a.csv", b"events.csv".ljust(257, b"\0") + b"ustar\0", "is a tar archive; unpack it first"),
        ("a.csv", b"\x01\x02\xff\xfe" * 9, "it seems to hold no text: save it as CSV, or unpack it"),
        ("a.csv", b"\xff\xfe" + HEADER.encode("utf-16-le") + b"a", "not UTF-16 .*; it is damaged, or not complete"),
        ("a.zip", zipped(), "is a zip file without files"),
        ("a.xlsx", b"PK", "its name is that of a workbook; save its sheet as CSV in UTF-8; or say --format"),
        ("a.tar.gz", b"", "its name is that of an archive; unpack it first"),
        (
            "a.csv.gz",
            b"\x1f\x8b\x08\x00" + bytes(9),
            "cannot be read .*; it is damaged, or not complete: copy it again",
        ),
    ],
)
def test_a_file_of_another_program_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_tabular(write(tmp_path / name, content))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such pipes")
def test_a_pipe_is_not_called_missing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(DataError, match=r"pipe\.csv: a device or pipe, .*; write its content to a file first"):
        read_tabular(tmp_path / "pipe.csv")
    with pytest.raises(DataError, match="-: standard input is not read; write it to a file first"):
        read_tabular("-", form="csv")
    with pytest.raises(DataError, match="no such file; download it first"):
        read_tabular("https://example.org/a.csv")


# -- lines and headers -------------------------------------------------------------------------------------------------


def test_separators_at_the_ends_of_lines_are_no_fields(tmp_path: Path) -> None:
    plain = read_tabular(write(tmp_path / "a.csv", HEADER + ROWS)).events
    ended = read_tabular(write(tmp_path / "b.csv", HEADER + ROWS.replace("\n", ",,\n"))).events
    assert ended.equals(plain)
    with pytest.raises(DataError, match="line 2: 4 fields where there are 3 columns"):
        read_tabular(write(tmp_path / "c.csv", HEADER + "u,i,1,2\n"))


def test_columns_without_a_name_are_ignored(tmp_path: Path) -> None:
    table = f",,{HEADER}" + "".join(f"1,2,{line}\n" for line in ROWS.splitlines())
    said = list[Reading]()
    found = read_tabular(write(tmp_path / "a.csv", table), on_reading=said.append)
    assert found.events.height == 12
    assert said[0].ignored == ["column 1", "column 2"]
    with pytest.raises(DataError, match="column 'user' occurs twice"):
        read_tabular(write(tmp_path / "b.csv", f"user,{HEADER}{ROWS}"))


@pytest.mark.parametrize("first", ["sep=;", "# made today", "<html>"])
def test_lines_before_the_header_are_named(tmp_path: Path, first: str) -> None:
    with pytest.raises(DataError, match="line 1 must be the header, with one of ',', "):
        read_tabular(write(tmp_path / "a.csv", f"{first}\n{HEADER}{ROWS}"))
    with pytest.raises(DataError, match="remove empty lines before it"):
        read_tabular(write(tmp_path / "b.csv", f"\n{HEADER}{ROWS}"))


def test_a_long_header_does_not_fill_the_screen(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_tabular(write(tmp_path / "a.csv", "x" * 100_000 + ",y\n1,2\n"))
    assert len(str(caught.value)) < 1000


# -- ids ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_a_byte_order_mark_within_a_file_makes_no_second_user(tmp_path: Path, name: str) -> None:
    if name == "a.csv":
        content, place = f"{HEADER}u0,i0,1\n\ufeffu0,i1,2\n", "line 3"  # cat of two files
    else:
        content, place = '{"user":"u0","item":"i0","time":1}\n{"user":"\\ufeffu0","item":"i1","time":2}\n', "line 2"
    with pytest.raises(DataError, match=f"{place}, column 'user': .* without control characters and byte order marks"):
        read_tabular(write(tmp_path / name, content))


def test_spaces_around_ids_are_kept_and_said(tmp_path: Path) -> None:
    file, said = write(tmp_path / "a.csv", (HEADER + ROWS).replace(",", ", ")), list[Reading]()
    found = read_tabular(file, on_reading=said.append)
    assert found.events["item"][0] == " i0"
    assert "ids of ' item' keep spaces at their ends, as ' i0'" in str(said[0])
    read_events(file, on_reading=said.append)
    assert said[1].notes == said[0].notes
    read_items(write(tmp_path / "items.csv", "item,title\n i0,A\n"), Columns(), on_reading=said.append)
    assert said[2].notes == ["ids of 'item' keep spaces at their ends, as ' i0'"]


@pytest.mark.parametrize("read", ["frame", "parquet"])
def test_decimals_are_ids_where_they_are_whole(tmp_path: Path, read: str) -> None:
    def users(*values: str) -> pl.Series:
        decimals = pl.Series(list(map(Decimal, values)), dtype=pl.Decimal(20, 2))
        frame = pl.DataFrame({"user": decimals, "item": [1, 2, 3], "time": [1, 2, 3]})
        if read == "frame":
            return Interactions.from_frame(frame).users
        frame.write_parquet(tmp_path / "a.parquet")
        return read_tabular(tmp_path / "a.parquet").events["user"]

    assert users("7.00", "7", "8").unique().sort().to_list() == [7, 8]
    with pytest.raises(DataError, match=r"row 2, column 'user': '7\.50' is not an id"):
        users("7", "7.50", "8")


def test_floats_of_32_bits_that_merge_neighbours_are_refused(tmp_path: Path) -> None:
    def table(**columns: Any) -> Path:
        values = {"user": ["u"] * 2, "item": [1, 2], "time": [1, 2]} | columns
        pl.DataFrame(values).write_parquet(tmp_path / "a.parquet")
        return tmp_path / "a.parquet"

    ids = pl.Series([16_777_216.0, 3.0], dtype=pl.Float32)  # 2^24, which 2^24 + 1 becomes too
    with pytest.raises(DataError, match=r"row 1, column 'user': 16777216\.0 is not an id"):
        read_tabular(table(user=ids))
    seconds = pl.Series([1_718_695_894, 1_718_695_895], dtype=pl.Float32)
    with pytest.raises(DataError, match="of Float32 stands for several times; write times as integers or as floats"):
        read_tabular(table(time=seconds))
    assert read_tabular(table(time=pl.Series([1, 2], dtype=pl.Float32))).events["time"].to_list() == [1, 2]


# -- ratings and times -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [[1], {"a": 1}, datetime(2024, 1, 1)])
def test_ratings_that_are_no_numbers_are_named(tmp_path: Path, value: object) -> None:
    frame = pl.DataFrame({"user": ["u"] * 2, "item": [1, 2], "time": [1, 2], "rating": [value] * 2})
    frame.write_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"column 'rating' holds .*, which are no numbers; give numbers, or name"):
        read_tabular(tmp_path / "a.parquet", Columns(value="rating"))


def test_a_decimal_comma_is_named(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "user;item;time;rating\nu;i;1;4,5\n")
    with pytest.raises(DataError, match="line 2, column 'rating': '4,5' is not a number; write decimals with a point"):
        read_tabular(file, Columns(value="rating"))


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_times_of_pandas_have_any_unit(unit: str) -> None:
    moments = np.array(["2024-06-18T07:31:34", "2024-06-18T07:31:35"], dtype=f"datetime64[{unit}]")
    frame = pd.DataFrame({"user": ["u", "u"], "item": ["a", "b"], "time": moments})
    assert Interactions.from_frame(frame).times.tolist() == [1_718_695_894_000, 1_718_695_895_000]
    missing = frame.assign(time=np.array([moments[0], "NaT"], dtype=f"datetime64[{unit}]"))
    with pytest.raises(DataError, match="row 2, column 'time': an empty value is not a time"):
        Interactions.from_frame(missing)


def test_objects_are_no_times() -> None:
    column = pl.Series("time", [1j, 2j], dtype=pl.Object)
    with pytest.raises(DataError, match="column 'time' holds Object, which are no times"):
        times(column, Place("events"))


@pytest.mark.parametrize("never", ["9999-12-31", "9999-12-31 23:59:59"])
def test_a_date_that_stands_for_never_is_named(tmp_path: Path, never: str) -> None:
    file = write(tmp_path / "a.csv", f"{HEADER}u,a,2024-06-18\nu,b,{never}\n")
    with pytest.raises(DataError, match=f"line 3, column 'time': '{never}' is too far in the future for a time"):
        read_tabular(file)
    frame = pl.DataFrame({"user": ["u"] * 2, "item": ["a", "b"], "time": [date(2024, 6, 18), date(9999, 12, 31)]})
    with pytest.raises(DataError, match=r"row 2, column 'time': .* is too far in the future"):
        Interactions.from_frame(frame)


@pytest.mark.parametrize("bad", ["0", "5", "20241399"])
def test_one_bad_date_among_compact_ones_is_named(tmp_path: Path, bad: str) -> None:
    file = write(tmp_path / "a.csv", f"{HEADER}u,a,20240618\nu,b,20240619\nu,c,{bad}\n")
    with pytest.raises(DataError, match=f"line 4, column 'time': {bad} is not a date, as the others are"):
        read_tabular(file)


def test_a_date_that_contradicts_the_form_is_told_so(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", f"{HEADER}u,a,06/18/2024\n")
    with pytest.raises(DataError, match="'06/18/2024' is not a time with its numbers day-first"):
        read_tabular(file, Columns(time_format="day-first"))


def test_control_characters_of_a_value_are_not_written_to_the_terminal(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", f"{HEADER}\0\x1b[31mu,a,1\n")
    with pytest.raises(DataError) as caught:
        read_tabular(file)
    assert str(caught.value).isprintable()


def test_every_message_is_one_of_a_file(tmp_path: Path) -> None:
    """No fault of these files is one of the program: not the type, and not a message without the file."""
    faults: list[Callable[[], object]] = [
        lambda: read_tabular(write(tmp_path / "a.csv", b"\0" * 100)),
        lambda: read_tabular(write(tmp_path / "b.csv", (HEADER + ROWS).encode() + b"\0" * 4096)),
        lambda: read_tabular(write(tmp_path / "c.jsonl", "[" * 5000)),
    ]
    for fault in faults:
        with pytest.raises(DataError, match=str(tmp_path)):
            fault()
