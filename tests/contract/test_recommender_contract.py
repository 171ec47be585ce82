"""The contract of a recommender, on data with a provable right answer, over the variants of DeftRec."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from deftrec import Interactions, Recommendation, Recommender
from deftrec.data import make_split
from deftrec.errors import ConfigError, DataError, DeftRecError
from deftrec.retrieval import ScorePart
from toy import (
    checkerboard,
    reads_text,
    ring,
    sampled_softmax,
    tiny_bert,
    tiny_config,
)

BERT = "(the tiny BERT)"
PROMPT = "what comes next : {history}"

VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "prior-leads": {"training": {"epochs": 1, "learning_rate": 1e-6}},
    "two-ways": {"tokenizer": {"ways": 2, "mask_features": 0.05, "noise": 0.1}},
    "no-negatives": {"objective": {"negatives": "none", "error_weight": 1.0}},
    "pairwise": {"objective": {"negatives": "pairwise"}},
    "preference": {"objective": {"negatives": "preference", "error_weight": 1.0}},
    "sampled-softmax": {"objective": sampled_softmax(7)},
    "noise-predicted": {"diffusion": {"prediction": "eps"}, "training": {"epochs": 25}},
    "linear-ddpm": {"diffusion": {"schedule": "linear", "sampler": "ddpm", "steps": 3, "samples": 2}},
    "guided": {"diffusion": {"condition_dropout": 0.2, "guidance_scale": 0.5, "steps": 2}},
    "spectral": {"collaborative": {"encoder": "spectral"}},
    "folded-users": {"tokenizer": {"users": "folded"}},
    "averaged": {"training": {"average": 0.9}},
    "bf16": {"training": {"precision": "bf16"}},
    "ensemble": {"training": {"ensemble_size": 2}},
    "slit-prior": {"retrieval": {"prior": "slit"}},
    "graph-prior": {"retrieval": {"prior": "graph"}},
    "no-prior": {"retrieval": {"prior": "none"}},
    "text-alone": {"collaborative": {"encoder": "none"}, "text": reads_text(Path(BERT))},
    "both-vectors": {"text": reads_text(Path(BERT)), "tokenizer": {"drop_collaborative": 0.5}},
    "full-tuning": {"language": {"kind": "pretrained", "model": BERT, "tuning": "full", "prompts": (PROMPT,)}},
    "lora": {"language": {"kind": "pretrained", "model": BERT, "tuning": "lora", "prompts": (PROMPT,)}},
    "frozen": {"language": {"kind": "pretrained", "model": BERT, "tuning": "frozen", "prompts": (PROMPT,)}},
    "rationale": {
        "language": {"kind": "pretrained", "model": BERT, "prompts": (PROMPT, "next : {history}"), "titles": 2}
        | {"reasoning": {"weight": 0.1, "max_tokens": 8, "alone_epochs": 2}},
        "retrieval": {"prior": "none", "trend": False},
        "training": {"epochs": 30},
    },
    "reasoning": {
        "language": {"kind": "pretrained", "model": BERT, "prompts": (PROMPT,), "condition": "reasoning"}
        | {"reasoning": {"weight": 0.1, "max_tokens": 8}},
    },
    "repeats": {"retrieval": {"seen": "keep"}, "objective": {"mask_seen": False}},
    "history-last": {"retrieval": {"seen": "keep"}, "objective": {"mask_seen": True}},
    "temporal": {"data": {"split": "temporal", "max_history": 20}},
}


def with_model(value: Any, folder: Path) -> Any:
    """The options with the tiny BERT's folder in place of its name."""
    if isinstance(value, dict):
        return {key: with_model(inner, folder) for key, inner in value.items()}
    return str(folder) if value == BERT else value


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return tiny_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module", params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def fitted(variant: str, bert: Path) -> Recommender:
    options = with_model(VARIANTS[variant], bert)
    config = tiny_config(**{"data": {"max_history": 20}, **options})
    return Recommender.fit(ring(strings=variant in {"default", "text-alone"}), config)


def items(found: list[Recommendation]) -> list[Any]:
    return [one.item for one in found]


def histories(recommender: Recommender) -> list[list[Any]]:
    """Beginnings of users' sequences, of all lengths."""
    data = recommender.interactions
    return [data.history(user)[: 1 + n % 7] for n, user in enumerate(data.users.to_list()[:24])]


UNORDERED = 0.815  # validation NDCG@10 of a model that knows pairs of items, not their order


def test_the_next_item_of_the_ring_is_found(fitted: Recommender, variant: str) -> None:
    latent = fitted.evaluate("validation", parts="latent")
    assert latent.users == len(make_split(fitted.interactions, fitted.config.data.split).cases("validation"))
    assert latent.fit == "train"
    if variant == "prior-leads":  # the model is as good as untrained, so the prior takes over, which knows no order
        prior = fitted.evaluate("validation", parts="collaborative_prior").metrics["ndcg@10"]
        hybrid = fitted.evaluate("validation").metrics["ndcg@10"]
        assert prior == pytest.approx(UNORDERED, abs=0.05)
        assert hybrid > latent.metrics["ndcg@10"] + 0.01
        return
    assert latent.metrics["ndcg@10"] > UNORDERED + 0.05
    assert fitted.evaluate("test").metrics["ndcg@10"] > UNORDERED + 0.05


def test_an_explanation_leaves_the_list_as_it_is(fitted: Recommender, variant: str) -> None:
    history = histories(fitted)[4]
    plain, explained = (fitted.recommend(history=history, k=3, explain=explain) for explain in (False, True))
    assert [replace(one, explanation=None) for one in explained] == plain
    for one in explained:
        why = one.explanation
        assert why is not None
        assert (why.text is not None) == (variant in {"rationale", "reasoning"})
        assert {influence.item for influence in why.influences} <= set(history)
        changes = [influence.change for influence in why.influences]
        assert changes == sorted(changes, reverse=True)
        assert sum(why.shares.values()) == pytest.approx(1)
    assert fitted.recommend(history=[], k=3, explain=True)[0].explanation is None


def test_a_batch_equals_one_by_one(fitted: Recommender) -> None:
    asked = histories(fitted)
    together = fitted.recommend_many(asked, k=24)
    backwards = fitted.recommend_many(asked[::-1], k=24)[::-1]
    for history, batch, other in zip(asked, together, backwards, strict=True):
        alone = fitted.recommend(history=history, k=24)
        for found in (batch, other):
            assert_same_list(found, alone)


def assert_same_list(found: list[Recommendation], expected: list[Recommendation]) -> None:
    """Equal up to rounding: products of other shapes sum in another order, which can only swap what is tied."""
    scores = {one.item: one.score for one in expected}
    assert sorted(map(str, items(found))) == sorted(map(str, scores))
    np.testing.assert_allclose([one.score for one in found], [scores[one.item] for one in found], rtol=1e-4, atol=1e-4)
    assert [one.rank for one in found] == list(range(1, len(found) + 1))


def test_loaded_equals_saved(fitted: Recommender, tmp_path: Path) -> None:
    fitted.save(tmp_path / "run")
    loaded = Recommender.load(tmp_path / "run")
    assert loaded.config == fitted.config
    assert loaded.info == fitted.info
    after = loaded.model.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in fitted.model.state_dict().items())
    asked = [*histories(fitted), []]
    assert loaded.recommend_many(asked) == fitted.recommend_many(asked)
    assert loaded.evaluate("validation") == fitted.evaluate("validation")
    with pytest.raises(DeftRecError, match="not empty"):
        fitted.save(tmp_path / "run")


def test_history_items_are_excluded_or_kept_as_requested(fitted: Recommender) -> None:
    for history in histories(fitted):
        assert not set(items(fitted.recommend(history=history, k=10))) & set(history)
        everything = items(fitted.recommend(history=history, k=24, exclude_seen=False))
        assert set(everything) == set(fitted.interactions.catalogue["item"])


def test_a_long_list_holds_every_item_once(fitted: Recommender) -> None:
    for history in ([fitted.interactions.item_ids([3])[0]] * 2, fitted.interactions.item_ids(range(24))):
        found = fitted.recommend(history=history, k=1000)
        assert len(found) == len(set(items(found))) == 24 - len(set(history))
        scores = [one.score for one in found]
        assert scores == sorted(scores, reverse=True)
        assert all(np.isfinite(scores))


def test_unknown_ids_are_named(fitted: Recommender) -> None:
    known = fitted.interactions.item_ids([0])[0]
    with pytest.raises(DataError, match=r"'nobody'"):
        fitted.recommend("nobody")
    with pytest.raises(DataError, match=r"'nothing' \(number 2"):
        fitted.recommend(history=[known, "nothing"])
    with pytest.raises(DataError, match=r"'nothing'"):
        fitted.similar("nothing")


def test_invalid_requests_are_refused(fitted: Recommender) -> None:
    user = fitted.interactions.users[0]
    with pytest.raises(ConfigError, match="either a user or a history"):
        fitted.recommend()
    with pytest.raises(ConfigError, match="either a user or a history"):
        fitted.recommend(user, history=[])
    for k in (0, -1):
        with pytest.raises(ConfigError, match=f"k is {k}"):
            fitted.recommend(user, k=k)
        with pytest.raises(ConfigError, match=f"k is {k}"):
            fitted.similar(fitted.interactions.item_ids([0])[0], k=k)


def test_lists_hold_the_ids_of_the_data(fitted: Recommender) -> None:
    ids = fitted.interactions.catalogue["item"]
    kind = str if ids.dtype == pl.String else int
    found = fitted.recommend(fitted.interactions.users[0])
    assert found
    for one in found + fitted.similar(ids[0]):
        assert type(one.item) is kind
        assert one.item in ids.to_list()
        assert one.title == f"number {str(one.item).removeprefix('i/')}"


def test_a_user_is_their_whole_history(fitted: Recommender) -> None:
    for user in fitted.interactions.users.to_list()[:5]:
        assert fitted.recommend(user) == fitted.recommend(history=fitted.interactions.history(user))


def test_an_empty_history_gets_the_most_popular_items_of_train(fitted: Recommender) -> None:
    data = fitted.interactions
    found = fitted.recommend(history=[], k=24)
    assert {one.source for one in found} == {"popularity"}
    training = make_split(data, fitted.config.data.split).training(fitted.info.fit)
    counts = np.bincount(training.items, minlength=data.n_items)
    assert [one.score for one in found] == sorted(counts.tolist(), reverse=True)
    assert [counts[data.item_numbers([one.item])[0]] for one in found] == [one.score for one in found]
    known = [data.item_ids([0])[0]]
    mixed = fitted.recommend_many([known, [], known], k=24)
    assert mixed[1] == found
    assert_same_list(mixed[0], mixed[2])
    assert {one.source for one in mixed[0]} == {"deftrec"}
    assert fitted.recommend_many([]) == []


def test_similar_items_are_others_best_first(fitted: Recommender) -> None:
    for item in fitted.interactions.item_ids([0, 7]):
        found = fitted.similar(item, k=100)
        assert set(items(found)) == set(fitted.interactions.catalogue["item"]) - {item}
        scores = [one.score for one in found]
        assert scores == sorted(scores, reverse=True)
        assert max(map(abs, scores)) <= 1 + 1e-6
        first = fitted.similar(item, k=3)
        assert [one.score for one in first] == scores[:3]
        assert set(items(first)) <= {one.item for one in found if one.score >= scores[2]}  # ties have no order


def test_the_same_request_gives_the_same_lists(fitted: Recommender) -> None:
    asked = histories(fitted)
    torch.manual_seed(1)
    first = fitted.recommend_many(asked)
    torch.manual_seed(2)
    assert fitted.recommend_many(asked) == first
    assert fitted.recommend_many(asked, seed=5) == fitted.recommend_many(asked, seed=5)
    assert not fitted.model.training


def test_the_evaluator_agrees_with_the_lists(fitted: Recommender) -> None:
    data = fitted.interactions
    cases = make_split(data, fitted.config.data.split).cases("test")
    lists = fitted.recommend_many([data.item_ids(history) for history in cases.histories])
    targets = data.item_ids(cases.targets)
    hits = [target in items(found) for target, found in zip(targets, lists, strict=True)]
    assert fitted.evaluate("test").metrics["hr@10"] == pytest.approx(np.mean(hits), abs=0.5 / len(hits))


def test_all_users_are_ranked_as_each_alone(fitted: Recommender) -> None:
    frame = pl.concat(fitted.recommend_all(k=5))
    assert frame.height == 5 * fitted.interactions.n_users
    for user in fitted.interactions.users.to_list()[::40]:
        rows = frame.filter(pl.col("user") == user).sort("rank")
        alone = fitted.recommend(user, k=5)
        assert rows["item"].to_list() == items(alone)
        np.testing.assert_allclose(rows["score"].to_numpy(), [one.score for one in alone], rtol=1e-4, atol=1e-4)


def test_items_before_the_window_are_still_seen(fitted: Recommender) -> None:
    everything = fitted.interactions.item_ids(range(24))
    long = [*everything[:3], *everything[3:5] * 12]  # 27 places, a window of 20
    assert int(fitted.config.data.max_history) == 20
    assert set(items(fitted.recommend(history=long, k=100))) == set(everything[5:])


def test_a_denoising_path_ends_at_a_latent(fitted: Recommender) -> None:
    path = fitted.denoising_path(histories(fitted)[3], steps=4)
    assert path.shape == (4, fitted.catalogue.latents.shape[1])
    assert path.isfinite().all()


# -- what needs a training of its own ----------------------------------------------------------------------------------


@pytest.mark.parametrize("prior", ["ease", "none"])
def test_a_checkerboard_is_told_apart(prior: str) -> None:
    data = checkerboard()
    recommender = Recommender.fit(data, tiny_config(retrieval={"prior": prior}))
    parts: list[ScorePart] = ["hybrid", "latent"]
    if recommender.ranker.term("collaborative_prior") is not None:
        parts.append("collaborative_prior")
    else:
        with pytest.raises(ConfigError, match="no collaborative prior: validation chose none, or none was requested"):
            recommender.evaluate(parts="collaborative_prior")
    for part in parts:
        # Seven of the twelve items of the user's colour are known, so five are left for the first places.
        _, found = recommender.examine("test", part).rank("exclude", part, k=5)
        cases = make_split(data, "leave-one-out").cases("test")
        colours = np.array([int(item) % 2 for item in data.catalogue["item"]])
        users = np.array([int(user) % 2 for user in data.users.gather(cases.users)])
        assert (colours[found.items.numpy()] == users[:, None]).mean() > 0.99


def test_a_refit_fits_train_and_validation_and_records_it() -> None:
    data = ring()
    recommender = Recommender.fit(data, tiny_config(), refit=True)
    result = recommender.evaluate("test")
    assert result.fit == recommender.info.fit == "train+validation"
    assert result.metrics["ndcg@10"] > UNORDERED + 0.05
    assert recommender.popularity.sum() == data.n_interactions - data.n_users  # test alone is left out
    once = Recommender.fit(data, tiny_config())
    assert once.info.epochs == recommender.info.epochs
    assert any(
        not torch.equal(tensor, recommender.model.state_dict()[name])
        for name, tensor in once.model.state_dict().items()
    )


def with_other_targets(data: Interactions, place: int) -> Interactions:
    """The same data, except that at `place` of every sequence stands its user's neighbour's item."""
    frame = data.events().with_columns(pl.int_range(pl.len()).over("user").alias("n"))
    moved = pl.col("n") == 7 + place
    swapped = frame.filter(moved).with_columns(pl.col("item").sort_by("item").reverse())
    events = pl.concat([frame.filter(~moved), swapped]).drop("n")
    return Interactions.from_frame(events, data.catalogue, meta=data.meta)


@pytest.mark.parametrize("place", [0, -1])
def test_no_target_reaches_training(place: int) -> None:
    """Other test targets change nothing; other validation targets nothing but what is chosen on them."""
    options = {"training": {"epochs": 2}} if place == 0 else {"training": {"epochs": 1}, "collaborative": {"epochs": 1}}
    data = ring()
    left, right = (Recommender.fit(one, tiny_config(**options)) for one in (data, with_other_targets(data, place)))
    assert left.info.fingerprint != right.info.fingerprint
    assert left.interactions.catalogue["item"].equals(right.interactions.catalogue["item"])
    weights = right.model.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in left.model.state_dict().items())
    assert (left.popularity == right.popularity).all()
    if place == 0:
        assert left.info.terms == right.info.terms
        assert left.evaluate("validation") == right.evaluate("validation")
    assert left.evaluate("test") != right.evaluate("test")


def test_data_without_anything_to_learn_is_refused(bert: Path) -> None:
    def data(length: int) -> Interactions:
        rows = [(user, (user + step) % 9, step) for user in range(12) for step in range(length)]
        return Interactions.from_frame(pl.DataFrame(rows, schema=["user", "item", "time"], orient="row"))

    with pytest.raises(DataError, match="no user has a validation target"):
        Recommender.fit(data(2), tiny_config())
    with pytest.raises(DataError, match="no user has a target after another interaction in train"):
        Recommender.fit(data(3), tiny_config())
    without_text = tiny_config(collaborative={"encoder": "none"}, text=reads_text(bert))
    with pytest.raises(DataError, match="have no text"):
        Recommender.fit(data(5), without_text)
    assert Recommender.fit(data(4), tiny_config()).recommend(history=[1], k=20)


# -- rules of a request ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_colours() -> Recommender:
    """A tiny run on the ring, whose items are red or blue, and old."""
    data = ring(strings=True)
    colour = pl.when(pl.int_range(pl.len()) % 3 == 0).then(pl.lit("red|old")).otherwise(pl.lit("blue|old"))
    catalogue = data.catalogue.with_columns(category=colour)
    return Recommender.fit(
        Interactions.from_frame(data.events(), catalogue, meta=data.meta), tiny_config(training={"epochs": 1})
    )


@pytest.mark.parametrize("empty", [False, True])
def test_rules_of_a_request(two_colours: Recommender, empty: bool) -> None:
    ids = two_colours.interactions.item_ids(range(24))
    red = [item for n, item in enumerate(ids) if n % 3 == 0]
    history = [] if empty else ids[:4]

    def listed(**rules: Any) -> list[Any]:
        return items(two_colours.recommend(history=history, k=24, **rules))

    everything = listed(exclude_seen=False)
    assert set(everything) == set(ids)
    requests: list[tuple[dict[str, Any], set[Any]]] = [
        ({}, set(ids) - set(history)),
        ({"allow": ids[2:9]}, set(ids[2:9]) - set(history)),
        ({"allow": []}, set()),
        ({"deny": ids[2:9]}, set(ids[9:]) | (set(ids[:2]) - set(history))),
        ({"category": "red"}, set(red) - set(history)),
        ({"category": "old", "exclude_seen": False}, set(ids)),
        ({"allow": ids[2:9], "deny": ids[8:], "category": "red"}, {ids[3], ids[6]} - set(history)),
        ({"allow": ids[2:9], "deny": ids[8:], "category": "red", "exclude_seen": False}, {ids[3], ids[6]}),
        ({"allow": ids[:2], "deny": ids[:2]}, set()),
    ]
    for rules, expected in requests:
        found = listed(**rules)
        assert set(found) == expected
        if not empty:  # popularity has ties, whose order depends on the items beside them
            assert found == [item for item in everything if item in expected]
        many = two_colours.recommend_many([history, ids[:4]], k=24, **rules)
        assert items(many[0]) == found
        assert len(many) == 2


def test_rules_name_what_they_do_not_know(two_colours: Recommender) -> None:
    for rules in ({"allow": ["nothing"]}, {"deny": ["nothing"]}):
        with pytest.raises(DataError, match="'nothing'"):
            two_colours.recommend(history=[], **rules)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="no item has the category 'rad'; did you mean 'red'"):
        two_colours.recommend(history=[], category="rad")
