"""The share of the machine's matrix rate."""

import pytest
import torch
from torch import Tensor, nn

from deftrec import Recommender, flops
from deftrec.flops import Throughput
from deftrec.hardware import matrix_rate
from toy import ring, tiny_config

CPU = torch.device("cpu")


class Summed(nn.Module):
    """A linear layer, noise beside it, and a count."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 5)
        self.register_buffer("asked", torch.zeros(()))
        self.asked: Tensor

    def forward(self, batch: Tensor) -> dict[str, Tensor]:
        self.asked += 1
        return {"loss": (self.linear(batch) + torch.rand(5)).sum()}


def test_products_of_a_batch_are_counted_forward_and_backward(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flops, "matrix_rate", lambda *_: 1e6)
    counted = Throughput(Summed(), torch.float32)
    for rows in (7, 700):  # the first alone
        counted.count(torch.ones(rows, 16, requires_grad=True))
    operations = 3 * 2 * 7 * 16 * 5  # the product, and the gradients of both its factors
    assert counted.operations == operations
    assert counted.share(2, 4.0) == pytest.approx(2 * operations / 4.0 / 1e6)


def test_counting_leaves_no_trace() -> None:
    module = Summed()
    torch.manual_seed(0)
    Throughput(module, torch.float32).count(torch.ones(3, 16))
    assert torch.initial_seed() == 0
    assert torch.equal(torch.rand(4), torch.rand(4, generator=torch.Generator().manual_seed(0)))
    assert all(parameter.grad is None for parameter in module.parameters())
    assert not module.asked


def test_where_nothing_is_multiplied_there_is_no_share() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(5))

        def forward(self, batch: Tensor) -> dict[str, Tensor]:
            return {"loss": (self.scale * batch).sum()}

    counted = Throughput(Scaled(), torch.float32)
    counted.count(torch.ones(5))
    assert counted.share(1, 1.0) is None


def test_the_rate_is_measured_once_a_type() -> None:
    rate = matrix_rate(CPU, torch.float32)
    assert rate > 1e8
    assert matrix_rate(CPU, torch.float32) == rate


def test_training_says_its_share() -> None:
    history = Recommender.fit(ring(), tiny_config()).info.history
    assert all(0 < row["matrix share"] < 1 for row in history["joint"])
    assert all("matrix share" not in row for row in history["collaborative"])  # its products are sparse
