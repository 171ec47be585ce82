"""Kinds, values, times and attributes from the data to the list, on a shop whose truth is known."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from deftrec import Interactions, Recommender
from deftrec.config import Config
from deftrec.data import Sequences, leave_one_out, temporal
from deftrec.data.kinds import EventRoles, default_roles, opinion, with_roles
from deftrec.data.sequences import CONTEXT, NEGATIVE, NEUTRAL, TARGET, pack_for_training
from deftrec.errors import ConfigError, DataError, DeftRecError
from deftrec.recipe import load_recipe, with_events
from shop import ITEMS, START, shop, shop_events
from toy import tiny_config

ROLES = EventRoles({"purchase": ("target", 1.0), "skip": ("negative", 1.0), "view": ("context", 1.0)})
LATENT: dict[str, Any] = {"retrieval": {"prior": "none", "trend": False}}


def quick(**groups: Any) -> Config:
    return tiny_config(**{**LATENT, "training": {"epochs": 2}, **groups})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recommender, Path]:
    """A run that has learnt the shop, and its directory."""
    folder = tmp_path_factory.mktemp("shop") / "run"
    config = tiny_config(**LATENT, training={"epochs": 30})
    return Recommender.fit(shop(users=300), config, out=folder), folder


# -- roles ---------------------------------------------------------------------------------------------------------


def test_purchases_are_predicted_and_views_are_read(trained: tuple[Recommender, Path]) -> None:
    """Whoever does not know the last purchase from a view can guess one of the newest three at best: NDCG .71."""
    recommender, _ = trained
    assert {kind: one.role for kind, one in recommender.config.data.kinds.items()} == {
        "purchase": "target",
        "skip": "negative",
        "view": "context",
    }
    found = recommender.evaluate(metrics=("ndcg",), k=10)
    assert found.users == 300
    assert found.metrics["ndcg@10"] > 0.85


def test_a_run_keeps_its_roles(trained: tuple[Recommender, Path]) -> None:
    recommender, folder = trained
    loaded = Recommender.load(folder)
    assert loaded.recommend("u1", 5) == recommender.recommend("u1", 5)
    assert loaded.evaluate().metrics == recommender.evaluate().metrics
    assert loaded.interactions.signals["kind"].to_list() == recommender.interactions.signals["kind"].to_list()


def test_what_was_bought_or_skipped_is_not_recommended_and_what_was_viewed_is(
    trained: tuple[Recommender, Path],
) -> None:
    recommender, _ = trained
    kinds = recommender.interactions.events().filter(pl.col("user") == "u4").group_by("kind").agg("item")
    had = dict(kinds.rows())
    listed = {one.item for one in recommender.recommend("u4", ITEMS)}
    assert listed.isdisjoint([*had["purchase"], *had["skip"]])
    viewed = {*had.get("view", [])} - {*had["purchase"], *had["skip"]}
    assert viewed <= listed


def test_the_split_holds_out_targets() -> None:
    data = with_roles(shop(), ROLES)
    for split in (leave_one_out(data), temporal(data)):
        for part in ("validation", "test"):
            places = split.validation if part == "validation" else split.test
            users = np.flatnonzero(places > 0)
            roles = data.sequences.columns["role"][data.sequences.offsets[users] + places[users]]
            assert len(users)
            assert (roles == TARGET).all()
    split = leave_one_out(data)
    kinds = data.sequences.columns["role"]
    for user in range(20):
        own = kinds[data.sequences.offsets[user] : data.sequences.offsets[user + 1]]
        assert np.flatnonzero(own == TARGET)[-2:].tolist() == [split.validation[user], split.test[user]]


def test_training_predicts_the_next_target_from_every_place() -> None:
    sequences = Sequences.from_lists([[5, 6, 7, 8, 9]])
    roles = np.array([CONTEXT, TARGET, NEGATIVE, CONTEXT, TARGET], np.int8)
    packed = pack_for_training(sequences.with_columns(role=roles), 6, np.random.default_rng(0))
    assert packed.items[0].tolist() == [5, 6, 7, 8, -1, -1]
    assert packed.targets[0].tolist() == [6, 9, 9, 9, -1, -1]


def test_ignored_kinds_are_left_out() -> None:
    data = shop()
    config, read = with_events(quick(data={"kinds": {"view": "ignored"}}), data)
    assert set(read.signals["kind"]) == {"purchase", "skip"}
    assert read.n_interactions == int((data.signals["kind"] != "view").sum())
    assert config.data.kinds["view"].role == "ignored"
    assert read.n_items == data.n_items


@pytest.mark.parametrize(
    ("kinds", "roles"),
    [
        ("view addtocart transaction", "context context target"),  # RetailRocket
        ("view cart purchase remove_from_cart", "context context target negative"),
        ("view_item add_to_cart begin_checkout purchase refund", "context context context target negative"),  # GA4
        ("click favourite", "context target"),
        ("pageView", "target"),
        ("Like Dislike skip", "target negative negative"),
        ("view_cart buy", "context target"),
        ("whatever", "target"),
    ],
)
def test_the_strongest_kind_is_the_target(kinds: str, roles: str) -> None:
    assert list(default_roles(kinds.split(), {}).values()) == roles.split()


@pytest.mark.parametrize(
    ("kinds", "given", "message"),
    [
        ("purchase wibble", {}, r"kind 'wibble' have no role; give it one: `data.kinds.wibble=context`"),
        ("purchase puchase", {}, r"nearest known name is 'purchase', by default target"),
        ("purchase", {"veiw": "context"}, r"data.kinds.veiw: the data have no such kind; did you mean 'purchase'"),
        ("skip dislike", {}, r"no kind of event is a target \(skip, dislike\)"),
    ],
)
def test_a_kind_without_a_role_is_named(kinds: str, given: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        default_roles(kinds.split(), given)


def test_given_roles_win() -> None:
    given = {"view": "target", "purchase": "context", "odd": "ignored"}
    assert default_roles(["view", "cart", "purchase", "odd"], given) == {**given, "cart": "target"}  # type: ignore[arg-type]


@pytest.mark.parametrize("named", ["purchase", "lease"])
def test_naming_the_strongest_kind_changes_no_other(named: str) -> None:
    roles = default_roles(["view", "cart", named], {named: "target"})
    assert roles == {"view": "context", "cart": "context", named: "target"}


@pytest.mark.parametrize("kind", ["a.b", "view", "x.role.y"])
def test_names_of_kinds_may_have_dots(kind: str) -> None:
    config = load_recipe("nano", [f"data.kinds.{kind}.weight=2", f"data.kinds.{kind}.role=target"])
    assert config.data.kinds[kind].weight == 2
    assert load_recipe("nano", [f"data.kinds.{kind}=context"]).data.kinds[kind].role == "context"


def test_a_target_without_anything_before_it_teaches_nothing() -> None:
    rows = [(u, n, n, kind) for u in "ab" for n, kind in enumerate(["purchase", "view", "purchase", "purchase"])]
    frame = pl.DataFrame(rows, schema=["user", "item", "time", "kind"], orient="row")
    with pytest.raises(DataError, match="no user has a target after another interaction in train"):
        Recommender.fit(Interactions.from_frame(frame, kind="kind"), quick())


def test_ignored_events_come_to_nothing_after_training() -> None:
    recommender = Recommender.fit(shop(60), quick(data={"kinds": {"view": {"role": "ignored"}}}))
    new = pl.DataFrame(
        {
            "user": ["u1"] * 3,
            "item": ["i3", "i4", "i5"],
            "time": [2_000_000_000 + n for n in range(3)],
            "kind": ["view", "purchase", "view"],
        }
    )
    users = recommender.evaluate(interactions=new, metrics=("ndcg",), k=10).users
    assert users == 1
    assert recommender.add_events(new).added == 1
    assert recommender.add_events(new).added == 0


def test_a_run_goes_on_without_one_of_its_kinds(trained: tuple[Recommender, Path]) -> None:
    """Kinds keep their places in the model, whichever the new data have."""
    start = trained[0]
    events = shop(300).events().filter(pl.col("kind") != "skip")
    data = Interactions.from_frame(events, start.interactions.catalogue, kind="kind")
    again = Recommender.fit(data, start.config, start=start)
    assert list(again.config.data.kinds) == list(start.config.data.kinds)


def test_items_of_a_run_join_data_with_another_attribute() -> None:
    start = Recommender.fit(shop(60), quick(tokenizer={"drop_collaborative": 0.5}))
    start.add_items(pl.DataFrame({"item": ["i99"], "title": ["new"], "brand": ["brand 1"], "price": [5.0]}))
    data = shop(80)
    colours = data.catalogue.with_columns(colour=pl.lit("red"), height=pl.lit(2.0))
    again = Recommender.fit(Interactions.from_frame(data.events(), colours, kind="kind"), start.config, start=start)
    assert again.interactions.catalogue.filter(item="i99").select("colour", "height").row(0) == ("", None)


def test_texts_that_look_like_numbers_stay_texts() -> None:
    rows = [(u, (u + n) % 12, n) for u in range(40) for n in range(5)]
    sizes = ["S", "M", "42", "XL", "44", "L"] * 2
    frame = pl.DataFrame(rows, schema=["user", "item", "time"], orient="row")
    items = pl.DataFrame({"item": range(12), "size": sizes})
    recommender = Recommender.fit(Interactions.from_frame(frame, items), quick(tokenizer={"drop_collaborative": 0.5}))
    for given in ["43", 43]:
        recommender.add_items(pl.DataFrame({"item": [2, 50], "size": [given, given]}))
        assert recommender.interactions.catalogue.filter(pl.col("item").is_in([2, 50]))["size"].to_list() == ["43"] * 2


# -- values --------------------------------------------------------------------------------------------------------


def rated(values: list[float | None]) -> Interactions:
    rows = {"user": "u", "item": [f"i{n}" for n in range(len(values))], "time": range(len(values)), "value": values}
    return Interactions.from_frame(pl.DataFrame(rows), value="value")


def test_ratings_by_threshold() -> None:
    data = with_roles(rated([5.0, 4.0, 3.5, 2.0, 1.0, None]), EventRoles({}, target_from=4, negative_to=2))
    assert data.sequences.roles is not None
    assert data.sequences.roles.tolist() == [TARGET, TARGET, NEUTRAL, NEGATIVE, NEGATIVE, TARGET]
    assert data.sequences.seen().items.tolist() == data.sequences.items.tolist(), "what was rated was had"
    assert len(data.sequences.liked().items) == 4


def test_without_thresholds_every_rating_is_a_target() -> None:
    assert with_roles(rated([5.0, 1.0]), EventRoles({})).sequences.roles is None


def test_weights_by_kind_and_value() -> None:
    roles = EventRoles({"buy": ("target", 2.0), "gift": ("target", 1.0)}, value_weight=1.0)
    frame = pl.DataFrame(
        {
            "user": "u",
            "item": [1, 2, 3],
            "time": [1, 2, 3],
            "kind": ["buy", "gift", "gift"],
            "value": [10.0, 30.0, 20.0],
        }
    )
    weights = with_roles(Interactions.from_frame(frame, kind="kind", value="value"), roles).sequences.columns["weight"]
    np.testing.assert_allclose(weights, [2 * 0.5, 1.5, 1.0])


def test_a_weight_of_zero_teaches_nothing() -> None:
    """The model that weighs one kind of target with zero is that of the data in which nothing else is a target."""
    data = shop(60)
    twice = replace(data, signals=data.signals.with_columns(pl.col("kind").replace("view", "order")))
    plain = Recommender.fit(twice, quick(data={"kinds": {"order": {"role": "target", "weight": 0.0}}}))
    heavy = Recommender.fit(twice, quick(data={"kinds": {"order": {"role": "target", "weight": 1.0}}}))
    losses = [one.info.history["joint"][0]["loss"] for one in (plain, heavy)]
    assert losses[0] != losses[1]


def test_thresholds_need_values_and_an_order() -> None:
    with pytest.raises(ConfigError, match=r"have no values; import the data with `value=\.\.\.`"):
        Recommender.fit(shop(), quick(data={"target_from": 4}))
    with pytest.raises(ConfigError, match="negative_to is 5, and target_from is 4: give a lower negative_to"):
        quick(data={"target_from": 4, "negative_to": 5})
    with pytest.raises(ConfigError, match=r"data\.kinds\.view: the interactions of unnamed have no kinds"):
        Recommender.fit(rated([1.0, 2.0, 3.0, 4.0]), quick(data={"kinds": {"view": "context"}}))


@pytest.mark.parametrize(("weight", "most", "least"), [(1.0, 0.1, 0.0), (0.0, 0.7, 0.3)])
def test_dislikes_are_ranked_low(weight: float, most: float, least: float) -> None:
    """Half of the items are liked by even users and disliked by odd ones, and the other way round.

    Likes alone do not show it in so few steps; the term of the dislikes does.
    """
    rng = np.random.default_rng(0)
    rows = [
        (user, int(item), time, 5.0 if (item + user) % 2 == 0 else 1.0)
        for user in range(200)
        for time, item in enumerate(rng.permutation(40)[:12])
    ]
    frame = pl.DataFrame(rows, schema=["user", "item", "time", "value"], orient="row")
    data = Interactions.from_frame(frame, value="value")
    config = tiny_config(
        **LATENT,
        data={"target_from": 4, "negative_to": 2},
        objective={"disliked_weight": weight},
        training={"epochs": 40, "batch_positions": 64},
    )
    recommender = Recommender.fit(data, config)
    assert ("disliked" in recommender.info.history["joint"][0]) == (weight > 0)
    listed = recommender.recommend(list(range(60)), 2)
    wrong = [(int(one.item) + user) % 2 for user, found in enumerate(listed) for one in found]
    assert least <= float(np.mean(wrong)) <= most
    found = recommender.evaluate()
    assert (found.metrics["disliked@10"] < 0.01) == (weight > 0)
    assert "disliked@10" in found.ci95


def test_evaluation_by_kind_and_value(trained: tuple[Recommender, Path]) -> None:
    recommender, _ = trained
    assert recommender.evaluate(target_kind="purchase").metrics == recommender.evaluate().metrics
    with pytest.raises(DataError, match="no user has a test target of kind 'view'"):
        recommender.evaluate(target_kind="view")
    with pytest.raises(ConfigError, match=r"`target_kind=veiw`: the kinds are purchase, skip, view"):
        recommender.evaluate(target_kind="veiw")
    with pytest.raises(ConfigError, match="have no values"):
        recommender.evaluate(min_value=4)
    rating = Recommender.fit(rated_users(), quick(data={"target_from": 3}))
    assert rating.evaluate(min_value=5).users < rating.evaluate(min_value=3).users == rating.evaluate().users


def rated_users() -> Interactions:
    rng = np.random.default_rng(1)
    rows = [
        (user, item, n, float(rng.integers(1, 6))) for user in range(40) for n, item in enumerate(rng.permutation(9))
    ]
    return Interactions.from_frame(
        pl.DataFrame(rows, schema=["user", "item", "time", "value"], orient="row"), value="value"
    )


# -- times ---------------------------------------------------------------------------------------------------------


def test_the_time_of_the_request_is_read() -> None:
    """Who comes back within the hour buys the next item; who comes back after a month begins at item 0."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(200):
        time, place = START, int(rng.integers(ITEMS))
        for _ in range(6):
            late = bool(rng.random() < 0.5)
            time += 30 * 86_400 if late else 1800
            place = 0 if late else (place + 1) % ITEMS
            rows.append((user, place, time))
    frame = pl.DataFrame(rows, schema=["user", "item", "time"], orient="row")
    settings = {"tokenizer": {"request_time": True, "gaps": True}, "training": {"epochs": 40, "batch_positions": 64}}
    config = tiny_config(**{**LATENT, "retrieval": {**LATENT["retrieval"], "seen": "keep"}, **settings})
    recommender = Recommender.fit(Interactions.from_frame(frame), config)
    last = int(frame.filter(user=7)["time"].max() or 0)  # type: ignore[arg-type]
    place = frame.filter(user=7)["item"][-1]
    soon = recommender.recommend(7, 1, exclude_seen=False, at=last + 1800)
    later = recommender.recommend(7, 1, exclude_seen=False, at=datetime.fromtimestamp(last + 30 * 86_400, UTC))
    assert soon[0].item == (place + 1) % ITEMS
    assert later[0].item == 0


def test_a_time_is_a_number(trained: tuple[Recommender, Path]) -> None:
    with pytest.raises(ConfigError, match="`at=nan` is no time"):
        trained[0].recommend("u1", at=float("nan"))


def test_a_time_needs_a_unit() -> None:
    recommender = Recommender.fit(rated_users(), quick(data={"target_from": 3}))
    with pytest.raises(ConfigError, match="no known unit"):
        recommender.recommend(1, at=5)


def test_options_of_time_cost_nothing_where_there_are_none() -> None:
    """Positions are no times: the same model, to the last bit."""
    timed = quick(
        tokenizer={"gaps": True, "request_time": True, "values": True},
        language={"kind": "nano", "width": 32, "layers": 1, "dropout": 0.0, "relative_time": True},
    )
    data = Interactions.from_frame(rated_users().events().drop("value"))
    plain, read = (Recommender.fit(data, config) for config in (quick(), timed))
    losses = [[epoch["loss"] for epoch in one.info.history["joint"]] for one in (plain, read)]
    assert losses[0] == losses[1]
    assert read.config.tokenizer.gaps is False
    assert plain.recommend(3) == read.recommend(3)


# -- attributes ----------------------------------------------------------------------------------------------------


def test_cold_items_are_served_from_their_attributes() -> None:
    """Users buy things of one brand; a new item without text belongs to the brand that it has."""
    rng = np.random.default_rng(0)
    rows = [(u, int(item) * 4 + u % 4, n) for u in range(120) for n, item in enumerate(rng.permutation(6)[:5])]
    items = pl.DataFrame(
        {"item": range(24), "brand": [f"b{n % 4}" for n in range(24)], "price": [1.0 + n % 4 for n in range(24)]}
    )
    frame = pl.DataFrame(rows, schema=["user", "item", "time"], orient="row")
    settings = {"tokenizer": {"drop_collaborative": 0.5}, "training": {"epochs": 20}}
    recommender = Recommender.fit(Interactions.from_frame(frame, items), tiny_config(**LATENT, **settings))
    assert [encoder.name for encoder in recommender.info.attributes] == ["brand", "price"]
    new = pl.DataFrame({"item": [100, 101, 102, 103], "brand": ["b0", "b1", "b2", "b3"], "price": [1.0, 2.0, 3.0, 4.0]})
    recommender.add_items(new)
    for user in range(4):
        found = [one.item for one in recommender.recommend(user, 30) if int(one.item) >= 100]
        assert found[0] == 100 + user
    with pytest.raises(DataError, match="item 104 has no title, category, text or attribute"):
        recommender.add_items(pl.DataFrame({"item": [104], "brand": [""]}))


def test_attributes_change_for_rules_and_the_model_keeps_its_own(tmp_path: Path) -> None:
    recommender = Recommender.fit(shop(60), quick(), out=tmp_path / "run")
    before = recommender.recommend("u1", ITEMS)
    cheap = {"deny": {"column": "price", "at_least": 100}}
    assert all(price_of(recommender, one.item) < 100 for one in recommender.recommend("u1", ITEMS, rules=[cheap]))
    done = recommender.add_items(pl.DataFrame({"item": ["i3"], "price": [5000.0]}))
    assert (done.added, done.updated, done.unchanged) == (0, 1, 0)
    assert recommender.add_items(pl.DataFrame({"item": ["i3"], "price": [5000.0]})).unchanged == 1
    assert price_of(recommender, "i3") == 5000.0
    assert recommender.interactions.catalogue.filter(item="i3")["title"][0] == "thing 3"
    assert recommender.recommend("u1", ITEMS) == before
    assert "i3" not in [one.item for one in recommender.recommend("u1", ITEMS, rules=[cheap])]
    recommender.save(tmp_path / "copy")
    assert price_of(Recommender.load(tmp_path / "copy"), "i3") == 5000.0
    with pytest.raises(DataError, match=r"column 'price': .*this run's are numbers"):
        recommender.add_items(pl.DataFrame({"item": ["i3"], "price": ["dear"]}))


def price_of(recommender: Recommender, item: Any) -> float:
    return float(recommender.interactions.catalogue.filter(pl.col("item") == item)["price"][0])


# -- new events ----------------------------------------------------------------------------------------------------


def test_new_events_have_kinds(trained: tuple[Recommender, Path]) -> None:
    """After the purchase of item 7 comes item 8, whatever is viewed then."""
    recommender = Recommender.load(trained[1])
    day = START + 10**8
    rows = {"user": "zoe", "item": ["i7", "i2"], "time": [day, day + 60], "kind": ["purchase", "view"]}
    recommender.add_events(pl.DataFrame(rows))
    assert recommender.recommend("zoe", 1)[0].item == "i8"
    assert "i2" in [one.item for one in recommender.recommend("zoe", ITEMS)]
    recommender.add_events(pl.DataFrame({"user": "zoe", "item": "i8", "time": [day + 90], "kind": "skip"}))
    assert "i8" not in [one.item for one in recommender.recommend("zoe", ITEMS)]
    [best] = recommender.recommend("zoe", 1, explain=True)
    assert best.explanation is not None
    said = {one.item: one.event for one in best.explanation.influences}
    assert said["i7"].startswith("purchase, ")
    assert {*said} <= {"i7", "i2", "i8"}
    with pytest.raises(
        DataError, match="no column 'kind', and this run's interactions have kinds: purchase, skip, view"
    ):
        recommender.add_events(pl.DataFrame({"user": "zoe", "item": "i8", "time": [day + 91]}))
    with pytest.raises(DataError, match=r"row 1, column 'kind': 'veiw' is no kind of this run, which are purchase"):
        recommender.add_events(pl.DataFrame({"user": "zoe", "item": "i8", "time": [day + 92], "kind": "veiw"}))


def test_dislikes_are_named_in_explanations(trained: tuple[Recommender, Path]) -> None:
    recommender = Recommender.load(trained[1])
    day = START + 10**8
    rows = {"user": "kim", "item": ["i7", "i3"], "time": [day, day + 86_400], "kind": ["purchase", "skip"]}
    recommender.add_events(pl.DataFrame(rows))
    [best] = recommender.recommend("kim", 1, explain=True, at=day + 2 * 86_400)
    assert best.explanation is not None
    said = {one.item: one.event for one in best.explanation.influences}
    assert said == {"i7": "purchase, 2 days ago", "i3": "disliked, yesterday"}


def test_evaluation_on_new_events_asks_for_targets(trained: tuple[Recommender, Path]) -> None:
    recommender, _ = trained
    later = shop_events(users=20).with_columns(pl.col("time") + 10**8).filter(pl.col("kind") != "skip")
    found = recommender.evaluate(interactions=later, metrics=("ndcg",), k=10)
    assert found.users == 20


def test_what_says_that_an_item_is_liked() -> None:
    assert opinion(ROLES, [], liked=True) == {"kind": "purchase"}
    assert opinion(ROLES, [], liked=False) == {"kind": "skip"}
    ratings = EventRoles({}, target_from=4, negative_to=2)
    assert opinion(ratings, [1.0, 3.0, 5.0], liked=False) == {"value": 1.0}
    assert opinion(EventRoles({}), [1.0], liked=True) is None


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("kind", ["view", ""], "row 2, column 'kind': an empty value is not a kind of event"),
        ("kind", [f"k{n}" for n in range(200)], "it holds 200 kinds of events"),
        ("value", ["5", "many"], "row 2, column 'value': 'many' is not a number"),
        ("value", [1.0, float("inf")], "row 2, column 'value': inf is not a number"),
    ],
)
def test_bad_signals_are_named(column: str, values: list[Any], message: str) -> None:
    rows = {"user": [1] * len(values), "item": range(len(values)), "time": range(len(values)), column: values}
    with pytest.raises(DataError, match=message):
        Interactions.from_frame(pl.DataFrame(rows), **{column: column})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, float("inf")], "row 2, column 'price': inf is not a finite number"),
        (["1", "2", "dear"], "row 3, column 'price': 'dear' is not a number, as most values of this column are"),
        ([{"a": 1}], "column 'price'"),
    ],
)
def test_bad_attributes_are_named(values: list[Any], message: str) -> None:
    events = pl.DataFrame({"user": 1, "item": range(len(values)), "time": range(len(values))})
    items = pl.DataFrame({"item": range(len(values)), "price": values}, strict=False)
    with pytest.raises(DataError, match=message):
        Interactions.from_frame(events, items)


def test_odd_attributes_are_read() -> None:
    """A price of 1e308, a missing one, ten thousand categories, dates, lists, truth values and currencies."""
    n = 10_000
    items = pl.DataFrame(
        {
            "item": range(n),
            "price": [1e308, None, float("nan"), *[1.0] * (n - 3)],
            "sku": [f"s{k}" for k in range(n)],
            "out": ["2024-05-06"] * n,
            "tags": [["a", "b"]] * n,
            "stock": [True] * n,
            "cost": ["$1,200.50"] * n,
        }
    )
    data = Interactions.from_frame(pl.DataFrame({"user": 1, "item": range(n), "time": range(n)}), items)
    kinds = {name: str(dtype) for name, dtype in data.attributes.schema.items()}
    assert kinds == {
        "price": "Float64",
        "sku": "String",
        "out": "Date",
        "tags": "String",
        "stock": "String",
        "cost": "Float64",
    }
    assert data.attributes["price"].null_count() == 2
    from deftrec.attributes import encode_attributes, fit_attributes

    encoded = encode_attributes(fit_attributes(data.attributes), data.catalogue)
    assert encoded.isfinite().all()
    with pytest.raises(DataError, match="no attribute can have the name 'popularity'"):
        Interactions.from_frame(data.events(), items.rename({"sku": "popularity"}))


def test_a_run_of_another_form_is_not_continued(trained: tuple[Recommender, Path]) -> None:
    recommender, _ = trained
    lacking = shop(300)
    bare = Interactions.from_frame(lacking.events(), lacking.catalogue.drop("price"), kind="kind")
    with pytest.raises(DeftRecError, match="reads the attribute 'price', which unnamed lacks"):
        Recommender.fit(bare, recommender.config, start=recommender)


def test_the_prior_leaves_views_out_where_validation_says_so(tmp_path: Path) -> None:
    """In the shop views are noise: the prior of purchases alone knows the next one."""
    config = tiny_config(training={"epochs": 2}, retrieval={"prior": "any", "trend": False})
    recommender = Recommender.fit(shop(200), config, out=tmp_path / "run")
    assert recommender.info.terms["collaborative_prior"]["context"] is False
    assert recommender.evaluate(parts="collaborative_prior", metrics=("ndcg",), k=10).metrics["ndcg@10"] > 0.95
    assert Recommender.load(tmp_path / "run").recommend("u1", 5) == recommender.recommend("u1", 5)
