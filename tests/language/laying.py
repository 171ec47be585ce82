"""Histories laid into rows, for tests of language models."""

import torch

from deftrec.data import NOTHING
from deftrec.language import Layout

D = 32
"""Width of the tiny models."""


def lay(*rows: list[int], width: int | None = None) -> Layout:
    """Rows of histories of these lengths, one after the other, and empty places behind them."""
    width = width or max(map(sum, rows))
    segments = torch.full((len(rows), width), NOTHING)
    positions = torch.zeros(len(rows), width, dtype=torch.int64)
    for row, lengths in enumerate(rows):
        start = 0
        for number, length in enumerate(lengths):
            segments[row, start : start + length] = number
            positions[row, start : start + length] = torch.arange(length)
            start += length
    return Layout(segments, positions)
