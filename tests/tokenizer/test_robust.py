"""The robust tokenizer: masking in training only, K additive ways, auxiliary losses."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from deftrec.config import TokenizerOptions
from deftrec.tokenizer import Continuous, Masking, RobustTokenizer

N, WIDTH, LEFT, RIGHT = 4000, 6, slice(0, 3), slice(3, 10)
ALL_LOSSES = frozenset({"reconstruction", "mean", "redundancy"})


def tokenizer(ways: int = 3, rate: float = 0.0, noise: float = 0.0, **options: Any) -> RobustTokenizer:
    blocks = options.pop("blocks", [])
    arguments = {"hidden": 16, "dropout": 0.0, "losses": frozenset[str](), **options}
    arguments.setdefault("quantiser", Continuous(ways, WIDTH, TokenizerOptions()))
    return RobustTokenizer(10, WIDTH, ways=ways, masking=Masking(10, rate, blocks), noise=noise, **arguments)


@pytest.mark.parametrize("ways", [1, 2, 5])
def test_shapes_and_the_additive_code(ways: int) -> None:
    tokens = tokenizer(ways)(torch.randn(7, 10))
    assert tokens.ways.shape == (7, ways, WIDTH)
    torch.testing.assert_close(tokens.mean, tokens.ways.sum(1) / ways)
    for one, other in itertools.combinations(range(ways), 2):  # the ways are encoders of their own
        assert not torch.equal(tokens.ways[:, one], tokens.ways[:, other])


def test_evaluation_is_deterministic_and_without_losses() -> None:
    model = tokenizer(rate=0.3, noise=0.5, dropout=0.3, blocks=[(LEFT, 0.5)], losses=ALL_LOSSES).eval()
    x = torch.randn(50, 10)
    first, second = model(x), model(x)
    assert torch.equal(first.ways, second.ways)
    assert first.losses == {}
    torch.testing.assert_close(model(x[7:8]).ways[0], first.ways[7])
    clean = tokenizer(dropout=0.3).eval()
    clean.load_state_dict(model.state_dict(), strict=False)
    assert torch.equal(clean(x).ways, first.ways)  # masking and noise leave no trace in evaluation


@pytest.mark.parametrize("training", [True, False])
def test_inputs_are_never_changed(training: bool) -> None:
    model = tokenizer(rate=0.5, noise=0.5, blocks=[(LEFT, 0.4), (RIGHT, 0.4)], losses=ALL_LOSSES).train(training)
    table = torch.nn.Parameter(torch.randn(50, 10))
    before = table.detach().clone()
    model(table).mean.sum().backward()
    assert torch.equal(table.detach(), before)
    assert table.grad is not None
    view = before.clone()
    model(view)
    assert torch.equal(view, before)


def test_single_features_hide_behind_a_learned_value() -> None:
    masking = Masking(10, 0.25, [])
    torch.nn.init.constant_(masking.value, 7.0)
    x = torch.randn(N, 10)
    out = masking(x)
    hidden = out == 7
    assert torch.equal(out[~hidden], x[~hidden])
    torch.testing.assert_close(hidden.float().mean(0), torch.full((10,), 0.25), atol=0.03, rtol=0)  # each feature
    assert hidden.any(1).float().mean() == pytest.approx(1 - 0.75**10, abs=0.02)  # each on its own
    out.sum().backward()
    assert masking.value.grad is not None
    assert torch.equal(masking.value.grad, hidden.sum(0).float())


@pytest.mark.parametrize(("left", "right"), [(0.3, 0.0), (0.0, 0.2), (0.3, 0.2), (0.6, 0.4)])
def test_at_most_one_whole_block_is_hidden(left: float, right: float) -> None:
    out = Masking(10, 0.0, [(LEFT, left), (RIGHT, right)])(torch.ones(N, 10))
    first, second = (out[:, LEFT] == 0), (out[:, RIGHT] == 0)
    assert torch.equal(first.any(1), first.all(1))
    assert torch.equal(second.any(1), second.all(1))
    assert not (first.any(1) & second.any(1)).any()
    assert first.all(1).float().mean() == pytest.approx(left, abs=0.03)
    assert second.all(1).float().mean() == pytest.approx(right, abs=0.03)


def test_noise_has_a_scale_of_its_own_for_each_sample_in_training_only() -> None:
    model, clean = tokenizer(2, noise=0.5), tokenizer(2)
    clean.load_state_dict(model.state_dict())
    x = torch.randn(N, 10)
    noise = (model(x).ways - clean(x).ways).detach().flatten(1)  # [N, K D]
    scale = noise.square().mean(1).sqrt()
    assert scale.square().mean().sqrt().item() == pytest.approx(0.5, rel=0.1)
    assert noise.mean().item() == pytest.approx(0, abs=0.02)
    # |N(0, C)| has a spread of its own, far from the constant scale of a plain VAE.
    assert scale.std().item() == pytest.approx(0.5 * (1 - 2 / torch.pi) ** 0.5, rel=0.2)
    model.eval()
    assert torch.equal(model(x).ways, clean(x).ways)


def test_losses_are_their_formulas() -> None:
    model = tokenizer(3, rate=0.3, losses=ALL_LOSSES)
    x = torch.randn(20, 10, requires_grad=True)
    tokens = model(x)
    assert model.decoder is not None
    ways = tokens.ways
    torch.testing.assert_close(
        tokens.losses["reconstruction"],
        (model.decoder(ways.mean(1)) - x).square().mean(),  # of the vector before masking
    )
    torch.testing.assert_close(tokens.losses["mean"], ((ways**2).mean((1, 2)) - 1).square().mean())
    pairs = itertools.permutations(range(3), 2)
    cosines = [F.cosine_similarity(ways[:, one], ways[:, other], dim=-1).square().mean() for one, other in pairs]
    torch.testing.assert_close(tokens.losses["redundancy"], sum(cosines, torch.tensor(0.0)) / 6)
    assert all(loss.ndim == 0 for loss in tokens.losses.values())


def test_reconstruction_does_not_pull_the_target() -> None:
    model = tokenizer(1, rate=0.99, losses=frozenset({"reconstruction"}))
    x = torch.randn(20, 10, requires_grad=True)
    torch.manual_seed(0)
    (gradient,) = torch.autograd.grad(model(x).losses["reconstruction"], x)
    hidden = gradient == 0
    assert hidden.float().mean() > 0.9  # a hidden feature moves nothing: it is a target only


@pytest.mark.parametrize("losses", [frozenset(), frozenset({"mean"}), frozenset({"redundancy"}), ALL_LOSSES])
def test_only_losses_that_are_wanted_are_computed(losses: frozenset[str]) -> None:
    assert set(tokenizer(2, losses=losses)(torch.randn(5, 10)).losses) == set(losses)
    assert set(tokenizer(1, losses=losses)(torch.randn(5, 10)).losses) == set(losses) - {"redundancy"}


def test_losses_do_what_they_are_for() -> None:
    def trained(name: str, steps: int = 150) -> tuple[Tensor, Tensor]:
        torch.manual_seed(0)
        model, x = tokenizer(2, losses=frozenset({name})), torch.randn(40, 10)
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        values = []
        for _ in range(steps):
            loss = model(x).losses[name]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            values.append(loss.detach())
        return values[0], values[-1]

    for name in sorted(ALL_LOSSES):
        first, last = trained(name)
        assert last < first / 3, name
