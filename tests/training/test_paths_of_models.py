"""Paths of models are taken from the working directory, and found from any other afterwards."""

import json
from pathlib import Path

import pytest
import torch

from deftrec import Recommender
from deftrec.cli import main
from deftrec.config import ReasonerOptions
from deftrec.pretrained_files.locate import with_absolute_models
from toy import reads_text, ring, tiny_bert, tiny_config


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return tiny_bert(tmp_path_factory.mktemp("models") / "bert")


def test_a_run_is_found_by_another_directory(bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(bert.parent)
    language = {"kind": "pretrained", "model": "./bert", "prompts": ("what comes next : {history}",)}
    config = tiny_config(
        text=reads_text(Path("bert")), language=language, training={"epochs": 1}, tokenizer={"drop_collaborative": 0.5}
    )
    fitted = Recommender.fit(ring(users=20), config, out=tmp_path / "run")
    for file in ("request.json", "config.json"):
        record = json.loads((tmp_path / "run" / file).read_text())
        options = record.get("config", record)
        assert options["text"]["model"] == options["language"]["model"] == str(bert)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["base"]["model"] == str(bert)
    monkeypatch.chdir(tmp_path)
    loaded = Recommender.load("run")
    assert loaded.recommend(history=[101], k=5) == fitted.recommend(history=[101], k=5)
    (tmp_path / "new.csv").write_text("item,title\n999,what comes\n")
    assert main(["items", "add", "run", "--items", "new.csv"]) == 0


def test_only_what_is_there_is_a_path(bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(bert.parent)
    (bert.parent / "minilm").mkdir()
    (bert.parent / "a.gguf").write_bytes(b"GGUF")
    for model, expected in {
        "bert": str(bert),
        "../" + bert.parent.name + "/bert": str(bert),
        "minilm": "minilm",  # a packaged model comes before a folder
        "owner/name": "owner/name",
        "a.gguf": str(bert.parent / "a.gguf"),
        "owner/name/a.gguf": "owner/name/a.gguf",
        str(bert): str(bert),
    }.items():
        config = tiny_config(reasoner=ReasonerOptions(model=model).model_dump())
        resolved = with_absolute_models(config)
        assert resolved.reasoner is not None
        assert Path(resolved.reasoner.model) == Path(expected), model
        assert resolved.model_copy(update={"reasoner": config.reasoner}) == config
