"""The reasoner against a plain reading, its training, its files, and what it adds to the small model."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from deftrec import Interactions, Recommender
from deftrec.data import PADDING
from deftrec.errors import ConfigError
from deftrec.reasoning import Reasoner, build_reasoner
from deftrec.recipe import build_config
from reasoned import fit, forget, options, speak_up
from toy import ring, tiny_config

HISTORIES = [np.array([3]), np.array([1, 2, 3, 4, 5]), np.array([7, 8, 9])]


@pytest.fixture(scope="module")
def data() -> Interactions:
    return ring(users=60)


@pytest.fixture(scope="module")
def reasoner(data: Interactions, tmp_path_factory: pytest.TempPathFactory) -> Reasoner:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("llama")
    features = torch.randn(data.n_items, 7)
    return build_reasoner(features, slice(0, 3), tiny_config().tokenizer, options(folder), data).eval()


def plain(reasoner: Reasoner, history: np.ndarray) -> tuple[torch.Tensor, list[int]]:
    """Greedy generation without a cache or a batch: mean state of the text, and its ids."""
    text: list[int] = []
    vocabulary = reasoner.vocabulary([history])
    while len(text) < reasoner.text_tokens:
        hidden = reasoner.hidden(reasoner.lay_out([history], [text]))[0]
        logits = reasoner.language.logits(hidden[-1])
        token = int(logits.masked_fill(vocabulary.forbidden(len(logits))[0], -torch.inf).argmax())
        vocabulary.advance([token])
        if token == reasoner.language.end:
            break
        text.append(token)
    reading = reasoner.lay_out([history], [text])
    states = reasoner.hidden(reading)[0, int(reading.question[0]) + 1 :]
    return states.mean(0) if text else torch.zeros(reasoner.language.width), text


@torch.no_grad()
def test_a_batch_with_a_cache_is_the_plain_generation(reasoner: Reasoner) -> None:
    found = reasoner.generate(HISTORIES)
    for n, history in enumerate(HISTORIES):
        content, text = plain(reasoner, history)
        torch.testing.assert_close(found.content[n], content, rtol=1e-4, atol=1e-5)
        assert found.texts[n] == reasoner.language.spell([text])[0]


@torch.no_grad()
def test_only_the_newest_items_are_read(reasoner: Reasoner) -> None:
    long, short = np.array([9, 1, 2, 3, 4, 5]), np.array([2, 3, 4, 5])
    torch.testing.assert_close(reasoner.read([long]), reasoner.read([short]))
    assert reasoner.generate([long]).texts == reasoner.generate([short]).texts


@torch.no_grad()
def test_a_state_knows_the_items_up_to_its_own(reasoner: Reasoner) -> None:
    items = reasoner.read(HISTORIES)
    assert not items[0, :-1].any()  # one item
    for n, history in enumerate(HISTORIES):
        own = history[-reasoner.history :]
        for length in range(1, len(own) + 1):
            alone = reasoner.read([own[:length]])[0, -1]
            torch.testing.assert_close(items[n, length - len(own) - 1], alone, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_states_are_those_below_the_tuned_blocks(reasoner: Reasoner) -> None:
    """A gradient step on statements changes what is generated, and no state."""
    before = reasoner.read(HISTORIES)
    tuned = [parameter for parameter in reasoner.language.parameters() if parameter.requires_grad]
    assert tuned
    kept = [parameter.clone() for parameter in tuned]
    for parameter in tuned:
        parameter.add_(torch.randn_like(parameter))
    torch.testing.assert_close(reasoner.read(HISTORIES), before, rtol=0, atol=0)
    for parameter, value in zip(tuned, kept, strict=True):
        parameter.copy_(value)


def test_the_words_and_tokens_stand_where_they_should(reasoner: Reasoner) -> None:
    reading = reasoner.lay_out([np.array([3]), np.array([1, 2])], [[5], [6, 7]])
    assert (reading.items == PADDING).tolist() == [[True] * 3 + [False], [True, True, False, False]]
    lengths = reading.question + 1 + torch.tensor([1, 2])
    assert reading.lengths.tolist() == lengths.tolist()
    tokens = reasoner.language.rescale(reasoner.item_tokenizer(reasoner.features[[3]]).ways)[0]
    end = int(reading.items[0, -1])
    torch.testing.assert_close(reading.embeddings[0, end - 1 : end + 1], tokens)


def test_tokens_mean_the_words_of_their_item(data: Interactions, tmp_path: Path) -> None:
    """Features that tell items apart let the first way say the categories and the second the title."""
    reasoner = build_reasoner(
        torch.eye(data.n_items), None, tiny_config().tokenizer, options(tmp_path / "llama"), data
    ).eval()
    table = reasoner.language.embed(torch.arange(reasoner.language.vocabulary))
    for item in (0, 5):
        ways = reasoner.item_tokenizer(reasoner.features[[item]]).ways[0]
        for way, text in enumerate([" red, old", f" {data.titles[item]}"]):
            ids = reasoner.language.tokenizer(text, add_special_tokens=False)["input_ids"]
            assert torch.cosine_similarity(ways[way], table[ids].mean(0), dim=0) > 0.9


# -- trained beside a small model --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(data: Interactions, tmp_path_factory: pytest.TempPathFactory) -> tuple[Recommender, Path]:
    folder = tmp_path_factory.mktemp("reasoned")
    return fit(folder, data), folder


def test_it_is_saved_again_in_its_place(trained: tuple[Recommender, Path], tmp_path: Path) -> None:
    shutil.copytree(trained[1] / "run", tmp_path / "run")
    loaded = Recommender.load(tmp_path / "run")
    user = loaded.interactions.users[0]
    expected = loaded.recommend(user)
    reasoning = loaded.run.reasoning
    assert reasoning is not None
    states = len(reasoning.store)
    assert states
    loaded.save(tmp_path / "run", overwrite=True)
    reasoning.make_states([np.array([1, 2, 3])])
    again = Recommender.load(tmp_path / "run").run.reasoning
    assert again is not None
    assert len(again.store) == states + 1, "the store that was moved aside is left"
    assert Recommender.load(tmp_path / "run").recommend(user) == expected


def test_it_is_never_worse_on_validation(trained: tuple[Recommender, Path]) -> None:
    record = trained[0].info.reasoner
    assert record is not None
    assert record.validation["residual"] >= record.validation["none"]


def test_a_loaded_run_says_and_recommends_the_same(trained: tuple[Recommender, Path]) -> None:
    recommender, folder = trained
    loaded = Recommender.load(folder / "run")
    users = list(recommender.interactions.users[:5])
    assert [loaded.recommend(user) for user in users] == [recommender.recommend(user) for user in users]
    histories = [[one.item for one in recommender.recommend(user, k=3)] for user in users]
    assert loaded.preferences(histories) == recommender.preferences(histories)


def test_what_is_stored_needs_no_language_model(
    trained: tuple[Recommender, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    recommender, folder = trained
    history = [recommender.interactions.catalogue["item"][0]]
    [said] = recommender.preferences([history])
    user = recommender.interactions.users[0]
    recommended = recommender.recommend(user)
    loaded = Recommender.load(folder / "run")
    assert loaded.run.reasoning is not None
    monkeypatch.setattr(loaded.run.reasoning, "_reasoner", None)  # nothing could be built
    assert loaded.preferences([history]) == [said]
    assert loaded.recommend(user) == recommended


def test_rankings_of_all_users_only_read_the_store(data: Interactions, tmp_path: Path) -> None:
    fit(tmp_path, data)
    speak_up(tmp_path / "run")
    forget(tmp_path / "run")

    def ranked(recommender: Recommender) -> list[int]:
        [frame] = recommender.recommend_all(10, users=recommender.interactions.users[:5])
        return [int(item) for item in frame["item"]]

    loaded = Recommender.load(tmp_path / "run")
    reasoning = loaded.run.reasoning
    assert reasoning is not None
    bare = ranked(loaded)
    assert len(reasoning.store) == 0
    expected = [one.item for user in loaded.interactions.users[:5] for one in loaded.recommend(user)]
    assert bare != expected
    assert len(reasoning.store) == 5
    assert ranked(loaded) == expected


def test_a_reasoner_is_no_option_of_several_kinds() -> None:
    with pytest.raises(ConfigError, match=r"reasoner\.historyy"):
        build_config({"reasoner": {"historyy": 3}}, "recipe")
