"""The collaborative prior in the score: what it adds, and what it leaves alone where people come back to items."""

import numpy as np
import torch

from deftrec.data import Sequences
from deftrec.retrieval import CollaborativePrior, LatentSimilarity, LinearPrior, Queries, Ranker
from deftrec.retrieval.terms.collaborative_prior import PriorSettings, redistributed
from deftrec.serving.index import Approximate

SETTINGS = PriorSettings("ease", 50.0, 0.5)


def linear() -> LinearPrior:
    """Six items, each of which scores items 1 and 2."""
    neighbours = torch.tensor([[1, 2]] * 6, dtype=torch.int32)
    return LinearPrior(6, torch.arange(6, dtype=torch.int32), neighbours, torch.rand(6, 2))


def test_redistribution_leaves_the_probability_of_history_items_alone() -> None:
    histories = Sequences.from_lists([[0, 3], [4], [5, 5, 0]])
    latent, prior, weight = torch.randn(3, 6), torch.randn(3, 6), 2.5
    kept = latent.clone()
    moved = latent + redistributed(latent, prior, weight, histories)
    assert torch.equal(latent, kept), "the scores so far are not changed"
    plain = latent + weight * prior
    for row, history in enumerate(histories):
        seen = torch.zeros(6, dtype=torch.bool)
        seen[torch.from_numpy(history.astype(np.int64))] = True
        before, after = latent[row].softmax(0), moved[row].softmax(0)
        torch.testing.assert_close(after[seen], before[seen])
        # Among the others, the shares are those of the plain sum.
        torch.testing.assert_close(after[~seen] / after[~seen].sum(), plain[row, ~seen].softmax(0))
        assert not torch.allclose(after[~seen], before[~seen])
    whole = Sequences.from_lists([range(6)])
    assert torch.equal(redistributed(latent[:1], prior[:1], weight, whole), torch.zeros(1, 6))


def test_a_ranker_redistributes_where_history_items_are_candidates() -> None:
    histories = Sequences.from_lists([[0, 3], [4]])
    queries = Queries(histories, torch.randn(2, 4))
    plain, fitted = Ranker(6, (LatentSimilarity(torch.randn(6, 4), 0.1),)), linear()
    added, repeating = (CollaborativePrior(fitted, SETTINGS, 3.0, 6, repeats) for repeats in (False, True))
    before, scores = plain.scores(queries), fitted.scores(histories, 0.5)
    torch.testing.assert_close(plain.with_term(added).scores(queries), before + 3 * scores)
    expected = before + redistributed(before, scores, 3.0, histories)
    torch.testing.assert_close(plain.with_term(repeating).scores(queries), expected)
    assert not torch.allclose(expected, before + 3 * scores)
    # Such a score depends on every other item's, which an approximate index does not have.
    assert not Approximate.suits(plain.with_term(repeating))
    assert Approximate.suits(plain.with_term(added))
    # Alone, the term has nothing to redistribute.
    alone = plain.with_term(repeating).part("collaborative_prior")
    torch.testing.assert_close(alone.scores(queries), 3 * scores)


def test_items_left_out_give_no_score_and_stand_in_for_none() -> None:
    neighbours = torch.tensor([[1], [2], [0]], dtype=torch.int32)
    fitted = LinearPrior(3, torch.arange(3, dtype=torch.int32), neighbours, torch.tensor([[0.5], [0.25], [2.0]]))
    prior = CollaborativePrior(fitted, SETTINGS, 1.0, 3, repeats=False)
    quiet = prior.without_items(torch.tensor([1]))
    assert quiet.settings() == prior.settings()
    assert quiet.linear.scores(Sequences.from_lists([[1]]), 0.0).tolist() == [[0, 0, 0]]
    assert quiet.linear.scores(Sequences.from_lists([[2]]), 0.0).tolist() == [[2, 0, 0]]
    assert prior.linear.scores(Sequences.from_lists([[1]]), 0.0).tolist() == [[0, 0, 0.25]]
    stand_ins = quiet.linear.with_items(torch.eye(4)).stand_ins
    assert stand_ins is not None
    assert 1 not in stand_ins
