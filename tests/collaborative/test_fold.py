"""Later items get vectors from what the same users took."""

import numpy as np
import torch

from deftrec.collaborative import FoldIn
from deftrec.collaborative.fold import DOUBT
from deftrec.data import Sequences

TRAINED = torch.tensor([[2.0, 0.0], [0.0, 2.0], [-2.0, 0.0]])
ROOT = TRAINED.square().sum(1).mean().sqrt()


def fold(histories: list[list[int]], new: int = 2) -> torch.Tensor:
    """Vectors of items 3, 4, ... where 0, 1, 2 are trained."""
    items = 3 + new
    return FoldIn.of(Sequences.from_lists(histories), np.arange(3), np.arange(3, items), items).vectors(TRAINED)


def test_the_formula() -> None:
    vectors = fold([[0, 3], [0, 1, 3, 3], [4], [2, 2]])
    mean = (TRAINED[0] + (TRAINED[0] + TRAINED[1]) / 2) / 2
    expected = 2 / (2 + DOUBT) * ROOT * mean / mean.norm()
    torch.testing.assert_close(vectors[0], expected)
    assert torch.equal(vectors[1], torch.zeros(2)), "its user took nothing that is known"


def test_more_users_say_more_and_each_counts_once() -> None:
    norms = [float(fold([[0, 3]] * n)[0].norm()) for n in (1, 2, 50)]
    torch.testing.assert_close(torch.tensor(norms), ROOT * torch.tensor([1 / 5, 2 / 6, 50 / 54]))
    assert torch.equal(fold([[0, 3, 3, 0]]), fold([[0, 3]]))
    heavy = fold([[0] + [3] * 5, [1, 3]])[0]
    torch.testing.assert_close(heavy[0], heavy[1])


def test_nobody_and_nothing() -> None:
    assert torch.equal(fold([[0, 1]]), torch.zeros(2, 2))
    assert fold([[0, 1]], new=0).shape == (0, 2)
    empty = FoldIn.of(Sequences.from_lists([[0]]), np.zeros(0, np.int64), np.array([0]), 1)
    assert torch.equal(empty.vectors(torch.zeros(0, 2)), torch.zeros(1, 2))
