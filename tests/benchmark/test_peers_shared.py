"""What all families share, without any of their environments: cases, NDCG@10, lists, the budget and its ends."""

import time
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from circle import circle

from deftrec.benchmark.peers import PeerRequest, export_split, peers_folder
from deftrec.data.split import leave_one_out
from deftrec.evaluation.metrics import accuracy, ranks_from_scores


@pytest.fixture
def exchange(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(peers_folder()))
    return import_module("exchange")


@pytest.fixture
def tuning(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(peers_folder()))
    return import_module("tuning")


@pytest.fixture
def inputs(tmp_path: Path, exchange: ModuleType) -> Any:
    data = circle(users=60, items=23)
    request = PeerRequest(fits=["train", "train+validation"], seens=["keep", "exclude"])
    export_split(data, leave_one_out(data), tmp_path / "inputs", request)
    return exchange.Inputs.read(tmp_path / "inputs")


def random_scorer(n_items: int) -> Any:
    """Few distinct scores, so that there are ties, and an item that is never recommended."""
    drawn = np.random.default_rng(0).integers(0, 6, (60, n_items)).astype(np.float32)
    drawn[:, 0] = -np.inf
    return lambda cases: drawn[cases.users].copy()


def test_a_history_is_read_oldest_first(inputs: Any) -> None:
    data = circle(users=60, items=23)
    cases, expected = inputs.cases("test"), leave_one_out(data).cases("test")
    assert cases.users.tolist() == expected.users.tolist()
    assert [cases[n].tolist() for n in range(60)] == [history.tolist() for history in expected.histories]
    assert cases.ages()[: len(cases[0])].tolist() == list(range(len(cases[0])))[::-1]
    part, taken = cases.chunk(10, 1000), cases.select(np.array([3, 1]))
    assert [part[n].tolist() for n in range(len(part))] == [cases[n].tolist() for n in range(10, 60)]
    assert [taken[n].tolist() for n in range(2)] == [cases[3].tolist(), cases[1].tolist()]


@pytest.mark.parametrize("seen", ["exclude", "keep"])
def test_ndcg_is_that_of_deftrecs_evaluator(exchange: ModuleType, inputs: Any, seen: str) -> None:
    cases, targets = inputs.cases("validation"), inputs.validation_targets()
    score = random_scorer(23)
    scores = torch.from_numpy(score(cases))
    if seen == "exclude":
        scores[torch.from_numpy(cases.owners()), torch.from_numpy(cases.items)] = -torch.inf
    ours = accuracy(ranks_from_scores(scores, torch.tensor(targets)))["ndcg@10"].mean()
    assert exchange.mean_ndcg(score, cases, targets, 23, seen) == pytest.approx(float(ours))


def test_one_pass_of_scoring_gives_both_tables(
    exchange: ModuleType, inputs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "CHUNK", 7 * 23)  # seven users at a time
    score, cases = random_scorer(23), inputs.cases("test")
    users, seconds = exchange.write_rankings(score, inputs, tmp_path, "train+validation")
    assert users == 60
    assert seconds > 0
    assert sorted(path.name for path in tmp_path.glob("*.parquet")) == [
        "rankings-test-refit-exclude.parquet",
        "rankings-test-refit-keep.parquet",
    ]
    for seen in ("keep", "exclude"):
        lists = pl.read_parquet(tmp_path / f"rankings-test-refit-{seen}.parquet")
        for n, user in enumerate(cases.users):
            own = lists.filter(pl.col("user") == user)
            hidden = {0} | (set(cases[n].tolist()) if seen == "exclude" else set())
            assert set(own["item"]) == set(range(23)) - hidden
            assert own["rank"].to_list() == list(range(1, own.height + 1))
            assert own["score"].to_list() == sorted(own["score"].to_list(), reverse=True)


def test_what_cannot_be_compared_is_not_recommended(exchange: ModuleType, inputs: Any) -> None:
    cases, targets = inputs.cases("validation"), inputs.validation_targets()

    def diverged(some: Any) -> np.ndarray:
        return np.full((len(some), 23), np.nan, np.float32)

    assert exchange.mean_ndcg(diverged, cases, targets, 23, "keep") == 0


class Climbing:
    """A model that is right from some epoch on, and remembers what it was asked."""

    def __init__(self, tuning: ModuleType, inputs: Any, best_epoch: int, steps: int = 4, pause: float = 0.0) -> None:
        self.tuning, self.best_epoch, self.steps, self.pause = tuning, best_epoch, steps, pause
        self.targets = dict(zip(inputs.cases("validation").users, inputs.validation_targets(), strict=True))
        self.trained: list[float] = []

    def train(self, settings: dict[str, Any], events: pl.DataFrame, stopping: Any) -> Any:
        for epoch in range(1, 50):
            for step in range(1, self.steps + 1):
                self.epochs = epoch - 1 + step / self.steps
                time.sleep(self.pause)
                if stopping.within(self.epochs):
                    break
            if stopping.after(self.epochs, self.score, lambda: self.epochs):
                break
        self.trained.append(self.epochs)
        self.epochs = stopping.best_state
        return self.tuning.Fitted(self.score, 1)

    def score(self, cases: Any) -> np.ndarray:
        scores = np.zeros((len(cases), 23), np.float32)
        right = max(0.0, 1 - abs(self.epochs - self.best_epoch) / 10)
        lucky = cases.users < 60 * right
        scores[np.flatnonzero(lucky), [self.targets[user] for user in cases.users[lucky]]] = 1
        return scores


def test_training_ends_when_validation_stops_rising(tuning: ModuleType, inputs: Any) -> None:
    model = Climbing(tuning, inputs, best_epoch=6)
    found = tuning.tune([{"a": 1}], model.train, inputs, patience=3, validation_users=None)
    assert (found.epochs, model.trained, found.cut) == (6, [9.0], False)
    assert found.tried == [{"a": 1, "epochs": 6.0, "ndcg@10": found.value}]
    refit = tuning.FixedEpochs(found.epochs)
    model.train({}, inputs.events("train+validation"), refit)
    assert (model.trained[-1], refit.best_state) == (6.0, 6.0)


def test_a_spent_budget_ends_the_first_training_within_its_epoch_and_the_search(
    tuning: ModuleType, inputs: Any
) -> None:
    object.__setattr__(inputs, "budget_seconds", 0.0)
    model = Climbing(tuning, inputs, best_epoch=6)
    found = tuning.tune([{"a": 1}, {"a": 2}], model.train, inputs, patience=3, validation_users=20)
    assert (found.settings, found.epochs, model.trained, found.cut) == ({"a": 1}, 0.25, [0.25], True)
    model.train({}, inputs.events(), tuning.FixedEpochs(found.epochs))
    assert model.trained[-1] == 0.25


def test_the_best_settings_win_and_a_model_without_epochs_has_none(tuning: ModuleType, inputs: Any) -> None:
    model = Climbing(tuning, inputs, best_epoch=6)

    def train(settings: dict[str, Any], events: pl.DataFrame, stopping: Any) -> Any:
        model.epochs = settings["epochs"]
        return tuning.Fitted(model.score, None)

    found = tuning.tune([{"epochs": 1}, {"epochs": 6}, {"epochs": 9}], train, inputs, 1, None)
    assert (found.settings, found.epochs, found.cut, len(found.tried)) == ({"epochs": 6}, None, False, 3)
