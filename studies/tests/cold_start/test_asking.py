"""Questions reach the right items, groups of equal length are compared, and the baseline is what it says."""

import numpy as np
import pytest
import torch
from studies.cold_start import hold_out
from studies.cold_start.asking import ask, content_neighbours, of_equal_length, translated
from studies.comparison import mean_ratio

from deftrec import Recommender
from deftrec.data import Cases, Sequences
from toy import ring, tiny_config


def cases(histories: list[list[int]], targets: list[int]) -> Cases:
    return Cases(np.arange(len(targets)), Sequences.from_lists(histories), np.array(targets))


def test_questions_are_translated_by_id_and_ask_what_evaluate_asks() -> None:
    data = ring(users=80)
    held = hold_out(data, items_share=0.1)
    known = held.training
    asked = translated(held.questions.seen_items, data, known)
    for before, after in zip(held.questions.seen_items.histories, asked.histories, strict=True):
        kept = [item for item in before if not held.items[item]]
        assert known.item_ids(after) == data.item_ids(np.array(kept))
    everybody = hold_out(data, users_share=0.0001, items_share=0.0001)
    recommender = Recommender.fit(everybody.training, tiny_config(training={"epochs": 4}))
    found = ask(recommender, data, everybody.questions.seen_users)["ndcg@10"]
    assert float(found.mean()) == pytest.approx(recommender.evaluate("test").metrics["ndcg@10"])


def test_content_neighbours_find_the_nearest_words() -> None:
    angles = torch.tensor([0.0, 0.1, 0.25, 1.5, 1.6, 3.0])
    vectors = torch.stack([angles.cos(), angles.sin()], 1) * torch.tensor([1.0, 2, 3, 4, 5, 6])[:, None]
    asked = cases([[0], [3, 0], [3, 0]], [1, 1, 4])
    newest = content_neighbours(vectors, asked, 1)
    assert newest["hr@10"].tolist() == [1.0, 1.0, 1.0]
    assert newest["ndcg@10"][:2].tolist() == [1.0, 1.0]
    assert float(newest["ndcg@10"][2]) < 0.7
    whole = content_neighbours(vectors, asked, None)  # .75 is between: .25 is nearest, then .1, then 1.6
    assert whole["ndcg@10"].tolist() == pytest.approx([1.0, 1 / np.log2(3), 0.5])
    nothing = content_neighbours(torch.zeros(6, 2), asked, None)
    chance = [sum(1 / rank for rank in range(1, n + 1)) / n for n in (5, 4, 4)]
    assert nothing["mrr@100"].tolist() == pytest.approx(chance)


def test_groups_of_equal_length() -> None:
    unseen = cases([[0], [0, 1], [0, 1], [0] * 9, [0] * 30], [2] * 5)
    seen = cases([[0], [0], [0, 1], [0] * 10], [2] * 4)
    kept, weights = of_equal_length(unseen, seen, max_history=8)
    assert kept.tolist() == [True] * 5  # nine, ten and thirty are eight to the model
    assert weights.tolist() == [0.5, 0.5, 2.0, 2.0]
    kept, weights = of_equal_length(unseen, seen, max_history=40)
    assert kept.tolist() == [True, True, True, False, False]
    assert weights.tolist() == [0.5, 0.5, 2.0, 0.0]


def test_a_ratio_has_an_interval_that_holds_it() -> None:
    rng = torch.Generator().manual_seed(0)
    first, second = torch.rand(300, generator=rng), 0.5 * torch.rand(200, generator=rng)
    found = mean_ratio(first, second)
    assert found.ci95[0] < found.value < found.ci95[1]
    assert found.value == pytest.approx(float(first.mean() / second.mean()))
    same = mean_ratio(first, first, paired=True)
    assert (same.value, same.ci95) == (1.0, (1.0, 1.0))
    weighted = mean_ratio(torch.ones(3), torch.tensor([1.0, 0.0]), torch.tensor([1.0, 0.0]))
    assert weighted.value == 1.0
    assert mean_ratio(torch.zeros(3), torch.zeros(3)).value == 0.0
