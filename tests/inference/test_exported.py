"""A language model as a graph gives what the plain one gives."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from test_inference import ITEMS, SAMPLING, WINDOW, build, histories, reads

from deftrec import Recommender
from deftrec.errors import ConfigError, MissingExtraError
from deftrec.incremental import Overlay
from deftrec.inference import InferenceModel, Reading, exported
from deftrec.retrieval import generate_queries, inference_queries
from deftrec.serving.engine import InferenceEngine
from toy import ring, tiny_config, tiny_model

pytest.importorskip("openvino")


@pytest.mark.parametrize("prompts", [("what comes next : {history}",), ("{history}",)], ids=["words", "no-words"])
@pytest.mark.parametrize("family", ["bert", "llama", "qwen3"])
def test_batches(family: str, prompts: tuple[str, ...], tmp_path: Path) -> None:
    language = {**reads(tiny_model(family, tmp_path / family)), "prompts": prompts}
    model = build(language=language, tokenizer={"users": "folded", "ways": 2})
    catalogue = model.encode_catalogue()
    plain = generate_queries(model, catalogue, histories(), sampling=SAMPLING, seed=3).latents
    fast = inference_queries(
        InferenceModel(model, catalogue, runtime="openvino"), histories(), sampling=SAMPLING, seed=3
    ).latents
    torch.testing.assert_close(fast, plain, atol=1e-5, rtol=1e-4)
    assert not torch.equal(fast, plain)  # another library has multiplied


def test_a_history_is_read_on_as_before(tmp_path: Path) -> None:
    model = build(language=reads(tiny_model("bert", tmp_path)))
    catalogue = model.encode_catalogue()
    events = np.random.default_rng(1).integers(ITEMS, size=WINDOW - 2).tolist()
    latents = []
    for runtime in ("torch", "openvino"):
        reading = Reading(InferenceModel(model, catalogue, runtime=runtime), events[:3])
        for event in events[3:]:
            reading.add(event)
        latents.append(reading.latent(SAMPLING, torch.Generator().manual_seed(3)))
    assert torch.equal(*latents)


def test_a_run_is_exported_once_whatever_comes_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_config(language=reads(tiny_model("bert", tmp_path / "bert")), training={"epochs": 1})
    Recommender.fit(ring(), config, out=tmp_path / "run")
    made: list[torch.dtype] = []
    compiled = exported._compiled

    def watch(reader: exported.PretrainedReader, dtype: torch.dtype) -> object:
        made.append(dtype)
        return compiled(reader, dtype)

    monkeypatch.setattr(exported, "_compiled", watch)
    plain = Recommender.load(tmp_path / "run")
    fast = Recommender.load(tmp_path / "run", runtime="openvino")
    history = plain.interactions.catalogue["item"].to_list()[:4]
    expected = [(one.item, pytest.approx(one.score, abs=1e-3)) for one in plain.recommend(history=history)]
    assert [(one.item, one.score) for one in fast.recommend(history=history)] == expected
    renewed = fast.with_overlay(Overlay.empty(fast.fitted_on))
    assert renewed.runtime == "openvino"
    assert [(one.item, one.score) for one in renewed.recommend(history=history)] == expected
    assert made == [torch.float32]
    served = InferenceEngine.load(tmp_path / "run", runtime="openvino")
    served.warm()  # a service answers in inference mode
    assert len(made) == 2


def test_what_cannot_be_exported_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nano = build()
    with pytest.raises(ConfigError, match="runtime openvino runs pre-trained models, and this run has a nano model"):
        InferenceModel(nano, nano.encode_catalogue(), runtime="openvino")
    Recommender.fit(ring(), tiny_config(training={"epochs": 1}), out=tmp_path / "nano")
    with pytest.raises(ConfigError, match="set runtime to torch"):
        Recommender.load(tmp_path / "nano", runtime="openvino").evaluate()
    model = build(language=reads(tiny_model("bert", tmp_path / "bert")))
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "openvino", None)
        with pytest.raises(MissingExtraError, match=r"deftrec\[openvino\]"):
            InferenceModel(model, model.encode_catalogue(), runtime="openvino")
    with monkeypatch.context() as patch:
        patch.setattr(exported.ExportedReader, "answer", lambda *_: torch.randn(5, 32))
        with pytest.raises(ConfigError, match="gives other results: set runtime to torch"):
            InferenceModel(model, model.encode_catalogue(), runtime="openvino")
    exported._GRAPHS.clear()
    with monkeypatch.context() as patch:
        patch.setattr(torch.export, "export", lambda *_, **__: 1 / 0)
        with pytest.raises(ConfigError, match=r"cannot be exported \(division by zero\): set runtime to torch"):
            InferenceModel(model, model.encode_catalogue(), runtime="openvino")
