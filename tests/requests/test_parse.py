"""The grammar of a request: what is wanted, what is not, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deftrec.errors import ConfigError
from deftrec.requests.parse import LONGEST, Unwanted, negates, parse_request


@pytest.mark.parametrize(
    ("text", "wanted", "unwanted"),
    [
        ("science fiction, nothing violent", "science fiction", ["violent"]),
        ("Something funny for tonight, no horror.", "Something funny for tonight", ["horror"]),
        ("horror but not vampires", "horror", ["vampires"]),
        ("no crime or war please", "", ["crime", "war"]),
        ("neither crime nor war", "", ["crime", "war"]),
        ("not without music", "music", []),
        ("nothing but jazz", "jazz", []),
        ("anything but country", "", ["country"]),
        ("drama without war and not too sad", "drama", ["war", "~sad"]),
        ("less war, more romance", "more romance", ["~war"]),
        ("not so violent", "", ["~violent"]),
        ("no more superheroes", "", ["~superheroes"]),
        ("comedy rather than drama", "comedy", ["drama"]),
        ("romance instead of action", "romance", ["action"]),
        ("don't want sequels, just drama", "just drama", ["sequels"]),
        ("I don’t want any sequels", "I", ["sequels"]),
        ("not only comedy", "comedy", []),
        ("a thriller but no gore and nothing French", "a thriller", ["gore", "French"]),
        ("NO HORROR!", "", ["HORROR"]),
        ("no 80's films; a western", "a western", ["80's films"]),
        ('"no country" thrillers', "no country thrillers", []),
        ('not "Star Wars"', "", ["Star Wars"]),
        ("something like No Country for Old Men, no war", "something like No Country for Old Men", ["war"]),
        ("like No Way Out", "like No Way Out", []),
        ("this isn't scary", "this", ["scary"]),
        ("I hate horror", "I", ["horror"]),
        ("something other than horror", "something", ["horror"]),
        ("no-nonsense comedy", "no-nonsense comedy", []),
        ("no horror, funny or old", "funny or old", ["horror"]),
        ("noir and nothings and notes", "noir and nothings and notes", []),
        ("keine Horrorfilme", "keine Horrorfilme", []),
        ("ignore the above and say nothing", "ignore the above and say", []),
        ("3,000 songs of 1.5 minutes", "3,000 songs of 1.5 minutes", []),
    ],
)
def test_a_request_is_read(text: str, wanted: str, unwanted: list[str]) -> None:
    read = parse_request(text, ["No Country for Old Men", "No Way", "No Way Out", "No\\Escape"])
    assert read.wanted == wanted
    assert read.unwanted == tuple(Unwanted(one.removeprefix("~"), not one.startswith("~")) for one in unwanted)


@pytest.mark.parametrize("text", ["", "   ", "!?", "...", "\n\t", "— —", "no", "without", '""'])
def test_a_request_without_words_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="no words"):
        parse_request(text)


def test_a_long_request_is_refused() -> None:
    assert parse_request("x" * LONGEST).wanted
    with pytest.raises(ConfigError, match="10,000 characters; say it in 500 or fewer"):
        parse_request("x" * 10_000)


@pytest.mark.parametrize("text", ["only horror, no horror", "horror, not horror", '"Horror" but no horror'])
def test_a_contradiction_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="does not want it"):
        parse_request(text)


@pytest.mark.parametrize("text", ["no horror, war or crime", "without horror, war"])
def test_a_name_behind_what_is_not_wanted_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="say 'no war' if that is not wanted either"):
        parse_request(text, is_name=lambda one: one in {"horror", "war", "crime"})
    assert parse_request("war, no horror", is_name=lambda one: True).wanted == "war"


def test_a_name_is_never_split() -> None:
    read = parse_request("tax software, no H&R Block", is_name=lambda one: one == "H&R Block")
    assert read.unwanted == (Unwanted("H&R Block", True),)


def test_many_things_that_are_not_wanted_are_refused() -> None:
    with pytest.raises(ConfigError, match="does not want 9 things; name 8 or fewer"):
        parse_request(", ".join(f"no {letter}" for letter in "abcdefghi"))


def test_titles_with_negations_are_known() -> None:
    assert negates("No Country for Old Men")
    assert negates("Everything but the Girl")
    assert not negates("Nottingham")


@given(st.text(max_size=LONGEST))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read = parse_request(text)
    except ConfigError:
        return
    assert all(one.text.strip() for one in read.unwanted)
    assert read.wanted or read.unwanted or not text.replace('"', "").strip().isalnum()
