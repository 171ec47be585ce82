"""Clones are dropped, and nothing else changes."""

import numpy as np
import polars as pl

from deftrec.data import Interactions, leave_one_out
from deftrec.data.clones import without_clones


def with_groups(*groups: tuple[str, int]) -> Interactions:
    """`n` users each of whom has the letters of the word, in that order, the users of the groups in turn."""
    members = [(word, number) for word, n in groups for number in range(n)]
    members.sort(key=lambda member: member[1])
    rows = [(f"{word}{number}", letter, time) for word, number in members for time, letter in enumerate(word)]
    return Interactions.from_frame(pl.DataFrame(rows, schema=["user", "item", "time"], orient="row"))


def test_ten_users_with_one_sequence_are_clones_and_nine_are_not() -> None:
    whole = with_groups(("abcc", 10), ("abca", 9), ("bcd", 3), ("e", 12), ("zc", 11))
    rest = without_clones(whole)
    assert rest.n_users == whole.n_users - 10
    assert not any(str(user).startswith("abcc") for user in rest.users)
    assert [rest.history(user) for user in rest.users] == [whole.history(user) for user in rest.users]
    assert rest.catalogue.equals(whole.catalogue), "an item number means the same item"
    assert len(rest.times) == rest.n_interactions == rest.meta.counts["interactions"]
    assert rest.fingerprint != whole.fingerprint
    assert "10 users or more" in rest.meta.filters["clones"]
    assert len(leave_one_out(rest).cases("test")) == 9 + 3


def test_without_any_clone_the_data_are_the_same() -> None:
    whole = with_groups(("abcd", 4), ("bcd", 9))
    assert without_clones(whole) is whole
    assert without_clones(whole, many=5).n_users == 4


def test_times_stay_with_their_users() -> None:
    events = pl.DataFrame(
        {
            "user": np.repeat(np.arange(12), 3),
            "item": [0, 1, 2] * 10 + [2, 1, 0, 1, 0, 2],
            "time": np.arange(36),
        }
    )
    rest = without_clones(Interactions.from_frame(events))
    assert rest.events()["time"].to_list() == [30, 31, 32, 33, 34, 35]
    assert rest.events()["user"].to_list() == [10, 10, 10, 11, 11, 11]


def test_signals_stay_with_their_users() -> None:
    """Users who are left out take their ratings with them."""
    rows = [(user, item, item, float(user)) for user in range(12) for item in (range(4) if user < 10 else range(4, 8))]
    frame = pl.DataFrame(rows, schema=["user", "item", "time", "value"], orient="row")
    kept = without_clones(Interactions.from_frame(frame, value="value"))
    assert kept.events()["value"].to_list() == [10.0] * 4 + [11.0] * 4
