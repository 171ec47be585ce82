"""Logs of shops as they are: which column is the kind, the value, an attribute; and a preview of what is understood."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import Result
from typer.testing import CliRunner

from deftrec import Interactions
from deftrec.cli import app
from deftrec.errors import DeftRecError

ECOMMERCE = """\
event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session
2019-10-01 00:00:00 UTC,view,44600062,21,,shiseido,35.79,541312140,72d76fde
2019-10-01 00:00:01 UTC,view,3900821,20,appliances.water_heater,aqua,33.20,554748717,9333dfbd
2019-10-01 00:00:01 UTC,cart,17200506,20,furniture.sofa,,543.10,519107250,566511c2
2019-10-01 00:00:02 UTC,purchase,17200506,20,furniture.sofa,,541.00,519107250,566511c2
2019-10-02 00:00:04 UTC,view,1004237,20,electronics.smartphone,apple,1081.98,541312140,c6bd7419
"""
GA4 = """\
event_name,user_pseudo_id,item_id,event_timestamp
view_item,1.2,sku1,1700000000000000
add_to_cart,1.2,sku1,1700000100000000
purchase,1.2,sku1,1700000200000000
view_item,3.4,sku2,1700000300000000
"""
SHOPIFY = """\
Name,Email,Paid at,Total,Created at,Lineitem quantity,Lineitem name,Lineitem price,Lineitem sku,Vendor,Id
#1001,a@b.com,2024-01-05 10:00:00 -0500,35.00,2024-01-05 10:00:00 -0500,1,Blue mug,10.00,MUG-1,Acme,1
#1001,a@b.com,,,2024-01-05 10:00:00 -0500,2,Red plate,12.00,PLATE-2,Acme,
#1002,c@d.com,2024-02-05 10:00:00 -0500,15.00,2024-02-05 10:00:00 -0500,1,Blue mug,10.00,MUG-1,Acme,112
"""
MOVIELENS = "userId,movieId,rating,timestamp\n1,31,2.5,1260759144\n1,7,4.0,1260759179\n2,31,,1260759180\n"


def run(*words: object) -> Result:
    return CliRunner().invoke(app, ["data", *map(str, words)], catch_exceptions=True)


def imported(tmp_path: Path, content: str, *options: object) -> Interactions:
    path = tmp_path / "log.csv"
    path.write_text(content)
    said = run("import", path, "--to", tmp_path / "d", *options)
    assert said.exit_code == 0, (said.output, said.exception)
    return Interactions.load(tmp_path / "d")


def test_an_ecommerce_log_needs_no_option(tmp_path: Path) -> None:
    data = imported(tmp_path, ECOMMERCE)
    assert sorted(data.signals["kind"]) == ["cart", "purchase", "view", "view", "view"]
    goods = {row["item"]: row for row in data.catalogue.to_dicts()}
    assert goods[17200506] == {
        "item": 17200506,
        "title": "",
        "category": "furniture.sofa",
        "text": "",
        "brand": "",
        "price": 541.0,
    }
    assert goods[1004237]["brand"] == "apple"
    assert data.units_per_second == 1000


def test_a_log_of_ga4_needs_no_option(tmp_path: Path) -> None:
    data = imported(tmp_path, GA4)
    assert data.units_per_second == 1_000_000
    assert set(data.signals["kind"]) == {"view_item", "add_to_cart", "purchase"}
    assert sorted(data.users) == ["1.2", "3.4"]


def test_an_order_export_of_shopify_needs_no_option(tmp_path: Path) -> None:
    data = imported(tmp_path, SHOPIFY)
    assert data.history("a@b.com") in (["MUG-1", "PLATE-2"], ["PLATE-2", "MUG-1"])
    goods = {row[0]: row[1:] for row in data.catalogue.rows()}
    assert goods["MUG-1"] == ("Blue mug", "", "", 10.0, "Acme")
    assert data.catalogue.columns[4:] == ["Lineitem price", "Vendor"]


def test_ratings_are_values(tmp_path: Path) -> None:
    data = imported(tmp_path, MOVIELENS)
    assert data.signals["value"].to_list() == [2.5, 4.0, None]


def test_what_is_recognised_can_be_named_or_left_out(tmp_path: Path) -> None:
    none = imported(tmp_path, ECOMMERCE, "--kind", "none", "--attributes", "none")
    assert none.signals.columns == []
    assert none.attributes.columns == []
    named = imported(
        tmp_path, ECOMMERCE, "--kind", "event_type", "--value", "price", "--attributes", "brand,category_id"
    )
    assert named.signals["value"].max() == 1081.98
    assert named.attributes.columns == ["brand", "category_id"]


def test_items_may_have_attributes_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "goods.jsonl").write_text(
        '{"sku": "a", "price": "€ 12.50", "tags": ["x", "y"], "colors": ["red", "blue"], '
        '"release_date": "2024-05-01"}\n'
        '{"sku": "b", "price": "€ 7", "colors": [], "release_date": null}\n'
    )
    log = "user,sku,time\n1,a,1\n1,b,2\n"
    data = imported(tmp_path, log, "--items", tmp_path / "goods.jsonl", "--attributes", "price,colors,release_date")
    rows = {row[0]: row[4:] for row in data.catalogue.rows()}
    assert rows["a"][:2] == (12.5, "red|blue")
    assert str(rows["a"][2]) == "2024-05-01"
    assert rows["b"] == (7.0, "", None)
    assert data.catalogue.filter(item="a")["category"][0] == "x|y"


def test_texts_that_differ_within_an_item_are_no_titles(tmp_path: Path) -> None:
    """The title of a review is not that of its item."""
    rows = "".join(f"{user},x,{user},great {user}\n{user},y,{user},so so {user}\n" for user in range(5))
    path = tmp_path / "log.csv"
    path.write_text(f"user,item,time,title\n{rows}")
    said = run("import", path, "--to", tmp_path / "d")
    assert "'title' differs within items, so it is not read as their title: --title COL names one" in said.output
    assert set(Interactions.load(tmp_path / "d").titles) == {""}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--kind", "evnt"], "no column 'evnt' for the kind; .*name the right one with --kind COL"),
        (["--value", "brand"], r"line 2, column 'brand': 'shiseido' is not a number"),
        (["--attributes", "prise"], "no column 'prise' for an attribute; .*correct --attributes"),
        (["--title", "nome"], "no free column 'nome' for the title"),
        (["--kind", "user_session"], "it holds 120 kinds of events"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, options: list[str], message: str) -> None:
    path = tmp_path / "log.csv"
    more = "".join(f"2019-10-03 00:00:04 UTC,view,1,2,x,,1,7,s{n}\n" for n in range(116))
    path.write_text(ECOMMERCE + (more if "user_session" in options else ""))
    said = run("import", path, "--to", tmp_path / "d", *options)
    assert said.exit_code != 0
    with pytest.raises(DeftRecError, match=message):
        raise said.exception or AssertionError(said.output)
    assert not (tmp_path / "d").exists()


def test_a_bad_price_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text(ECOMMERCE.replace("543.10", "a lot"))
    said = run("import", path, "--to", tmp_path / "d")
    with pytest.raises(DeftRecError, match="line 4, column 'price': 'a lot' is not a number, as most values"):
        raise said.exception or AssertionError(said.output)


def test_a_preview_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text(ECOMMERCE.replace("cart", "wibble"))
    said = run("import", path, "--preview", "--to", tmp_path / "d")
    assert said.exit_code == 0, said.output
    assert not (tmp_path / "d").exists()
    for line in (
        "kind 'event_type'",
        "attributes 'brand', 'price'",
        "kind 'purchase': 1 events, target",
        "kind 'wibble': 1 events, no role",
        "warning: kinds without a default role: wibble",
        "warning: attribute 'brand' is missing for 1 of 4 items",
        "3 users, 4 items, 5 interactions; nothing was written",
    ):
        assert line in " ".join(said.stdout.split()), line
    found: dict[str, Any] = json.loads(run("import", path, "--preview", "--json").stdout)
    assert found["interactions"][0].keys() == {"user", "item", "time", "kind"}
    assert found["kinds"]["purchase"] == {"events": 1, "role": "target"}
    missing = run("import", path)
    with pytest.raises(DeftRecError, match="name the data directory to write with --to DIR, or give --preview"):
        raise missing.exception or AssertionError


def test_describe_shows_the_signals(tmp_path: Path) -> None:
    imported(tmp_path, ECOMMERCE)
    found = json.loads(run("describe", tmp_path / "d", "--json").stdout)["signals"]
    assert found["kinds"] == {
        "view": {"events": 3, "role": "context"},
        "cart": {"events": 1, "role": "context"},
        "purchase": {"events": 1, "role": "target"},
    }
    assert found["attributes"]["price"] == {
        "type": "number",
        "missing": 0.0,
        "distinct": 4,
        "low": "33.2",
        "high": "1081.98",
    }
    assert found["gaps"]["max"] == pytest.approx(86_404)
    assert found["weekdays"][1:3] == [0.8, 0.2], "Tuesday and Wednesday"
    assert found["hours"][0] == 1.0
    said = run("describe", tmp_path / "d").stdout
    assert "view 3 (context), cart 1 (context), purchase 1 (target)" in " ".join(said.split())


def test_frames_have_kinds_too() -> None:
    from deftrec.data.frames import as_interactions

    frame = pl.DataFrame(
        {"user_id": [1, 1], "product_id": [5, 6], "ts": [1, 2], "event": ["view", "buy"], "price": [1.0, 2.0]}
    )
    data = as_interactions(frame)
    assert data.signals["kind"].to_list() == ["view", "buy"]
    assert data.attributes.columns == ["price"]
    assert "kind 'event'" in data.meta.source
