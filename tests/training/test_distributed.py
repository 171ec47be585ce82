"""Several processes learn what one learns: their shares of a batch are the batch, with its loss and its gradient."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from accelerate.utils import DistributedType
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from deftrec import Recommender
from deftrec.batch import Batch
from deftrec.cli import main
from deftrec.config import Config
from deftrec.data import make_split
from deftrec.diffusion.schedule import NoiseSchedule
from deftrec.ensemble import build_member
from deftrec.errors import ConfigError
from deftrec.tokenizer import ItemFeatures
from deftrec.training import distributed
from deftrec.training.batches import PackedBatches, batch_share
from deftrec.training.distributed import Team
from deftrec.training.fit import resolve
from toy import ring, sampled_softmax, tiny_bert, tiny_config

CLOCKED = {"seconds", "matrix share"}
"""Figures of an epoch that depend on the clock."""

RANDOM = tiny_config(
    tokenizer={"ways": 2, "dropout": 0.1, "mask_features": 0.1, "noise": 0.1, "drop_collaborative": 0.1},
    language={"kind": "nano", "width": 32, "layers": 1, "dropout": 0.1},
    training={"epochs": 6, "batch_positions": 300, "average": 0.5},
)
"""The default model and objective: masking, noise of tokens, diffusion times and noise of latents, dropout."""

DETERMINED = tiny_config(
    diffusion={"pure_noise_share": 1.0},
    tokenizer={"ways": 2, "mask_features": 0.0, "noise": 0.0},
    training={"epochs": 4, "batch_positions": 300, "accumulation": 2, "average": 0.5},
)
"""Without the noise of latents (`NOISELESS`) nothing that a process draws changes its losses."""

NOISELESS = """
import sys
import torch
from deftrec.cli import main
from deftrec.diffusion.schedule import NoiseSchedule
NoiseSchedule.corrupt = lambda self, x0, noise, t: torch.zeros_like(x0)
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def noiseless(monkeypatch: pytest.MonkeyPatch) -> None:
    """The denoiser gets zeros in place of noised latents, which is their mean at t = 1."""
    monkeypatch.setattr(NoiseSchedule, "corrupt", lambda self, x0, noise, t: torch.zeros_like(x0))


@given(count=st.integers(1, 40), size=st.integers(1, 9))
def test_every_row_belongs_to_a_process_and_is_gathered_once(count: int, size: int) -> None:
    rows = [Team(index, size).rows(count) for index in range(size)]
    assert all(len(one) for one in rows)
    assert len(np.unique(np.concatenate(rows))) == count
    assert sum(map(len, rows)) == max(count, size)


def batches(sampled: bool) -> tuple[PackedBatches, int]:
    interactions = ring()
    config = resolve(DETERMINED, interactions, make_split(interactions, "leave-one-out"))
    objective = config.objective
    if sampled:
        objective = objective.model_copy(update=sampled_softmax(6))
    sequences = make_split(interactions, "leave-one-out").training("train")
    made = PackedBatches(sequences, 24, max_history=11, batch_positions=77, objective=objective, seed=0)
    return made, interactions.n_items


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("size", [2, 3, 10])  # of rows there are seven, and fewer in the last batch
@pytest.mark.usefixtures("noiseless")
def test_the_shares_of_a_batch_have_its_gradient(size: int, sampled: bool) -> None:
    made, n_items = batches(sampled)
    config = resolve(DETERMINED, ring(), make_split(ring(), "leave-one-out"))
    model = build_member(ItemFeatures.build(torch.randn(n_items, 16), None), config, "items")

    def learnt(parts: list[tuple[Batch, float]]) -> tuple[float, list[torch.Tensor]]:
        model.zero_grad()
        loss = sum(weight * model(batch)["loss"] for batch, weight in parts) / len(parts)
        loss.backward()
        return float(loss.detach()), [p.grad.clone() for p in model.parameters() if p.grad is not None]

    steps, epoch = made.epoch(0)
    several = list(epoch)
    for batch in (several[0], several[steps - 1]):
        parts = [batch_share(batch, Team(index, size)) for index in range(size)]
        assert sum(weight for _, weight in parts) == pytest.approx(size)
        loss, gradients = learnt([(batch, 1.0)])
        shared, others = learnt(parts)
        assert shared == pytest.approx(loss, rel=1e-5)
        for gradient, other in zip(gradients, others, strict=True):
            torch.testing.assert_close(other, gradient, atol=1e-5, rtol=1e-3)


def test_a_launch_with_fsdp_is_told_the_option(monkeypatch: pytest.MonkeyPatch) -> None:
    sharded = SimpleNamespace(distributed_type=DistributedType.FSDP)
    monkeypatch.setattr(distributed, "Accelerator", lambda **options: sharded)
    with pytest.raises(ConfigError, match=r"accelerate launch asks for FSDP.*set training\.sharded to true"):
        Team(0, 2).accelerator(torch.device("cpu"))


def launched(folder: Path, config: Config, *, program: str | None = None) -> tuple[Path, list[str]]:
    """Train in two processes, with a refit; the run, and the arguments of `deftrec` that make it at `folder / "one"`.

    Args:
        folder: place of the run.
        config: options.
        program: Python code to run in each process in place of `deftrec`.
    """
    ring(users=201).save(folder / "data")  # an odd number of validation users
    recipe = folder / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(json.loads(config.model_dump_json())))
    arguments = ["train", "--data", str(folder / "data"), "--recipe", str(recipe), "--refit"]
    arguments += ["--no-baselines", "--out"]
    started = ["-m", "deftrec"]
    if program is not None:
        (folder / "program.py").write_text(program)
        started = [str(folder / "program.py")]
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", *started]
    command = [*launch, *arguments, str(folder / "two")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("run: ") == 1, "the first process alone speaks"
    return folder / "two", [*arguments, str(folder / "one")]


def record(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "run.json").read_text())
    return found


@pytest.mark.timeout(240)
@pytest.mark.usefixtures("noiseless")
@pytest.mark.parametrize(("sharded", "pretrained"), [(False, False), (True, False), (True, True)])
def test_without_noise_two_processes_end_with_the_run_of_one(tmp_path: Path, sharded: bool, pretrained: bool) -> None:
    values = json.loads(DETERMINED.model_dump_json())
    values["training"]["sharded"] = sharded
    if pretrained:
        bert = str(tiny_bert(tmp_path / "bert"))
        lora = {"tuning": "lora", "dropout": 0.0, "prompts": ["{domain}: {history}"]}
        values["language"] = {"kind": "pretrained", "model": bert, **lora}
    two, arguments = launched(tmp_path, Config.model_validate(values), program=NOISELESS)
    one = tmp_path / "one"
    assert main(arguments) == 0

    runs = [record(folder) for folder in (one, two)]
    left, right = (run["history"]["joint"] for run in runs)
    assert len(left) == len(right)
    for row, other in zip(left, right, strict=True):
        assert {k: v for k, v in other.items() if k not in CLOCKED} == pytest.approx(
            {k: v for k, v in row.items() if k not in CLOCKED}, rel=1e-4
        )
    assert runs[0]["epochs"] == runs[1]["epochs"]
    assert runs[0]["terms"].keys() == runs[1]["terms"].keys()
    for name, term in runs[0]["terms"].items():
        other = runs[1]["terms"][name]
        assert other.pop("record") == pytest.approx(term.pop("record"), abs=2e-3)
        assert other == term
    weights, others = (load_file(folder / "model.safetensors") for folder in (one, two))
    for name, tensor in weights.items():
        torch.testing.assert_close(others[name], tensor, atol=1e-4, rtol=1e-3)
    metrics = [json.loads((folder / "metrics.json").read_text())["results"] for folder in (one, two)]
    for result, other in zip(*metrics, strict=True):
        assert other["metrics"] == pytest.approx(result["metrics"], abs=2e-3)
    stages = [json.loads(line)["stage"] for line in (two / "logs" / "metrics.jsonl").read_text().splitlines()]
    assert stages.count("joint") == len(right)
    assert not (two / "work").exists()


@pytest.mark.timeout(300)
def test_with_noise_two_processes_learn_what_one_learns(tmp_path: Path) -> None:
    """Each process draws noise of its own, so a run of two is one more seed of the run of one."""
    two, _ = launched(tmp_path, RANDOM)
    data, found = ring(users=201), record(two)
    seeds = [Recommender.fit(data, RANDOM.model_copy(update={"seed": seed})).info for seed in range(3)]
    rows = found["history"]["joint"]
    assert [row["epoch"] for row in rows] == [row["epoch"] for row in seeds[0].history["joint"]]
    losses = [row["loss"] for row in rows]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0] - 0.2
    one = np.array([[row["loss"] for row in info.history["joint"]] for info in seeds])
    assert not np.array_equal(losses, one[0]), "the noise of the second process is its own"
    assert np.abs(losses - one.mean(0)).max() < 3 * np.ptp(one, 0).max() + 0.05
    values = [info.validation for info in seeds]
    assert abs(found["validation"] - np.mean(values)) < 3 * np.ptp(values) + 0.02
    # The first epoch's batches are the same, so only noise tells its losses apart.
    assert losses[0] == pytest.approx(one[0, 0], rel=0.05)
