"""Data directories that others wrote: what can be read as it is meant is read, everything else is named."""

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from deftrec.data import Interactions
from deftrec.errors import DataError

EVENTS = {"user": ["u", "u", "v"], "item": ["a", "b", "a"], "time": [1, 2, 1]}
ITEMS = {"item": ["a", "b"], "title": ["A", "B"], "category": ["", "x"], "text": ["", ""]}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a data directory without DeftRec, with other columns or another `meta.json`."""

    def written(
        events: dict[str, Any] | None = None,
        items: dict[str, Any] | None = None,
        meta: object = (),
        clear: bool = False,
    ) -> Path:
        for name, columns in (("interactions", EVENTS | (events or {})), ("items", ITEMS | (items or {}))):
            frame = pl.DataFrame({name: column for name, column in columns.items() if column is not None})
            (frame.clear() if clear else frame).write_parquet(tmp_path / f"{name}.parquet")
        content = meta if isinstance(meta, bytes) else json.dumps({} if meta == () else meta).encode()
        (tmp_path / "meta.json").write_bytes(content)
        return tmp_path

    return written


NULLS = {
    "user": ("interactions", "an empty value is not an id"),
    "time": ("interactions", "an empty value is not a time"),
    "title": ("items", "a null is no text; write an empty text where there is none"),
    "category": ("items", "a null is no text; write an empty text where there is none"),
    "text": ("items", "a null is no text; write an empty text where there is none"),
}


@pytest.mark.parametrize("column", NULLS)
def test_a_null_is_named(column: str, write: Callable[..., Path]) -> None:
    table, fault = NULLS[column]
    values: list[object] = list((EVENTS if table == "interactions" else ITEMS)[column])
    values[1] = None
    directory = write(**{"events" if table == "interactions" else "items": {column: values}})
    with pytest.raises(DataError, match=rf"/{table}\.parquet: row 2, column '{column}': {fault}"):
        Interactions.load(directory)


@pytest.mark.parametrize("table", ["events", "items"])
def test_a_null_item_is_named(table: str, write: Callable[..., Path]) -> None:
    directory = write(**{table: {"item": ["a", None, "b"][: 3 if table == "events" else 2]}})
    file = "interactions" if table == "events" else "items"
    with pytest.raises(DataError, match=rf"/{file}\.parquet: row 2, column 'item': an empty value is not an id"):
        Interactions.load(directory)


def test_dates_are_read_like_those_of_a_frame(write: Callable[..., Path]) -> None:
    dates = [datetime(2024, 1, 1), datetime(2024, 1, 2), datetime(2024, 1, 1)]
    found = Interactions.load(write({"time": dates}))
    assert found.times.tolist() == Interactions.from_frame(pl.DataFrame(EVENTS | {"time": dates})).times.tolist()
    found.save(write() / "again")
    assert Interactions.load(write() / "again").fingerprint == found.fingerprint
    with pytest.raises(DataError, match="not user by user in the order of time"):
        Interactions.load(write({"time": [dates[1], dates[0], dates[0]]}))


CATEGORICAL = pl.Series(["a", "b", "a"], dtype=pl.Categorical)


@pytest.mark.parametrize(
    ("events", "items"),
    [
        ({"item": CATEGORICAL}, {}),
        ({}, {"item": CATEGORICAL[:2]}),
        (
            {"user": pl.Series(["u", "u", "v"], dtype=pl.Categorical)},
            {"title": pl.Series(["A", "B"], dtype=pl.Categorical)},
        ),
        ({"item": [b"a", b"b", b"a"]}, {"title": [b"A", b"B"]}),
    ],
)
def test_texts_of_other_types_are_texts(events: Any, items: Any, write: Callable[..., Path]) -> None:
    found = Interactions.load(write(events, items))
    assert found.history("u") == ["a", "b"]
    assert found.titles == ["A", "B"]
    assert found.fingerprint == Interactions.load(write()).fingerprint


@pytest.mark.parametrize(
    ("directory", "message"),
    [
        ({"clear": True}, r"/interactions\.parquet: no rows; the file is empty"),
        ({"items": {"item": [1, 2]}}, r"/items\.parquet: column 'item': the ids of items\.parquet are Int64, those of"),
        (
            {"items": {"title": None}},
            r"/items\.parquet: no column 'title'; it has 'item', 'category', 'text', and needs",
        ),
        ({"events": {"time": None}}, r"/interactions\.parquet: no column 'time'; it has"),
        ({"events": {"time": [1.0, float("nan"), 1.0]}}, r"row 2, column 'time': nan is not a time"),
        ({"events": {"time": [True] * 3}}, r"/interactions\.parquet: row 1, column 'time': True is not a time"),
        ({"events": {"item": [[1], [2], [1]]}}, r"row 1, column 'item' holds List\(Int64\), which cannot be an id"),
        ({"events": {"user": ["a\tb", "a\tb", "v"]}}, r"row 1, column 'user': 'a\\tb' is not an id"),
        ({"items": {"item": ["a", "b\0"]}}, r"/items\.parquet: row 2, column 'item': 'b\\x00' is not an id"),
        ({"items": {"title": [{"en": "A"}, {"en": "B"}]}}, r"row 1, column 'title': .* neither text nor a list"),
        ({"items": {"title": [b"A", b"\xe9"]}}, r"/items\.parquet: row 2, column 'title': b'\\xe9' is not UTF-8"),
        ({"meta": []}, r"/meta\.json: not .* \(Input should be an object\); fetch or import it again"),
        ({"meta": None}, r"/meta\.json: not .* \(Input should be an object\)"),
        (
            {"meta": {"counts": {"users": "x"}}},
            r"/meta\.json: .* \(key 'counts\.users': Input should be a valid integer",
        ),
        ({"meta": {"sha256": ["x"]}}, r"/meta\.json: .* \(key 'sha256': Input should be an object\)"),
        ({"meta": {"name": 3}}, r"/meta\.json: .* \(key 'name': Input should be a valid string\)"),
        ({"meta": {"times": "clocks"}}, r"key 'times': Input should be 'clock' or 'position'"),
        ({"meta": b"\xff{}"}, r"/meta\.json: not .* \(Invalid JSON"),
    ],
)
def test_what_is_no_data_directory_is_named(directory: Any, message: str, write: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match=message):
        Interactions.load(write(**directory))
