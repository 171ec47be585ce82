"""A list of a trillion items costs what one of the whole catalogue does, by every way to ask for it."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import torch
from calling import Call

from deftrec import Recommender, Session
from deftrec.retrieval import top

MANY = 10**12  # bytes of a buffer of that length are in no machine


@pytest.fixture(scope="module")
def recommender(run: Path) -> Recommender:
    return Recommender.load(run)


WAYS: dict[str, Callable[[Recommender, int], list[list[object]]]] = {
    "recommend": lambda one, k: [[r.item for r in one.recommend(history=["i/101"], k=k)]],
    "popular": lambda one, k: [[r.item for r in one.recommend(history=[], k=k)]],
    "many": lambda one, k: [[r.item for r in lists] for lists in one.recommend_many([["i/101"], []], k=k)],
    "rules": lambda one, k: [
        [r.item for r in one.recommend(history=["i/101"], k=k, rules=[{"quota": {"column": "category", "at_most": 9}}])]
    ],
    "mmr": lambda one, k: [[r.item for r in one.recommend(history=["i/101"], k=k, rerank="mmr")]],
    "explained": lambda one, k: [[r.item for r in one.recommend(history=["i/101"], k=k, explain=True)]],
    "continued": lambda one, k: [[r.item for r in one.continue_list(["i/101"], k)]],
    "similar": lambda one, k: [[r.item for r in one.similar("i/101", k)]],
    "session": lambda one, k: [[r.item for r in Session(one, ["i/101"]).recommend(k)]],
    "all": lambda one, k: [pl.concat(one.recommend_all(k))["item"].to_list()],
    "cases": lambda one, k: one.ranker.search(one.queries(one.histories([0])), k).items.tolist(),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_trillion_items_are_all_of_them(recommender: Recommender, way: str) -> None:
    items = recommender.interactions.n_items
    assert WAYS[way](recommender, MANY) == WAYS[way](recommender, items)


def test_a_page_far_behind_the_end_is_empty(recommender: Recommender) -> None:
    found = recommender.recommend(history=["i/101"], offset=MANY)
    assert (list(found), found.notes) == (
        [],
        (f"the list ends after 23 of {MANY + 10} items: no other items are left",),
    )


def test_top_is_no_wider_than_the_catalogue() -> None:
    assert top(torch.zeros(3, 5), MANY).items.tolist() == [[0, 1, 2, 3, 4]] * 3


@pytest.mark.parametrize(
    "words",
    [
        ["recommend", "{run}", "--history", "i/101", "-k", MANY],
        ["recommend", "{run}", "--history", "i/101", "--continue", MANY],
        ["recommend", "{run}", "--all-users", "--out", "{tmp}/all.parquet", "-k", MANY],
        ["recommend", "{run}", "--all-users", "--out", "{tmp}/all", "-k", MANY, "--part-users", MANY],
        ["similar", "{run}", "--item", "i/101", "-k", MANY],
    ],
)
def test_verbs_list_the_catalogue(deftrec: Call, run: Path, tmp_path: Path, words: list[object]) -> None:
    said = deftrec(*(str(word).format(run=run, tmp=tmp_path) for word in words))
    assert said.code == 0, said.err
