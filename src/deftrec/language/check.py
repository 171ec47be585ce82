"""Check, before training, that a pre-trained model honours attention mask and positions."""

import torch
from torch import Tensor

from deftrec.errors import ConfigError
from deftrec.language.backbone import Backbone
from deftrec.modes import evaluating

SEGMENTS = torch.tensor([-1, -1, 0, 0, 1, 1, 1])
POSITIONS = torch.tensor([0, 1, 2, 3, 2, 3, 4])
"""Test row: two words (segment -1) and two histories, which read the words but not each other."""
SWAPPED = torch.tensor([0, 1, 4, 5, 6, 2, 3])  # order of the test row with its two histories swapped

ROUNDING = {torch.float32: 1e-3, torch.bfloat16: 3e-2}
"""Largest relative difference of hidden states that rounding explains."""


@torch.no_grad()
def check_mask(backbone: Backbone, name: str) -> None:
    """Run `backbone` on three rows of random tokens and compare their hidden states.

    The rows are words and two histories; the two histories swapped; and another last token. The second row must give
    each history the states of the first row. In the third row, no state before the last token may change. `backbone` is
    not yet tuned, and `name` is for messages.

    Raises:
        ConfigError: the model ignores the mask or the positions, or does not read embeddings.
    """
    drawn = torch.randn(len(SEGMENTS) + 1, backbone.width, generator=torch.Generator().manual_seed(0))
    weight = backbone.model.get_input_embeddings().weight  # type: ignore[operator]
    typical = torch.linalg.vector_norm(weight[:1000], dim=-1, dtype=torch.float32).mean().cpu()
    drawn = drawn / drawn.norm(dim=-1).mean() * typical
    row = drawn[:-1]
    tokens = torch.stack([row, row[SWAPPED], torch.cat([row[:-1], drawn[-1:]])])
    segments, positions = (torch.stack([one, one[SWAPPED], one]) for one in (SEGMENTS, POSITIONS))
    same = segments[:, :, None] == segments[:, None, :]
    mask = (same | (segments == -1)[:, None, :]) & torch.ones_like(same).tril()
    before, swapped, changed = _hidden(backbone, tokens, mask, positions, name)
    rounding = ROUNDING[backbone.dtype]
    if _differs(before[:-1], changed[:-1], rounding):
        problem = "ignores the attention mask, so that a history would read later items"
    elif _differs(before[SWAPPED], swapped, rounding):
        problem = "ignores the attention mask or the positions, so that histories in one row would influence each other"
    else:
        return
    raise ConfigError(f"{name}: {problem}; choose another language.model")


def _hidden(backbone: Backbone, tokens: Tensor, mask: Tensor, positions: Tensor, name: str) -> Tensor:
    """Hidden states in evaluation mode. `[B, T, D]` float32"""
    try:
        device = backbone.model.get_input_embeddings().weight.device  # type: ignore[operator]
        inputs = backbone.positions.inputs(tokens.to(device, backbone.dtype), mask.to(device), positions.to(device))
        with evaluating(backbone.model):
            hidden: Tensor = backbone.model(**inputs).last_hidden_state
    except Exception as error:  # models raise errors of many types
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        message = f"{name}: does not read embeddings under a custom mask ({reason}); choose another language.model"
        raise ConfigError(message) from error
    if hidden.shape != tokens.shape:
        raise ConfigError(
            f"{name}: reads embeddings of width {backbone.width} but returns states of width {hidden.shape[-1]}; "
            "choose another language.model"
        )
    return hidden.float().cpu()


def _differs(one: Tensor, other: Tensor, rounding: float) -> bool:
    """Whether hidden states `[T, D]` differ by more than rounding; NaN differs."""
    return not bool((one - other).norm() <= rounding * one.norm())
