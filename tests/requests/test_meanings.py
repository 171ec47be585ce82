"""Meanings of categories: from their names, their items, and words that a language model relates to them."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch.nn import functional as F

from deftrec import Interactions
from deftrec.errors import ConfigError
from deftrec.requests import Lexicon
from deftrec.requests.meanings import MOST_CATEGORIES, RELATED, category_meanings, related_words
from toy import tiny_bert, tiny_model

WIDTH = 16
RNG = np.random.default_rng(0)
AXES = {name: F.normalize(torch.tensor(RNG.normal(size=WIDTH), dtype=torch.float32), dim=0) for name in "abc"}


def lexicon(categories: list[str]) -> Lexicon:
    events = pl.DataFrame(
        {"user": [0] * len(categories), "item": range(len(categories)), "time": range(len(categories))}
    )
    items = pl.DataFrame({"item": range(len(categories)), "title": ["x"] * len(categories), "category": categories})
    return Lexicon(Interactions.from_frame(events, items))


def encode(texts: list[str]) -> torch.Tensor:
    """Words of no meaning but "claw", which means what the items of c are."""
    return torch.stack([AXES["c"] if text == "claw" else torch.ones(WIDTH) / WIDTH**0.5 for text in texts])


def test_items_give_a_category_its_meaning_where_its_name_says_nothing() -> None:
    known = lexicon(["a", "b", "c", "a", "b", "c"])
    sentences = torch.stack([AXES[known.categories[item][0]] for item in range(6)])
    names, meanings = category_meanings(known, sentences, encode, {})
    assert names == ["a", "b", "c"]
    torch.testing.assert_close(meanings.norm(dim=1), torch.ones(3))
    assert (meanings @ sentences.T).argmax(0).tolist() == [names.index(known.categories[item][0]) for item in range(6)]


def test_related_words_draw_a_category_towards_their_meaning() -> None:
    known = lexicon(["a", "b", "a", "b"])
    sentences = torch.stack([AXES[known.categories[item][0]] for item in range(4)])
    _, without = category_meanings(known, sentences, encode, {})
    _, meanings = category_meanings(known, sentences, encode, {"a": ["claw"], "b": []})
    nearer = [(one @ AXES["c"])[0] - (one @ AXES["c"])[1] for one in (without, meanings)]
    assert nearer[1] > nearer[0] + 0.1


def test_one_category_or_very_many_have_none() -> None:
    for count in (1, MOST_CATEGORIES + 1):
        known = lexicon([f"kind{n}" for n in range(count)])
        names, meanings = category_meanings(known, torch.randn(count, WIDTH), encode, {})
        assert (names, meanings.shape) == ([], (0, WIDTH))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model("llama", tmp_path_factory.mktemp("model"))


def test_related_words_are_words_that_are_more_likely_after_this_category_than_after_others(model: Path) -> None:
    found = related_words(str(model), ["red", "blue"], "films")
    assert list(found) == ["red", "blue"]
    for category, words in found.items():
        assert len(words) <= RELATED
        assert category not in words
        assert all(word.isalpha() and word.islower() for word in words)
    assert not set(found["red"]) & set(found["blue"])  # what is likelier after one is less likely after the other


def test_a_model_that_reads_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a model that writes text"):
        related_words(str(tiny_bert(tmp_path)), ["red", "blue"], "films")
