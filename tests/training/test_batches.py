"""Packed rows become batches: every pair once, and whatever a batch holds is among its candidates."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from deftrec.batch import Batch
from deftrec.config import ObjectiveOptions, PretrainedOptions, ReasoningOptions
from deftrec.data import PADDING, Sequences
from deftrec.language import Preferences, PretrainedLanguageModel, build_language_model
from deftrec.tensors import to_device
from deftrec.training import batches as batches_module
from deftrec.training import rationale as rationale_module
from deftrec.training.batches import PackedBatches
from toy import sampled_softmax, tiny_bert

ITEMS = 40


def sequences(users: int = 60) -> Sequences:
    rng = np.random.default_rng(0)
    share = np.arange(ITEMS, 0, -1) / np.arange(1, ITEMS + 1).sum()
    return Sequences.from_lists([rng.choice(ITEMS, int(rng.integers(0, 15)), p=share) for _ in range(users)])


def softmax_over(sampled: int | None) -> ObjectiveOptions:
    """The options of a softmax over all items (None), or over what a batch holds and `sampled` drawn ones."""
    return ObjectiveOptions() if sampled is None else ObjectiveOptions(**sampled_softmax(sampled))


def batches(
    sampled: int | None = None,
    seed: int = 0,
    positions: int = 40,
    of: Sequences | None = None,
    tie_groups: np.ndarray | None = None,
) -> PackedBatches:
    return PackedBatches(
        sequences() if of is None else of,
        ITEMS,
        max_history=10,
        batch_positions=positions,
        objective=softmax_over(sampled),
        seed=seed,
        tie_groups=tie_groups,
    )


def pairs(batch: Batch) -> list[tuple[int, int]]:
    """The (item, next item) pairs of a batch, as item numbers."""
    asked = batch.targets != PADDING
    return list(
        zip(batch.candidates[batch.items[asked]].tolist(), batch.candidates[batch.targets[asked]].tolist(), strict=True)
    )


@pytest.mark.parametrize("sampled", [None, 5])
def test_every_pair_is_a_target_once_an_epoch(sampled: int | None) -> None:
    steps, epoch = batches(sampled=sampled).epoch(0)
    made = list(epoch)
    assert len(made) == steps
    expected = Counter(pair for one in sequences() for pair in pairwise(one.tolist()))
    assert Counter(pair for batch in made for pair in pairs(batch)) == expected
    assert all(batch.items.shape[0] <= 4 and batch.items.shape[1] == 10 for batch in made)


def test_tied_interactions_are_packed_in_another_order_every_epoch() -> None:
    tied = Sequences.from_lists([list(range(8)), list(range(10, 18))])
    tie_groups = np.array([0, 1, 1, 1, 1, 1, 1, 2, 3, 3, 3, 4, 5, 6, 7, 8])
    source = batches(of=tied, tie_groups=tie_groups)
    orders = set()
    for epoch in range(5):
        for batch in source.epoch(epoch)[1]:
            for items, targets in zip(batch.items.tolist(), batch.targets.tolist(), strict=True):
                taken = [item for item in items if item != PADDING]
                last = [target for target in targets if target != PADDING][-1]
                order = (*taken, last)
                assert sorted(order) in (list(range(8)), list(range(10, 18)))
                assert (order[0], order[-1]) == (0, 7) or order[3:] == tuple(range(13, 18))
                orders.add(order)
    assert len(orders) > 6
    first, again = (next(source.epoch(3)[1]).items.tolist() for _ in range(2))
    assert first == again


@pytest.mark.parametrize("sampled", [1, 5, 12])
def test_sampled_candidates_hold_what_the_batch_holds(sampled: int) -> None:
    _, exact = batches().epoch(3)
    _, epoch = batches(sampled=sampled).epoch(3)
    sizes = []
    for batch, full in zip(epoch, exact, strict=True):
        assert batch.candidates.tolist() == sorted(set(batch.candidates.tolist()))
        assert torch.equal(full.candidates, torch.arange(ITEMS))
        for places, numbers in ((batch.items, full.items), (batch.targets, full.targets)):
            filled = numbers != PADDING
            assert torch.equal(filled, places != PADDING)
            assert torch.equal(batch.candidates[places[filled]], numbers[filled])
        assert batch.log_q is not None
        assert batch.log_q.shape == batch.candidates.shape
        assert (batch.log_q <= 0).all()
        assert full.log_q is None
        sizes.append(len(batch.candidates))
    assert min(sizes) >= 1
    assert max(sizes) <= ITEMS


def test_log_q_is_how_often_an_item_is_among_the_candidates() -> None:
    source = batches(sampled=6)
    present, claimed, number = np.zeros(ITEMS), np.zeros(ITEMS), 0
    for epoch in range(60):
        for batch in source.epoch(epoch)[1]:
            assert batch.log_q is not None
            present[batch.candidates.numpy()] += 1
            claimed[batch.candidates.numpy()] += batch.log_q.exp().numpy()
            number += 1
    frequency = present / number
    mean_claim = claimed / present
    assert np.abs(frequency - mean_claim).mean() < 0.05
    assert np.corrcoef(frequency, mean_claim)[0, 1] > 0.97


def test_epochs_depend_on_seed_and_number_alone() -> None:
    def epoch(seed: int, number: int) -> list[int]:
        return [int(n) for batch in batches(sampled=6, seed=seed).epoch(number)[1] for n in batch.candidates]

    source = batches(sampled=6)
    list(source.epoch(0)[1])
    assert [int(n) for batch in source.epoch(2)[1] for n in batch.candidates] == epoch(0, 2)
    assert epoch(0, 2) == epoch(0, 2)
    assert epoch(0, 2) != epoch(0, 3)
    assert epoch(0, 2) != epoch(1, 2)


def test_a_batch_moves_as_a_whole() -> None:
    for sampled in (None, 5):
        batch = next(batches(sampled=sampled).epoch(0)[1])
        moved = to_device(batch, torch.device("meta"))
        tensors = [moved.candidates, moved.items, moved.targets, moved.layout.segments, moved.layout.positions]
        tensors += [] if moved.log_q is None else [moved.log_q]
        assert {tensor.device.type for tensor in tensors} == {"meta"}
        assert (moved.log_q is None) == (sampled is None)


def test_histories_without_a_pair_give_no_batch() -> None:
    steps, epoch = batches(of=Sequences.from_lists([[1], [], [2]])).epoch(0)
    assert (steps, list(epoch)) == (0, [])


@pytest.mark.parametrize("sampled", [None, 5])
def test_some_histories_of_a_batch_have_a_rationale(
    sampled: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is the beginning of a training sequence up to its target, and its rationale is written for that history."""
    options = ReasoningOptions(weight=0.1, max_tokens=8)
    monkeypatch.setattr(batches_module, "ROWS", 6)
    monkeypatch.setattr(rationale_module, "HISTORY", 4)
    language = build_language_model(
        PretrainedOptions(model=str(tiny_bert(tmp_path)), prompts=("next : {history}",), reasoning=options),
        domain="",
        ways=1,
        max_history=10,
    )
    assert isinstance(language, PretrainedLanguageModel)
    names = ["red", "green", "blue", "old", "new"]
    preferences = Preferences([[names[item % 5]] for item in range(ITEMS)], language, options)
    source = PackedBatches(
        sequences(),
        ITEMS,
        max_history=10,
        batch_positions=40,
        objective=softmax_over(sampled),
        seed=0,
        preferences=preferences,
    )
    training = [one.tolist() for one in sequences()]
    for batch in source.epoch(0)[1]:
        learnt = batch.rationale
        assert learnt is not None
        assert 1 <= len(learnt.targets) <= 6
        items, targets = batch.numbers(learnt.items), batch.numbers(learnt.targets)
        for row in range(len(targets)):
            length = int((learnt.items[row] != PADDING).sum())
            assert 1 <= length <= 4
            history, target = items[row, :length].tolist(), int(targets[row])
            found = [one for one in training for n in range(len(one)) if one[n : n + length + 1] == [*history, target]]
            assert found, "no user has this item after these"
            text = learnt.text[row]
            assert tuple(text[text != PADDING].tolist()) == preferences.rationale(np.array(history), target)
        moved = to_device(batch, torch.device("meta")).rationale
        assert moved is not None
        assert {one.device.type for one in (moved.items, moved.targets, moved.text)} == {"meta"}
