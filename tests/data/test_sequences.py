"""Packing loses no pair, invents none, and never joins two histories."""

from collections import Counter
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from deftrec.data import PADDING, Packed, Sequences
from deftrec.data.sequences import pack_for_training, pad_histories

LISTS = st.lists(st.lists(st.integers(0, 10_000), max_size=30), min_size=1, max_size=12)
QUICK = settings(max_examples=150, deadline=None)


def pairs_of(lists: list[list[int]]) -> Counter[tuple[int, int]]:
    return Counter(pair for one in lists for pair in pairwise(one))


def check_shape(packed: Packed, row: int) -> None:
    """What holds of every packing."""
    assert packed.items.shape == packed.targets.shape == packed.segments.shape == packed.positions.shape
    assert packed.items.shape[1] == row
    filled = packed.items != PADDING
    assert ((packed.segments != PADDING) == filled).all()
    assert (packed.targets[~filled] == PADDING).all()
    for items, segments, positions in zip(packed.items, packed.segments, packed.positions, strict=True):
        used = int((items != PADDING).sum())
        assert used > 0
        assert (items[:used] != PADDING).all()
        for segment in range(segments.max() + 1):
            places = np.flatnonzero(segments == segment)
            assert (np.diff(places) == 1).all()
            assert positions[places].tolist() == list(range(len(places)))


@QUICK
@given(lists=LISTS, row=st.integers(1, 12), seed=st.integers(0, 99))
def test_every_pair_once(lists: list[list[int]], row: int, seed: int) -> None:
    packed = pack_for_training(Sequences.from_lists(lists), row, np.random.default_rng(seed))
    check_shape(packed, row)
    filled = packed.items != PADDING
    pairs = zip(packed.items[filled].tolist(), packed.targets[filled].tolist(), strict=True)
    assert Counter(pairs) == pairs_of(lists)
    for items, targets, segments in zip(packed.items, packed.targets, packed.segments, strict=True):
        same = (segments[1:] == segments[:-1]) & (segments[1:] != PADDING)
        assert (targets[:-1][same] == items[1:][same]).all()  # a target is the next input of its own history


def test_windows_of_a_long_history_start_anywhere() -> None:
    sequences = Sequences.from_lists([list(range(101))])
    first: set[int] = set()
    for seed in range(200):
        packed = pack_for_training(sequences, 10, np.random.default_rng(seed))
        starts = np.sort(packed.items[(packed.positions == 0) & (packed.items != PADDING)])
        windows = np.diff([*starts, 100])
        assert starts[0] == 0
        assert windows.max() <= 10
        first.add(int(windows[0]))
    assert first == set(range(1, 11))


def test_packing_is_tight_and_seeded() -> None:
    sequences = Sequences.from_lists([list(range(5))] * 20)  # 20 histories of 4 places
    packed = pack_for_training(sequences, 12, np.random.default_rng(0))
    assert packed.items.shape == (7, 12)
    again = pack_for_training(sequences, 12, np.random.default_rng(0))
    np.testing.assert_array_equal(packed.items, again.items)


@QUICK
@given(lists=LISTS, row=st.integers(1, 12))
def test_padding_keeps_the_newest(lists: list[list[int]], row: int) -> None:
    sequences = Sequences.from_lists(lists)
    which = np.arange(len(lists))[::-1]
    padded = pad_histories(sequences, which, row)
    assert padded.items.shape[1] == max(1, min(row, max(map(len, lists))))
    for items, segments, positions, n in zip(padded.items, padded.segments, padded.positions, which, strict=True):
        kept = lists[n][-row:]
        assert items[: len(kept)].tolist() == kept
        assert (items[len(kept) :] == PADDING).all()
        assert segments[: len(kept)].tolist() == [0] * len(kept)
        assert positions[: len(kept)].tolist() == list(range(len(kept)))
    assert (padded.targets == PADDING).all()


@QUICK
@given(lists=LISTS, data=st.data())
def test_heads_and_selections(lists: list[list[int]], data: st.DataObject) -> None:
    sequences = Sequences.from_lists(lists)
    lengths = np.array([data.draw(st.integers(0, len(one))) for one in lists])
    heads = sequences.heads(lengths)
    assert [one.tolist() for one in heads] == [one[:length] for one, length in zip(lists, lengths, strict=True)]
    which = np.array(data.draw(st.lists(st.integers(0, len(lists) - 1))), dtype=np.int64)
    assert [one.tolist() for one in sequences.select(which)] == [lists[n] for n in which]
    assert sequences.owners().tolist() == [n for n, one in enumerate(lists) for _ in one]
    repeated = [item in one[:n] for one in lists for n, item in enumerate(one)]
    assert sequences.repeated(max([0, *map(max, filter(None, lists))]) + 1).tolist() == repeated


def test_nothing_to_pack() -> None:
    packed = pack_for_training(Sequences.from_lists([[], [3]]), 4, np.random.default_rng(0))
    assert packed.items.shape == (0, 4)
