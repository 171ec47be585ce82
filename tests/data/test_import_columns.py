"""Columns are recognised by the names that are in use, and what was taken and ignored is said."""

import json
from pathlib import Path

import polars as pl
import pytest
from click.testing import Result
from typer.testing import CliRunner

from deftrec.cli.data import app
from deftrec.data import Interactions
from deftrec.data.sources.roles import Reading, recognise
from deftrec.data.sources.tabular import Columns, read_events, read_items, read_tabular
from deftrec.errors import DataError

EVENT_ROLES = {"user": "", "item": "", "time": "", "value": ""}
ITEM_ROLES = {"item": "", "title": "", "category": "", "text": "", "brand": ""}


def taken(header: str, roles: dict[str, str]) -> dict[str, str]:
    return dict(recognise("f", dict.fromkeys(header.split(","), pl.String()), roles).columns)


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("userId,movieId,rating,timestamp", "userId,movieId,timestamp,rating"),  # MovieLens
        ("reviewerID,asin,overall,reviewTime,unixReviewTime", "reviewerID,asin,unixReviewTime,overall"),  # Amazon 2018
        ("rating,asin,parent_asin,user_id,timestamp", "user_id,parent_asin,timestamp,rating"),  # Amazon 2023
        ("timestamp,visitorid,event,itemid", "visitorid,itemid,timestamp"),  # RetailRocket
        ("t_dat,customer_id,article_id,price", "customer_id,article_id,t_dat"),  # H&M
        ("event_time,event_type,product_id,user_id,user_session", "user_id,product_id,event_time"),  # REES46
        ("InvoiceNo,StockCode,Quantity,InvoiceDate,CustomerID", "CustomerID,StockCode,InvoiceDate"),  # Online Retail
        ("review_id,user_id,business_id,stars,date", "user_id,business_id,date,stars"),  # Yelp
        ("User-ID,ISBN,Book-Rating,Date", "User-ID,ISBN,Date,Book-Rating"),  # Book-Crossing
        (
            "review/time,review/profileName,beer/beerId,review/overall",
            "review/profileName,beer/beerId,review/time,review/overall",
        ),
        ("uid,sku,ts", "uid,sku,ts"),
        ("USER,ITEM,TIME,RATING", "USER,ITEM,TIME,RATING"),
        ("user,user_id,item,item_id,time,timestamp", "user,item,time"),
    ],
)
def test_columns_of_interactions(header: str, columns: str) -> None:
    assert list(taken(header, EVENT_ROLES).values()) == columns.split(",")


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("movieId,title,genres", {"item": "movieId", "title": "title", "category": "genres"}),
        (
            "asin,name,description,brand,categories",
            {"item": "asin", "title": "name", "category": "categories", "text": "description", "brand": "brand"},
        ),
        (
            "product_id,product_title,genre,summary",
            {"item": "product_id", "title": "product_title", "category": "genre", "text": "summary"},
        ),
        (
            "article_id,prod_name,product_type_name,detail_desc",
            {"item": "article_id", "title": "prod_name", "category": "product_type_name", "text": "detail_desc"},
        ),
        ("item,title,category,text,price", {"item": "item", "title": "title", "category": "category", "text": "text"}),
    ],
)
def test_columns_of_items(header: str, columns: dict[str, str]) -> None:
    assert taken(header, ITEM_ROLES) == columns


def test_an_ambiguous_choice_is_said() -> None:
    reading = recognise("f", dict.fromkeys(["name", "title", "item"], pl.String()), ITEM_ROLES)
    assert reading.columns["title"] == "title"
    assert reading.others == {"title": ["name"]}
    assert str(reading) == "f: item 'item', title 'title' (not 'name'; `title=...` names another); ignored: 'name'"
    records = {"item": pl.String(), "authors": pl.List(pl.Struct({"id": pl.String()})), "genres": pl.List(pl.String())}
    assert dict(recognise("f", records, ITEM_ROLES).columns) == {"item": "item", "category": "genres"}


def imports(path: Path, *more: object) -> Result:
    words = ["import", path, "--to", path.parent / "d", *more]
    return CliRunner().invoke(app, [str(word) for word in words])


def shop(tmp_path: Path) -> tuple[Path, Path]:
    events, items = tmp_path / "clicks.csv", tmp_path / "goods.csv"
    events.write_text("customer_id,product_id,date,price\nann,lamp,2024-06-18,3\nbob,desk,2024-06-19,4\n")
    items.write_text(
        "product_id,name,genres,description,brand,weight\nlamp,Lamp,light|brass,Bright,Acme,1\ndesk,Desk,,,Acme,2\n"
    )
    return events, items


def test_an_import_says_what_it_took_and_what_it_ignored(tmp_path: Path) -> None:
    events, items = shop(tmp_path)
    said = imports(events, "--items", items)
    assert said.exit_code == 0, said.output
    assert "2024-06-18 to 2024-06-19" in said.stdout
    assert f"{events}: user 'customer_id', item 'product_id', time 'date'; ignored: 'price'\n" in said.stdout
    texts = "item 'product_id', title 'name', category 'genres', text 'description', brand 'brand', "
    texts += "attributes 'brand', 'weight'; ignored: nothing\n"
    assert f"{items}: {texts}" in said.stdout
    found = Interactions.load(tmp_path / "d")
    rows = {row[0]: row[1:4] for row in found.catalogue.rows()}
    assert found.attributes.sort("brand", "weight").rows() == [("Acme", 1.0), ("Acme", 2.0)]
    assert rows == {"lamp": ("Lamp", "light|brass", "Acme. Bright"), "desk": ("Desk", "", "Acme")}
    columns = json.loads(imports(events, "--items", items, "--json").stdout)["columns"]
    assert columns[0]["columns"] == {"user": "customer_id", "item": "product_id", "time": "date"}
    assert columns[0]["ignored"] == ["price"]
    assert columns[1]["columns"]["brand"] == "brand"


def test_the_options_win(tmp_path: Path) -> None:
    events, items = shop(tmp_path)
    said = imports(events, "--time", "price", "--items", items, "--title", "brand", "--text", "weight")
    assert said.exit_code == 0, said.output
    found = Interactions.load(tmp_path / "d")
    assert found.times.tolist() == [3, 4]
    assert sorted(found.catalogue["title"]) == ["Acme", "Acme"]
    assert sorted(found.catalogue["text"]) == ["1", "2"]
    for option, role in (("--user", "user"), ("--time", "time")):
        result = imports(events, option, "user_id")
        with pytest.raises(DataError, match=f"no column 'user_id' for the {role}; .*name the right one with {option}"):
            raise result.exception or AssertionError


def test_one_column_is_not_taken_twice(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text("name,artist\nx,y\n")
    assert read_items(path, Columns(catalogue_item="name")).rows() == [("x", "y", "y")]
    (tmp_path / "songs.csv").write_text("user,artist\nann,x\n")
    assert read_tabular(tmp_path / "songs.csv", Columns(time=None)).events.rows() == [("ann", "x", 0)]


def test_ratings_are_recognised_where_they_are_wanted(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("user,item,time,stars\na,b,1,5\na,c,2,\n")
    assert imports(path).exit_code == 0, "blank ratings do no harm where none is asked for"
    assert "line 3, column 'stars': an empty value is not a number" in str(imports(path, "--min-rating", 2).exception)


def test_the_id_of_an_item_is_that_of_the_interactions_or_any_other(tmp_path: Path) -> None:
    events = tmp_path / "a.csv"
    events.write_text("user,asin,time\na,x,1\n")
    for header in ("parent_asin,asin,title\ny,x,One\n", "id,title\nx,One\n", "Item ID,title\nx,One\n"):
        (tmp_path / "items.csv").write_text(header)
        items = read_tabular(events, items=tmp_path / "items.csv").items
        assert items is not None
        assert items.rows() == [("x", "One")]


def test_updates_recognise_them_too(tmp_path: Path) -> None:
    path = tmp_path / "today.csv"
    path.write_text("movieId,userId,timestamp,rating\nx,ann,5,1\n")
    readings: list[Reading] = []
    events, _ = read_events(path, on_reading=readings.append)
    assert events.rows() == [(0, "ann", "x", 5)]
    assert readings[0].ignored == ["rating"]
