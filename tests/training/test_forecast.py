"""The forecast of a training: its stages are those that report, and it leaves no trace."""

from typing import Any

import pytest
import torch

from deftrec import Config, Interactions, Recommender
from deftrec.progress import Silent
from deftrec.training import forecast as module
from deftrec.training.forecast import forecast
from toy import ring, tiny_config

CPU = torch.device("cpu")


class Tasks(Silent):
    """Listener that keeps the names of the tasks, in order."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def begin(self, task: str, total: int) -> None:
        self.names.append(task)


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every batch takes a second to learn from and half of one to read."""
    monkeypatch.setattr(module, "_batch_seconds", lambda *_: (1.0, 0.5))


def config(**training: Any) -> Config:
    return tiny_config(training={"epochs": 2, "ensemble_size": 2, "batch_positions": 256, **training})


@pytest.fixture(scope="module")
def data() -> Interactions:
    return ring(users=100)


@pytest.mark.parametrize("refit", [False, True])
def test_its_stages_are_those_that_training_reports(data: Interactions, refit: bool) -> None:
    heard = Tasks()
    Recommender.fit(data, config(), refit=refit, device=CPU, progress=heard)
    found = forecast(data, config(), refit=refit, device=CPU)
    # "score terms" wraps the fits of the collaborative prior, which report themselves.
    assert list(found.seconds) == [name for name in heard.names if not name.endswith("score terms")]
    assert all(value > 0 for value in found.seconds.values())
    assert "GFLOP/s" in found.machine


def test_the_joint_stage_counts_epochs_batches_and_validation(data: Interactions, steady: None) -> None:
    few, many = (forecast(data, config(epochs=epochs), device=CPU).seconds for epochs in (2, 6))
    assert many["joint"] == pytest.approx(3 * few["joint"])
    assert few["joint-2"] == few["joint"]
    # 600 of 100 users' interactions are train: 3 batches of 256 places, and validation reads them all once.
    assert 2 * 2 <= few["joint"] <= 2 * (4 + 0.5 * 600 / 256)


def test_large_data_is_probed_by_a_share_of_its_users(
    data: Interactions, steady: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = forecast(data, config(), device=CPU).seconds
    monkeypatch.setattr(module, "PROBED_INTERACTIONS", 300)
    part = forecast(data, config(), device=CPU).seconds
    assert part["joint"] == pytest.approx(whole["joint"], rel=0.6)


def test_random_states_stay(data: Interactions) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    forecast(data, config(), device=CPU)
    assert torch.equal(torch.rand(1), expected)
