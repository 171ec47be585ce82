"""Checkpoints from which an interrupted stage continues exactly: safetensors and JSON, never pickle."""

import json
from dataclasses import asdict, field
from pathlib import Path

import torch
from pydantic.dataclasses import dataclass
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from deftrec.data.download import sha256_of
from deftrec.errors import DeftRecError, first_line
from deftrec.files import atomic_directory
from deftrec.language.stored import load_stored_state, stored_state
from deftrec.tensors import save_tensors
from deftrec.training.average import AveragedWeights
from deftrec.training.distributed import ALONE, Team
from deftrec.training.sharding import gather, shard

TENSORS, STATE = "state.safetensors", "state.json"


@dataclass
class TrainingState:
    """Progress of a stage; a `ValueError` for a value of another type.

    Attributes:
        epoch: number of complete epochs.
        best_epoch: epoch with the best validation, whose weights are kept, or the last one of a refit; 0 before.
        best_value: validation NDCG@10 of that epoch; minus infinity without validation.
        history: losses, validation metrics and seconds, one row per epoch.
        finished: whether training is complete.
        seconds: seconds of training and validation so far, over all resumptions.
        horizon: horizon of the learning rate in the last epoch, in epochs; 0 before the first.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_value: float = float("-inf")
    history: list[dict[str, float]] = field(default_factory=list)
    finished: bool = False
    seconds: float = 0.0
    horizon: float = 0.0


def save_checkpoint(
    folder: Path,
    module: nn.Module,
    best: dict[str, Tensor],
    optimizer: torch.optim.Optimizer,
    average: AveragedWeights,
    state: TrainingState,
    team: Team = ALONE,
) -> None:
    """Write weights, best and averaged weights, optimiser, random state and `state` to `folder`, replaced as a whole.

    All processes of a team call this, to gather sharded weights; the main one writes.
    """
    shared = {f"module.{name}": tensor for name, tensor in stored_state(module).items()}
    shared |= {f"best.{name}": tensor for name, tensor in best.items()}
    shared |= {f"average.{name}": tensor for name, tensor in average.values.items()}
    for number, values in optimizer.state_dict()["state"].items():
        shared |= {f"optimizer.{number}.{key}": torch.as_tensor(value) for key, value in values.items()}
    tensors = {}
    for name, tensor in shared.items():  # one after the other: gathering all at once would not fit into memory
        complete = gather(tensor.detach())
        if team.is_main:
            tensors[name] = complete.cpu()
    if not team.is_main:
        return
    tensors["steps"] = torch.tensor(average.steps)
    tensors["random.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    with atomic_directory(folder) as temporary:
        save_tensors(temporary / TENSORS, tensors)
        content = {**asdict(state), "sha256": sha256_of(temporary / TENSORS)}
        (temporary / STATE).write_text(json.dumps(content), encoding="utf-8")


def load_checkpoint(
    folder: Path, module: nn.Module, optimizer: torch.optim.Optimizer, average: AveragedWeights
) -> tuple[TrainingState, dict[str, Tensor]]:
    """Restore `module`, `optimizer`, `average` and the random state; returns the progress and the best weights.

    Raises a `DeftRecError` if the files are damaged or belong to another model.
    """
    try:
        content = json.loads((folder / STATE).read_text(encoding="utf-8"))
        if content.pop("sha256") != sha256_of(folder / TENSORS):
            raise ValueError(f"{TENSORS} has another SHA-256")
        state, tensors = TrainingState(**content), load_file(folder / TENSORS)
        now = module.state_dict()
        load_stored_state(module, _as(_under(tensors, "module."), now))
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        optimizer_state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _under(tensors, "optimizer.").items():
            number, key = name.split(".")
            value = tensor if key == "step" else shard(tensor, parameters[int(number)])
            optimizer_state.setdefault(int(number), {})[key] = value
        optimizer.load_state_dict({"state": optimizer_state, "param_groups": optimizer.state_dict()["param_groups"]})
        average.restore(_under(tensors, "average."), int(tensors["steps"]))
        torch.set_rng_state(tensors["random.cpu"])
        if torch.cuda.is_available() and "random.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["random.cuda"])
        return state, _as(_under(tensors, "best."), now)
    except (OSError, LookupError, ValueError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        raise DeftRecError(
            f"{folder}: cannot resume from it ({first_line(error)}); begin the training again with `overwrite=True`"
        ) from error


def _as(tensors: dict[str, Tensor], like: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors sharded as those of the same name are; a tensor with an unknown name stays, and loading reports it."""
    return {name: shard(tensor, like[name]) if name in like else tensor for name, tensor in tensors.items()}


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
