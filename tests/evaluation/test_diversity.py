"""Metrics of lists by hand and against their definitions."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from deftrec.data import PADDING, Sequences
from deftrec.data.categories import CategoryTable
from deftrec.evaluation import ItemDescription, calibration_error, describe_lists, gini, intra_list_distance

VECTORS = torch.tensor([[2.0, 0], [0, 3], [1, 1], [0, 0], [-1, 0]])
TABLE = CategoryTable(["a", "b", "c"], np.array([[0, 1], [1, PADDING], [0, 2], [PADDING, PADDING], [2, PADDING]]))


def test_distance_by_hand() -> None:
    lists = torch.tensor([[0, 1, -1], [0, 1, 2], [0, 4, 3], [0, 3, -1], [-1, -1, -1]])
    found = intra_list_distance(lists, VECTORS)
    cosine = math.sqrt(0.5)
    assert found[:3].tolist() == pytest.approx([1, 1 - (0 + 2 * cosine) / 3, 2])
    assert found[3:].isnan().all(), "one item with a vector, and none"


@given(st.integers(0, 1000))
def test_distance_is_the_mean_over_pairs(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(20, 6, generator=generator)
    items = torch.randperm(20, generator=generator)[:7]
    unit = torch.nn.functional.normalize(vectors, dim=1)[items]
    pairs = [1 - float(unit[i] @ unit[j]) for i in range(7) for j in range(i)]
    assert float(intra_list_distance(items[None], vectors)) == pytest.approx(np.mean(pairs), abs=1e-5)


def test_gini_by_hand() -> None:
    assert gini(torch.tensor([[0, 1], [2, 3]]), 4, 2) == 0
    assert gini(torch.tensor([[0], [0], [0], [-1]]), 4, 1) == pytest.approx(0.75)  # (n - 1) / n
    assert gini(torch.tensor([[0, 1], [0, 1]]), 4, 2) == pytest.approx(0.5)
    assert gini(torch.tensor([[-1]]), 4, 1) == 0


def test_shares_by_hand() -> None:
    owners, items = np.array([0, 0, 1, 2, 0]), np.array([0, 1, 3, 4, PADDING])
    expected = [[0.25, 0.75, 0], [0, 0, 0], [0, 0, 1]]
    assert TABLE.shares(owners, items, 3).tolist() == expected


def test_calibration_error_by_hand() -> None:
    listed, wanted = (
        torch.tensor([[0.5, 0.5], [1, 0], [1, 0], [0, 0]]),
        torch.tensor([[0.5, 0.5], [0, 1], [0.5, 0.5], [1, 0]]),
    )
    half = 0.5 * math.log2(1 / 0.75) + 0.5 * (0.5 * math.log2(0.5 / 0.75) + 0.5 * math.log2(0.5 / 0.25))
    found = calibration_error(listed.double(), wanted.double())
    assert found[:3].tolist() == pytest.approx([0, 1, half])
    assert found[3].isnan()


def test_lists_are_described_user_by_user(monkeypatch: pytest.MonkeyPatch) -> None:
    lists, histories = torch.tensor([[0, 1], [1, -1], [2, 4]]), Sequences.from_lists([[0], [], [1, 1]])
    items = ItemDescription(VECTORS, None, TABLE)
    found = describe_lists(lists, histories, items)
    assert set(found) == {"graph_distance@10", "category_distance@10", "calibration_error@10"}
    cosine = math.sqrt(0.5)
    assert found["category_distance@10"] == pytest.approx(1 - cosine)  # {a, b} and {b}; {a, c} and {c}
    first = calibration_error(torch.tensor([[0.25, 0.75, 0]]), torch.tensor([[0.5, 0.5, 0]]))
    assert found["calibration_error@10"] == pytest.approx(float(first + 1) / 2)
    monkeypatch.setattr("deftrec.evaluation.diversity.CHUNK_BYTES", 1)
    assert describe_lists(lists, histories, items) == pytest.approx(found)


def test_metrics_that_nobody_has_are_left_out() -> None:
    bare = CategoryTable([], np.full((5, 1), PADDING))
    items = ItemDescription(VECTORS, VECTORS, bare)
    found = describe_lists(torch.tensor([[0, 1]]), Sequences.from_lists([[2]]), items)
    assert set(found) == {"graph_distance@10", "words_distance@10"}
    assert describe_lists(torch.zeros(0, 3, dtype=torch.int64), Sequences.from_lists([]), items) == {}
