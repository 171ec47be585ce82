"""The border between the owner's ids and ours: what goes in comes out."""

import json
import os
import re
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deftrec.data import Interactions, Meta
from deftrec.data.interactions import check_target
from deftrec.errors import DataError, UnwritableError
from deftrec.files import write_text
from toy import ring

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=5)
INTEGERS = st.integers(-(2**63), 2**63 - 1)
UNSIGNED = st.integers(0, 2**64 - 1)

QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def histories(draw: st.DrawFn) -> dict[object, list[tuple[object, int]]]:
    """Users with their items at strictly increasing times, so that there is one right order."""
    users = draw(st.lists(draw(st.sampled_from([TEXT, INTEGERS, UNSIGNED])), min_size=1, max_size=6, unique=True))
    catalogue = draw(st.lists(draw(st.sampled_from([TEXT, INTEGERS, UNSIGNED])), min_size=1, max_size=6, unique=True))
    return {
        user: list(enumerate_times(draw(st.lists(st.sampled_from(catalogue), min_size=1, max_size=8))))
        for user in users
    }


def enumerate_times(items: list[object]) -> list[tuple[object, int]]:
    return [(item, place * 10) for place, item in enumerate(items)]


def column(values: list[object]) -> pl.Series:
    if all(isinstance(value, int) for value in values) and any(int(value) > 2**63 - 1 for value in values):  # type: ignore[call-overload]
        return pl.Series(values, dtype=pl.UInt64)
    return pl.Series(values)


def frame(of: dict[object, list[tuple[object, int]]], seed: int = 0) -> pl.DataFrame:
    rows = [(user, item, time) for user, events in of.items() for item, time in events]
    order = np.random.default_rng(seed).permutation(len(rows))
    shuffled = [rows[place] for place in order]
    return pl.DataFrame(
        {
            "user": column([row[0] for row in shuffled]),
            "item": column([row[1] for row in shuffled]),
            "time": [row[2] for row in shuffled],
        }
    )


@QUICK
@given(of=histories(), seed=st.integers(0, 9))
def test_ids_and_order_survive_a_round_trip(
    of: dict[object, list[tuple[object, int]]], seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    interactions = Interactions.from_frame(frame(of, seed))
    directory = tmp_path_factory.mktemp("data") / "d"
    interactions.save(directory)
    loaded = Interactions.load(directory)
    for one in (interactions, loaded):
        assert {user: one.history(user) for user in of} == {user: [item for item, _ in of[user]] for user in of}
        assert set(one.users) == set(of)
        assert one.n_interactions == sum(map(len, of.values()))
    assert loaded.fingerprint == interactions.fingerprint
    assert loaded.meta == interactions.meta
    assert loaded.events().equals(interactions.events())
    assert loaded.catalogue.equals(interactions.catalogue)
    np.testing.assert_array_equal(loaded.times, interactions.times)


@QUICK
@given(of=histories())
def test_the_order_of_rows_says_nothing(of: dict[object, list[tuple[object, int]]]) -> None:
    one, other = (Interactions.from_frame(frame(of, seed)) for seed in (0, 1))
    assert one.fingerprint == other.fingerprint


def tied(seed: int, backwards: bool = False) -> list[object]:
    items = list(range(20))
    events = pl.DataFrame({"user": [0] * 20, "item": items[::-1] if backwards else items, "time": [5] * 20})
    return Interactions.from_frame(events, meta=Meta(tie_seed=seed)).history(0)


def test_equal_times_are_ordered_by_the_seed_alone() -> None:
    assert tied(1) == tied(1, backwards=True)
    assert tied(1) != tied(2)
    assert tied(0) != sorted(tied(0), key=str)
    assert tied(0) != list(range(20))


def test_a_moment_is_of_one_user_and_one_time() -> None:
    events = pl.DataFrame({"user": [1, 1, 1, 2, 2, 3], "item": [1, 2, 3, 1, 2, 1], "time": [7, 7, 1, 7, 9, 9]})
    assert Interactions.from_frame(events).tie_groups.tolist() == [1, 2, 2, 3, 4, 5]


def test_ties_do_not_cross_users_or_times() -> None:
    events = pl.DataFrame({"user": [1, 1, 1, 2, 2], "item": [1, 2, 3, 1, 2], "time": [7, 7, 1, 9, 3]})
    for seed in range(8):
        interactions = Interactions.from_frame(events, meta=Meta(tie_seed=seed))
        assert interactions.history(1)[0] == 3
        assert interactions.history(2) == [2, 1]


def test_item_numbers_follow_neither_id_nor_appearance() -> None:
    events = pl.DataFrame({"user": [0] * 50, "item": range(50), "time": range(50)})
    numbers = Interactions.from_frame(events).item_numbers(range(50))
    assert sorted(numbers) == list(range(50))
    assert abs(np.corrcoef(numbers, np.arange(50))[0, 1]) < 0.5


def test_exact_duplicates_are_dropped_and_repeats_kept() -> None:
    events = pl.DataFrame({"user": [0, 0, 0], "item": [1, 1, 1], "time": [5, 5, 6]})
    interactions = Interactions.from_frame(events)
    assert interactions.history(0) == [1, 1]
    assert interactions.meta.counts["duplicates"] == 1


def test_one_user_alone_is_allowed() -> None:
    interactions = Interactions.from_frame(pl.DataFrame({"user": ["x"], "item": ["y"], "time": [0]}))
    assert (interactions.n_users, interactions.n_items, interactions.n_interactions) == (1, 1, 1)


def test_items_without_words_and_words_without_items() -> None:
    events = pl.DataFrame({"user": [0, 0], "item": [1, 2], "time": [0, 1]})
    items = pl.DataFrame({"item": ["2", "3"], "title": [" Two ", "Three"]})
    interactions = Interactions.from_frame(events, items)
    assert interactions.n_items == 2
    assert interactions.title(int(interactions.item_numbers([2])[0])) == "Two"
    assert interactions.title(int(interactions.item_numbers([1])[0])) == "1"


@pytest.mark.parametrize("ids", [["007", "7", "8", "x"], [7.5, 7.0, 8.0, float("nan")]])
def test_words_go_to_the_item_of_that_very_id(ids: list[object]) -> None:
    events = pl.DataFrame({"user": [0, 0, 0], "item": [7, 8, 9], "time": [0, 1, 2]})
    items = pl.DataFrame({"item": ids, "title": ["another", "seven", "eight", "x"]})
    interactions = Interactions.from_frame(events, items)
    assert [interactions.title(int(n)) for n in interactions.item_numbers([7, 8, 9])] == ["seven", "eight", "9"]


def test_numbers_and_strings_of_numbers_are_one_id() -> None:
    interactions = Interactions.from_frame(pl.DataFrame({"user": [17], "item": [5], "time": [0]}))
    assert interactions.history("17") == interactions.history(17) == [5]
    with pytest.raises(DataError, match=r"item 6 \(number 2 of the list\) is not in the catalogue"):
        interactions.item_numbers([5, 6])
    with pytest.raises(DataError, match=r"^item 6 is not in the catalogue of unnamed$"):
        interactions.item_numbers([6])
    with pytest.raises(DataError, match="user 18 is not among the 1 users"):
        interactions.history(18)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"user": [1], "item": [1]}, "no column 'time'"),
        ({"user": [1.0, float("nan")], "item": [1, 1], "time": [1, 2]}, "row 2, column 'user': nan is not an id"),
        ({"user": [1.0, float("inf")], "item": [1, 1], "time": [1, 2]}, "row 2, column 'user': inf is not an id"),
        ({"user": [1, None], "item": [1, 1], "time": [1, 2]}, "row 2, column 'user': an empty value is not an id"),
        ({"user": ["a", ""], "item": [1, 1], "time": [1, 2]}, "row 2, column 'user': an empty value is not an id"),
        ({"user": [1, 1], "item": [1, 1], "time": [1.0, float("inf")]}, "row 2, column 'time': inf is not a time"),
        ({"user": [1, 1], "item": [1, 1], "time": ["1", "x"]}, "row 2, column 'time': 'x' is not a time"),
        ({"user": [1], "item": [1], "time": [timedelta(1)]}, "which are no times; give numbers or dates"),
        ({"user": [[1]], "item": [1], "time": [1]}, "cannot be an id"),
        ({"user": [], "item": [], "time": []}, "no interactions"),
    ],
)
def test_bad_frames_are_refused(columns: dict[str, list[object]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Interactions.from_frame(pl.DataFrame(columns))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    events = pl.DataFrame({"user": [0, 0], "item": [1, 2], "time": [0, 1]})
    Interactions.from_frame(events).save(tmp_path / "d")
    return tmp_path / "d"


@pytest.mark.parametrize("name", ["interactions.parquet", "items.parquet", "meta.json"])
def test_a_broken_directory_says_which_file(saved: Path, name: str) -> None:
    (saved / name).write_bytes(b"{}garbage")
    with pytest.raises(DataError, match=rf"/{re.escape(name)}: not .*; fetch or import it again$"):
        Interactions.load(saved)
    (saved / name).unlink()
    with pytest.raises(DataError, match=f"no {name}; make a data directory with"):
        Interactions.load(saved)


def test_rows_in_another_order_are_no_data_directory(tmp_path: Path) -> None:
    events = pl.DataFrame({"user": [0, 0, 1, 1], "item": [1, 2, 1, 2], "time": [0, 1, 0, 1]})
    Interactions.from_frame(events).save(tmp_path / "d")
    kept = pl.read_parquet(tmp_path / "d" / "interactions.parquet")
    for order in ([0, 2, 1, 3], [1, 0, 2, 3]):
        kept[order].write_parquet(tmp_path / "d" / "interactions.parquet")
        with pytest.raises(DataError, match=r"its rows are not user by user in the order of time; .*data import"):
            Interactions.load(tmp_path / "d")
    kept.write_parquet(tmp_path / "d" / "interactions.parquet")
    items = pl.read_parquet(tmp_path / "d" / "items.parquet")
    pl.concat([items, items[:1]]).write_parquet(tmp_path / "d" / "items.parquet")
    with pytest.raises(DataError, match=r"items\.parquet: item \d has two rows"):
        Interactions.load(tmp_path / "d")


def test_a_directory_of_before_names_a_split(saved: Path) -> None:
    before = json.loads((saved / "meta.json").read_text())
    (saved / "meta.json").write_text(json.dumps({**before, "split": "leave-one-out"}))
    assert Interactions.load(saved).meta == Meta.model_validate(before)


def test_times_that_no_number_of_ours_holds_are_named() -> None:
    times = pl.Series([1, 2**63], dtype=pl.UInt64)
    with pytest.raises(DataError, match="row 2, column 'time': 9223372036854775808 is too large for a time"):
        Interactions.from_frame(pl.DataFrame({"user": [1, 1], "item": [1, 2], "time": times}))


def test_an_unlisted_item_is_named(saved: Path) -> None:
    events = pl.DataFrame({"user": [0], "item": [9], "time": [0]}, schema_overrides={"item": pl.Int64})
    events.write_parquet(saved / "interactions.parquet")
    with pytest.raises(DataError, match=r"item 9 is not in items\.parquet"):
        Interactions.load(saved)


def test_saving_replaces_data_and_nothing_else(saved: Path, tmp_path: Path) -> None:
    other = Interactions.from_frame(pl.DataFrame({"user": ["z"], "item": [1], "time": [0]}))
    other.save(saved)
    assert Interactions.load(saved).users.to_list() == ["z"]
    (saved / "thesis.tex").write_text("years of work")
    with pytest.raises(DataError, match=r"not a data directory \(thesis\.tex is in it\)"):
        other.save(saved)
    assert (saved / "thesis.tex").read_text() == "years of work"
    with pytest.raises(DataError, match="is a file"):
        other.save(saved / "thesis.tex")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_what_cannot_be_replaced_is_no_place_for_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="cannot be replaced as a whole; name a new directory in it"):
        check_target(".")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "is_mount", lambda _: True)
        with pytest.raises(DataError, match="cannot be replaced as a whole"):
            check_target(tmp_path / "volume")
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(DataError, match=f"cannot be made, as {tmp_path} cannot be written"):
        check_target(tmp_path / "new" / "one")


def test_nothing_is_written_where_nothing_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for write in (write_text, lambda path, _: ring(users=4).save(path)):
        with pytest.raises(UnwritableError, match=r"file/inside: cannot be written \((file exists|not a directory)\)"):
            write(tmp_path / "file" / "inside", "words")


def test_data_whose_replacement_was_killed_are_put_back(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, rename = Interactions.load(saved), os.rename

    def killed(old: Path, new: Path) -> None:
        if Path(new) == saved:
            raise KeyboardInterrupt
        rename(old, new)

    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            Interactions.from_frame(pl.DataFrame({"user": ["z"], "item": [1], "time": [0]})).save(saved)
    assert not saved.exists()
    assert Interactions.load(saved).fingerprint == before.fingerprint
