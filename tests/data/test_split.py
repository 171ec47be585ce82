"""Splits leak nothing, whatever the data."""

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from deftrec.data import Cases, Interactions, Meta, Sequences, leave_one_out, make_split, temporal
from deftrec.errors import DataError


@st.composite
def random_data(draw: st.DrawFn) -> Interactions:
    seed = draw(st.integers(0, 10_000))
    rng = np.random.default_rng(seed)
    n_users, n_items, events = draw(st.integers(1, 8)), draw(st.integers(1, 12)), draw(st.integers(1, 80))
    span = draw(st.sampled_from([2, 5, 1000]))  # few distinct times make many ties
    frame = pl.DataFrame(
        {
            "user": rng.integers(0, n_users, events),
            "item": rng.integers(0, n_items, events),
            "time": rng.integers(0, span, events),
        }
    )
    return Interactions.from_frame(frame, meta=Meta(tie_seed=seed))


QUICK = settings(max_examples=100, deadline=None)


@QUICK
@given(interactions=random_data())
def test_leave_one_out_takes_the_last_two(interactions: Interactions) -> None:
    split = leave_one_out(interactions)
    train, refit = split.training("train"), split.training("train+validation")
    validation, test = split.cases("validation"), split.cases("test")
    asked = set(test.users.tolist())
    assert asked == set(validation.users.tolist()) == {u for u, s in enumerate(interactions.sequences) if len(s) >= 3}
    for n, user in enumerate(test.users):
        whole = interactions.sequences[user].tolist()
        assert [*train[user], validation.targets[n], test.targets[n]] == whole
        assert [*refit[user], test.targets[n]] == whole
        assert validation.histories[n].tolist() == whole[:-2]
        assert test.histories[n].tolist() == whole[:-1]
    for user, sequence in enumerate(interactions.sequences):
        if user not in asked:
            assert train[user].tolist() == refit[user].tolist() == sequence.tolist()


@QUICK
@given(interactions=random_data())
def test_temporal_cuts_all_users_at_the_same_moments(interactions: Interactions) -> None:
    try:
        split = temporal(interactions)
    except DataError:
        assume(False)
    times, offsets = interactions.times, interactions.sequences.offsets

    def times_of(ends: np.ndarray) -> np.ndarray:
        kept = np.concatenate([np.arange(start, start + end) for start, end in zip(offsets[:-1], ends, strict=True)])
        return times[kept.astype(np.int64)]

    for part, ends in (("validation", split.train_end), ("test", split.refit_end)):
        cases = split.cases(part)  # type: ignore[arg-type]
        places = (split.validation if part == "validation" else split.test)[cases.users]
        entries = offsets[cases.users] + places
        if len(entries):
            assert times_of(ends).max(initial=-1) < times[entries].min()
        for n, user in enumerate(cases.users):
            assert cases.histories[n].tolist() == interactions.sequences[user][: places[n]].tolist()
            assert cases.targets[n] == interactions.sequences[user][places[n]]
            assert len(cases.histories[n]) == ends[user] > 0
    assert (split.train_end <= split.refit_end).all()


def test_temporal_asks_for_the_first_interaction_from_each_moment_on() -> None:
    frame = pl.DataFrame({"user": [0] * 101 + [1], "item": range(102), "time": [*range(101), 95]})
    split = temporal(Interactions.from_frame(frame))
    assert split.train_end.tolist() == [80, 0]
    assert split.refit_end.tolist() == [90, 0]
    assert split.validation.tolist() == [80, -1]
    assert split.test.tolist() == [90, 0]
    assert split.cases("test").users.tolist() == [0]  # the other user has no history to ask from


@pytest.mark.parametrize("times", [[5] * 30, [1] * 29 + [2]])
def test_too_few_times_are_refused(times: list[int]) -> None:
    frame = pl.DataFrame({"user": [0] * 30, "item": range(30), "time": times})
    with pytest.raises(DataError, match="too few distinct times"):
        make_split(Interactions.from_frame(frame), "temporal")


def test_head_keeps_the_first_cases() -> None:
    frame = pl.DataFrame({"user": [0] * 3 + [1] * 4, "item": range(7), "time": range(7)})
    cases = leave_one_out(Interactions.from_frame(frame)).cases("test")
    head = cases.head(1)
    assert len(head) == 1
    assert head.histories[0].tolist() == cases.histories[0].tolist()
    assert len(cases.head(9)) == 2


def test_clones_weigh_as_one_together() -> None:
    histories = Sequences.from_lists([[1, 2], [1, 2], [1], [2, 1], [1, 2]])
    assert Cases(np.arange(5), histories, np.array([3, 3, 3, 3, 4])).weights.tolist() == [0.5, 0.5, 1, 1, 1]
