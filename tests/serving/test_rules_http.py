"""Business rules over HTTP: of a request, of the service, with and without an index."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from answering import Opened
from fastapi.testclient import TestClient

from deftrec import Interactions, Recommender
from deftrec.data import Meta
from deftrec.errors import ConfigError
from deftrec.retrieval import parse_rules
from deftrec.serving.engine import InferenceEngine, RecommendationRequest
from deftrec.serving.service import load_engine
from deftrec.serving.settings import Settings
from toy import ring, tiny_config

DAY, START = 86_400, 1_600_000_000


@pytest.fixture(scope="module")
def dated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the ring, an event a day for every user, with two kinds of items."""
    events = ring(users=60, strings=True).events()
    events = events.with_columns((pl.col("time") // 60 * DAY + START).alias("time"))
    names = events["item"].unique().sort()
    kinds = ["red|old" if n % 2 else "blue" for n in range(len(names))]
    items = pl.DataFrame({"item": names, "title": [f"number {n}" for n in range(len(names))], "category": kinds})
    folder = tmp_path_factory.mktemp("dated") / "run"
    data = Interactions.from_frame(events, items, meta=Meta(name="dated"))
    Recommender.fit(data, tiny_config(training={"epochs": 2}), out=folder)
    return folder


@pytest.fixture
def client(opened: Opened, dated: Path) -> TestClient:
    return opened(run=dated)


def ask(client: TestClient, **question: Any) -> Any:
    answer = client.post("/v1/recommendations", json=question)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(answer: Any) -> list[str]:
    return [one["item_id"] for one in answer["items"]]


RULES = [
    {"deny": {"column": "title", "words": ["number 3"]}},
    {"boost": {"column": "category", "is": "red", "factor": 2}},
    {"quota": {"column": "category", "at_most": 3}},
    {"pin": {"item": "i/105", "position": 2}},
]


def test_the_service_answers_as_the_library_does(client: TestClient, dated: Path) -> None:
    recommender = Recommender.load(dated)
    user = recommender.interactions.users[3]
    for offset in (0, 3):
        expected = recommender.recommend(user, k=3, rules=RULES, offset=offset, explain=True)
        answer = ask(client, user_id=user, k=3, rules=RULES, offset=offset, explain=True)
        assert ids(answer) == [one.item for one in expected]
        assert [one["rank"] for one in answer["items"]] == [one.rank for one in expected]
        assert [tuple(one["rules"]) for one in answer["items"]] == [one.rules for one in expected]
        assert [(one["item_id"], one["rule"]) for one in answer["held_back"]] == [
            (one.item, one.rule) for one in expected.held_back
        ]
        assert answer["notes"] == list(expected.notes)
    assert ids(ask(client, user_id=user, k=3, rules=RULES))[1] == "i/105"
    assert ask(client, user_id=user, k=6, rules=RULES)["items"][0]["rules"] == []
    many = recommender.recommend_many([recommender.interactions.history(user)], k=3, rules=RULES, offset=3)
    assert [one.item for one in many[0]] == ids(ask(client, user_id=user, k=3, rules=RULES, offset=3))


def test_everybody_gets_lists_by_the_rules(dated: Path) -> None:
    recommender = Recommender.load(dated)
    rules = [*RULES, {"exclude": {"seen": "2 days"}}]
    [frame] = recommender.recommend_all(4, exclude_seen=False, rules=rules)
    for user in recommender.interactions.users[:5]:
        alone = recommender.recommend(user, k=4, exclude_seen=False, rules=rules)
        assert frame.filter(pl.col("user") == user)["item"].to_list() == [one.item for one in alone]


def test_popular_items_follow_the_rules_too(client: TestClient, dated: Path) -> None:
    counts = Recommender.load(dated).popularity
    blue = ids(ask(client, history=[], k=24, rules=[{"allow": {"column": "category", "is": "blue"}}]))
    assert len(blue) == 12
    boosted = [{"boost": {"column": "category", "is": "blue", "factor": 1000}}]
    answer = ask(client, history=[], k=24, rules=boosted, explain=True)
    assert ids(answer)[:12] == blue
    assert sorted(one["score"] for one in answer["items"]) == sorted(counts.tolist())
    assert answer["items"][0]["rules"] == ["boosted x1000: category blue"]
    pages = [ids(ask(client, history=[], k=5, offset=start)) for start in range(0, 25, 5)]
    assert [item for page in pages for item in page] == ids(ask(client, history=[], k=24))


def test_a_short_list_says_why(client: TestClient) -> None:
    answer = ask(client, history=["i/101"], k=3, rules=[{"allow": {"column": "item", "is": ["i/105", "i/106"]}}])
    assert answer["notes"] == [
        "the list ends after 2 of 3 items: no other items are left under allow: item i/105, i/106"
    ]
    assert ask(client, history=["i/101"], k=3)["notes"] == []


def test_items_seen_lately_are_known_from_the_data_and_the_store(client: TestClient, dated: Path) -> None:
    interactions = Recommender.load(dated).interactions
    user, rules = interactions.users[0], [{"exclude": {"seen": "1 day"}}]
    own = interactions.history(user)

    def missing() -> set[str]:
        found = ids(ask(client, user_id=user, k=24, exclude_seen=False, rules=rules))
        return {str(item) for item in interactions.catalogue["item"]} - set(found)

    assert missing() == {str(item) for item in own[-2:]}
    later = {"event_id": "1", "user_id": user, "item_id": own[0], "time": START + 30 * DAY}
    assert client.post("/v1/events", json={"events": [later]}).status_code == 200
    assert missing() == {str(own[0])}


@pytest.mark.parametrize(
    ("question", "code", "words"),
    [
        ({"rules": [{"dney": {}}]}, "invalid", "unknown key 'dney'; did you mean 'deny'?"),
        ({"rules": [{"deny": {"colum": "x"}}]}, "invalid", "rules.0.deny: Value error, unknown key 'colum'"),
        ({"rules": [{}]}, "invalid", "a rule has one key"),
        ({"rules": {}}, "invalid", "rules: "),
        ({"rules": [{"deny": {"column": "brand", "is": "x"}}]}, "invalid_rules", "no column 'brand'; did you mean"),
        ({"rules": [{"deny": {"column": "category", "is": "rde"}}]}, "invalid_rules", "did you mean 'red'?"),
        ({"rules": [{"pin": {"item": "x", "position": 1}}]}, "invalid_rules", "item 'x' is not in the catalogue"),
        ({"rules": [{"exclude": {"seen": "3 days"}}]}, "invalid_rules", "give a user of the data"),
        ({"rules": [{"allow": {"new": "3 days"}}] * 51}, "invalid", "a request has 50 rules at most"),
        ({"rules": [{"deny": {"column": "item", "is": ["i/101"] * 1001}}]}, "invalid", "rules.0.deny.is"),
        ({"rules": [{"deny": {"column": "item", "is": "x" * 257}}]}, "invalid", "rules.0.deny.is.0"),
        ({"offset": -1}, "invalid", "offset: "),
        ({"offset": 1001}, "invalid", "offset is 1,000 at most"),
    ],
)
def test_wrong_rules_are_told(client: TestClient, question: dict[str, Any], code: str, words: str) -> None:
    answer = client.post("/v1/recommendations", json={"history": ["i/101"], **question})
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert words in answer.json()["message"]


def test_rules_without_times_name_the_mend(client: TestClient, opened: Opened) -> None:
    undated = opened()  # the ring's times are no clock times
    user = next(iter(undated.get("/v1/users").json()["users"]))["user_id"]
    for rule in ({"fresh": {"half_life": "3 days"}}, {"allow": {"new": "3 days"}}):
        answer = undated.post("/v1/recommendations", json={"user_id": user, "rules": [rule]})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_rules")
        assert "import the events with dates" in answer.json()["message"]


def test_rules_of_the_service_hold_for_every_request(opened: Opened, dated: Path, tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("- allow: {column: category, is: red}\n- pin: {item: i/105, position: 1}\n")
    settings = Settings(run=dated, rules=path, store=f"sqlite:///{tmp_path / 'events.sqlite'}", rate=0)
    engine = load_engine(dated, settings)
    red = {engine.items[n] for n in engine.recommender.categories["red"].tolist()}
    renewed = engine.renewed()
    for one in (engine, renewed):
        [answer] = one.answer([RecommendationRequest(one, np.array([0]), k=24, rules=one.built())])
        assert not isinstance(answer, Exception)
        assert {str(item.item) for item in answer.found} == red - {one.items[0]}
    with pytest.raises(ConfigError, match="two items are fixed at position 1"):
        engine.built(parse_rules([{"pin": {"item": "i/106", "position": 1}}]))
    engine.close()
    path.write_text("- allow: {column: category, is: green}\n")
    with pytest.raises(ConfigError, match="no item has the category 'green'; did you mean"):
        load_engine(dated, settings)


@pytest.mark.parametrize("kind", ["faiss", "pgvector"])
def test_an_index_hides_nothing_from_the_rules(
    kind: Any, runs: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """The index proposes one item for each that is asked for, and the rules want the farthest."""
    url = "sqlite:///unused"
    if kind == "faiss":
        pytest.importorskip("faiss", reason='FAISS: pip install "deftrec[faiss]"')
    else:
        url = request.getfixturevalue("postgresql_server").get_uri()
    monkeypatch.setattr("deftrec.serving.engine.OVERFETCH", 1)
    exact = InferenceEngine.load(runs / "first")
    indexed = InferenceEngine.load(runs / "first", kind, url)
    for engine in (exact, indexed):  # so that the prior proposes nothing
        ranker = engine.recommender.ranker.without("collaborative_prior", "repeat_bias")
        monkeypatch.setattr(engine.recommender, "ranker", ranker)
        if engine.approximate is not None:
            monkeypatch.setattr(engine.approximate, "_ranker", ranker)

    def listed(engine: InferenceEngine, rules: list[Any], **more: Any) -> list[str]:
        built = engine.built(parse_rules(rules))
        query = RecommendationRequest(engine, np.array([0]), rules=built, exclude_seen=False, **more)
        [answer] = engine.answer([query])
        assert not isinstance(answer, Exception), answer
        return [str(one.item) for one in answer.found]

    whole = listed(exact, [], k=24)
    far = whole[-3:]
    for rules in (
        [{"allow": {"column": "item", "is": far}}],
        [{"boost": {"column": "item", "is": far, "factor": 1e6}}],
        [{"quota": {"column": "item", "is": far, "at_least": 2}}],
        [{"quota": {"column": "category", "is": "blue", "at_most": 1}}],
        [{"pin": {"item": far[0], "position": 3}}],
    ):
        for k in (1, 3, 5):
            assert listed(indexed, rules, k=k) == listed(exact, rules, k=k)
    assert listed(indexed, [{"allow": {"column": "item", "is": far}}], k=5) == far
    pages = [listed(indexed, [], k=4, offset=start) for start in range(0, 24, 4)]
    assert [item for page in pages for item in page] == whole
    indexed.close()
