"""Requests on a tiny run: learnt, saved, read, and refused; lists without one stay as they are."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from deftrec import Interactions, Recommender
from deftrec.errors import ConfigError, DeftRecError
from deftrec.incremental.changes import add_items
from deftrec.requests import Lexicon, RequestReader
from deftrec.retrieval import RequestHead, RequestTerm
from deftrec.run import REQUESTS
from toy import ring, tiny_config
from worded import NEW, fitted

COLOURS = ("red", "green", "blue")


def coloured() -> Interactions:
    """The toy ring, every third item of one colour."""
    data = ring(users=80)
    kinds = [COLOURS[n % 3] for n in range(data.n_items)]
    return Interactions.from_frame(
        data.events(), data.catalogue.with_columns(category=pl.Series(kinds)), meta=data.meta
    )


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Recommender]:
    folder = tmp_path_factory.mktemp("asked")
    recommender = fitted(folder, coloured()).with_requests(out=folder / "run")
    return folder / "run", recommender


def term_of(recommender: Recommender) -> RequestTerm:
    term = recommender.ranker.term_of(RequestTerm)
    assert term is not None
    return term


def items(recommender: Recommender, **wishes: object) -> list[object]:
    history = recommender.interactions.history(recommender.interactions.users[0])
    return [one.item for one in recommender.recommend(history=history, k=8, **wishes)]  # type: ignore[arg-type]


def test_lists_without_a_request_stay_as_they_are(learnt: tuple[Path, Recommender]) -> None:
    folder, recommender = learnt
    bare = Recommender(recommender.run, recommender.overlay)
    bare.ranker = bare.ranker.without("request")
    assert items(bare) == items(recommender) == items(Recommender.load(folder))
    [one, *_] = recommender.recommend(recommender.interactions.users[0], explain=True)
    assert one.explanation is not None
    assert "request" not in one.explanation.shares


def test_a_saved_term_gives_the_same_lists(learnt: tuple[Path, Recommender], tmp_path: Path) -> None:
    folder, recommender = learnt
    recommender.save(tmp_path / "copy")
    wish = {"request": "red things, no blue", "guidance": 2.0}
    expected = items(recommender, **wish)
    assert items(Recommender.load(folder), **wish) == expected
    assert items(Recommender.load(tmp_path / "copy"), **wish) == expected


def test_the_scores_are_those_of_the_formula(learnt: tuple[Path, Recommender]) -> None:
    recommender = learnt[1]
    term, reader = term_of(recommender), recommender.requests
    request = reader.read("red", 2.0).encoded
    weights = term.weights["category"]
    [r] = request.vectors
    query = torch.nn.functional.normalize(term.head.query(r - term.head.mean), dim=-1) * term.head.log_scale.exp()
    expected = 2 * (weights["learnt"] * term.keys @ query + weights["cosine"] * term.sentences @ r)
    expected[torch.from_numpy(reader.lexicon.members["red"])] += 2 * weights["words"]
    torch.testing.assert_close(term.of_request(request), expected.detach(), rtol=1e-4, atol=1e-4)


def test_more_guidance_gives_more_of_what_is_wanted(learnt: tuple[Path, Recommender]) -> None:
    recommender = learnt[1]
    red = set(recommender.requests.lexicon.members["red"].tolist())
    shares = []
    for guidance in (0.0, 0.5, 1.0, 2.0, 4.0, 8.0):
        found = items(recommender, request="red", guidance=guidance)
        numbers = recommender.interactions.item_numbers(found)
        shares.append(np.mean([number in red for number in numbers]))
    assert shares == sorted(shares)
    assert shares[-1] > shares[0]
    assert items(recommender, request="red", guidance=0.0) == items(recommender)


def test_items_of_a_refused_category_are_held_back_by_the_request(learnt: tuple[Path, Recommender]) -> None:
    recommender = learnt[1]
    found = recommender.recommend(recommender.interactions.users[0], request="no red", explain=True)
    assert found.held_back
    for one in found.held_back:
        assert one.rule == "request: no category red"
        assert Lexicon(recommender.interactions).categories[
            int(recommender.interactions.item_numbers([one.item])[0])
        ] == ["red"]


def test_a_refused_category_is_excluded(learnt: tuple[Path, Recommender]) -> None:
    recommender = learnt[1]
    read = recommender.requests.read("no red")
    assert read.notes == ("excluded: category red",)
    red = set(recommender.requests.lexicon.members["red"].tolist())
    assert not red & set(recommender.interactions.item_numbers(items(recommender, request="no red")).tolist())


def test_two_categories_in_one_breath_are_the_items_of_both(learnt: tuple[Path, Recommender]) -> None:
    recommender = learnt[1]
    [rule] = recommender.requests.read("no red green").rules
    assert len(rule.items) == 0  # type: ignore[attr-defined]
    assert len(recommender.requests.read("no red or green").rules) == 2


def test_no_guidance_is_no_request(learnt: tuple[Path, Recommender]) -> None:
    read = learnt[1].requests.read("no red", 0.0)
    assert (read.rules, len(read.encoded.vectors), len(read.encoded.items)) == ((), 0, 0)


def test_less_of_a_category_lowers_it(learnt: tuple[Path, Recommender]) -> None:
    recommender = learnt[1]
    request = recommender.requests.read("less red").encoded
    added = term_of(recommender).of_request(request)
    red = torch.from_numpy(recommender.requests.lexicon.members["red"])
    rest = torch.ones(len(added), dtype=torch.bool).index_fill(0, red, value=False)
    assert added[red].mean() < added[rest].mean()


def test_without_a_history_the_request_ranks(learnt: tuple[Path, Recommender]) -> None:
    recommender = learnt[1]
    found = recommender.recommend(history=[], request="red", k=3)
    red = set(recommender.requests.lexicon.members["red"].tolist())
    assert set(recommender.interactions.item_numbers([one.item for one in found]).tolist()) <= red
    assert found[0].source == "popularity"


def test_many_at_once_are_one_by_one(learnt: tuple[Path, Recommender]) -> None:
    recommender = learnt[1]
    histories = [recommender.interactions.history(user) for user in recommender.interactions.users[:5]] + [[]]
    together = recommender.recommend_many(histories, request="something green", k=4)
    alone = [recommender.recommend(history=history, request="something green", k=4) for history in histories]
    assert [[one.item for one in found] for found in together] == [[one.item for one in found] for found in alone]


def test_a_share_of_the_explanation_is_the_request(learnt: tuple[Path, Recommender]) -> None:
    recommender = learnt[1]
    [one, *_] = recommender.recommend(recommender.interactions.users[0], request="red", explain=True)
    assert one.explanation is not None
    assert one.explanation.shares["request"] > 0


def test_items_added_later_are_found_by_their_words(learnt: tuple[Path, Recommender], tmp_path: Path) -> None:
    learnt[1].save(tmp_path / "run")
    add_items(tmp_path / "run", NEW)
    later = Recommender.load(tmp_path / "run")
    number = int(later.interactions.item_numbers([900])[0])
    request = later.requests.read("red 103").encoded
    assert number in request.items
    assert float(request.values[request.items == number]) == float(request.values.max())
    assert len(term_of(later).keys) == len(term_of(later).sentences) == later.interactions.n_items
    assert term_of(later).sentences[number].norm() == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize(
    ("request_", "guidance", "message"),
    [("", 1.0, "no words"), ("red", -1.0, "from 0"), ("red", 8.5, "from 0"), ("red", float("nan"), "from 0")],
)
def test_bad_requests_are_refused(
    learnt: tuple[Path, Recommender], request_: str, guidance: float, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        items(learnt[1], request=request_, guidance=guidance)


def test_a_run_that_has_not_learnt_says_how(tmp_path: Path) -> None:
    recommender = fitted(tmp_path)
    with pytest.raises(ConfigError, match="deftrec requests RUN"):
        items(recommender, request="red")


def test_items_without_words_are_refused(tmp_path: Path) -> None:
    data = ring(users=40)
    bare = type(data).from_frame(data.events(), meta=data.meta)
    recommender = Recommender.fit(bare, tiny_config(), out=tmp_path / "run")
    with pytest.raises(ConfigError, match="categories or titles of several words, which 0 of 24 has"):
        recommender.with_requests()


def test_a_damaged_file_is_named(learnt: tuple[Path, Recommender], tmp_path: Path) -> None:
    learnt[1].save(tmp_path / "run")
    path = tmp_path / "run" / REQUESTS
    whole = path.read_bytes()
    for damaged in (b"nonsense", whole[:-1000] + bytes(1000), whole[:1000]):
        path.write_bytes(damaged)
        with pytest.raises(DeftRecError, match=r"requests\.safetensors: damaged .*; learn it again: deftrec requests"):
            Recommender.load(tmp_path / "run")


def test_the_head_starts_as_the_cosine_of_principal_components() -> None:
    sentences = torch.nn.functional.normalize(torch.randn(40, 6, generator=torch.Generator().manual_seed(0)), dim=-1)
    head = RequestHead(6, 3)
    head.fit_components(sentences)
    centred = torch.nn.functional.normalize(sentences - sentences.mean(0), dim=-1)
    found = head.queries(sentences) @ head.keys(sentences, torch.randn(40, 3)).T
    torch.testing.assert_close(found / head.log_scale.exp(), centred @ centred.T, rtol=1e-4, atol=1e-4)


def test_what_a_text_means_decides_where_no_word_does(learnt: tuple[Path, Recommender]) -> None:
    recommender = learnt[1]
    lexicon, term = Lexicon(recommender.interactions), term_of(recommender)
    names = list(lexicon.members)
    width = term.sentences.shape[1]
    axes = torch.eye(max(width, len(names)))[: len(names), :width]

    def encode(texts: list[str]) -> torch.Tensor:
        """Every category has an axis of its own, and "crimson" is on that of red."""
        rows = [
            next((n for n, name in enumerate(names) if text.startswith(name)), names.index("red")) for text in texts
        ]
        return axes[rows]

    weights = {**term.weights, "other": {"learnt": 0.0, "cosine": 0.0, "words": 1.0}}
    term = replace(term, weights=weights, categories=tuple(names), meanings=axes)
    read = RequestReader(lexicon, term, encode).read("crimson")
    assert read.notes == ("wanted: crimson (red)",)
    meant = read.encoded.values > 0.5 * read.encoded.values.max()
    assert set(read.encoded.items[meant].tolist()) == set(lexicon.members["red"].tolist())


def test_the_record_is_written(learnt: tuple[Path, Recommender]) -> None:
    assert json.dumps(term_of(learnt[1]).settings())
    assert set(term_of(learnt[1]).record) <= {"category", "keyword"}
