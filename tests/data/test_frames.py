"""Values in frames and Parquet files that are not what their column should hold."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import polars as pl
import pytest

from deftrec.data import Interactions
from deftrec.data.prepare import prepare
from deftrec.data.sources.tabular import read_tabular
from deftrec.errors import DataError

EVENTS = {"user": ["u", "v"], "item": ["a", "b"], "time": [1, 2]}
Read: TypeAlias = Callable[[dict[str, Any], dict[str, Any]], Interactions]


def _of_polars(events: dict[str, Any], items: dict[str, Any], _: Path) -> Interactions:
    return Interactions.from_frame(pl.DataFrame(events), pl.DataFrame(items))


def _of_pandas(events: dict[str, Any], items: dict[str, Any], _: Path) -> Interactions:
    pandas = pytest.importorskip("pandas")
    frames = [pandas.DataFrame({name: pandas.Series(list(values), dtype=object) for name, values in table.items()})
              for table in (events, items)]  # fmt: skip
    return Interactions.from_frame(*frames)


def _of_parquet(events: dict[str, Any], items: dict[str, Any], folder: Path) -> Interactions:
    for name, table in (("events", events), ("items", items)):
        pl.DataFrame(table).write_parquet(folder / f"{name}.parquet")
    return prepare(read_tabular(folder / "events.parquet", items=folder / "items.parquet"), name="x")


@pytest.fixture(params=[_of_polars, _of_pandas, _of_parquet])
def read(request: pytest.FixtureRequest, tmp_path: Path) -> Read:
    """Read columns of events and of items, from frames or from Parquet."""
    return lambda events, items: request.param(EVENTS | events, {"item": ["a", "b"]} | items, tmp_path)


@pytest.mark.parametrize(
    ("ids", "fault"),
    [
        ([True, False], "row 1, column '{}'"),
        ([["a"], ["b"]], "row 1, column '{}'"),
        ([{"id": 1}, {"id": 2}], "row 1, column '{}'"),
        (["a", None], "row 2, column '{}': an empty value is not an id"),
        (["a", ""], "row 2, column '{}': an empty value is not an id"),
        (["a", "a\tb"], r"row 2, column '{}': 'a\\tb' is not an id"),
        (["a\0b", "b"], r"row 1, column '{}': 'a\\x00b' is not an id"),
        (["a", "x" * 257], r"row 2, column '{}': 'xxx.*\.\.\.' is not an id"),
        ([b"a", b"\xff"], r"row 2, column '{}': b'\\xff' is not UTF-8"),
    ],
)
@pytest.mark.parametrize("role", ["user", "item"])
def test_one_rule_for_ids(read: Read, role: str, ids: list[object], fault: str) -> None:
    with pytest.raises(DataError, match=fault.format(role)):
        read({role: ids}, {})
    if isinstance(ids[0], bytes):
        assert read({role: [b"a", b"b"]}, {}).n_users == 2


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([["x", "y"], []], ["x|y", ""]),
        ([[["x"], ["y", "z"]], [[]]], ["x|y|z", ""]),
        ([[None, "", " x "], None], ["x", ""]),
        ([b"x", "é".encode()], ["x", "é"]),
        (["x\0y", "[]"], ["x\ufffdy", "[]"]),
    ],
)
def test_lists_and_bytes_are_texts(read: Read, values: list[object], texts: list[str]) -> None:
    found = read({}, {"category": values, "title": values})
    of = dict(found.catalogue.select("item", "category").iter_rows())
    assert [of["a"], of["b"]] == texts
    assert sorted(found.titles) == sorted(texts)


@pytest.mark.parametrize(
    ("values", "row"), [([{"en": "x"}, {"en": "y"}], 1), ([[], [{"name": "x"}]], 2), ([b"x", b"\xe9"], 2)]
)
def test_records_and_other_bytes_are_no_texts(read: Read, values: list[object], row: int) -> None:
    with pytest.raises(DataError, match=f"row {row}, column 'title': .* (is neither text nor a list|is not UTF-8)"):
        read({}, {"title": values})


MIXED: list[tuple[list[object], list[object]]] = [
    (["a", 1], ["a", "1"]),
    ([["x", "y"], "z"], ["x|y", "z"]),
    ([np.array(["x", "y"]), "z"], ["x|y", "z"]),
    ([np.array(["x", "y"]), np.array([])], ["x|y", ""]),
    ([[], "[]"], ["", "[]"]),
    (["a\ud83d!", "b"], ["a\ufffd!", "b"]),
    ([True, "b"], ["true", "b"]),
]


@pytest.mark.parametrize(("values", "texts"), MIXED)
def test_objects_of_pandas_may_mix(values: list[object], texts: list[str], tmp_path: Path) -> None:
    found = _of_pandas(EVENTS, {"item": ["a", "b"], "title": values}, tmp_path)
    assert [dict(found.catalogue.select("item", "title").iter_rows())[one] for one in "ab"] == texts
    assert _of_pandas({**EVENTS, "unread": values}, {"item": ["a"]}, tmp_path).n_items == 2


@pytest.mark.parametrize(
    ("ids", "fault"),
    [
        ([True, "b"], "row 1, column 'user': true is not an id"),
        (["a", ["b"]], r"row 2, column 'user': \[\"b\"\] is not an id"),
        (["b", "a\ud83d!"], r"row 2, column 'user': \"a\\ud83d!\" is not an id"),
        (["a", object()], "row 2, column 'user' holds a object; make it text, a number or a time"),
        (["a", b"b"], "row 2, column 'user' holds a bytes; make it text"),
    ],
)
def test_mixed_ids_of_pandas_are_named(ids: list[object], fault: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"memory: {fault}"):
        _of_pandas({**EVENTS, "user": ids}, {"item": ["a"]}, tmp_path)
    assert _of_pandas({**EVENTS, "unread": ids}, {"item": ["a"]}, tmp_path).n_users == 2


def test_integers_of_128_bits_are_ids() -> None:
    wide = pl.Series([7, 2**64 - 1], dtype=pl.Int128)
    assert set(Interactions.from_frame(pl.DataFrame({**EVENTS, "user": wide})).users) == {7, 2**64 - 1}
    wider = pl.Series([7, 2**70], dtype=pl.Int128)
    assert set(Interactions.from_frame(pl.DataFrame({**EVENTS, "user": wider})).users) == {"7", str(2**70)}


@pytest.mark.parametrize(("dictionary", "row"), [(False, 701), (True, 1)])
def test_text_of_parquet_that_is_not_utf8_is_found(dictionary: bool, row: int, tmp_path: Path) -> None:
    """A column that is said to be UTF-8 and is not: polars reads no page that holds such a text."""
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    values = [b"u%d" % n for n in range(1000)]
    values[700] = b"\xff"
    bad = arrow.Array.from_buffers(arrow.string(), len(values), arrow.array(values, arrow.binary()).buffers())
    good = [str(n) for n in range(len(values))]

    def write(name: str, **columns: object) -> Path:
        parquet.write_table(arrow.table(columns), tmp_path / name, use_dictionary=dictionary)
        return tmp_path / name

    with pytest.raises(DataError, match=rf"a\.parquet: row {row} or later, column 'user': not UTF-8"):
        read_tabular(write("a.parquet", user=bad, item=good, time=good))
    events = write("a.parquet", user=good, item=good, time=good, unread=bad)
    raw = read_tabular(events, items=write("b.parquet", item=good, title=good, unread=bad))
    assert raw.events.height == 1000
    assert raw.items is not None
    assert raw.items["title"].to_list() == good
