"""The control without diffusion draws nothing and asks once."""

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from deftrec.config import DiffusionOptions, ObjectiveOptions
from deftrec.diffusion import NextItems, Objective, Sampling
from deftrec.diffusion.direct import DirectHead

D = 6


def make_head(**options: Any) -> DirectHead:
    head = DirectHead(D, DiffusionOptions(head="direct", width=16, **options))
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return head


def asked(condition: torch.Tensor) -> NextItems:
    rows = len(condition)
    none = torch.zeros(0, 2, dtype=torch.int64)
    latents = F.normalize(torch.randn(9, D), dim=-1).requires_grad_()
    return NextItems(condition, torch.arange(9), latents, torch.arange(rows) % 9, none, None)


@pytest.mark.parametrize("sampling", [Sampling("ddim", 1, "zero", 1, 0.0), Sampling("ddpm", 4, "noise", 3, 0.0)])
@torch.no_grad()
def test_training_and_retrieval_give_the_same_answer(sampling: Sampling) -> None:
    head, condition, latents = make_head(), torch.randn(5, D), torch.randn(5, D)
    state = torch.get_rng_state()
    expected = head.denoise(torch.zeros(5, D), torch.ones(5), condition)
    found = head.generate(condition, sampling, keep_path=True)
    torch.testing.assert_close(found.x0, expected)
    assert found.path is not None
    torch.testing.assert_close(found.path, expected.expand(sampling.steps, 5, D))
    torch.testing.assert_close(head.training_pair(latents, condition)[0], expected)
    assert torch.equal(state, torch.get_rng_state())


def test_a_softmax_without_error_is_a_classifier() -> None:
    head, following = make_head(), asked(torch.randn(20, D, requires_grad=True))
    objective = Objective(ObjectiveOptions(error_weight=0.0, temperature=0.5))
    loss = head.losses(following, objective)["loss"]
    x0_hat = head.denoise(torch.zeros(20, D), torch.ones(20), following.condition)
    torch.testing.assert_close(loss, F.cross_entropy(x0_hat @ following.latents.T / 0.5, following.targets))
    loss.backward()
    assert following.condition.grad is not None
    assert following.latents.grad is not None


def test_the_error_alone_is_a_regression() -> None:
    head, following = make_head(), asked(torch.randn(20, D, requires_grad=True))
    loss = head.losses(following, Objective(ObjectiveOptions(error_weight=1.0, negatives="none")))["loss"]
    loss.backward()
    assert following.condition.grad is not None
    assert following.latents.grad is None  # or all latents would shrink into a cone
