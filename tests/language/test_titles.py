"""Titles stand before an item's tokens: they are read, and only where they belong."""

from pathlib import Path

import pytest
import torch
from asking import D, lay

from deftrec.config import PretrainedOptions
from deftrec.language import LanguageModel, Layout, build_language_model
from toy import tiny_model

TITLES = ["red", "old green items", "", "new blue old red", "a person"]


@pytest.fixture(params=["bert", "llama"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> LanguageModel:
    torch.manual_seed(0)
    folder = tiny_model(request.param, tmp_path)
    options = PretrainedOptions(model=str(folder), prompts=("likes {history}",), titles=3)
    return build_language_model(options, domain="", ways=2, max_history=6, titles=TITLES).eval()


@torch.no_grad()
def test_packed_equals_separate(model: LanguageModel) -> None:
    histories = [torch.tensor(one) for one in ([0, 1, 2], [3], [4, 2, 1, 0])]
    tokens = [torch.randn(len(one), 2, D) for one in histories]
    alone = [model(ways[None], lay([len(one)]), one[None])[0] for ways, one in zip(tokens, histories, strict=True)]
    empty = torch.zeros(2, dtype=torch.int64)
    together = model(
        torch.cat([*tokens, torch.randn(2, 2, D)])[None], lay([3, 1, 4], width=10), torch.cat([*histories, empty])[None]
    )[0]
    start = 0
    for expected in alone:
        torch.testing.assert_close(together[start : start + len(expected)], expected, atol=2e-5, rtol=1e-4)
        start += len(expected)


@torch.no_grad()
def test_a_title_counts_from_its_item_on(model: LanguageModel) -> None:
    tokens, layout = torch.randn(1, 4, 2, D), lay([4])
    before = model(tokens, layout, torch.tensor([[0, 1, 2, 4]]))[0]
    after = model(tokens, layout, torch.tensor([[0, 1, 3, 4]]))[0]
    torch.testing.assert_close(after[:2], before[:2], atol=1e-6, rtol=1e-5)
    assert not torch.isclose(after[2:], before[2:], atol=1e-4).all(1).any()


@torch.no_grad()
def test_an_empty_title_is_none(model: LanguageModel) -> None:
    """An item without a title is what it is in a model that reads no titles, word for word and place for place."""
    tokens, layout = torch.randn(1, 3, 2, D), lay([3])
    untitled = torch.full((1, 3), 2)
    torch.testing.assert_close(model(tokens, layout, untitled), model(tokens, layout), atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_what_stands_behind_a_shorter_history_is_nothing(model: LanguageModel) -> None:
    tokens, items = torch.randn(1, 3, 2, D), torch.tensor([[1, 3, 0]])
    padded = torch.cat([tokens, torch.randn(1, 2, 2, D)], 1)
    layout = lay([3], width=5)
    long = model(padded, Layout(layout.segments, layout.positions), torch.tensor([[1, 3, 0, 4, 4]]))
    torch.testing.assert_close(long[:, :3], model(tokens, lay([3]), items), atol=2e-5, rtol=1e-4)
