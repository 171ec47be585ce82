"""Histories laid out by hand, and small language models to read them."""

from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from deftrec.config import PretrainedOptions
from deftrec.data import PADDING
from deftrec.language import Layout, build_language_model
from deftrec.language.pretrained import PretrainedLanguageModel

D, LENGTH = 32, 18
PROMPT = "what comes next : {history}"


def pretrained(folder: Path, attention: str = "eager", **options: Any) -> PretrainedLanguageModel:
    """The model of `folder` for histories of up to `LENGTH` tokens, in evaluation mode, with this attention."""
    arguments = {"model": str(folder), "prompts": (PROMPT,), **options}
    with patch("deftrec.language.backbone.attention_of", return_value=attention):
        model = build_language_model(
            PretrainedOptions(**arguments), domain="old red items", ways=3, max_history=LENGTH // 3
        )
    assert isinstance(model, PretrainedLanguageModel)
    return model.eval()


def lay(*rows: list[int], width: int | None = None, left: bool = False) -> Layout:
    """Rows of histories of these lengths, one after the other, and empty places behind them, or before them."""
    width = width or max(map(sum, rows))
    segments = torch.full((len(rows), width), PADDING)
    positions = torch.zeros(len(rows), width, dtype=torch.int64)
    for row, lengths in enumerate(rows):
        start = width - sum(lengths) if left else 0
        for number, length in enumerate(lengths):
            segments[row, start : start + length] = number
            positions[row, start : start + length] = torch.arange(length)
            start += length
    return Layout(segments, positions)
