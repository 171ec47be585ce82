"""What is held out is in no training, and every question has a right answer that is not in its history."""

import numpy as np
import polars as pl
import pytest
from studies.cold_start import hold_out
from studies.subset import subset

from deftrec.data import Interactions
from deftrec.errors import DataError
from toy import checkerboard, ring


def test_a_subset_keeps_order_ids_and_times() -> None:
    data = ring(users=20)
    users, items = np.arange(20) % 3 > 0, np.arange(data.n_items) % 4 > 0
    part = subset(data, users, items)
    expected = data.events().filter(
        pl.col("user").is_in(data.users.filter(users).implode()),
        pl.col("item").is_in(data.catalogue["item"].filter(items).implode()),
    )
    assert part.events().equals(expected)
    assert part.catalogue.equals(data.catalogue.filter(items))
    everything = subset(data, np.ones(20, bool), np.ones(data.n_items, bool))
    assert everything.fingerprint == data.fingerprint


def test_nothing_held_out_is_trained_on() -> None:
    data = ring(users=100)
    held = hold_out(data, seed=3)
    assert (held.users.sum(), held.items.sum()) == (10, 1)
    users, items = data.users.filter(held.users), data.catalogue["item"].filter(held.items)
    for training in (held.training, held.reference):
        assert not training.users.is_in(users.implode()).any()
    assert not held.training.events()["item"].is_in(items.implode()).any()
    assert not held.training.catalogue["item"].is_in(items.implode()).any()
    assert held.reference.events()["item"].is_in(items.implode()).any()
    other = hold_out(data, seed=4)
    assert not (held.users == other.users).all()
    assert (held.users == hold_out(data, seed=3).users).all()


def test_questions_ask_what_they_say() -> None:
    data = ring(users=100)
    held = hold_out(data, seed=3, items_share=0.2)
    asked = held.questions
    for cases in vars(asked).values():
        for history, target in zip(cases.histories, cases.targets, strict=True):
            assert len(history) >= 1
            assert target not in history
    for cases, unseen in ((asked.seen_users, False), (asked.unseen_users, True)):
        assert (held.users[cases.users] == unseen).all()
        assert not held.items[cases.targets].any()
        assert not held.items[cases.histories.items].any()
    assert held.items[asked.unseen_items.targets].all()
    assert len(asked.unseen_items) == sum(
        held.items[item] and place > 0 for one in data.sequences for place, item in enumerate(one)
    )
    # The same target for who was trained with and without the items, and no more than the last two left out of train.
    assert not held.users[asked.seen_items.users].any()
    for user, target in zip(asked.seen_items.users, asked.seen_items.targets, strict=True):
        assert data.sequences[user][-1] == target
        assert not held.items[data.sequences[user][-2:]].any()


def test_past_some_number_a_sample_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = hold_out(ring(users=100), seed=3).questions
    monkeypatch.setattr("studies.cold_start.holdout.MOST", 20)
    some = hold_out(ring(users=100), seed=3).questions
    assert len(some.seen_users) == 20
    assert set(some.seen_users.users) < set(whole.seen_users.users)
    assert len(some.unseen_users) == len(whole.unseen_users) == 10


def test_items_without_words_are_not_held_out() -> None:
    with pytest.raises(DataError, match="give the items text"):
        hold_out(checkerboard())
    data = ring(users=30)
    mixed = data.catalogue.with_columns(
        pl.when(pl.int_range(pl.len()) < 12).then(pl.lit("")).otherwise(column).alias(column)
        for column in ("title", "category")
    )
    partly = Interactions(data.users, mixed, data.sequences, data.times, data.meta)
    assert not hold_out(partly, items_share=0.4).items[:12].any()


def test_too_little_data_is_refused() -> None:
    with pytest.raises(DataError, match="too small for this protocol"):
        hold_out(ring(users=1))
