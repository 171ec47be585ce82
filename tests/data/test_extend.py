"""More users, items and events: numbers stay, histories stay in order, and nothing counts twice."""

import re

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deftrec.data import Interactions
from deftrec.data.extend import conform, conformed_events, extended, unknown_events
from deftrec.data.sources.columns import Place
from deftrec.errors import DataError
from toy import ring

ITEMS = pl.DataFrame({"item": [900, 901], "title": ["a", "b"], "category": "", "text": ""})


def table(rows: list[tuple[int, int, int]]) -> pl.DataFrame:
    schema = {"user": pl.Int64, "item": pl.Int64, "time": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")


@given(
    rows=st.lists(
        st.tuples(st.sampled_from([1000, 1001, 5, 6]), st.sampled_from([900, 901, 100]), st.integers(0, 500)),
        max_size=12,
    )
)
def test_numbers_stay_and_times_order(rows: list[tuple[int, int, int]]) -> None:
    before = ring(users=4)
    after = extended(before, ITEMS, table(rows))
    assert after.users[: before.n_users].equals(before.users)
    assert after.catalogue[: before.n_items].equals(before.catalogue)
    assert after.n_interactions == before.n_interactions + len(rows)
    for user in range(after.n_users):
        times = after.times[after.sequences.offsets[user] : after.sequences.offsets[user + 1]]
        assert (np.diff(times) >= 0).all()
        mine = [(time, item) for who, item, time in rows if who == after.users[user]]
        known = before.history(after.users[user]) if user < before.n_users else []
        history = after.history(after.users[user])
        assert sorted(history) == sorted([*known, *(item for _, item in mine)])
        later = [item for item in history if item < 900 and item in known]
        if not any(item == 100 for _, item in mine):
            assert later == known, "the old ones keep their order"


def test_nothing_new_is_the_same() -> None:
    data = ring(users=4)
    assert extended(data, ITEMS[:0], table([])) is data


def test_known_events_and_repeats_are_left_out() -> None:
    data = ring(users=4)
    known = data.events()[3:5]
    new = table([(1000, 900, 7), (1000, 900, 7), (1000, 900, 8)])
    found = unknown_events(data, pl.concat([known, new]))
    assert found.rows() == [(1000, 900, 7), (1000, 900, 8)]
    as_floats = known.with_columns(pl.col("time").cast(pl.Float64))
    assert unknown_events(data, as_floats).height == 0


def test_ids_take_the_form_of_those_that_are_there() -> None:
    numbers, words = pl.Series("item", [1, 2]), pl.Series("item", ["a", "b"])
    assert conform(pl.Series(["17", "3"]), numbers, "f", "item").to_list() == [17, 3]
    assert conform(pl.Series([17, 3]), words, "f", "item").to_list() == ["17", "3"]
    with pytest.raises(DataError, match="f: item 'x' is no whole number"):
        conform(pl.Series(["1", "x"]), numbers, "f", "item")


@pytest.mark.parametrize("other", ["007", "+7", " 7", "7.0"])
def test_digits_written_otherwise_are_another_id(other: str) -> None:
    assert conform(pl.Series([other, "7"]), pl.Series(["7"]), "f", "item").to_list() == [other, "7"]
    with pytest.raises(DataError, match=re.escape(f"f: item {other!r} is no whole number in plain form")):
        conform(pl.Series(["7", other]), pl.Series([7]), "f", "item")


def test_times_in_another_unit_are_refused() -> None:
    data = ring(users=4)
    clock = Interactions(data.users, data.catalogue, data.sequences, data.times + 1_700_000_000, data.meta)
    assert conformed_events(table([(1, 100, 1_800_000_000)]), clock, Place("f")).height == 1
    for time in (1_800_000_000_000, 1_800_000):
        with pytest.raises(DataError, match=r"f: its times go up to .* another unit"):
            conformed_events(table([(1, 100, time)]), clock, Place("f"))
        assert conformed_events(table([(1, 100, time)]), data, Place("f")).height == 1


def test_events_of_another_kind_are_refused() -> None:
    data: Interactions = ring(users=4)
    with pytest.raises(DataError, match="is not a time"):
        conformed_events(table([]).clear(1).with_columns(user=1, item=100), data, Place("f"))
