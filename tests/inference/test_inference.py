"""Every fast path gives what the plain one gives."""

from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch

from deftrec import Recommender
from deftrec.data import Sequences
from deftrec.diffusion import Sampling
from deftrec.ensemble import Ensemble, Model, build_model
from deftrec.errors import ConfigError, DataError
from deftrec.inference import InferenceModel, Reading
from deftrec.model import DeftRec
from deftrec.recipe import resolve
from deftrec.retrieval import generate_queries, inference_queries, queries
from deftrec.session import Session
from deftrec.sizes import Sizes
from deftrec.tokenizer import ItemFeatures
from toy import ring, tiny_config, tiny_model

ITEMS, WINDOW = 30, 12
SAMPLING = Sampling("ddim", 2, 3, 0.0)
NANO = {
    "one-block": {},
    "three-blocks": {"language": {"kind": "nano", "width": 32, "layers": 3, "dropout": 0.2}},
    "ways": {"tokenizer": {"ways": 3}},
    "folded": {"tokenizer": {"users": "folded"}},
    "folded-ways": {"tokenizer": {"users": "folded", "ways": 2}},
    "eps": {"diffusion": {"prediction": "eps"}},
}
FAMILIES = ["bert", "roberta", "llama", "qwen3", "gemma3_text"]


def build(seed: int = 0, **options: Any) -> DeftRec:
    config = resolve(
        tiny_config(**{"data": {"max_history": WINDOW}, **options}),
        Sizes(positions=1, interactions=1, users=1, items=ITEMS),
    )
    torch.manual_seed(seed)
    features = ItemFeatures.build(torch.randn(ITEMS, 8), torch.randn(ITEMS, 5))
    model = build_model(features, config, "items")
    for parameter in [*model.diffusion.parameters(), *model.language.parameters()]:  # nothing is zero after training
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def reads(folder: Path, **options: Any) -> dict[str, Any]:
    return {"kind": "pretrained", "model": str(folder), "prompts": ("what comes next : {history}",), **options}


def histories(longest: int = 20) -> Sequences:
    rng = np.random.default_rng(0)
    return Sequences.from_lists([rng.integers(ITEMS, size=1 + user % longest) for user in range(40)])


def both(model: Model, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    """What the fast path gives, and the plain one."""
    catalogue = model.encode_catalogue()
    plain = generate_queries(model, catalogue, histories(), sampling=SAMPLING, seed=3).latents
    return inference_queries(
        InferenceModel(model, catalogue, dtype), histories(), sampling=SAMPLING, seed=3
    ).latents, plain


@pytest.mark.parametrize("places", [10, 100])
@pytest.mark.parametrize("options", NANO.values(), ids=NANO)
def test_batches_of_nano(options: dict[str, Any], places: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "CPU_PLACES", places)
    model = build(**options)
    assert InferenceModel.suits(model)
    torch.testing.assert_close(*both(model), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("family", FAMILIES)
def test_batches_of_pretrained_models(family: str, attention: str, tmp_path: Path) -> None:
    language = reads(tiny_model(family, tmp_path / family))
    with patch("deftrec.language.backbone.attention_of", return_value=attention):
        model = build(language=language, tokenizer={"users": "folded", "ways": 2})
    assert InferenceModel.suits(model)
    torch.testing.assert_close(*both(model), atol=1e-5, rtol=1e-4)


def test_members_keep_their_order() -> None:
    torch.testing.assert_close(*both(Ensemble([build(seed=0), build(seed=1)])), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", ["nano", "bert", "llama"])
def test_half_the_width_is_close_and_leaves_the_model_alone(family: str, tmp_path: Path) -> None:
    language = {} if family == "nano" else {"language": reads(tiny_model(family, tmp_path / family))}
    model = build(**language, tokenizer={"users": "folded"})
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    fast, plain = both(model, torch.bfloat16)
    assert fast.dtype == torch.float32
    assert not torch.equal(fast, plain)
    assert torch.nn.functional.cosine_similarity(fast, plain).min() > 0.98
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) and before[name].dtype == after[name].dtype for name in before)


@pytest.mark.parametrize("kind", ["nano", "folded-ways", "bert", "llama", "ensemble"])
def test_a_history_that_grows_past_the_window(kind: str, tmp_path: Path) -> None:
    model: Model
    if kind == "ensemble":
        model = Ensemble([build(seed=0), build(seed=1, tokenizer={"users": "folded"})])
    elif kind in {"bert", "llama"}:
        model = build(language=reads(tiny_model(kind, tmp_path)), tokenizer={"users": "folded"})
    else:
        model = build(**NANO.get(kind, {}))
    catalogue = model.encode_catalogue()
    events = np.random.default_rng(1).integers(ITEMS, size=WINDOW + 4).tolist()
    reading = Reading(InferenceModel(model, catalogue), events[:3])
    for taken in range(3, len(events) + 1):
        if taken > 3:
            reading.add(events[taken - 1])
        generator = torch.Generator().manual_seed(3)
        plain = generate_queries(
            model, catalogue, Sequences.from_lists([events[:taken]]), sampling=SAMPLING, seed=3
        ).latents
        torch.testing.assert_close(reading.latent(SAMPLING, generator), plain, atol=1e-5, rtol=1e-4)


def test_a_further_item_is_one_step_up_to_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build()
    fast = InferenceModel(model, model.encode_catalogue())
    reading, read = Reading(fast, [1, 2, 3]), []
    plain = fast.members[0].reader.read
    monkeypatch.setattr(
        fast.members[0].reader, "read", lambda ways, *more: read.append(ways.shape[1]) or plain(ways, *more)
    )
    for item in range(WINDOW):
        reading.add(item)
    assert read == [1] * (WINDOW - 3) + [WINDOW] * 3


@pytest.mark.parametrize(
    "options", [{"titles": 2}, {"reasoning": {"weight": 0.1, "max_tokens": 4}, "condition": "reasoning"}]
)
def test_what_the_fast_path_does_not_know_is_left_to_the_plain_one(options: dict[str, Any], tmp_path: Path) -> None:
    assert not InferenceModel.suits(build(language=reads(tiny_model("llama", tmp_path), **options)))


def test_models_without_a_cache_are_left_to_the_plain_path(tmp_path: Path) -> None:
    assert not InferenceModel.suits(build(language=reads(tiny_model("t5", tmp_path))))


@pytest.fixture(scope="module")
def fitted() -> Recommender:
    return Recommender.fit(ring(), tiny_config(training={"epochs": 2}, tokenizer={"users": "folded"}))


def test_who_returns_gets_what_the_whole_history_gets(fitted: Recommender) -> None:
    history = fitted.interactions.history(1000)
    user = Session(fitted, history[:2])
    for item in history[2:]:
        user.add(item)
    for asked in ({"k": 5}, {"k": 3, "exclude_seen": False}):
        for found, whole in zip(user.recommend(**asked), fitted.recommend(history=history, **asked), strict=True):
            assert (found.item, found.rank) == (whole.item, whole.rank)
            assert found.score == pytest.approx(whole.score, abs=1e-4)


def test_nobody_returns_from_nowhere(fitted: Recommender) -> None:
    with pytest.raises(ConfigError, match="a session needs a history"):
        Session(fitted, [])
    with pytest.raises(DataError):
        Session(fitted, fitted.interactions.history(1000)).add(-5)


def test_precision_is_kept_and_the_scores_stay_close(fitted: Recommender) -> None:
    half = Recommender(fitted.run, precision="bf16")
    assert half.with_overlay(None).precision == "bf16"
    exact, close = (one.evaluate("test", parts="latent").metrics["ndcg@10"] for one in (fitted, half))
    assert close == pytest.approx(exact, abs=0.02)
    assert not torch.equal(fitted.queries(histories_of(fitted)).latents, half.queries(histories_of(half)).latents)


def histories_of(recommender: Recommender) -> Sequences:
    return recommender.interactions.sequences.select(range(20))
