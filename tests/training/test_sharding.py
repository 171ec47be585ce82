"""Sharded weights learn what unsharded ones learn, and are whole again afterwards."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from deftrec.errors import ConfigError
from deftrec.language import PretrainedLanguageModel
from deftrec.recipe import load_recipe
from deftrec.training.sharding import blocks, refilled, without_weights
from toy import tiny_bert

# Trains one problem in three ways in each of two processes, and writes the weights of each.
PROCESS = """
import sys
from pathlib import Path
import torch
from safetensors.torch import save_file
from torch import nn
torch.set_num_threads(1)
from deftrec.progress import Silent
from deftrec.training.loop import TrainingLog
from deftrec.training.loop import Plan, Stage, train
from deftrec.training.sharding import refilled, without_weights
from deftrec.training.distributed import ALONE, Team
from torch.distributed.tensor import DTensor

folder = Path(sys.argv[1])
X = torch.randn(32, 7, generator=torch.Generator().manual_seed(1))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(5, 5)

    def forward(self, x):
        return x + self.linear(x).tanh()


class Pile(nn.Module):
    _no_split_modules = ["Block"]

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(Block() for _ in range(2))

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.pile, self.last = nn.Linear(7, 5), Pile(), nn.Linear(5, 1)
        self.scale = nn.Parameter(torch.tensor(0.5))
        self.frozen = nn.Parameter(torch.ones(3), requires_grad=False)
        self.unused = nn.Linear(2, 2)
        self.register_buffer("steps", torch.zeros(2))

    def predict(self, rows):
        return self.scale * self.last(self.pile(self.first(X[rows])))

    def forward(self, rows):
        self.steps += 1
        return {"loss": (self.predict(rows) - X[rows, :1]).square().mean()}


class Problem(Stage):
    name = "problem"

    def __init__(self, dies_in=None):
        torch.manual_seed(0)
        self.module, self.dies_in = Model(), dies_in

    def epoch(self, number):
        if number == self.dies_in:
            raise KeyboardInterrupt
        order = torch.randperm(32, generator=torch.Generator().manual_seed(number))
        return 4, iter(order.split(8))

    def share(self, batch, team):
        return batch[torch.from_numpy(team.rows(len(batch)))], 1.0

    @torch.no_grad()
    def validate(self):
        for _ in range(1 + Team.on(torch.device("cpu")).index):  # a process that runs more batches must not wait
            error = (self.module.predict(torch.arange(32)) - X[:, :1]).square().mean()
        return {"ndcg@10": -float(error)}


def trained(plan, team, resume=False, checkpoints=None, dies_in=None):
    stage = Problem(dies_in)
    before = stage.module
    empty = without_weights(before)
    result = train(
        stage, plan, checkpoints=checkpoints, resume=resume, log=TrainingLog(None), progress=Silent(), team=team
    )
    held = sum((p.to_local() if isinstance(p, DTensor) else p).numel() for p in before.parameters())
    return refilled(empty, before), result, held


def plan(sharded):
    return Plan(
        epochs=6, learning_rate=0.02, patience=6, dtype=torch.float32, average=0.5, accumulation=2, clip=0.5,
        weight_decay=0.1, warmup_steps=3, final_rate=0.1, checkpoint_seconds=0.0, sharded=sharded,
    )


team = Team.on(torch.device("cpu"))
alone, one, all_held = trained(plan(False), ALONE)
sharded, two, held = trained(plan(True), team)
work = folder / "work"
try:
    trained(plan(True), team, checkpoints=work, dies_in=3)
except KeyboardInterrupt:
    pass
else:
    raise AssertionError("nothing died")
team.main_value(0)  # the first process has written its checkpoint
resumed, three, _ = trained(plan(True), team, resume=True, checkpoints=work)
for name, (model, result) in {"alone": (alone, one), "sharded": (sharded, two), "resumed": (resumed, three)}.items():
    tensors = {key: value.contiguous() for key, value in model.state_dict().items()}
    tensors |= {"values": torch.tensor([row["validation ndcg@10"] for row in result.history])}
    tensors |= {"held": torch.tensor([all_held, held])}
    save_file(tensors, folder / f"{name}-{team.index}.safetensors")
team.shutdown()
"""


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, torch.Tensor]]:
    """The weights of each way to train, in each of two processes."""
    folder = tmp_path_factory.mktemp("sharded")
    script = folder / "process.py"
    script.write_text(PROCESS)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", str(script), str(folder)]
    done = subprocess.run(launch, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return {file.stem: load_file(file) for file in folder.glob("*.safetensors")}


def test_sharded_weights_learn_what_unsharded_ones_learn(left: dict[str, dict[str, torch.Tensor]]) -> None:
    moved = 0
    for name, tensor in left["alone-0"].items():
        if name not in {"steps", "held"}:
            torch.testing.assert_close(left["sharded-0"][name], tensor, atol=1e-6, rtol=1e-5)
            moved += name.endswith("weight")
    assert moved == 5
    assert left["sharded-0"]["values"][-1] > 2 * left["sharded-0"]["values"][0], "an error that fell"


def test_all_processes_end_with_the_same(left: dict[str, dict[str, torch.Tensor]]) -> None:
    for way in ("sharded", "resumed"):
        for name, tensor in left[f"{way}-0"].items():
            if name != "held":
                assert torch.equal(left[f"{way}-1"][name], tensor), name


def test_a_sharded_training_is_resumed(left: dict[str, dict[str, torch.Tensor]]) -> None:
    for name, tensor in left["sharded-0"].items():
        if name != "steps":
            assert torch.equal(left["resumed-0"][name], tensor), name


def test_a_process_holds_its_shard_alone(left: dict[str, dict[str, torch.Tensor]]) -> None:
    whole, first = left["sharded-0"]["held"].tolist()
    _, second = left["sharded-1"]["held"].tolist()
    assert first + second == whole
    assert max(first, second) < 0.7 * whole


def test_blocks_of_a_pretrained_model_are_gathered_one_by_one(tmp_path: Path) -> None:
    options = load_recipe("minilm", [f"language.model={tiny_bert(tmp_path / 'bert')}"]).language
    assert options.kind == "pretrained"
    language = PretrainedLanguageModel(tmp_path / "bert", options, "items", max_history=8, ways=1, titles=["a"])
    found = blocks(language)
    assert found
    assert {type(block).__name__ for block in found} == {"BertLayer"}


def test_a_copy_without_weights_keeps_everything_else() -> None:
    module = nn.ModuleDict({"linear": nn.Linear(3, 2), "norm": nn.BatchNorm1d(2)})
    module["tied"] = module["linear"]
    empty = without_weights(module)
    assert empty["linear"].weight.shape == (2, 3)
    assert empty["linear"].weight.untyped_storage().nbytes() <= 4
    with torch.no_grad():
        module["linear"].weight.fill_(7.0)
        module["norm"].running_mean.fill_(3.0)
    again = refilled(empty, module)
    for name, tensor in module.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    assert again["tied"].weight is again["linear"].weight


@pytest.mark.parametrize(
    ("other", "mend"),
    [
        ("language={kind: pretrained, tuning: nf4}", "language.tuning to lora"),
        (
            "language={kind: pretrained, condition: reasoning, reasoning: {weight: 0.1}}",
            "language.reasoning.source to gold or history",
        ),
    ],
)
def test_options_that_cannot_be_sharded_are_refused(other: str, mend: str) -> None:
    load_recipe("default", [other])
    with pytest.raises(ConfigError, match=rf"training\.sharded .*: set {mend}"):
        load_recipe("default", ["training.sharded=true", other])
