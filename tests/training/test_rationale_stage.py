"""The stage that trains rationales alone."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from deftrec import Recommender
from deftrec.config import Config
from deftrec.data import PADDING, Sequences
from deftrec.ensemble import build_member
from deftrec.language import Preferences, PretrainedLanguageModel
from deftrec.model import DeftRec
from deftrec.progress import Silent
from deftrec.recipe import resolve
from deftrec.sizes import Sizes
from deftrec.tokenizer import ItemFeatures
from deftrec.training import rationale as module
from deftrec.training.loop import Plan, TrainingLog, train
from deftrec.training.rationale import ROWS, RationaleStage
from toy import ring, tiny_bert, tiny_config

ITEMS = 30
HISTORY = 4
NAMES = ["red", "green", "blue"]


@pytest.fixture(autouse=True)
def _short_histories(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HISTORY", HISTORY)


def sequences(users: int = 150) -> Sequences:
    """Every user has items of one category alone; some users have too few for a target."""
    rng = np.random.default_rng(0)
    return Sequences.from_lists([rng.choice(np.arange(n % 3, ITEMS, 3), n % 8) for n in range(users)])


def asked(folder: Path) -> tuple[DeftRec, RationaleStage]:
    language = {
        "kind": "pretrained",
        "model": str(tiny_bert(folder)),
        "prompts": ["next : {history}"],
        "reasoning": {"weight": 0.1, "max_tokens": 8},
    }
    options: dict[str, object] = {"language": language}
    config: Config = resolve(tiny_config(**options), Sizes(positions=1, interactions=1, users=1, items=ITEMS))
    torch.manual_seed(0)
    model = build_member(ItemFeatures.build(torch.eye(ITEMS), None), config, "items")
    assert model.strategy.writer is not None
    assert isinstance(model.language, PretrainedLanguageModel)
    categories = [[NAMES[item % 3]] for item in range(ITEMS)]
    preferences = Preferences(categories, model.language, model.strategy.writer.options)
    return model, RationaleStage(model, sequences(), preferences, seed=0, name="rationale")


def test_an_epoch_holds_every_user_once_with_the_rationale_of_a_prefix(tmp_path: Path) -> None:
    _, stage = asked(tmp_path)
    steps, batches = stage.epoch(0)
    made = list(batches)
    able = [one.tolist() for one in sequences() if len(one) > 1]
    assert steps == len(made) == -(-len(able) // ROWS)
    assert sum(len(batch.targets) for batch in made) == len(able)
    for batch in made:
        for items, target, text in zip(batch.items, batch.targets, batch.text, strict=True):
            history = items[items != PADDING].tolist()
            assert 1 <= len(history) <= HISTORY
            wanted = [*history, int(target)]
            assert any(one[n : n + len(wanted)] == wanted for one in able for n in range(len(one)))
            assert tuple(text[text != PADDING].tolist()) == stage.preferences.rationale(np.array(history), int(target))


def test_epochs_differ_and_can_be_repeated(tmp_path: Path) -> None:
    _, stage = asked(tmp_path)
    first, again, second = (torch.cat([one.targets for one in stage.epoch(number)[1]]) for number in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_rationales_are_learnt(tmp_path: Path) -> None:
    model, stage = asked(tmp_path)
    plan = Plan(epochs=40, learning_rate=3e-3, patience=40, dtype=torch.float32, stop_after=40)
    trained = train(stage, plan, checkpoints=None, resume=False, log=TrainingLog(None), progress=Silent())
    losses = [row["loss"] for row in trained.history]
    assert losses[-1] < losses[0] / 5
    model.eval()
    batch = next(stage.epoch(99)[1])
    texts = model.rationales(model.encode_catalogue(), batch.items, batch.layout)
    right = [text.startswith(NAMES[int(target) % 3]) for text, target in zip(texts, batch.targets, strict=True)]
    assert np.mean(right) > 0.9


def test_minutes_end_the_joint_stage_alone(tmp_path: Path) -> None:
    reasoning = {"weight": 0.1, "max_tokens": 8, "alone_epochs": 3}
    language = {"kind": "pretrained", "model": str(tiny_bert(tmp_path / "bert")), "prompts": ["next : {history}"]}
    config = tiny_config(language=language | {"reasoning": reasoning}, training={"minutes": 1e-6})
    Recommender.fit(ring(), config, out=tmp_path / "run")
    lines = (tmp_path / "run" / "logs" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    epochs = Counter(json.loads(line)["stage"] for line in lines)
    assert (epochs["rationale"], epochs["joint"]) == (3, 1)
