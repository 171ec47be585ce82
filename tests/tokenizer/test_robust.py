"""The robust tokenizer: masking in training only, K additive ways."""

import itertools
from typing import Any

import pytest
import torch

from deftrec.config import TokenizerOptions
from deftrec.tokenizer import Masking, RobustTokenizer

N, WIDTH, LEFT, RIGHT = 4000, 6, slice(0, 3), slice(3, 10)


def tokenizer(ways: int = 3, rate: float = 0.0, noise: float = 0.0, **options: Any) -> RobustTokenizer:
    arguments = {"hidden": 16, "dropout": 0.0, "drop_collaborative": options.pop("left", 0.0), **options}
    return RobustTokenizer(10, WIDTH, TokenizerOptions(ways=ways, mask_features=rate, noise=noise, **arguments), LEFT)


@pytest.mark.parametrize("ways", [1, 2, 5])
def test_shapes_and_the_additive_code(ways: int) -> None:
    tokens = tokenizer(ways)(torch.randn(7, 10))
    assert tokens.ways.shape == (7, ways, WIDTH)
    torch.testing.assert_close(tokens.mean, tokens.ways.sum(1) / ways)
    for one, other in itertools.combinations(range(ways), 2):  # the ways are encoders of their own
        assert not torch.equal(tokens.ways[:, one], tokens.ways[:, other])


def test_ways_that_add_up_make_one_token() -> None:
    each = tokenizer(4).eval()
    one = tokenizer(4, positions="one").eval()
    one.load_state_dict(each.state_dict())
    x = torch.randn(7, 10)
    assert one(x).ways.shape == (7, 1, WIDTH)
    torch.testing.assert_close(one(x).ways[:, 0], each(x).ways.mean(1))
    torch.testing.assert_close(one(x).mean, each(x).mean)
    assert (one.tokens, each.tokens) == (1, 4)


def test_the_other_columns_are_hidden_where_the_block_is_not() -> None:
    out = Masking(10, 0.0, LEFT, 0.3, 0.2)(torch.ones(N, 10))
    left, right = (out[:, columns] == 0 for columns in (LEFT, RIGHT))
    for hidden, rate in ((left, 0.3), (right, 0.7 * 0.2)):
        assert torch.equal(hidden.any(1), hidden.all(1))
        assert hidden.all(1).float().mean() == pytest.approx(rate, abs=0.03)
    assert not (left.all(1) & right.all(1)).any()


def test_evaluation_is_deterministic() -> None:
    model = tokenizer(rate=0.3, noise=0.5, dropout=0.3, left=0.5).eval()
    x = torch.randn(50, 10)
    first, second = model(x), model(x)
    assert torch.equal(first.ways, second.ways)
    torch.testing.assert_close(model(x[7:8]).ways[0], first.ways[7])
    clean = tokenizer(dropout=0.3).eval()
    clean.load_state_dict(model.state_dict(), strict=False)
    assert torch.equal(clean(x).ways, first.ways)  # masking and noise leave no trace in evaluation


@pytest.mark.parametrize("training", [True, False])
def test_inputs_are_never_changed(training: bool) -> None:
    model = tokenizer(rate=0.5, noise=0.5, left=0.4).train(training)
    table = torch.nn.Parameter(torch.randn(50, 10))
    before = table.detach().clone()
    model(table).mean.sum().backward()
    assert torch.equal(table.detach(), before)
    assert table.grad is not None
    view = before.clone()
    model(view)
    assert torch.equal(view, before)


def test_single_features_hide_behind_a_learned_value() -> None:
    masking = Masking(10, 0.25)
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


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.6])
def test_a_block_is_hidden_as_a_whole(rate: float) -> None:
    out = Masking(10, 0.0, LEFT, rate)(torch.ones(N, 10))
    hidden = out[:, LEFT] == 0
    assert torch.equal(hidden.any(1), hidden.all(1))
    assert hidden.all(1).float().mean() == pytest.approx(rate, abs=0.03)
    assert (out[:, RIGHT] == 1).all()


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
