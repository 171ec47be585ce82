"""Which histories share a batch."""

import numpy as np
import pytest
import torch

from deftrec.data import PADDING, Sequences
from deftrec.retrieval import queries
from deftrec.retrieval.queries import batches

CPU = torch.device("cpu")


@pytest.mark.parametrize("max_history", [20, 100])
def test_everybody_is_in_one_batch_and_little_of_it_is_empty(max_history: int) -> None:
    rng = np.random.default_rng(0)
    histories = Sequences.from_lists([rng.integers(50, size=n) for n in rng.integers(1, 100, size=200)])
    seen: list[int] = []
    for which, items, layout in batches(max_history, histories, CPU, 400):
        B, L = items.shape
        filled = int((items != PADDING).sum())
        assert B * L <= 400 or B == 1
        assert (1 + queries.WASTE) * filled >= B * L or B * L <= queries.SMALL * 400
        assert torch.equal(layout.segments != PADDING, items != PADDING)
        for n, row in zip(which, items, strict=True):
            assert row[row != PADDING].tolist() == histories[n][-max_history:].tolist()
        seen += which.tolist()
    assert sorted(seen) == list(range(200))


def test_a_history_longer_than_a_batch_is_one() -> None:
    histories = Sequences.from_lists([[1] * 50, [2] * 60])
    assert [len(which) for which, _, _ in batches(100, histories, CPU, 10)] == [1, 1]
