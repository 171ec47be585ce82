"""Bad rows: the first one stops an import, or all are counted, shown and written to a file."""

import json
import os
from pathlib import Path

import polars as pl
import pytest
from click.testing import Result
from typer.testing import CliRunner

from deftrec.cli.data import app
from deftrec.data import Interactions
from deftrec.data.interactions import SKIPPED_FILE
from deftrec.data.sources.faults import Faults
from deftrec.data.sources.tabular import read_tabular
from deftrec.errors import DataError

ROWS = [[str(n % 7), str(n % 5), str(1_500_000_000 + n), str(n % 5 + 1)] for n in range(100)]
HEADER = ["user", "item", "time", "rating"]


def imports(path: Path, *more: object) -> Result:
    words = ["import", path, "--to", path.parent / "d", "--min-rating", 1, *more]
    return CliRunner().invoke(app, [str(word) for word in words])


def skips(path: Path, *more: object) -> Result:
    result = imports(path, "--on-error", "skip", *more)
    assert result.exit_code == 0, result.output
    return result


def csv(path: Path, lines: dict[int, str] | None = None) -> Path:
    """Write the rows, with other text in some lines."""
    text = [",".join(row) for row in (HEADER, *ROWS)]
    for number, line in (lines or {}).items():
        text[number - 1] = line
    path.write_text("\n".join(text) + "\n")
    return path


def without(path: Path, *numbers: int) -> Interactions:
    """The interactions of a file that never had some lines."""
    lines = path.read_text().splitlines()
    clean = path.with_name("clean.csv")
    clean.write_text("\n".join(line for number, line in enumerate(lines, 1) if number not in numbers))
    assert imports(clean).exit_code == 0
    return Interactions.load(path.parent / "d")


BAD = {
    5: ",3,1500000000,2",  # no user
    17: "x,NaN,1500000000,2",  # no item, and the only user that is no number
    29: "1,2,soon,2",
    41: "1,2,1500000000,",  # no rating
    60: "1,2,1500000000,2,more",
}


def test_bad_rows_are_counted_shown_and_written(tmp_path: Path) -> None:
    path = csv(tmp_path / "events.csv", BAD)
    said = skips(path)
    found = Interactions.load(tmp_path / "d")
    table = pl.read_csv(tmp_path / "d" / SKIPPED_FILE).fill_null("")
    assert table["place"].to_list() == [f"line {number}" for number in BAD]
    assert table["column"].to_list() == ["user", "item", "time", "rating", ""]
    assert table["value"].to_list() == ["", "NaN", "soon", "", BAD[60]]
    assert found.meta.counts["skipped"] == 5
    assert found.meta.counts["raw_interactions"] == 95
    assert found.meta.filters["skipped"]["column 'user': is not an id"] == 1
    for shown in ("line 29, column 'time': 'soon' is not a time", "1 x column 'item': is not an id", SKIPPED_FILE):
        assert shown in said.stderr
    assert "5 bad rows left out" in said.stdout
    # As if the rows had not been in the file: the ids are integers again.
    assert found.users.dtype == pl.Int64
    assert found.fingerprint == without(path, *BAD).fingerprint


@pytest.mark.parametrize("line", BAD)
def test_without_the_option_the_first_bad_row_stops(line: int, tmp_path: Path) -> None:
    result = imports(csv(tmp_path / "events.csv", {line: BAD[line]}))
    assert isinstance(result.exception, DataError)
    assert f"line {line}" in str(result.exception)
    assert not (tmp_path / "d").exists()


def test_too_many_bad_rows_are_refused_unless_they_are_allowed(tmp_path: Path) -> None:
    path = csv(tmp_path / "events.csv", dict.fromkeys(range(10, 16), "1,2,soon,2"))
    result = imports(path, "--on-error", "skip")
    with pytest.raises(
        DataError, match=r"6 of 100 rows are bad, more than 0.05 of them \(6 x column 'time': .* line 10, "
    ) as error:
        raise result.exception or AssertionError
    assert "--max-errors SHARE" in str(error.value)
    assert not (tmp_path / "d").exists()
    assert "6 bad rows left out" in skips(path, "--max-errors", 0.06).stdout
    csv(path, dict.fromkeys(range(10, 15), "1,2,soon,2"))
    assert "5 bad rows left out" in skips(path).stdout, "5 of 100 are not over 5 %"
    csv(path, dict.fromkeys(range(2, 102), "1,2,soon,2"))
    assert "100 of 100 rows are bad (" in str(imports(path, "--on-error", "skip", "--max-errors", 1).exception)
    assert "without --on-error skip no row is skipped; leave out --max-errors" in str(
        imports(path, "--max-errors", 1).exception
    )


def test_ten_bad_rows_are_shown_and_all_are_written(tmp_path: Path) -> None:
    path = csv(tmp_path / "events.csv", dict.fromkeys(range(10, 22), "1,2,soon,2"))
    said = skips(path, "--max-errors", 0.2, "--json")
    assert said.stderr.count("'soon' is not a time") == 10
    assert "12 x column 'time'" in said.stderr
    assert pl.read_csv(tmp_path / "d" / SKIPPED_FILE).height == 12
    assert json.loads(said.stdout)["counts"]["skipped"] == 12
    csv(path)
    skips(path)  # over the directory of before
    assert not (tmp_path / "d" / SKIPPED_FILE).exists()


def test_a_stray_quote_costs_its_own_line_alone(tmp_path: Path) -> None:
    path = csv(tmp_path / "events.csv", {20: '1,"Q" x,1500000000,2', 40: '"1,2,1500000000,2', 70: '1,"2,1500000000,2'})
    skips(path)
    table = pl.read_csv(tmp_path / "d" / SKIPPED_FILE)
    assert table["place"].to_list() == ["line 20", "line 40", "line 70"]
    assert Interactions.load(tmp_path / "d").fingerprint == without(path, 20, 40, 70).fingerprint


def test_lines_are_counted_behind_quoted_line_breaks(tmp_path: Path) -> None:
    text = [",".join([*row, "fine"]) for row in ([*HEADER], *ROWS)]
    text[0], text[2] = "user,item,time,rating,note", '1,2,1500000000,2,"a\nb"'
    text[29], text[49] = "1,2,soon,2,fine", "1,2,3,4,5,6"
    path = tmp_path / "events.csv"
    path.write_text("\n".join(text))
    skips(path)
    assert pl.read_csv(tmp_path / "d" / SKIPPED_FILE)["place"].to_list() == ["line 31", "line 51"]


def test_lines_that_are_no_json(tmp_path: Path) -> None:
    lines = [json.dumps(dict(zip(HEADER, row, strict=True))) for row in ROWS]
    lines[10], lines[20], lines[30] = "{broken", "[1, 2]", '{"user": 1, "item": null, "time": 5, "rating": 3}'
    path = tmp_path / "events.jsonl"
    path.write_text("\n\n".join(lines))  # empty lines between
    result = imports(path)
    with pytest.raises(DataError, match=r"line 21: not JSON"):
        raise result.exception or AssertionError
    skips(path)
    table = pl.read_csv(tmp_path / "d" / SKIPPED_FILE)
    assert table["place"].to_list() == ["line 21", "line 41", "line 61"]
    assert table["value"].to_list()[:2] == ["{broken", "[1, 2]"]
    assert Interactions.load(tmp_path / "d").n_interactions == 97
    path.write_text("\n".join(["{broken", *lines[40:]]))
    assert "1 bad rows left out" in skips(path).stdout, "also the first line"


def test_values_of_json_lines_that_are_none(tmp_path: Path) -> None:
    lines = [json.dumps(dict(zip(HEADER, row, strict=True))) for row in ROWS]
    bad = {"user": "true", "item": '"a\\ud83d"', "time": '{"a": 1}', "rating": "NaN"}
    for number, (column, value) in enumerate(bad.items(), 1):
        row = {"user": "1", "item": "2", "time": "3", "rating": "4", column: value}
        lines[20 * number] = "{" + ", ".join(f'"{name}": {one}' for name, one in row.items()) + "}"
    path = tmp_path / "events.jsonl"
    path.write_text("\n".join(lines))
    said = skips(path)
    table = pl.read_csv(tmp_path / "d" / SKIPPED_FILE)
    assert table["place"].to_list() == ["line 21", "line 41", "line 61", "line 81"]
    assert dict(table.select("column", "value").iter_rows()) == bad
    assert "line 21, column 'user': true is not an id" in said.stderr
    assert Interactions.load(tmp_path / "d").users.dtype == pl.Int64


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_a_file_whose_name_is_not_utf8(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    csv(folder / os.fsdecode(b"1\xe9.csv"), {4: "1,,2,3"})
    csv(folder / "2.csv")
    faults = Faults()
    assert read_tabular(folder, faults=faults).events.height == 199
    assert faults.table["place"].to_list() == ["1\\udce9.csv, line 4"]


def test_bytes_of_parquet_are_texts_or_bad(tmp_path: Path) -> None:
    users = [b"\xff" if n == 3 else b"u%d" % n for n in range(40)]
    path = tmp_path / "events.parquet"
    pl.DataFrame({"user": users, "item": 1, "time": [b"2024-06-18"] * 40, "rating": 1}).write_parquet(path)
    skips(path)
    assert pl.read_csv(tmp_path / "d" / SKIPPED_FILE).row(0)[1:] == ("row 4", "user", "b'\\xff'", "is not UTF-8")
    assert Interactions.load(tmp_path / "d").n_users == 39


def test_rows_of_parquet(tmp_path: Path) -> None:
    users = [None if n == 3 else n for n in range(40)]
    times = [float("inf") if n == 5 else float(n) for n in range(40)]
    path = tmp_path / "events.parquet"
    pl.DataFrame({"user": users, "item": 1, "time": times, "rating": 1}).write_parquet(path)
    skips(path)
    assert pl.read_csv(tmp_path / "d" / SKIPPED_FILE)["place"].to_list() == ["row 4", "row 6"]


def test_parts_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    csv(folder / "part-2.csv", {9: "1,2,3,4,5", 33: ",1,2,3"})
    csv(folder / "part-10.csv", {7: "1,2,soon,2"})
    assert "3 bad rows left out" in skips(folder).stdout
    table = pl.read_csv(tmp_path / "d" / SKIPPED_FILE)
    assert table["place"].to_list() == ["part-2.csv, line 9", "part-2.csv, line 33", "part-10.csv, line 7"]
    (message,) = (str(imports(folder).exception),)
    assert "part-2.csv: line 9: 5 fields" in message


def test_bad_rows_of_the_items(tmp_path: Path) -> None:
    path, items = csv(tmp_path / "events.csv", {4: "1,,2,3"}), tmp_path / "items.csv"
    names = [f"{n % 5 if n < 5 else n},title {n}" for n in range(100)]
    names[50], names[60], names[70] = ",nameless", "0,again", "1,2,3"
    items.write_text("item,title\n" + "\n".join(names))
    skips(path, "--items", items)
    table = pl.read_csv(tmp_path / "d" / SKIPPED_FILE)
    assert [Path(file).name for file in table["file"]] == ["events.csv", "items.csv", "items.csv", "items.csv"]
    assert table["place"].to_list() == ["line 4", "line 52", "line 62", "line 72"]
    found = Interactions.load(tmp_path / "d")
    assert found.title(int(found.item_numbers([0])[0])) == "title 0"
    assert found.meta.counts["skipped"] == 4


def test_recbole_files_too(tmp_path: Path) -> None:
    path = tmp_path / "x.inter"
    rows = ["\t".join(row) for row in ROWS]
    rows[8], rows[9] = "1\t\t5\t1", "1\t2\tsoon\t1"
    path.write_text("user_id:token\titem_id:token\ttimestamp:float\trating:float\n" + "\n".join(rows))
    assert "2 bad rows left out" in skips(path).stdout
    assert pl.read_csv(tmp_path / "d" / SKIPPED_FILE)["place"].to_list() == ["line 10", "line 11"]
