"""Check, before training, that a pre-trained model honours attention mask and positions."""

import torch
from torch import Tensor

from deftrec.errors import ConfigError
from deftrec.language.backbone import Backbone

WORDS, FIRST, SECOND = 2, 2, 3
"""Numbers of tokens of the test row: words, and two histories that read the words but not each other."""

ROUNDING = {torch.float32: 1e-3, torch.bfloat16: 3e-2}
"""Largest relative difference of hidden states that rounding explains."""


@torch.no_grad()
def check_mask(backbone: Backbone, name: str) -> None:
    """Run `backbone` on three rows of random tokens and compare their hidden states.

    The rows are words and two histories; the two histories swapped; and another last token. The second row must give
    each history the states of the first row. In the third row, no state before the last token may change.

    Args:
        backbone: pre-trained model before tuning.
        name: name of the model, for messages.

    Raises:
        ConfigError: the model ignores the mask or the positions, or does not take embeddings.
    """
    before, swapped, changed = _answers(backbone, name)
    rounding = ROUNDING[backbone.dtype]
    if _differs(before[:-1], changed[:-1], rounding):
        raise ConfigError(
            f"{name}: ignores the attention mask, so that a history would read later items; choose another "
            "choose another language.model"
        )
    if _differs(before[_swapped()], swapped, rounding):
        raise ConfigError(
            f"{name}: ignores the attention mask or the positions, so that histories in one row would influence each "
            "other; choose another language.model"
        )


def _answers(backbone: Backbone, name: str) -> Tensor:
    """Hidden states of the three rows. `[3, T, D]` float32"""
    weight = backbone.model.get_input_embeddings().weight  # type: ignore[operator]
    T = WORDS + FIRST + SECOND
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(T + 1, backbone.width, generator=generator)
    segments = torch.tensor([-1] * WORDS + [0] * FIRST + [1] * SECOND)
    positions = torch.tensor([*range(WORDS), *range(WORDS, WORDS + FIRST), *range(WORDS, WORDS + SECOND)])
    order = _swapped()
    tokens = torch.stack([drawn[:T], drawn[:T][order], torch.cat([drawn[: T - 1], drawn[T:]])])
    segments = torch.stack([segments, segments[order], segments])
    positions = torch.stack([positions, positions[order], positions])
    same = segments[:, :, None] == segments[:, None, :]
    mask = (same | (segments == -1)[:, None, :]) & torch.ones(T, T, dtype=torch.bool).tril()
    typical = torch.linalg.vector_norm(weight[:1000], dim=-1, dtype=torch.float32).mean().cpu()
    tokens = tokens / drawn.norm(dim=-1).mean() * typical
    was_training = backbone.model.training
    backbone.model.eval()
    try:
        device = weight.device
        inputs = backbone.positions.inputs(tokens.to(device, backbone.dtype), mask.to(device), positions.to(device))
        hidden: Tensor = backbone.model(**inputs).last_hidden_state
    except Exception as error:  # models raise errors of many types
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ConfigError(
            f"{name}: does not read embeddings under a custom mask ({reason}); choose another language.model"
        ) from error
    finally:
        backbone.model.train(was_training)
    if hidden.shape != tokens.shape:
        raise ConfigError(
            f"{name}: reads embeddings of width {backbone.width} but returns states of width {hidden.shape[-1]}; "
            "choose another language.model"
        )
    return hidden.float().cpu()


def _swapped() -> Tensor:
    """Indices of the first row in the order of the second: words, second history, first history."""
    return torch.cat(
        [torch.arange(WORDS), torch.arange(WORDS + FIRST, WORDS + FIRST + SECOND), torch.arange(WORDS, WORDS + FIRST)]
    )


def _differs(one: Tensor, other: Tensor, rounding: float) -> bool:
    """Whether hidden states `[T, D]` differ by more than rounding; NaN differs."""
    return not bool((one - other).norm() <= rounding * one.norm())
