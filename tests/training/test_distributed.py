"""Several processes learn what one learns: their shares of a batch are the batch, and so is what comes of them."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from accelerate.utils import DistributedType
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from deftrec.batch import Batch
from deftrec.cli import main
from deftrec.data import make_split
from deftrec.ensemble import build_member
from deftrec.errors import ConfigError
from deftrec.tokenizer import ItemFeatures
from deftrec.training import team
from deftrec.training.batches import PackedBatches, batch_share
from deftrec.training.build import resolve
from deftrec.training.distributed import Team
from toy import ring, tiny_bert, tiny_config

CLOCKED = {"seconds", "matrix share"}
"""Figures of an epoch that another process's clock would give otherwise."""

# Nothing is drawn: no noise, no masks, no diffusion time.
DETERMINED = tiny_config(
    diffusion={"pure_noise_share": 1.0},
    tokenizer={
        "noise": 0.0,
        "mask_features": 0.0,
        "trainable_features": False,
    },
    training={"epochs": 4, "batch_positions": 300, "accumulation": 2, "average": 0.5},
)


@given(count=st.integers(1, 40), size=st.integers(1, 9))
def test_every_row_is_somebodys_and_comes_back_once(count: int, size: int) -> None:
    rows = [Team(index, size).rows(count) for index in range(size)]
    assert all(len(one) for one in rows)
    assert len(np.unique(np.concatenate(rows))) == count
    assert sum(map(len, rows)) == max(count, size)


def batches(sampled: bool) -> tuple[PackedBatches, int]:
    interactions = ring()
    config = resolve(DETERMINED, interactions, make_split(interactions, "leave-one-out"))
    objective = config.objective
    if sampled:
        objective = objective.model_copy(update={"sampled_items": 6})
    sequences = make_split(interactions, "leave-one-out").training("train")
    made = PackedBatches(sequences, 24, max_history=11, batch_positions=77, objective=objective, seed=0)
    return made, interactions.n_items


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("size", [2, 3, 10])  # of rows there are seven, and fewer in the last batch
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


def test_a_launch_that_takes_weights_apart_is_told_the_option(monkeypatch: pytest.MonkeyPatch) -> None:
    sharded = SimpleNamespace(distributed_type=DistributedType.FSDP)
    monkeypatch.setattr(team, "Accelerator", lambda **options: sharded)
    with pytest.raises(ConfigError, match=r"accelerate launch asks for FSDP.*set training\.sharded to true"):
        Team(0, 2).accelerator(torch.device("cpu"))


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("sharded", "pretrained"), [(False, False), (True, False), (True, True)])
def test_two_processes_end_with_the_run_of_one(tmp_path: Path, sharded: bool, pretrained: bool) -> None:
    ring(users=201).save(tmp_path / "data")  # an odd number of validation users
    recipe = tmp_path / "recipe.yaml"
    options = json.loads(DETERMINED.model_dump_json())
    options["training"]["sharded"] = sharded
    if pretrained:
        bert = str(tiny_bert(tmp_path / "bert"))
        lora = {"tuning": "lora", "dropout": 0.0, "prompts": ["{domain}: {history}"]}
        options["language"] = {"kind": "pretrained", "model": bert, **lora}
    recipe.write_text(yaml.safe_dump(options))

    def arguments(out: str) -> list[str]:
        return ["train", "--data", str(tmp_path / "data"), "--recipe", str(recipe), "--refit", "--out", out]

    one, two = tmp_path / "one", tmp_path / "two"
    assert main(arguments(str(one))) == 0
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "deftrec"]
    done = subprocess.run([*launch, *arguments(str(two))], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("run: ") == 1, "the first process alone speaks"

    runs = [json.loads((folder / "run.json").read_text()) for folder in (one, two)]
    left, right = (run["history"]["joint"] for run in runs)
    assert len(left) == len(right)
    for row, other in zip(left, right, strict=True):
        assert {k: v for k, v in other.items() if k not in CLOCKED} == pytest.approx(
            {k: v for k, v in row.items() if k not in CLOCKED}, rel=1e-4
        )
    assert runs[0]["epochs"] == runs[1]["epochs"]
    assert runs[0]["prior"] == pytest.approx(runs[1]["prior"])
    weights, others = (load_file(folder / "model.safetensors") for folder in (one, two))
    for name, tensor in weights.items():
        torch.testing.assert_close(others[name], tensor, atol=1e-4, rtol=1e-3)
    metrics = [json.loads((folder / "metrics.json").read_text())["results"] for folder in (one, two)]
    for result, other in zip(*metrics, strict=True):
        assert other["metrics"] == pytest.approx(result["metrics"], abs=2e-3)
    stages = [json.loads(line)["stage"] for line in (two / "logs" / "metrics.jsonl").read_text().splitlines()]
    assert stages.count("joint") == len(right)
    assert not (two / "work").exists()
