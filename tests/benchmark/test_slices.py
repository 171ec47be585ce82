"""Slices of the users against an example that is small enough to count by hand."""

import numpy as np

from deftrec.benchmark.slices import HISTORY, NOVELTY, POPULARITY, by_history, by_popularity, slices
from deftrec.data import Cases, Sequences


def cases_of(histories: list[list[int]], targets: list[int]) -> Cases:
    return Cases(np.arange(len(targets)), Sequences.from_lists(histories), np.asarray(targets))


def test_every_slice_of_a_small_example() -> None:
    # Training interactions by item: 0 six, 1 and 2 three each, 3 two, 4 one, 5 none; 15 in all, a third is 5.
    # Ahead of item 0 are none, of 1 and 2 six (second third), of 3 twelve and of 4 fourteen (last third).
    training = Sequences.from_lists([[0] * 6, [1, 2] * 3, [3, 3, 4]])
    cases = cases_of([[0], [0, 1], [1, 2], [3, 1, 0], [4, 2, 4, 1], [5, 0, 1, 2, 3]], [0, 2, 4, 1, 3, 5])
    found = {(part.by, part.name): part.users.tolist() for part in slices(cases, training, n_items=6)}
    assert found == {
        (HISTORY, "1 to 2 items"): [0, 1, 2],
        (HISTORY, "3 items"): [3],
        (HISTORY, "4 to 5 items"): [4, 5],
        (POPULARITY, "head"): [0],
        (POPULARITY, "torso"): [1, 3],
        (POPULARITY, "tail"): [2, 4],
        (POPULARITY, "cold"): [5],
        (NOVELTY, "new to the user"): [1, 2, 4],
        (NOVELTY, "repeated"): [0, 3, 5],
    }


def test_each_property_sorts_every_user_once() -> None:
    rng = np.random.default_rng(0)
    histories = [rng.integers(0, 50, rng.integers(1, 30)).tolist() for _ in range(200)]
    cases = cases_of(histories, rng.integers(0, 60, 200).tolist())
    parts = slices(cases, cases.histories, n_items=60)
    for by in (HISTORY, POPULARITY, NOVELTY):
        users = np.concatenate([part.users for part in parts if part.by == by])
        assert sorted(users) == list(range(200))
    quarters = [len(part.users) for part in parts if part.by == HISTORY]
    assert len(quarters) == 4
    assert all(35 <= size <= 65 for size in quarters)


def test_histories_of_one_length_are_one_slice() -> None:
    [part] = by_history(cases_of([[1], [2], [3]], [0, 0, 0]))
    assert (part.name, len(part.users)) == ("1 item", 3)
    [part] = by_history(cases_of([[1, 2], [2, 1]], [0, 0]))
    assert part.name == "2 items"


def test_equally_popular_items_are_in_one_part_whatever_their_numbers() -> None:
    cases = cases_of([[0]] * 4, [0, 1, 2, 3])
    head, torso, tail, cold = by_popularity(cases, np.array([5, 5, 5, 5]))
    assert head.users.tolist() == [0, 1, 2, 3]
    assert not len(torso.users) + len(tail.users) + len(cold.users)
    *_, cold = by_popularity(cases, np.zeros(4, np.int64))
    assert len(cold.users) == 4
