"""The training loop of every stage, and its log: JSON lines, and TensorBoard events where TensorBoard is installed."""

import importlib.util
import json
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from deftrec.errors import DeftRecError
from deftrec.files import recover, writable
from deftrec.flops import Throughput
from deftrec.language.stored import load_stored_state, stored_state
from deftrec.progress import Progress
from deftrec.training.average import AveragedWeights
from deftrec.training.checkpoint import TrainingState, load_checkpoint, save_checkpoint
from deftrec.training.distributed import ALONE, Team
from deftrec.training.sharding import shard_module, unsharded


class TrainingLog:
    """Appends a JSON object a line to `folder/metrics.jsonl`, and scalars to TensorBoard files; None: logs nothing."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._board: Any = None
        if folder is not None:
            with writable(folder):
                folder.mkdir(parents=True, exist_ok=True)
            if importlib.util.find_spec("tensorboard") is not None:
                from torch.utils.tensorboard import SummaryWriter

                self._board = SummaryWriter(str(folder / "tensorboard"))

    def write(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Write the figures of a stage at `step` (an epoch)."""
        if self.folder is None:
            return
        row = {"time": round(time.time(), 3), "stage": stage, "epoch": step, **values}
        path = self.folder / "metrics.jsonl"
        with writable(path), path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(f"{stage}/{name}", value, step)
            self._board.flush()

    def close(self) -> None:
        """Close the log."""
        if self._board is not None:
            self._board.close()


class Stage(ABC):
    """A module to train, its batches and its validation.

    Attributes:
        name: name in logs and checkpoints.
        module: maps a batch to `loss` and its parts.
        dense: whether it mostly multiplies dense matrices, so that its share of the machine's matrix rate is reported.
    """

    name: str
    module: nn.Module
    dense: bool = True

    @abstractmethod
    def epoch(self, number: int) -> tuple[int, Iterator[Any]]:
        """Number of batches of epoch `number` (from 0), and the batches, on the device of the module."""

    @abstractmethod
    def validate(self) -> dict[str, float]:
        """Metrics on the validation targets; `ndcg@10` decides which epoch is kept."""

    def share(self, batch: Any, team: Team) -> tuple[Any, float]:
        """This process's part of a batch, and the weight of its loss, 1 on average over the team.

        The mean of all processes' weighted losses is the loss of the batch.
        """
        raise NotImplementedError(f"{self.name} is trained by one process alone")

    def slow_parameters(self) -> set[nn.Parameter]:
        """Parameters with a learning rate of their own: those of a pre-trained model."""
        return set()


@dataclass(frozen=True)
class Plan:
    """Training plan of a stage.

    Attributes:
        epochs: largest number of epochs.
        stop_after: number of epochs of a refit, without validation; None: validate.
        learning_rate: peak learning rate of AdamW.
        slow_factor: factor on the learning rate of `Stage.slow_parameters`.
        warmup_steps: batches of linear warm-up, at most half of all; then a cosine falls to `final_rate` of the peak at
            the horizon.
        horizon: length of the cosine in epochs; None: `epochs`, or as many as `seconds` allow at the measured pace.
        weight_decay: weight decay of matrices; vectors (biases, norms) have none.
        clip: largest norm of the gradient.
        average: decay of the averaged weights, which are validated and kept; 0: the weights themselves.
        patience, validate_every: validations without a better value before training stops, and epochs between two.
        accumulation: batches per step.
        dtype: type of matrix products, by autocast.
        checkpoint_seconds: least number of seconds between two checkpoints.
        seconds: time limit of training and validation, over all resumptions; training stops after that epoch.
        sharded: whether each process keeps a share of the weights; `train` leaves them sharded.
    """

    epochs: int
    learning_rate: float
    patience: int
    dtype: torch.dtype
    stop_after: int | None = None
    slow_factor: float = 1.0
    warmup_steps: int = 0
    final_rate: float = 1.0
    weight_decay: float = 0.0
    clip: float = math.inf
    average: float = 0.0
    validate_every: int = 1
    accumulation: int = 1
    checkpoint_seconds: float = 20.0
    seconds: float = math.inf
    horizon: float | None = None
    sharded: bool = False


def train(
    stage: Stage,
    plan: Plan,
    *,
    checkpoints: Path | None,
    resume: bool,
    log: TrainingLog,
    progress: Progress,
    team: Team = ALONE,
) -> TrainingState:
    """Train `stage` by `plan`, leave the best weights in its module, and return the final state.

    With `resume`, training continues after the last complete epoch of a checkpoint in `checkpoints`, and ends with the
    same weights as an uninterrupted one. The processes of a `team` share each batch and end with the same weights.
    Raises a `DeftRecError` if the loss is no longer a number.
    """
    accelerator = team.accelerator(next(stage.module.parameters()).device)
    sharded = plan.sharded and team.size > 1
    if sharded:
        shard_module(stage.module, team.size)
    optimizer = _optimizer(stage, plan)
    folder = None if checkpoints is None else checkpoints / stage.name
    state, best = TrainingState(), _copied(stage.module)
    average = AveragedWeights(stage.module, plan.average)
    if resume and folder is not None and recover(folder).is_dir():
        state, best = load_checkpoint(folder, stage.module, optimizer, average)
    module: nn.Module = stage.module
    if team.size > 1 and not sharded:
        module, optimizer = accelerator.prepare(module, optimizer)
    seed = torch.initial_seed()
    last = plan.epochs if plan.stop_after is None else plan.stop_after
    progress.begin(stage.name, last)
    progress.advance(stage.name, state.epoch)
    saved = time.monotonic()
    throughput = Throughput(stage.module, plan.dtype)
    while not state.finished:
        started = time.monotonic()
        state.horizon = _horizon(plan, state)
        if not team.is_main:  # noise of its own; the main process draws as a single process does
            torch.manual_seed(seed + state.epoch * team.size + team.index)
        row = _train_epoch(stage, plan, state, module, optimizer, average, accelerator, throughput, progress, team)
        row["seconds"] = team.main_value(time.monotonic() - started)
        state.epoch += 1
        state.finished = state.epoch >= last or state.seconds + row["seconds"] >= plan.seconds
        with average.applied():
            if plan.stop_after is not None:
                better = state.finished
            elif state.epoch % plan.validate_every == 0 or state.finished:
                with unsharded(stage.module):
                    metrics = stage.validate()
                row |= {f"validation {name}": value for name, value in metrics.items()}
                better = metrics["ndcg@10"] > state.best_value
                state.best_value = max(metrics["ndcg@10"], state.best_value)
            else:
                better = False
            if better:
                state.best_epoch = state.epoch
                best = _copied(stage.module)
        if plan.stop_after is None and state.epoch - state.best_epoch >= plan.patience * plan.validate_every:
            state.finished = True
        state.seconds += team.main_value(time.monotonic() - started)
        state.history.append({"epoch": float(state.epoch), **row})
        log.write(stage.name, state.epoch, row)
        progress.advance(stage.name, 1, row)
        overdue = time.monotonic() - saved > plan.checkpoint_seconds
        if folder is not None and (state.finished or team.main_value(overdue)):
            save_checkpoint(folder, stage.module, best, optimizer, average, state, team)
            saved = time.monotonic()
    progress.end(stage.name)
    load_stored_state(stage.module, best)
    return state


def _copied(module: nn.Module) -> dict[str, Tensor]:
    """A copy of the current weights, without those that stay in a pre-trained model's files."""
    return {name: tensor.detach().clone() for name, tensor in stored_state(module).items()}


def _train_epoch(
    stage: Stage,
    plan: Plan,
    state: TrainingState,
    module: nn.Module,
    optimizer: Any,
    average: AveragedWeights,
    accelerator: Accelerator,
    throughput: Throughput,
    progress: Progress,
    team: Team,
) -> dict[str, float]:
    """Mean losses of one pass over the data."""
    module.train()
    steps, batches = stage.epoch(state.epoch)
    sums: dict[str, Tensor] = {}
    device_type = accelerator.device.type
    started = time.perf_counter()
    for number, shared in enumerate(batches):
        batch, weight = stage.share(shared, team) if team.size > 1 else (shared, 1.0)
        if stage.dense:
            throughput.count(batch)
        rate = _rate(plan, state.epoch, number, steps, state.horizon)
        for group in optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        last = (number + 1) % plan.accumulation == 0 or number + 1 == steps
        group = min(plan.accumulation, steps - number // plan.accumulation * plan.accumulation)
        with nullcontext() if last else accelerator.no_sync(module):
            with torch.autocast(device_type, plan.dtype, enabled=plan.dtype != torch.float32):
                losses = module(batch)
            accelerator.backward(weight * losses["loss"] / group)
        if last:
            accelerator.clip_grad_norm_(module.parameters(), plan.clip)
            optimizer.step()
            optimizer.zero_grad()
            average.update()
        for name, value in losses.items():
            sums[name] = sums.get(name, torch.zeros((), device=value.device)) + weight * value.detach()
        progress.batch(stage.name, (number + 1) / steps)
    means = {name: float(team.mean(value)) / max(1, steps) for name, value in sums.items()}
    if (share := throughput.share(steps, time.perf_counter() - started)) is not None:
        means["matrix share"] = share
    if not math.isfinite(means.get("loss", 0.0)):
        raise DeftRecError(
            f"{stage.name}: the loss of epoch {state.epoch + 1} is not a number; lower the learning rate "
            f"({plan.learning_rate:g})"
        )
    return means


def _horizon(plan: Plan, state: TrainingState) -> float:
    """Epochs after which the learning rate has reached its end."""
    if plan.horizon is not None:
        return plan.horizon
    if not state.seconds or math.isinf(plan.seconds):
        return plan.epochs
    return min(plan.epochs, max(state.epoch + 1, state.epoch * plan.seconds / state.seconds))


def _rate(plan: Plan, epoch: int, step: int, steps: int, horizon: float) -> float:
    """Learning rate of a step, from its number and the horizon alone, so that resuming restores nothing."""
    done = epoch * steps + step
    warmup = min(plan.warmup_steps, int(horizon * steps) // 2)
    if done < warmup:
        return plan.learning_rate * (done + 1) / warmup
    share = min(1.0, (epoch + step / steps) / horizon)
    return plan.learning_rate * (plan.final_rate + (1 - plan.final_rate) * (1 + math.cos(math.pi * share)) / 2)


def _optimizer(stage: Stage, plan: Plan) -> torch.optim.Optimizer:
    slow = stage.slow_parameters()
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for parameter in stage.module.parameters():
        if parameter.requires_grad:
            groups.setdefault((parameter in slow, parameter.ndim > 1), []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "factor": plan.slow_factor if is_slow else 1.0,
                "weight_decay": plan.weight_decay if is_matrix else 0.0,
            }
            for (is_slow, is_matrix), parameters in groups.items()
        ],
        lr=plan.learning_rate,
        betas=(0.9, 0.98),
        fused=True,
    )
