"""The training loop on a problem small enough to follow by hand."""

import copy
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from deftrec.errors import DeftRecError
from deftrec.progress import Silent
from deftrec.training import loop
from deftrec.training.average import AveragedWeights
from deftrec.training.checkpoint import TrainingState, load_checkpoint, save_checkpoint
from deftrec.training.loop import Plan, Stage, TrainingLog, _horizon, _optimizer, _rate, train

X, Y = torch.randn(16, 3, generator=torch.Generator().manual_seed(1)), torch.arange(16.0)[:, None] / 16


class Regression(nn.Module):
    """Least squares; one layer is slow, one parameter is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 1)
        self.frozen = nn.Parameter(torch.ones(2), requires_grad=False)
        self.scale = 1.0

    def forward(self, rows: Tensor) -> dict[str, Tensor]:
        error = (self.second(self.first(X[rows])) - Y[rows]).square().mean()
        return {"loss": self.scale * error, "error": error}


class Toy(Stage):
    """Every epoch sees all rows in an order of its own; validation says what it is told to say.

    Attributes:
        seen: weights at every validation.
    """

    name = "toy"

    def __init__(self, values: list[float] | None = None, batch: int = 4) -> None:
        torch.manual_seed(0)
        self.module = Regression()
        self.values, self.batch = values or [0.0] * 100, batch
        self.seen: list[dict[str, Tensor]] = []
        self.after: Callable[[], None] = lambda: None

    def epoch(self, number: int) -> tuple[int, Iterator[Tensor]]:
        order = torch.randperm(16, generator=torch.Generator().manual_seed(number))
        return 16 // self.batch, iter(order.split(self.batch))

    def validate(self) -> dict[str, float]:
        self.seen.append(copy.deepcopy(self.module.state_dict()))
        self.after()
        return {"ndcg@10": self.values[len(self.seen) - 1], "hr@10": 0.5}

    def slow_parameters(self) -> set[nn.Parameter]:
        return set(self.module.first.parameters())  # type: ignore[union-attr, operator]


def plan(**changes: object) -> Plan:
    options: dict[str, object] = {"epochs": 6, "learning_rate": 0.05, "patience": 6, "dtype": torch.float32}
    return Plan(**{**options, **changes})  # type: ignore[arg-type]


def run(stage: Toy, checkpoints: Path | None = None, resume: bool = False, **changes: object) -> TrainingState:
    return train(
        stage, plan(**changes), checkpoints=checkpoints, resume=resume, log=TrainingLog(None), progress=Silent()
    )


def equal(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(tensor, right[name]) for name, tensor in left.items())


def test_it_learns() -> None:
    trained = run(Toy(), epochs=40, patience=40)
    losses = [row["loss"] for row in trained.history]
    assert losses[-1] < losses[0] / 3
    assert [row["epoch"] for row in trained.history] == list(range(1, 41))
    assert all(row["validation hr@10"] == 0.5 for row in trained.history)


def test_the_best_weights_are_kept_and_patience_ends_it() -> None:
    stage = Toy([0.1, 0.5, 0.4, 0.5, 0.3, 0.9])  # equal is not better, and .9 is never seen
    trained = run(stage, patience=3)
    assert len(stage.seen) == len(trained.history) == 5
    assert (trained.best_epoch, trained.best_value) == (2, 0.5)
    assert equal(stage.module.state_dict(), stage.seen[1])
    assert not equal(stage.seen[1], stage.seen[4])


def test_validation_comes_every_so_often_and_at_the_end() -> None:
    stage = Toy([0.1, 0.2, 0.3])
    trained = run(stage, epochs=5, validate_every=2)
    assert [row["epoch"] for row in trained.history if "validation ndcg@10" in row] == [2, 4, 5]
    assert (trained.best_epoch, trained.best_value) == (5, 0.3)
    few = run(Toy([0.9, 0.1, 0.1, 0.1]), epochs=20, validate_every=3, patience=2)
    assert (few.best_epoch, len(few.history)) == (3, 9)


def test_a_refit_runs_for_the_chosen_epochs_and_asks_nobody() -> None:
    stage, other = Toy(), Toy()
    trained = run(stage, stop_after=3)
    assert stage.seen == []
    assert (trained.best_epoch, trained.best_value, len(trained.history)) == (3, -math.inf, 3)
    run(other, patience=1)  # the same learning rates: the horizon is that of the whole plan
    assert not equal(stage.module.state_dict(), Toy().module.state_dict())
    gather = Toy([0.0, 0.0, 1.0, 0.0, 0.0, 0.0])
    run(gather)
    assert equal(stage.module.state_dict(), gather.module.state_dict())


def test_time_is_up_after_an_epoch_and_counts_what_came_before_a_resumption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]

    def tick() -> float:  # every look at the clock is a second later
        now[0] += 1
        return now[0]

    monkeypatch.setattr(loop.time, "monotonic", tick)
    assert len(run(Toy(), epochs=50, patience=50).history) == 50
    stage = Toy([0.1, 0.2] + [0.0] * 98)
    trained = run(stage, epochs=50, patience=50, seconds=7, checkpoints=tmp_path)
    assert 2 < len(trained.history) == len(stage.seen) < 7  # the last epoch is validated too
    assert trained.best_epoch == 2
    again = run(Toy(), epochs=50, patience=50, seconds=7, checkpoints=tmp_path, resume=True)
    assert len(again.history) == len(trained.history)
    assert again.seconds == trained.seconds >= 7


@pytest.mark.parametrize("accumulation", [2, 4])
def test_accumulation_equals_a_larger_batch(accumulation: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def plain(stage: Stage, _: Plan) -> torch.optim.Optimizer:  # Adam does not see the scale of a gradient
        learnt = [parameter for parameter in stage.module.parameters() if parameter.requires_grad]
        return torch.optim.SGD([{"params": learnt, "factor": 1.0}], lr=0.1)

    monkeypatch.setattr(loop, "_optimizer", plain)
    large, small = Toy(batch=8), Toy(batch=8 // accumulation)
    run(large)
    run(small, accumulation=accumulation)
    for name, tensor in large.module.state_dict().items():
        torch.testing.assert_close(small.module.state_dict()[name], tensor, atol=1e-5, rtol=1e-4)


def test_the_last_batches_are_not_lost() -> None:
    stage = Toy(batch=16)  # one batch an epoch, and steps of three batches
    before = copy.deepcopy(stage.module.state_dict())
    run(stage, epochs=1, accumulation=3)
    assert not equal(stage.module.state_dict(), before)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_no_number_ends_it(bad: float) -> None:
    stage = Toy()
    stage.module.scale = bad
    with pytest.raises(DeftRecError, match=r"toy: the loss of epoch 1 is not a number; lower the learning rate \(0.05"):
        run(stage)


def test_frozen_weights_stay_and_training_mode_returns() -> None:
    stage = Toy()
    stage.after = lambda: stage.module.eval() and None  # type: ignore[func-returns-value]
    modes = []
    stage.module.register_forward_pre_hook(lambda module, _: modes.append(module.training))
    run(stage)
    assert all(modes)
    assert torch.equal(stage.module.frozen, torch.ones(2))


def test_groups_of_parameters() -> None:
    stage = Toy()
    optimizer = _optimizer(stage, plan(slow_factor=0.1, weight_decay=0.3))
    found = {
        parameter: (group["factor"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    module = stage.module
    assert found == {
        module.first.weight: (0.1, 0.3),
        module.first.bias: (0.1, 0.0),
        module.second.weight: (1.0, 0.3),
        module.second.bias: (1.0, 0.0),
    }


def test_slow_parameters_are_slow() -> None:
    stage, start = Toy(), Toy().module.state_dict()
    run(stage, slow_factor=1e-6)
    moved = {name: float((tensor - start[name]).abs().max()) for name, tensor in stage.module.state_dict().items()}
    assert moved["first.weight"] < 1e-4 < 1e-2 < moved["second.weight"]


@given(
    steps=st.integers(1, 30), epochs=st.integers(1, 30), warmup=st.integers(0, 100), final=st.sampled_from([0, 0.1, 1])
)
def test_the_learning_rate_rises_then_falls_to_its_last_share(
    steps: int, epochs: int, warmup: int, final: float
) -> None:
    chosen = plan(epochs=epochs, learning_rate=2.0, warmup_steps=warmup, final_rate=final)
    rates = [_rate(chosen, epoch, step, steps, epochs) for epoch in range(epochs) for step in range(steps)]
    warmup = min(warmup, epochs * steps // 2)
    rising, falling = rates[:warmup], rates[warmup:]
    assert rising == [pytest.approx(2 * (n + 1) / warmup) for n in range(len(rising))]
    assert all(later <= earlier + 1e-12 for earlier, later in pairwise(falling))
    assert all(0 < rate <= 2 for rate in rates)
    assert _rate(chosen, epochs, 0, steps, epochs) == pytest.approx(2 * final)
    if warmup == 0:
        assert rates[0] == 2


def test_the_learning_rate_falls_within_the_time_there_is() -> None:
    limited = plan(epochs=20, seconds=10.0)
    assert _horizon(limited, TrainingState()) == 20
    assert _horizon(limited, TrainingState(epoch=1, seconds=2.0)) == pytest.approx(5)
    assert _horizon(limited, TrainingState(epoch=4, seconds=6.0)) == pytest.approx(20 / 3)
    assert _horizon(limited, TrainingState(epoch=1, seconds=0.1)) == 20
    assert _horizon(limited, TrainingState(epoch=3, seconds=11.0)) == 4
    assert _horizon(plan(epochs=20), TrainingState(epoch=1, seconds=2.0)) == 20
    assert _horizon(plan(epochs=20, horizon=3.5), TrainingState(epoch=1, seconds=2.0)) == 3.5


def test_a_finished_stage_tells_a_refit_the_horizon_that_it_had(tmp_path: Path) -> None:
    stage = Toy()
    stage.after = lambda: time.sleep(0.05)
    trained = run(stage, tmp_path, epochs=500, patience=500, seconds=0.5)
    assert 1 < trained.horizon < 500
    again = run(Toy(), tmp_path, resume=True, epochs=500, patience=500, seconds=0.5)
    assert (again.horizon, again.best_epoch) == (trained.horizon, trained.best_epoch)


def test_progress_and_log_tell_every_epoch(tmp_path: Path) -> None:
    broadcast: list[tuple[str, object]] = []

    class Listener(Silent):
        def begin(self, task: str, total: int) -> None:
            broadcast.append(("begin", total))

        def advance(self, task: str, units: int = 1, values: Mapping[str, float] | None = None) -> None:
            broadcast.append(("advance", units))

        def end(self, task: str) -> None:
            broadcast.append(("end", task))

    log = TrainingLog(tmp_path / "logs")
    train(Toy(), plan(epochs=2), checkpoints=None, resume=False, log=log, progress=Listener())
    log.close()
    assert broadcast == [("begin", 2), ("advance", 0), ("advance", 1), ("advance", 1), ("end", "toy")]
    rows = [json.loads(line) for line in (tmp_path / "logs" / "metrics.jsonl").read_text().splitlines()]
    assert [(row["stage"], row["epoch"]) for row in rows] == [("toy", 1), ("toy", 2)]
    assert {"loss", "error", "seconds", "validation ndcg@10"} <= set(rows[0])


# -- averaged weights --------------------------------------------------------------------------------------------------


def test_the_average_is_validated_and_kept() -> None:
    stage, plain = Toy([0.0, 0.0, 1.0, 0.0]), Toy([0.0, 0.0, 1.0, 0.0])
    run(stage, epochs=4, average=0.9)
    run(plain, epochs=4)
    assert equal(stage.module.state_dict(), stage.seen[2])
    assert not equal(stage.seen[2], plain.seen[2])
    # Averaging watches the training, it does not take part: the weights underneath go the same way.
    expected, values = AveragedWeights(Toy().module, 0.9), Toy()
    again = AveragedWeights(values.module, 0.9)
    assert set(again.values) == set(expected.values) == {"first.weight", "first.bias", "second.weight", "second.bias"}


def test_the_average_forgets_as_it_says() -> None:
    module = nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(module.weight)
    average = AveragedWeights(module, 0.5)
    expected = 0.0
    for step in range(1, 30):
        with torch.no_grad():
            module.weight.fill_(float(step))
        average.update()
        decay = min(0.5, step / (step + 10))
        expected = decay * expected + (1 - decay) * step
    assert average.values["weight"].item() == pytest.approx(expected)
    inside = []

    def fail() -> None:
        with average.applied():
            inside.append(module.weight.item())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert inside == [pytest.approx(expected)]
    assert module.weight.item() == 29
    assert average.values["weight"].item() == pytest.approx(expected)


# -- checkpoints -------------------------------------------------------------------------------------------------------


def test_a_checkpoint_brings_everything_back(tmp_path: Path) -> None:
    stage = Toy([0.3, 0.9, 0.2])
    run(stage, checkpoints=tmp_path, epochs=3, average=0.5, checkpoint_seconds=0)
    fresh = Toy()
    optimizer, average = _optimizer(fresh, plan()), AveragedWeights(fresh.module, 0.5)
    state, best = load_checkpoint(tmp_path / "toy", fresh.module, optimizer, average)
    noise = torch.rand(3)
    assert (state.epoch, state.best_epoch, state.best_value, state.finished) == (3, 2, 0.9, True)
    assert len(state.history) == 3
    assert equal(best, stage.seen[1])
    assert equal(best, stage.module.state_dict())
    assert average.steps == 12
    copies = tmp_path / "copy"
    save_checkpoint(copies, fresh.module, best, optimizer, average, state)
    other = Toy()
    other_optimizer, other_average = _optimizer(other, plan()), AveragedWeights(other.module, 0.5)
    assert load_checkpoint(copies, other.module, other_optimizer, other_average)[0] == state
    assert equal(other.module.state_dict(), fresh.module.state_dict())
    assert equal(other_average.values, average.values)
    for left, right in zip(optimizer.state.values(), other_optimizer.state.values(), strict=True):
        assert left.keys() == right.keys() == {"step", "exp_avg", "exp_avg_sq"}
        assert equal(left, right)
    torch.manual_seed(99)
    load_checkpoint(tmp_path / "toy", other.module, other_optimizer, other_average)
    assert torch.equal(torch.rand(3), noise)  # the random state is part of it


def test_resumed_equals_uninterrupted(tmp_path: Path) -> None:
    values = [0.1, 0.3, 0.2, 0.6, 0.5, 0.4]
    gather, cut = Toy(values), Toy(values)
    expected = run(gather, average=0.3)

    def stop() -> None:
        if len(cut.seen) == 4:
            raise KeyboardInterrupt

    cut.after = stop
    with pytest.raises(KeyboardInterrupt):
        run(cut, checkpoints=tmp_path, average=0.3, checkpoint_seconds=0)
    rest = Toy(values[3:])
    found = run(rest, checkpoints=tmp_path, resume=True, average=0.3)
    assert len(rest.seen) == 3
    assert (found.best_epoch, found.best_value) == (expected.best_epoch, expected.best_value)
    assert [row["loss"] for row in found.history] == [row["loss"] for row in expected.history]
    assert equal(rest.module.state_dict(), gather.module.state_dict())
    again = Toy(values)  # a finished stage is not trained again
    assert run(again, checkpoints=tmp_path, resume=True, average=0.3) == found
    assert again.seen == []


def test_checkpoints_are_written_no_oftener_than_asked(tmp_path: Path) -> None:
    run(Toy(), checkpoints=tmp_path / "rare", epochs=3, checkpoint_seconds=1000)
    state = json.loads((tmp_path / "rare" / "toy" / "state.json").read_text())
    assert (state["epoch"], state["finished"]) == (3, True)  # the end is always kept


def test_what_is_no_checkpoint_of_this_model(tmp_path: Path) -> None:
    module = Toy().module
    optimizer, average = _optimizer(Toy(), plan()), AveragedWeights(module, 0.0)
    folder = tmp_path / "checkpoint"
    save_checkpoint(folder, module, module.state_dict(), optimizer, average, TrainingState())
    other = nn.Linear(2, 2)
    with pytest.raises(DeftRecError, match=r"cannot resume from it \(.*\); begin the training again with `overwrite"):
        load_checkpoint(folder, other, torch.optim.AdamW(other.parameters()), AveragedWeights(other, 0.0))
    whole, tensors = (folder / "state.json").read_bytes(), (folder / "state.safetensors").read_bytes()
    (folder / "state.safetensors").write_bytes(tensors[:-4] + b"\1\2\3\4")
    with pytest.raises(DeftRecError, match=r"state\.safetensors has another SHA-256"):
        load_checkpoint(folder, module, optimizer, average)
    (folder / "state.safetensors").write_bytes(tensors)
    for broken in (b"{", b"[]", b"{}", b"[" * 100_000, whole.replace(b'"epoch": 0', b'"epoch": "x"')):
        (folder / "state.json").write_bytes(broken)
        with pytest.raises(DeftRecError, match="cannot resume from it"):
            load_checkpoint(folder, module, optimizer, average)
    (folder / "state.json").unlink()
    with pytest.raises(DeftRecError, match="cannot resume from it"):
        load_checkpoint(folder, module, optimizer, average)
