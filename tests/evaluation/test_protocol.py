"""A result says what it is, and its numbers are those of the metrics."""

import json

import pytest
import torch
from pydantic import ValidationError

from deftrec.errors import DataError
from deftrec.evaluation.metrics import MISSED, TargetRanks, accuracy, coverage
from deftrec.evaluation.protocol import Result, evaluate

RANKS = TargetRanks(torch.tensor([0, 3, 12, MISSED]), torch.tensor([0, 1, 0, 0]))
TOP = torch.arange(80).reshape(4, 20) % 30
POPULARITY = torch.arange(40)


def result(ranks: TargetRanks = RANKS, top: torch.Tensor = TOP, seed: int = 0) -> Result:
    return evaluate(
        ranks,
        top,
        POPULARITY,
        name="a model",
        dataset="toys",
        protocol="leave-one-out",
        split="test",
        seen="exclude",
        fit="train",
        seed=seed,
        samples=200,
    )


def test_metrics_are_means_over_users_within_their_intervals() -> None:
    made = result()
    for key, values in accuracy(RANKS).items():
        assert made.metrics[key] == pytest.approx(float(values.mean()))
        low, high = made.ci95[key]
        assert low <= made.metrics[key] <= high
    assert made.users == 4
    assert made.metrics["coverage@10"] == coverage(TOP, 40, 10)
    assert result().ci95 == made.ci95
    assert result(seed=1).ci95 != made.ci95


def test_lists_of_20_give_coverage_and_novelty_up_to_20() -> None:
    metrics = result().metrics
    assert {key for key in metrics if "@50" in key} == {"hr@50", "ndcg@50", "recall@50"}
    assert {"coverage@20", "novelty@20"} <= set(metrics)
    assert not any(key.startswith("coverage") for key in result().ci95)


def test_users_without_recommendations_do_not_count_for_novelty() -> None:
    top = TOP.clone()
    some = result(top=top[[0, 0, 0, 0]]).metrics["novelty@10"]
    top[1:] = -1
    assert result(top=top).metrics["novelty@10"] == pytest.approx(some)
    assert result(top=torch.full_like(TOP, -1)).metrics["novelty@10"] == 0


def test_json_is_plain_and_reads_back() -> None:
    made = result()
    text = json.dumps(made.to_json_dict(), allow_nan=False)
    assert Result.model_validate_json(text) == made
    assert json.loads(text)["protocol"] == "leave-one-out"
    assert isinstance(json.loads(text)["ci95"]["hr@10"], list)


def test_unknown_keys_and_fits_are_refused() -> None:
    good = result().to_json_dict()
    with pytest.raises(ValidationError, match="extra"):
        Result.model_validate({**good, "extra": 1})
    with pytest.raises(ValidationError, match="fit"):
        Result.model_validate({**good, "fit": "everything"})


def test_nobody_asked_is_an_error_that_says_so() -> None:
    empty = torch.zeros(0, dtype=torch.int64)
    with pytest.raises(DataError, match="toys: no user has a test target"):
        result(TargetRanks(empty, empty), TOP[:0])


def test_lists_of_other_users_are_refused() -> None:
    with pytest.raises(ValueError, match="ranks of 4 users and lists of 3"):
        result(top=TOP[:3])
