"""A training that was killed is resumed, and ends with the weights of one that was not."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from deftrec import Interactions, Recommender
from deftrec.errors import ConfigError, DeftRecError
from toy import ring, sampled_softmax, tiny_config

TESTS = Path(__file__).parents[1]

# Everything random is on, and weights change in every stage: a random state that is not restored would show.
OPTIONS: dict[str, Any] = {
    "collaborative": {"epochs": 10},
    "tokenizer": {"dropout": 0.2, "mask_features": 0.1, "noise": 0.1, "ways": 2, "drop_collaborative": 0.2},
    "language": {"kind": "nano", "width": 16, "layers": 1, "dropout": 0.2},
    "objective": sampled_softmax(6),
    "diffusion": {"width": 16, "depth": 1, "condition_dropout": 0.1, "pure_noise_share": 0.5},
    "training": {"epochs": 5, "accumulation": 2, "checkpoint_seconds": 0, "average": 0.5},
}

# The process kills itself in the middle of an epoch, by the signal that cannot be handled.
KILLED = """
import os, signal, sys
import torch
torch.set_num_threads(1)
from deftrec import Recommender
from deftrec.training import loop
from toy import ring, tiny_config
import test_resume

folder, stage, epoch = sys.argv[1], sys.argv[2], int(sys.argv[3])
train_epoch, rate = loop._train_epoch, loop._rate
now = None

def watch(one, plan, state, *rest):
    global now
    now = (one.name, state.epoch)
    return train_epoch(one, plan, state, *rest)

def fatal(plan, number, step, steps, horizon):
    if now == (stage, epoch) and step == steps // 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return rate(plan, number, step, steps, horizon)

loop._train_epoch, loop._rate = watch, fatal
Recommender.fit(ring(), tiny_config(**test_resume.OPTIONS), out=folder, refit=True)
"""


@pytest.fixture(scope="module")
def uninterrupted() -> Recommender:
    return Recommender.fit(ring(), tiny_config(**OPTIONS), refit=True)


def kill_in(stage: str, epoch: int, folder: Path) -> None:
    """Train in another process that is killed in the middle of an epoch (from 0) of a stage."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(TESTS), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]),
    }
    command = [sys.executable, "-W", "ignore", "-c", KILLED, str(folder), stage, str(epoch)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]


@pytest.mark.parametrize(("stage", "epoch"), [("collaborative", 6), ("joint", 3), ("refit-joint", 1)])
def test_a_killed_run_ends_like_one_that_was_not(
    stage: str, epoch: int, tmp_path: Path, uninterrupted: Recommender
) -> None:
    folder = tmp_path / "run"
    kill_in(stage, epoch, folder)
    record = folder / "work" / "checkpoints" / stage / "state.json"
    state = json.loads(record.read_text())
    assert (state["epoch"], state["finished"]) == (epoch, False)
    record.write_text(json.dumps({**state, "seconds": 1000.0}))
    with pytest.raises(DeftRecError, match="not finished; finish it first, with `resume=True`"):
        Recommender.load(folder)
    with pytest.raises(DeftRecError, match="not empty"):
        Recommender.fit(ring(), tiny_config(**OPTIONS), out=folder, refit=True)

    resumed = Recommender.fit(ring(), tiny_config(**OPTIONS), out=folder, refit=True, resume=True)

    expected = uninterrupted.model.state_dict()
    for name, tensor in resumed.model.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    assert resumed.info.seconds[stage] > 999, "seconds before the kill count too"
    assert resumed.info.epochs == uninterrupted.info.epochs
    assert resumed.info.terms == uninterrupted.info.terms
    assert [row["loss"] for row in resumed.info.history["joint"]] == [
        row["loss"] for row in uninterrupted.info.history["joint"]
    ]
    assert resumed.evaluate("test") == uninterrupted.evaluate("test")
    assert not (folder / "work").exists()
    assert Recommender.load(folder).evaluate("test") == uninterrupted.evaluate("test")
    with pytest.raises(DeftRecError, match="complete; there is nothing to resume"):
        Recommender.fit(ring(), tiny_config(**OPTIONS), out=folder, refit=True, resume=True)


class StoppedError(Exception):
    """Thrown to leave a run unfinished."""


def interrupted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave a run in `folder` that stopped before its joint stage."""

    def stop(*_: object) -> None:
        raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr("deftrec.training.joint.JointTraining._member", stop)
        with pytest.raises(StoppedError):
            Recommender.fit(ring(), tiny_config(**OPTIONS), out=folder)


def test_only_the_same_run_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "run"
    interrupted(folder, monkeypatch)

    def resume(data: Interactions, refit: bool = False, **changed: Any) -> Recommender:
        return Recommender.fit(data, tiny_config(**{**OPTIONS, **changed}), out=folder, refit=refit, resume=True)

    with pytest.raises(DeftRecError, match=r"begun on other data; resume it with the same data$"):
        resume(ring(seed=1))
    with pytest.raises(DeftRecError, match="begun with other options"):
        resume(ring(), collaborative={"epochs": 9})
    with pytest.raises(DeftRecError, match="begun with other options"):
        resume(ring(), refit=True)
    with pytest.raises(DeftRecError, match="nothing to resume; train without `resume=True`"):
        Recommender.fit(ring(), tiny_config(), out=tmp_path / "elsewhere", resume=True)
    with pytest.raises(ConfigError, match="needs the run directory"):
        Recommender.fit(ring(), tiny_config(), resume=True)
    assert resume(ring()).evaluate("test").users == 200


def test_a_damaged_checkpoint_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "run"
    interrupted(folder, monkeypatch)
    shutil.rmtree(folder / "work" / "stages")  # else its result is read from there
    tensors = folder / "work" / "checkpoints" / "collaborative" / "state.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-100])
    with pytest.raises(DeftRecError, match=r"checkpoints/collaborative: cannot resume from it \("):
        Recommender.fit(ring(), tiny_config(**OPTIONS), out=folder, resume=True)


def test_two_identical_runs_are_identical(uninterrupted: Recommender) -> None:
    torch.manual_seed(99)  # random draws before a run do not change it
    torch.rand(7)
    again = Recommender.fit(ring(), tiny_config(**OPTIONS), refit=True)
    expected = uninterrupted.model.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in again.model.state_dict().items())
    other = Recommender.fit(ring(), tiny_config(seed=1, **OPTIONS), refit=True)
    assert not torch.equal(other.catalogue.latents, again.catalogue.latents)
