"""Data frames that people have: columns found by their names or named, and what is no frame."""

from typing import Any

import polars as pl
import pytest

from deftrec import Interactions, Recommender
from deftrec.data.frames import as_interactions
from deftrec.errors import DataError
from toy import ring


def frame(**names: str) -> pl.DataFrame:
    """The ring's interactions with titles and genres, under the column names of some shop."""
    data = ring(users=60)
    texts = data.catalogue.select("item", "title", pl.lit(["red", "old"]).alias("category"))
    return data.events().join(texts, on="item", maintain_order="left").rename(names)


@pytest.mark.parametrize("kind", ["polars", "lazy", "pandas"])
def test_columns_of_a_frame_are_found(kind: str) -> None:
    given: Any = frame(user="CustomerId", item="movie_id", time="Timestamp", title="name", category="genres")
    given = given.with_columns(price=pl.lit(3.0), basket=pl.lit(3))
    if kind == "lazy":
        given = given.lazy()
    if kind == "pandas":
        pandas = pytest.importorskip("pandas")
        given = pandas.DataFrame({name: given[name].to_list() for name in given.columns})
    data = as_interactions(given)
    assert data.fingerprint == Interactions.from_frame(frame(), frame().select(
        "item", "title", pl.lit("red|old").alias("category"), pl.lit(3.0).alias("price")
    ).unique("item")).fingerprint  # fmt: skip
    assert data.meta.source == (
        "data frame: user 'CustomerId', item 'movie_id', time 'Timestamp', title 'name', category 'genres', "
        "attributes 'price'; ignored: 'basket'"
    )


def test_columns_are_named_and_items_are_a_frame_of_their_own() -> None:
    events = frame(user="who", item="sku", time="day").select("who", "sku", "day")
    goods = frame(item="sku").select("sku", "title").unique("sku")
    data = as_interactions(events, goods, user="who", time="day")
    title = goods.filter(pl.col("sku") == data.item_ids([0])[0])["title"]
    assert [data.title(0)] == title.to_list()
    own = as_interactions(
        events.rename({"sku": "wine"}), goods.rename({"sku": "wine"}), user="who", item="wine", time="day"
    )
    assert own.fingerprint == data.fingerprint


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["who", "item", "time"], "the interactions have no column for the user among who, item, time.*user='...'"),
        (["user", "item", "when"], r"no column for the time among .*with_row_index\('time'\)"),
    ],
)
def test_columns_that_are_not_found_are_named(columns: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        as_interactions(pl.DataFrame({name: [1] for name in columns}))


def test_a_column_called_as_its_role_is_preferred() -> None:
    source = as_interactions(pl.DataFrame({name: [1] for name in ("user_id", "user", "sku", "ts")})).meta.source
    assert source == (
        "data frame: user 'user' (not 'user_id'; `user=...` names another), item 'sku', time 'ts'; ignored: 'user_id'"
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("data/shop", r"are a path; give Interactions.load\('data/shop'\)"),
        ([1, 2], "a list is not a data frame"),
        (
            pl.DataFrame({"user": [1], "item": [1], "time": [1]}),
            "no column 'uid' for the user; there are user, item, time",
        ),
    ],
)
def test_what_is_no_frame_is_refused(data: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Recommender.fit(data, user="uid")


def test_items_that_are_no_frame_are_refused() -> None:
    with pytest.raises(DataError, match=r"the items are a path; give Interactions.load\('goods.csv'\)"):
        Recommender.fit(frame(), items="goods.csv")


def test_a_matrix_has_no_times() -> None:
    class csr_matrix:  # noqa: N801 - scipy's name
        def tocoo(self) -> None: ...

    with pytest.raises(DataError, match="a csr_matrix has no times; give a data frame"):
        Recommender.fit(csr_matrix())


def test_interactions_have_their_columns() -> None:
    with pytest.raises(DataError, match="have their columns already: leave user, items out"):
        as_interactions(ring(users=5), frame(), user="user")
