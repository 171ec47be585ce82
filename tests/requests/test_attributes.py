"""Numbers and names of attributes in requests."""

import polars as pl
import pytest
import torch

from deftrec import Interactions
from deftrec.requests.attributes import AttributeReader

ITEMS = pl.DataFrame(
    {
        "item": range(8),
        "price": [5.0, 15.0, 20.0, 25.0, 60.0, 120.0, 1000.5, None],
        "brand": ["Acme", "Acme", "Bolt & Co", "Bolt & Co", "Zed", "Zed", "No Name", ""],
        "color": ["red", "blue", "red|blue", "green", "red", "blue", "green", "red"],
        "pages": [100, 200, 300, 400, 500, 600, 700, None],
        "released": [
            "1999-05-01",
            "2005-01-01",
            "2010-06-01",
            "2011-01-01",
            "2015-01-01",
            "2020-01-01",
            "2021-01-01",
            None,
        ],
        "in_stock": ["yes", "no", "yes", "", "TRUE", "0", "in stock", "no"],
    }
)


EVENTS = pl.DataFrame({"user": 1, "item": range(8), "time": range(8)})


def reader(*without: str) -> AttributeReader:
    return AttributeReader(Interactions.from_frame(EVENTS, ITEMS.drop(without)))


def kept(text: str) -> tuple[set[int], str]:
    """The items that the rules of a request leave, and the rest of the request."""
    data = Interactions.from_frame(EVENTS, ITEMS)
    found = AttributeReader(data).read(text)
    scores = torch.zeros(1, 8)
    for rule in found.rules:
        rule.apply(scores, data.sequences)
    left = (scores[0] > float("-inf")).nonzero()[:, 0].tolist()
    return {int(item) for item in data.item_ids(left)}, found.rest


ALL = set(range(8))


@pytest.mark.parametrize(
    ("text", "items", "rest"),
    [
        ("under 20 euros", {0, 1, 2}, ""),
        ("lamps for less than $20.00, please", {0, 1, 2}, "lamps for, please"),
        ("price under 1,000.50", {0, 1, 2, 3, 4, 5, 6}, ""),
        ("over 100", {5, 6}, ""),
        ("something at least 25 and at most 60", {3, 4}, "something and"),
        ("between 60 and 20 dollars", {2, 3, 4}, ""),
        ("cheaper than 20€ and funny", {0, 1, 2}, "and funny"),
        ("under 300 pages", {0, 1, 2}, ""),
        ("books over 450 pages, not from Zed", {6}, "books"),
        ("after 2010", {3, 4, 5, 6}, ""),
        ("since 2010, before 2020", {2, 3, 4}, ""),
        ("from Acme", {0, 1}, ""),
        ("a lamp from bolt & co", {2, 3}, "a lamp"),
        ("nothing from Acme", ALL - {0, 1}, ""),
        ("no Acme, no zed", ALL - {0, 1, 4, 5}, ""),
        ("color red under 30", {0, 2}, ""),
        ("from No Name", {6}, ""),
        ("in stock", {0, 2, 4, 6}, ""),
        ("science fiction, available now", {0, 2, 4, 6}, "science fiction"),
    ],
)
def test_what_is_read(text: str, items: set[int], rest: str) -> None:
    assert kept(text) == (items, rest)


@pytest.mark.parametrize(
    "text",
    [
        "under 300 kilometres",
        "from my friends",
        "no horror",
        "2001: a space odyssey",
        "under the sea",
        "over the top",
        "more than ever",
        "by the book",
        "after dark",
        "until dawn",
        "between us",
    ],
)
def test_what_is_left_to_the_words(text: str) -> None:
    found = reader().read(text)
    assert found.rest == text
    assert found.rules == ()


def test_what_the_catalogue_lacks_is_left_to_the_words() -> None:
    assert reader("price").read("under 20 euros").rest == "under 20 euros"
    assert reader("in_stock").read("in stock").rest == "in stock"
    assert reader("released").read("after 2010").rest == "after 2010"
    bare = reader(*[name for name in ITEMS.columns if name != "item"])
    assert bare.read("under 20 euros from Acme").rest == "under 20 euros from Acme"


def test_notes_say_what_was_understood() -> None:
    found = reader().read("under 20, not from Acme, in stock")
    assert found.notes == ("price at most 20", "in_stock: in stock", "excluded: brand Acme")
    assert [rule.text for rule in found.rules] == [
        "request: price at most 20",
        "request: in_stock: in stock",
        "request: no brand Acme",
    ]


def test_long_and_odd_requests_are_read_in_time() -> None:
    own = reader()
    for text in ("under " * 80, "1" * 490, "from " * 90, "between 1 and " * 30, "no no no no " * 40, "((((" * 100):
        own.read(text)
