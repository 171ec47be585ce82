"""Requests in words over HTTP."""

from pathlib import Path

import polars as pl
import pytest
from answering import Opened

from deftrec import Interactions, Recommender
from toy import ring
from worded import fitted

COLOURS = ("red", "green", "blue")


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = ring(users=60, strings=True)
    items = data.catalogue.with_columns(category=pl.Series([COLOURS[n % 3] for n in range(data.n_items)]))
    folder = tmp_path_factory.mktemp("asked")
    fitted(folder, Interactions.from_frame(data.events(), items, meta=data.meta)).with_requests(out=folder / "run")
    return folder / "run"


def test_answers_are_those_of_the_library(opened: Opened, asked: Path) -> None:
    recommender, client = Recommender.load(asked), opened(run=asked)
    history = recommender.interactions.history(recommender.interactions.users[0])
    for wish in ({"request": "red"}, {"request": "something green, no blue", "guidance": 3.0}, {}):
        for items in (history, []):
            answer = client.post("/v1/recommendations", json={"history": items, "k": 5, **wish})
            assert answer.status_code == 200, answer.text
            expected = [one.item for one in recommender.recommend(history=items, k=5, **wish)]  # type: ignore[arg-type]
            assert [one["item_id"] for one in answer.json()["items"]] == expected
            assert bool(answer.json()["understood"]) == bool(wish)


def test_an_explanation_names_the_share_of_the_request(opened: Opened, asked: Path) -> None:
    body = {"user_id": "u/0", "k": 1, "request": "red", "explain": True}
    recommender, client = Recommender.load(asked), opened(run=asked)
    body["user_id"] = recommender.interactions.users[0]
    [one] = client.post("/v1/recommendations", json=body).json()["items"]
    assert one["explanation"]["shares"]["request"] > 0


@pytest.mark.parametrize(
    ("wish", "kind"),
    [
        ({"request": "!!!"}, "invalid_request"),
        ({"request": "red, no red"}, "invalid_request"),
        ({"request": "x" * 501}, "invalid"),
        ({"request": 7}, "invalid"),
        ({"request": "red", "guidance": 9}, "invalid"),
        ({"request": "red", "guidance": "much"}, "invalid"),
    ],
)
def test_what_cannot_be_read_is_a_problem(opened: Opened, asked: Path, wish: dict[str, object], kind: str) -> None:
    answer = opened(run=asked).post("/v1/recommendations", json={"history": [], **wish})
    assert answer.status_code == 422
    assert answer.json()["code"] == kind


def test_a_run_that_has_not_learnt_is_a_problem(opened: Opened, runs: Path) -> None:
    answer = opened(run=runs / "first").post("/v1/recommendations", json={"history": [], "request": "red"})
    assert answer.status_code == 422
    assert "deftrec requests RUN" in answer.json()["message"]
