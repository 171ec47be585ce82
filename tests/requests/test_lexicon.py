"""Which items have the words of a request, and requests made of an item's words."""

import numpy as np
import polars as pl
import pytest

from deftrec import Interactions
from deftrec.data import Meta
from deftrec.requests.lexicon import BESIDE, Lexicon, stem, words_of
from deftrec.requests.templates import CATEGORY_CHECKS, KEYWORD_CHECKS, RequestWriter

ITEMS = {
    "Toy Story": "Animation|Children's",
    "Story of a Ghost": "Horror",
    "The Toy": "Comedy",
    "No Way Out": "Thriller",
    "Alien": "by   Horror|Sci-Fi",
    "Metric": "Metric",
    "": "",
}


@pytest.fixture(scope="module")
def lexicon() -> Lexicon:
    numbers = list(range(len(ITEMS)))
    events = pl.DataFrame({"user": numbers, "item": numbers, "time": numbers})
    rows = {"item": numbers, "title": list(ITEMS), "category": list(ITEMS.values())}
    return Lexicon(Interactions.from_frame(events, pl.DataFrame(rows), meta=Meta(name="films", domain="films")))


@pytest.mark.parametrize(
    ("word", "stemmed"),
    [("comedies", "comedy"), ("children's", "children"), ("toys", "toy"), ("glass", "glass"), ("is", "is")],
)
def test_plurals_and_genitives_are_one_word(word: str, stemmed: str) -> None:
    assert stem(word) == stemmed


def test_common_words_say_nothing() -> None:
    assert words_of("Would you show me something with the Toys?") == ["toy"]


@pytest.mark.parametrize(
    ("text", "kind", "categories", "best"),
    [
        ("horror", "category", ("Horror",), [1, 4]),
        ("HORRORS, please", "category", ("Horror",), [1, 4]),
        ("sci-fi horror films", "category", ("Sci-Fi", "Horror"), [4]),
        ("something for children", "category", ("Children's",), [0]),
        ("toy story", "keyword", (), [0]),
        ("a story about a ghost", "keyword", (), [1]),
        ("films", "other", (), []),
        ("whodunit with much blood", "other", (), []),
        ("toy cars for boys and girls in winter", "other", (), [0, 2]),
        ("日本", "other", (), []),
    ],
)
def test_what_a_text_names(
    lexicon: Lexicon, text: str, kind: str, categories: tuple[str, ...], best: list[int]
) -> None:
    match = lexicon.match(text)
    assert (match.kind, match.categories) == (kind, categories)
    most = match.values.max(initial=0.0)
    titles = list(ITEMS)
    assert {lexicon.titles[item] for item in match.items[match.values == most]} == {titles[n] for n in best}
    assert ((match.values > 0) & (match.values <= 1 + BESIDE)).all()


def test_a_rare_word_beside_a_category_does_not_outweigh_it(lexicon: Lexicon) -> None:
    match = lexicon.match("horror of the ghost story kind, for an alien")
    values = dict(zip((lexicon.titles[item] for item in match.items), match.values, strict=True))
    assert min(values["Alien"], values["Story of a Ghost"]) >= 1 > values["Toy Story"]


def test_a_category_that_is_the_title_is_none(lexicon: Lexicon) -> None:
    assert lexicon.categories[lexicon.titles.index("Metric")] == []
    assert "Metric" not in lexicon.members


def test_titles_with_negations_are_listed(lexicon: Lexicon) -> None:
    assert lexicon.negating_titles == ["No Way Out"]


def test_a_request_never_holds_the_whole_title(lexicon: Lexicon) -> None:
    writer, rng = RequestWriter(lexicon, "films"), np.random.default_rng(0)
    for item, title in enumerate(lexicon.titles):
        words = set(words_of(title))
        for _ in range(60):
            text = writer.draw(item, rng)
            if text is not None and words:
                assert not words <= set(words_of(text))
    assert writer.draw(lexicon.titles.index(""), rng) is None
    assert writer.kinds_of(lexicon.titles.index("Toy Story")) == ["category", "categories", "keyword"]


def test_words_can_be_kept_out(lexicon: Lexicon) -> None:
    writer, rng = RequestWriter(lexicon, "films", frozenset({"horror", "toy"})), np.random.default_rng(0)
    drawn = {writer.draw(item, rng) for item in range(len(ITEMS)) for _ in range(60)}
    said = {word for text in drawn if text for word in words_of(text)}
    assert not {"horror", "toy"} & said
    assert "comedy" in said


def test_checks_have_forms_of_their_own(lexicon: Lexicon) -> None:
    writer, rng = RequestWriter(lexicon, "films"), np.random.default_rng(0)
    assert writer.check(lexicon.titles.index("Alien"), "category", rng) in {
        form.format(a=a) for form in CATEGORY_CHECKS for a in ("Horror", "Sci-Fi")
    }
    assert writer.check(lexicon.titles.index("Toy Story"), "keyword", rng) in {
        form.format(a=a) for form in KEYWORD_CHECKS for a in ("toy", "story")
    }
    assert writer.check(lexicon.titles.index(""), "category", rng) is None
