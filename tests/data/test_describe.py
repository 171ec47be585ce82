"""Descriptions of data whose facts are known by construction."""

import io

import polars as pl
import pytest
from rich.console import Console

from deftrec.cli.description import draw
from deftrec.data import Interactions, Meta
from deftrec.data.describe import describe


def interactions_of(histories: dict[str, str], times: str = "clock", **columns: list[str]) -> Interactions:
    """Users with one letter an item, at times 0, 1, 2, ..."""
    rows = [(user, item, place) for user, items in histories.items() for place, item in enumerate(items)]
    frame = pl.DataFrame(rows, schema=["user", "item", "time"], orient="row")
    items = pl.DataFrame(columns) if columns else None
    return Interactions.from_frame(frame, items, meta=Meta(name="known", times=times))  # type: ignore[arg-type]


KNOWN = interactions_of(
    {"u1": "abcd", "u2": "abcd", "u3": "abcd", "u4": "ab", "u5": "ab", "u6": "aba", "u7": "abx", "u8": "axb"},
    times="position",
    item=["a", "b"],
    title=["A", ""],
    category=["first", ""],
)


def test_counts() -> None:
    facts = describe(KNOWN)
    assert (facts.users, facts.items, facts.interactions) == (8, 5, 25)
    assert facts.density == 25 / 40
    assert (facts.untitled, facts.uncategorised) == (4, 4)
    assert facts.lengths["median"] == 3
    assert facts.lengths["max"] == 4
    assert facts.lengths["mean"] == 25 / 8
    assert [(one.low, one.high, one.users) for one in facts.length_bins] == [(2, 2, 2), (3, 4, 6)]


def test_long_tail() -> None:
    facts = describe(KNOWN)  # a 9, b 8, c 3, d 3, x 2
    assert facts.long_tail == {"1%": 9 / 25, "10%": 9 / 25, "20%": 9 / 25}
    assert facts.tail_steps == (9 / 25, 8 / 25, 3 / 25, 3 / 25, 2 / 25)


def test_clones() -> None:
    clones = describe(KNOWN).clones
    assert (clones.groups, clones.users, clones.largest, clones.largest_length) == (2, 5, 3, 4)
    assert clones.share == 5 / 8
    none = describe(interactions_of({"u": "ab", "v": "ba"})).clones
    assert (none.groups, none.largest, none.largest_length) == (0, 0, 0)


def test_cold_and_repeated_targets() -> None:
    left = describe(KNOWN).splits[0]
    # Asked are the users with three or more items. Train: ab, ab, ab, ab, ab, a, a, a. Validation: c, c, c, b, b, x.
    assert (left.validation_targets, left.test_targets, left.train_interactions) == (6, 6, 13)
    assert left.validation_not_in_train == 4 / 6
    # Test: d, d, d, a, x, b.
    assert left.test_not_in_train == 4 / 6
    assert left.test_not_in_train_validation == 3 / 6
    assert left.test_repeats == 1 / 6
    assert left.validation_repeats == 0


def test_repeats_are_of_the_same_user() -> None:
    assert describe(KNOWN).repeated == 1 / 25
    assert describe(interactions_of({"u": "aaa", "v": "a"})).repeated == 2 / 4


def test_equal_times_are_within_a_user() -> None:
    frame = pl.DataFrame({"user": [0, 0, 0, 1, 1], "item": [1, 2, 3, 1, 2], "time": [5, 5, 6, 5, 6]})
    assert describe(Interactions.from_frame(frame)).equal_times == 2 / 5


def test_a_temporal_split_is_described_or_said_to_be_impossible() -> None:
    assert "not their times" in describe(KNOWN).splits[1].impossible
    rows = [(user, user * 10 + place, user * 10 + place * 15) for user in range(10) for place in range(10)]
    frame = pl.DataFrame(rows, schema=["user", "item", "time"], orient="row")
    temporal = describe(Interactions.from_frame(frame)).splits[1]
    assert temporal.impossible == ""
    assert temporal.test_targets > 0
    assert temporal.test_not_in_train == temporal.test_not_in_train_validation == 1  # nobody shares an item
    assert temporal.train_interactions == pytest.approx(80, abs=2)


def test_a_single_interaction_is_described() -> None:
    facts = describe(interactions_of({"u": "a"}))
    assert facts.splits[0].test_targets == 0
    assert facts.splits[0].test_repeats == 0
    assert facts.long_tail["1%"] == 1


def test_drawing_shows_the_facts_and_the_warnings() -> None:
    clones = interactions_of({f"u{n}": "abc" for n in range(12)} | {"v": "bca"})
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(draw(describe(clones)))
    shown = console.export_text()
    assert "12 users have the identical history" in shown
    assert "in the largest 12 users have the same 3 items" in shown
    assert "█" in shown
    assert "Long tail" in shown
    assert "History lengths" in shown
