"""A run knows which pre-trained weights it was trained on, keeps only what it added, and refuses others."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from deftrec import Config, Recommender
from deftrec.errors import ConfigError, DeftRecError
from deftrec.language import Layout
from deftrec.training import loop
from hub import COMMIT, Hub
from sealing import reseal
from toy import ring, tiny_config, tiny_model

PROMPT = "next : {history}"


def config(model: str | Path, tuning: str = "lora", epochs: int = 1) -> Config:
    language = {"kind": "pretrained", "model": str(model), "tuning": tuning, "prompts": (PROMPT,)}
    return tiny_config(
        data={"max_history": 20}, language=language, training={"epochs": epochs, "checkpoint_seconds": 0.0}
    )


def fit(folder: Path, model: str | Path, tuning: str = "lora") -> Recommender:
    return Recommender.fit(ring(), config(model, tuning), out=folder)


def change_weights(folder: Path) -> None:
    """Other weights of the same shapes, as a careless update would leave them."""
    file = folder / "model.safetensors"
    save_file({name: tensor + 0.01 for name, tensor in load_file(file).items()}, file, metadata={"format": "pt"})


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return tiny_model("llama", tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, llama: Path) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    fit(folder, llama)
    return folder


@pytest.fixture
def moved(run: Path, llama: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A copy of the run, and of its base model in the place that the copy reads it from."""
    shutil.copytree(run, tmp_path / "run")
    shutil.copytree(llama, tmp_path / "llama")
    changed = json.loads((run / "config.json").read_text())
    changed["language"]["model"] = str(tmp_path / "llama")
    (tmp_path / "run" / "config.json").write_text(json.dumps(changed))
    return tmp_path / "run", tmp_path / "llama"


@pytest.mark.parametrize("tuning", ["frozen", "full", "lora"])
@pytest.mark.parametrize("kind", ["llama", "qwen3", "t5", "bert"])
def test_a_loaded_run_says_the_same(kind: str, tuning: str, tmp_path: Path) -> None:
    model = tiny_model(kind, tmp_path / "model", dtype=torch.bfloat16 if kind == "qwen3" else torch.float32)
    before = fit(tmp_path / "run", model, tuning)
    after = Recommender.load(tmp_path / "run")
    items = torch.arange(12)[None]
    layout = Layout(torch.zeros_like(items), items)
    with torch.no_grad():
        conditions = [
            one.model.condition(one.catalogue.ways, one.catalogue.features, items, layout) for one in (before, after)
        ]
    assert torch.equal(*conditions)
    assert not torch.isclose(conditions[0][0, 0], conditions[0][0, 1], atol=1e-4).all()
    history = before.interactions.history(before.interactions.users[0])
    assert after.recommend(history=history, k=24) == before.recommend(history=history, k=24)
    saved = load_file(tmp_path / "run" / "model.safetensors")
    assert not [name for name in saved if "embed_tokens" in name or "word_embeddings" in name]
    language = [name for name in saved if name.startswith("language.")]
    assert len(language) == 1 if tuning == "frozen" else len(language) > 1
    if tuning == "lora":
        assert all("lora_" in name or name == "language.scale" for name in language)


def test_a_run_records_its_base(run: Path, llama: Path) -> None:
    base = json.loads((run / "run.json").read_text())["base"]
    assert (base["model"], base["revision"]) == (str(llama), None)
    assert list(base["sha256"]) == ["model.safetensors"]
    assert len(base["sha256"]["model.safetensors"]) == 64


def test_other_weights_are_refused(moved: tuple[Path, Path]) -> None:
    run, model = moved
    assert Recommender.load(run).evaluate("test").users == 200  # the same weights in another place are the same
    expected = json.loads((run / "run.json").read_text())["base"]["sha256"]["model.safetensors"]
    change_weights(model)
    with pytest.raises(DeftRecError, match=r"its base model has changed: model\.safetensors was SHA-256") as caught:
        Recommender.load(run)
    message = str(caught.value)
    assert expected in message
    assert str(model) in message
    assert "put the files of" in message
    (model / "model.safetensors").rename(model / "model-00001-of-00001.safetensors")
    with pytest.raises(DeftRecError, match=r"model-00001-of-00001\.safetensors was absent from"):
        Recommender.load(run)


def test_a_base_that_is_gone_is_said_to_be_gone(moved: tuple[Path, Path]) -> None:
    run, model = moved
    (model / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"no \*\.safetensors"):
        Recommender.load(run)
    shutil.rmtree(model)
    with pytest.raises(ConfigError, match="neither a local folder nor a hub id"):
        Recommender.load(run)


def test_a_run_from_before_the_record_still_loads(moved: tuple[Path, Path]) -> None:
    run, _ = moved
    info = json.loads((run / "run.json").read_text())
    del info["base"]
    (run / "run.json").write_text(json.dumps(info))
    options = json.loads((run / "config.json").read_text())
    for name in ("dtype", "gradient_checkpointing"):
        del options["language"][name]
    (run / "config.json").write_text(json.dumps(options))
    reseal(run)
    assert Recommender.load(run).info.base is None


def test_the_newest_revision_is_read_once_and_recorded(hub: Hub, llama: Path, tmp_path: Path) -> None:
    hub.serve(llama)
    before = fit(tmp_path / "run", "group/model")
    assert before.info.base is not None
    assert before.info.base.revision == COMMIT
    assert before.config.language.revision == COMMIT  # type: ignore[union-attr]
    assert json.loads((tmp_path / "run" / "request.json").read_text())["config"]["language"]["revision"] is None
    other = tiny_model("llama", tmp_path / "other")
    change_weights(other)
    hub.serve(other)
    hub.commit = COMMIT[::-1]  # the hub has moved on, and the run has not
    assert Recommender.load(tmp_path / "run").evaluate("test") == before.evaluate("test")
    after = fit(tmp_path / "again", "group/model")
    assert after.info.base is not None
    assert after.info.base.revision == COMMIT[::-1]
    assert after.info.base.sha256 != before.info.base.sha256


class StoppedError(Exception):
    """Thrown to leave a run unfinished."""


def test_a_resumed_run_goes_on_with_what_it_began_with(
    moved: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, model = moved
    train_epoch = loop._train_epoch

    def stop(stage: loop.Stage, plan: loop.Plan, state: loop.TrainingState, *rest: Any) -> dict[str, float]:
        if (stage.name, state.epoch) == ("joint", 1):
            raise StoppedError
        return train_epoch(stage, plan, state, *rest)

    options = config(model, epochs=2)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "_train_epoch", stop)
        with pytest.raises(StoppedError):
            Recommender.fit(ring(), options, out=tmp_path / "begun")
    kept = load_file(tmp_path / "begun" / "work" / "checkpoints" / "joint" / "state.safetensors")
    assert [name for name in kept if "lora_" in name]
    assert not [name for name in kept if "embed_tokens" in name or "base_layer" in name]
    weights = (model / "model.safetensors").read_bytes()
    change_weights(model)
    with pytest.raises(DeftRecError, match=r"begun.*: its base model has changed"):
        Recommender.fit(ring(), options, out=tmp_path / "begun", resume=True)
    (model / "model.safetensors").write_bytes(weights)
    resumed = Recommender.fit(ring(), options, out=tmp_path / "begun", resume=True)
    expected = Recommender.fit(ring(), options)
    weights_after = resumed.model.state_dict()
    assert all(torch.equal(tensor, weights_after[name]) for name, tensor in expected.model.state_dict().items())
