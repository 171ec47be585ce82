"""Discrete tokens: codebooks that are learnt in training only, kept with the weights, and lose what they should."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from studies.discrete_tokens.model import DiscreteTokenizer, discrete_model
from studies.discrete_tokens.quantiser import QUANTISERS, CodebookOptions, Quantiser
from studies.replaced_parts import replaced
from torch import Tensor

from deftrec import Recommender
from deftrec.config import TokenizerOptions
from toy import ring, tiny_config

N, D, CODES = 60, 5, 6
EVERY = pytest.mark.parametrize(("kind", "ways"), [("vq", 1), ("vq", 3), ("rq", 1)])


def quantiser(kind: str, ways: int, **options: Any) -> Quantiser:
    return QUANTISERS[kind](ways, D, CodebookOptions(size=CODES, levels=2, **options))


def trained(kind: str, ways: int, tokens: Tensor) -> Quantiser:
    model = quantiser(kind, ways)
    for _ in range(10):
        model(tokens)
    return model.eval()


@EVERY
def test_as_many_tokens_as_codes(kind: str, ways: int) -> None:
    tokens = torch.randn(N, ways, D)
    found, loss = trained(kind, ways, tokens)(tokens)
    assert found.shape == tokens.shape
    assert loss is not None
    assert loss.ndim == 0
    distinct = [len(torch.unique(found[:, way].detach(), dim=0)) for way in range(ways)]
    assert all(1 < count <= (CODES if kind == "vq" else CODES**2) for count in distinct)
    error = (found - tokens).square().mean()
    assert error < tokens.square().mean()  # codes stand for tokens better than nothing does


@EVERY
def test_evaluation_neither_draws_nor_learns(kind: str, ways: int) -> None:
    tokens = torch.randn(N, ways, D)
    model = trained(kind, ways, tokens)
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    first = model(tokens)[0]
    assert torch.equal(first, model(tokens)[0])
    assert torch.equal(model(tokens[7:8])[0], first[7:8])  # whoever else is asked
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@EVERY
def test_codebooks_are_kept_with_the_weights(kind: str, ways: int) -> None:
    tokens = torch.randn(N, ways, D)
    model, other = trained(kind, ways, tokens), quantiser(kind, ways).eval()
    other.load_state_dict(copy.deepcopy(model.state_dict()))
    assert torch.equal(other(tokens)[0], model(tokens)[0])
    for one in (model, other):  # and go on alike
        one.train()
        torch.manual_seed(3)
        one(tokens + 1)
    assert all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in model.state_dict().items())
    assert not list(model.parameters())


@EVERY
def test_gradients_pass_straight_through(kind: str, ways: int) -> None:
    tokens = torch.randn(N, ways, D, requires_grad=True)
    model = trained(kind, ways, tokens.detach()).train()
    weight = torch.randn(N, ways, D)
    (gradient,) = torch.autograd.grad((model(tokens)[0] * weight).sum(), tokens)
    torch.testing.assert_close(gradient, weight)
    (pull,) = torch.autograd.grad(model(tokens)[1], tokens)
    found = model.eval()(tokens)[0]
    if kind == "vq":  # towards the code
        assert (((tokens - found) * pull).sum(-1) >= -1e-9).all()


@EVERY
def test_bf16_autocast_changes_no_code(kind: str, ways: int) -> None:
    tokens = torch.randn(N, ways, D)
    model = trained(kind, ways, tokens)
    with torch.autocast("cpu", torch.bfloat16):
        found = model(tokens)[0]
    assert found.dtype == torch.float32
    assert torch.equal(found, model(tokens)[0])


def test_the_tokenizer_reads_and_averages_the_codes() -> None:
    model = DiscreteTokenizer(10, D, TokenizerOptions(ways=2, hidden=8, dropout=0.0, drop_collaborative=0.0))
    model.quantiser = quantiser("vq", 2)
    x = torch.randn(N, 10)
    model(x)
    tokens = model.eval()(x)
    assert len(torch.unique(tokens.ways[:, 0].detach(), dim=0)) <= CODES
    torch.testing.assert_close(tokens.mean, tokens.ways.mean(1))
    assert len(torch.unique(tokens.mean.detach(), dim=0)) < N  # some items cannot be told apart any more


@pytest.mark.parametrize(("kind", "ways"), [("vq", 2), ("rq", 1)])
def test_the_next_item_of_the_ring_is_found(kind: Any, ways: int, tmp_path: Path) -> None:
    """Trained, ranked, saved and loaded as any other run; the codebooks are kept with the weights."""
    with replaced(discrete_model(CodebookOptions(kind, size=24))):
        config = tiny_config(tokenizer={"ways": ways}, retrieval={"prior": "none"})
        fitted = Recommender.fit(ring(), config, out=tmp_path / "run")
        loaded = Recommender.load(tmp_path / "run")
    found = fitted.evaluate("test", parts="latent")
    assert found.metrics["ndcg@10"] > 0.865
    assert loaded.evaluate("test", parts="latent") == found
    assert {"commitment", "error", "negatives"} <= set(fitted.info.history["joint"][0])
