"""The preference in words: what is taught, that it is learnt, and that a cache changes nothing."""

from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from asking import D, lay

from deftrec.config import PretrainedOptions, ReasoningOptions
from deftrec.data import PADDING
from deftrec.language import (
    ConditionStrategy,
    Preferences,
    PretrainedLanguageModel,
    RationaleBatch,
    RationaleWriter,
    ReasoningCondition,
    build_language_model,
    guessed_category,
)
from toy import tiny_model

CATEGORIES = [["red"], ["green", "old"], ["blue"], [], ["old"], ["new"]]
PROMPT = "what comes next : {history}"


@pytest.fixture(params=["bert", "llama"])
def language(request: pytest.FixtureRequest, tmp_path: Path) -> PretrainedLanguageModel:
    torch.manual_seed(0)
    folder = tiny_model(request.param, tmp_path)
    options = PretrainedOptions(
        model=str(folder),
        prompts=(PROMPT,),
        titles=1,
        dropout=0.0,
        reasoning=ReasoningOptions(weight=0.1, max_tokens=8),
    )
    model = build_language_model(
        options, domain="", ways=2, max_history=5, titles=["red", "old", "", "a", "new", "red"]
    )
    assert isinstance(model, PretrainedLanguageModel)
    return model


def rationale(language: PretrainedLanguageModel, histories: list[list[int]], targets: list[int]) -> RationaleBatch:
    preferences = Preferences(CATEGORIES, language, ReasoningOptions(weight=0.1, max_tokens=24))
    said = [preferences.rationale(np.array(one), target) for one, target in zip(histories, targets, strict=True)]
    width = max(map(len, histories))
    items = torch.tensor([one + [PADDING] * (width - len(one)) for one in histories])
    text = torch.full((len(said), max(map(len, said))), PADDING)
    for row, ids in zip(text, said, strict=True):
        row[: len(ids)] = torch.tensor(ids)
    return RationaleBatch(items, lay(*([len(one)] for one in histories)), torch.tensor(targets), text)


def reasoning(**options: Any) -> tuple[ReasoningCondition, RationaleWriter]:
    writer = RationaleWriter(D, ReasoningOptions(weight=0.1, **options))
    return ReasoningCondition(D, writer, 0.1), writer


def test_what_is_said_of_a_history(language: PretrainedLanguageModel) -> None:
    preferences = Preferences(CATEGORIES, language, ReasoningOptions(weight=0.1, max_tokens=24))
    assert preferences.past(np.array([0, 1, 4, 2])) == ["old", "blue", "green"]  # the newest first among equals
    ids = preferences.rationale(np.array([0, 0, 2]), 1)
    assert spelt(language, ids) == "redbluenextgreen"
    assert ids[-1] == language.end
    assert spelt(language, preferences.rationale(np.array([0]), 3)) == "red"  # the next item has no category
    short = Preferences(CATEGORIES, language, ReasoningOptions(weight=0.1, max_tokens=2))
    assert len(short.rationale(np.array([0, 2]), 1)) == 2
    tight = Preferences(CATEGORIES, language, ReasoningOptions(weight=0.1, max_tokens=len(ids) - 1))
    assert spelt(language, tight.rationale(np.array([0, 0, 2]), 1)).endswith("nextgreen")  # not the guess is cut


def test_marks_stand_close_to_the_word_before(language: PretrainedLanguageModel) -> None:
    class Spaced:
        def batch_decode(self, rows: list[list[int]], skip_special_tokens: bool) -> list[str]:
            return [f"drama , h & r ; next : {len(row)}" for row in rows]

    spaced = copy(language)
    spaced.tokenizer = Spaced()
    assert spaced.spell([[1, 2, PADDING], [3]]) == ["drama, h & r; next: 2", "drama, h & r; next: 1"]


def spelt(language: PretrainedLanguageModel, ids: Sequence[int]) -> str:
    """The letters of a text, whatever the tokenizer does to the rest."""
    text = language.spell([list(ids)])[0].replace("[UNK]", "")
    return "".join(letter for letter in text if letter.isascii() and letter.isalpha())


@pytest.mark.parametrize(
    ("text", "guess"),
    [
        ("drama, war ; next : sci - fi [SEP]", "Sci-Fi"),
        ("drama; next: Film-Noir and more", "Film-Noir"),
        ("drama; next: film", "Film"),
        ("drama, film", None),
        ("film; next: nothing known", None),
    ],
)
def test_the_guess_in_a_text(text: str, guess: str | None) -> None:
    assert guessed_category(text, ["Film", "Film-Noir", "Sci-Fi", "Drama", ""]) == guess


def test_generation_with_a_cache_equals_without(language: PretrainedLanguageModel) -> None:
    language.eval()
    strategy, writer = reasoning(max_tokens=6)
    assert writer.adapter is not None
    torch.nn.init.normal_(writer.adapter.weight)  # so that not all rows say the same
    asked = rationale(language, [[0, 1, 2], [4], [5, 3, 2, 1, 0]], [1, 2, 3])
    ways, numbers = torch.randn(3, 5, 2, D), asked.items.clamp_min(0)
    fast = writer.generate(language, ways, asked.layout, numbers)
    plain = writer.generate(language, ways, asked.layout, numbers, cached=False)
    assert torch.equal(fast.text, plain.text)
    for one, other in ((fast.hidden, plain.hidden), (fast.history, plain.history)):
        torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-4)
    for row in range(3):  # nor does it matter who shares the batch, or how wide it is
        length = int((asked.items[row] != PADDING).sum())
        alone = writer.generate(language, ways[row : row + 1, :length], lay([length]), numbers[row : row + 1, :length])
        said = min(alone.text.shape[1], fast.text.shape[1])
        assert torch.equal(alone.text[0, :said], fast.text[row, :said])
        torch.testing.assert_close(alone.history[0], fast.history[row], atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(strategy.condition(alone)[0], strategy.condition(fast)[row], atol=2e-5, rtol=1e-4)


def test_the_state_after_a_history_is_the_models_own(language: PretrainedLanguageModel) -> None:
    language.eval()
    strategy, writer = reasoning()
    asked = rationale(language, [[0, 1, 2], [4, 3, 1]], [1, 2])
    ways = torch.randn(2, 3, 2, D)
    plain = language(ways, asked.layout, asked.items)[:, -1]
    rationales = writer.generate(language, ways, asked.layout, asked.items)
    torch.testing.assert_close(rationales.history, plain, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(strategy.condition(rationales), plain, atol=2e-5, rtol=1e-4)
    latent = ConditionStrategy().after_history(language, ways, asked.layout, asked.items)
    torch.testing.assert_close(latent, plain, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("source", ["gold", "history", "generated"])
def test_words_are_learnt_and_the_condition_is_made_of_them(language: PretrainedLanguageModel, source: str) -> None:
    """Two histories, two texts: after some steps the model says each of its own accord."""
    strategy, writer = reasoning(max_tokens=24, source=source)
    asked = rationale(language, [[0, 0], [4, 2]], [1, 5])
    ways = torch.randn(2, 2, 2, D)
    parameters = [p for p in [*language.parameters(), *strategy.parameters()] if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-2)
    for _ in range(60):
        loss, _ = strategy.train_rationales(language, ways, asked.items, asked)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert loss.item() < 0.1
    said = writer.generate(language.eval(), ways, asked.layout, asked.items)
    filled = asked.text[:, : said.text.shape[1]]
    assert torch.equal(said.text[filled != PADDING], filled[filled != PADDING])
    torch.nn.init.normal_(strategy.pooled.weight)
    torch.nn.init.normal_(strategy.query)
    with torch.no_grad():  # what is a condition in training is one in use: no gap is left once the words are right
        _, condition = strategy.train_rationales(language, ways, asked.items, asked)
        torch.testing.assert_close(condition, strategy.condition(said), atol=1e-3, rtol=1e-3)
    known = ("red", "blue, old")  # and the rest is a guess
    past = torch.tensor([len(language.tokenizer(text, add_special_tokens=False)["input_ids"]) for text in known])
    assert torch.equal(said.counts.sum(1), past if source == "history" else (asked.text != PADDING).sum(1))


def test_no_word_depends_on_what_comes_after_it(language: PretrainedLanguageModel) -> None:
    """The text that a target decides cannot reach what stands before it, the history's own words among them."""
    language.eval()
    strategy, _ = reasoning(source="history")
    torch.nn.init.normal_(strategy.pooled.weight)
    ways = torch.randn(1, 2, 2, D)
    one, other = (rationale(language, [[0, 4]], [target]) for target in (1, 5))
    assert not torch.equal(one.text, other.text)
    conditions = [strategy.train_rationales(language, ways, asked.items, asked)[1] for asked in (one, other)]
    torch.testing.assert_close(conditions[0], conditions[1])
