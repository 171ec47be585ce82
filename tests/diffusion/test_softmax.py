"""The chunked cross-entropy against the plain one."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from deftrec.diffusion import softmax
from deftrec.diffusion.softmax import chunked_cross_entropy


def cross_entropy(
    queries: Tensor, latents: Tensor, bias: Tensor, targets: Tensor, hidden: Tensor | None = None
) -> Tensor:
    """Mean of -log softmax(queries latents^T + bias)[target]."""
    logits = queries @ latents.T + bias
    if hidden is not None and len(hidden):
        logits = logits.index_put((hidden[:, 0], hidden[:, 1]), logits.new_tensor(float("-inf")))
    return F.cross_entropy(logits.float(), targets)


def problem(n: int, c: int, d: int, seed: int, hide: float = 0.3) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Queries, latents, bias, targets and hidden pairs, some of them twice."""
    generator = torch.Generator().manual_seed(seed)
    queries, latents = torch.randn(n, d, generator=generator), torch.randn(c, d, generator=generator)
    bias, targets = torch.randn(c, generator=generator), torch.randint(c, (n,), generator=generator)
    hidden = (torch.rand(n, c, generator=generator) < hide).index_put((torch.arange(n), targets), torch.tensor(False))
    pairs = hidden.nonzero()
    return queries, latents, bias, targets, pairs.repeat_interleave(2, 0)


def with_gradients(function: object, *tensors: Tensor, targets: Tensor, hidden: Tensor | None) -> list[Tensor]:
    leaves = [tensor.clone().requires_grad_() for tensor in tensors]
    loss: Tensor = function(*leaves, targets, hidden)  # type: ignore[operator]
    (3 * loss).backward()
    return [loss.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)]


@settings(deadline=None, max_examples=40)
@given(
    n=st.integers(1, 17), c=st.integers(1, 23), seed=st.integers(0, 9), cells=st.sampled_from([1, 23, 50, 111, 1 << 20])
)
def test_equals_the_reference_with_gradients(n: int, c: int, seed: int, cells: int) -> None:
    queries, latents, bias, targets, hidden = problem(n, c, 5, seed)
    expected = with_gradients(cross_entropy, queries, latents, bias, targets=targets, hidden=hidden)
    before, softmax.CHUNK_CELLS = softmax.CHUNK_CELLS, cells
    try:
        found = with_gradients(chunked_cross_entropy, queries, latents, bias, targets=targets, hidden=hidden)
    finally:
        softmax.CHUNK_CELLS = before
    assert len(found) == len(expected) == 4
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("hidden", [None, torch.zeros(0, 2, dtype=torch.int64)])
def test_nothing_hidden(hidden: Tensor | None) -> None:
    queries, latents, bias, targets, _ = problem(9, 12, 5, 0)
    expected = torch.nn.functional.cross_entropy(queries @ latents.T + bias, targets)
    torch.testing.assert_close(cross_entropy(queries, latents, bias, targets, hidden), expected)
    torch.testing.assert_close(chunked_cross_entropy(queries, latents, bias, targets, hidden), expected)


def test_whoever_is_alone_is_certain() -> None:
    queries, latents, bias, targets, _ = problem(4, 6, 5, 0)
    hidden = torch.ones(4, 6, dtype=torch.bool).scatter(1, targets[:, None], False).nonzero()
    found = with_gradients(chunked_cross_entropy, queries, latents, bias, targets=targets, hidden=hidden)
    for tensor in found:
        torch.testing.assert_close(tensor, torch.zeros_like(tensor), atol=1e-6, rtol=0)


def test_hidden_items_get_no_gradient() -> None:
    queries, latents, bias, targets, _ = problem(8, 6, 5, 0)
    targets = targets.clamp(max=4)
    hidden = torch.stack([torch.arange(8), torch.full((8,), 5)], 1)
    _, _, latent_gradient, _ = with_gradients(
        chunked_cross_entropy, queries, latents, bias, targets=targets, hidden=hidden
    )
    assert (latent_gradient[5] == 0).all()
    assert (latent_gradient[:5] != 0).all()


def test_large_logits_stay_finite() -> None:
    queries, latents, bias, targets, hidden = problem(8, 30, 5, 0)
    found = with_gradients(chunked_cross_entropy, 1e4 * queries, latents, bias, targets=targets, hidden=hidden)
    assert all(tensor.isfinite().all() for tensor in found)


def test_arguments_are_left_as_they_are() -> None:
    arguments = problem(8, 30, 5, 0)
    copies = [tensor.clone() for tensor in arguments]
    with_gradients(chunked_cross_entropy, *arguments[:3], targets=arguments[3], hidden=arguments[4])
    assert all(torch.equal(one, other) for one, other in zip(arguments, copies, strict=True))


def test_bf16_products_under_autocast() -> None:
    queries, latents, bias, targets, hidden = problem(64, 200, 16, 0)
    expected = with_gradients(cross_entropy, queries, latents, bias, targets=targets, hidden=hidden)
    with torch.autocast("cpu", torch.bfloat16):
        found = with_gradients(chunked_cross_entropy, queries, latents, bias, targets=targets, hidden=hidden)
    assert found[0].dtype == torch.float32
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        assert (one - other).norm() < 0.02 * other.norm()
