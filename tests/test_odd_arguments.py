"""Arguments of other kinds than the library's: the right value, or an error of the library that names the argument."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from deftrec import Recommender
from deftrec.errors import ConfigError, DataError, DeftRecError
from toy import ring, tiny_config

SEEDED: dict[str, Callable[[Recommender, Any], Any]] = {
    "recommend": lambda one, seed: one.recommend(1000, 2, seed=seed),
    "recommend several": lambda one, seed: one.recommend([1000, 1001], 2, seed=seed),
    "recommend_many": lambda one, seed: one.recommend_many([[100]], k=2, seed=seed),
    "recommend_all": lambda one, seed: list(one.recommend_all(2, seed=seed)),
    "continue_list": lambda one, seed: one.continue_list([100], 2, seed=seed),
    "score": lambda one, seed: one.score(1000, [100], seed=seed),
    "user_embeddings": lambda one, seed: one.user_embeddings([1000], seed=seed),
}


@pytest.fixture(scope="module")
def recommender() -> Recommender:
    return Recommender.fit(ring(users=40), tiny_config(training={"epochs": 1}, collaborative={"epochs": 1}))


@pytest.mark.parametrize("method", SEEDED)
def test_a_seed_is_a_whole_number_of_64_bits(recommender: Recommender, method: str) -> None:
    call = SEEDED[method]
    for right in (0, 2**64 - 1, np.int64(3), np.uint64(2**64 - 1), None):
        call(recommender, right)
    for wrong in (2**64, 2**70, -1, 1.5, "3", True, float("nan"), np.array([1])):
        with pytest.raises(ConfigError, match=r"seed is .*; give a whole number from 0 to"):
            call(recommender, wrong)


def test_a_seed_of_the_options_has_64_bits() -> None:
    with pytest.raises(DeftRecError, match="seed"):
        tiny_config(seed=2**70)


@pytest.mark.parametrize("wrong", [0, -1, 1.0, 1.5, float("nan"), "5", None, True, [5], np.float64(3)])
def test_the_length_of_a_list_is_a_whole_number(recommender: Recommender, wrong: Any) -> None:
    calls: list[Callable[[], object]] = [
        lambda: recommender.recommend(1000, wrong),
        lambda: recommender.recommend([1000], wrong),
        lambda: recommender.similar(100, wrong),
        lambda: recommender.continue_list([100], wrong),
        lambda: recommender.recommend_many([[100]], k=wrong),
        lambda: list(recommender.recommend_all(wrong)),
    ]
    for call in calls:
        with pytest.raises(ConfigError, match=r"k is .*; ask for 1 item or more"):
            call()
    if wrong not in (0, None):
        with pytest.raises(ConfigError, match=r"offset is .*; give 0 or the number"):
            recommender.recommend(1000, 2, offset=wrong)


def test_numbers_of_numpy_are_numbers(recommender: Recommender) -> None:
    usual = recommender.recommend(1000, 2)
    assert recommender.recommend(np.int64(1000), np.int32(2)) == usual
    assert recommender.evaluate(k=np.int64(10)) == recommender.evaluate(k=10)


def test_memory_does_not_follow_a_cutoff(recommender: Recommender) -> None:
    usual, wide = recommender.evaluate(k=(10, 100)).metrics, recommender.evaluate(k=(10, 10**15)).metrics
    assert wide["hr@1000000000000000"] == usual["hr@100"] == 1
    assert wide["ndcg@1000000000000000"] == usual["ndcg@100"]
    assert wide["hr@10"] == usual["hr@10"]
    recommender.evaluate(k=2**70)


@pytest.mark.parametrize("wrong", [0, 1.0, "5", True, [], ["5"], [5, 0]])
def test_cutoffs_are_whole_numbers(recommender: Recommender, wrong: Any) -> None:
    with pytest.raises(ConfigError, match=r"give whole numbers of 1 or more, such as k=\(5, 10\)"):
        recommender.evaluate(k=wrong)


def test_a_metric_may_stand_alone(recommender: Recommender) -> None:
    assert recommender.evaluate(metrics="ndcg").metrics == recommender.evaluate(metrics=["ndcg"]).metrics


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda one: one.evaluate("train"), "split is 'train'; give 'validation' or 'test'"),
        (lambda one: one.evaluate(seen="drop"), "seen is 'drop'; give 'exclude' or 'keep'"),
        (lambda one: one.evaluate(seen=True), "seen is True"),
        (lambda one: one.recommend(1000, exclude_seen="no"), "exclude_seen is 'no'; give True or False"),
        (lambda one: one.recommend(1000, rerank="mmr", strength="x"), "strength is 'x'; give 0"),
        (lambda one: one.recommend(1000, rerank="mmr", strength=True), "strength is True; give 0"),
        (lambda one: one.recommend(1000, category=["red"]), r"category is \['red'\]; give the name of one"),
        (lambda one: one.recommend(1000, category=1), "category is 1; give the name of one"),
        (lambda one: Recommender(one.run, None, "fp16"), "precision is 'fp16'; give 'auto' or 'bf16' or 'fp32'"),
        (lambda one: Recommender(one.run, None, "fp32", "onnx"), "runtime is 'onnx'; give 'torch' or 'openvino'"),
        (lambda one: Recommender.load("nowhere", device="quantum"), "device 'quantum' cannot be used here"),
    ],
)
def test_a_wrong_choice_is_named_with_the_right_ones(
    recommender: Recommender, call: Callable[[Recommender], object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        call(recommender)


@pytest.mark.parametrize("alone", ["12", b"12", 12, None])
def test_one_id_is_no_list_of_its_digits(recommender: Recommender, alone: Any) -> None:
    calls: list[Callable[[], object]] = [
        lambda: recommender.interactions.item_numbers(alone),
        lambda: recommender.score(1000, alone),
        lambda: recommender.remove_items(alone),
        lambda: recommender.recommend_many([alone]),
        lambda: recommender.continue_list(alone, 2),
    ]
    if alone is not None:
        calls += [
            lambda: recommender.recommend(history=alone),
            lambda: recommender.recommend(1000, allow=alone),
            lambda: recommender.recommend(1000, deny=alone),
            lambda: recommender.user_embeddings(alone),
        ]
    for call in calls:
        with pytest.raises(DataError, match=r"ids are given in a list, not as .*; put it in square brackets"):
            call()
    assert recommender.recommend(1000, 2, deny=None) == recommender.recommend(1000, 2)


def test_sets_have_no_order(recommender: Recommender) -> None:
    calls: list[Callable[[], object]] = [
        lambda: recommender.recommend({1000, 1001}),
        lambda: recommender.recommend(users={1000}),
        lambda: recommender.recommend(history={100, 101}),
        lambda: recommender.recommend_many([frozenset({100})]),
        lambda: recommender.continue_list({100}, 2),
        lambda: recommender.score(1000, {100, 101}),
        lambda: recommender.user_embeddings({1000}),
        lambda: recommender.similar({100}),
    ]
    for call in calls:
        with pytest.raises(ConfigError, match="is a set, which has no order; give a list"):
            call()
    assert len(recommender.recommend(1000, 2, allow={100, 101}, deny={102})) == 2


def test_nobody_has_embeddings_too(recommender: Recommender) -> None:
    nobody = recommender.user_embeddings([])
    assert nobody.vectors.shape == (0, recommender.user_embeddings([1000]).vectors.shape[1])
    assert not nobody.ids
