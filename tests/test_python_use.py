"""Python as people use it: frames in and out, several users, scores and vectors, changes in memory, other names."""

import copy
import pickle
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
import pytest

import deftrec.data
from deftrec import Interactions, Recommender
from deftrec.data.frames import as_interactions
from deftrec.errors import ConfigError, DataError
from deftrec.evaluation import Result
from deftrec.progress import Progress
from toy import ring, tiny_config
from worded import NEW, fitted


@pytest.fixture(scope="module")
def recommender(tmp_path_factory: pytest.TempPathFactory) -> Recommender:
    return fitted(tmp_path_factory.mktemp("run"))


@pytest.fixture
def changed(recommender: Recommender) -> Recommender:
    """A recommender of its own, which a test may change."""
    return recommender.with_overlay(None)


def frame(**names: str) -> pl.DataFrame:
    """The ring's interactions with titles and genres, under the column names of some shop."""
    data = ring(users=60)
    texts = data.catalogue.select("item", "title", pl.lit(["red", "old"]).alias("category"))
    return data.events().join(texts, on="item", maintain_order="left").rename(names)


# -- training ----------------------------------------------------------------------------------------------------------


def test_fit_reads_a_frame_says_so_and_calls_back(capsys: pytest.CaptureFixture[str]) -> None:
    epochs: list[tuple[str, float]] = []

    def note(stage: str, values: Mapping[str, float]) -> None:
        assert values["loss"] == values["loss"]
        epochs.append((stage, values["epoch"]))

    config = tiny_config(training={"epochs": 2}, collaborative={"epochs": 3})
    given = frame(user="uid")
    found = Recommender.fit(given, config, progress=True, callbacks=[note])
    assert [one for one in epochs if one[0] == "joint"] == [("joint", 1), ("joint", 2)]
    assert ("collaborative", 3) in epochs
    shown = capsys.readouterr().err
    assert "user 'uid'" in shown
    assert "joint: 100%" in shown
    assert "validation ndcg@10=" in shown
    assert found.interactions.fingerprint == as_interactions(given).fingerprint


def test_a_listener_of_ones_own_hears_all_beside_callbacks() -> None:
    heard: list[str] = []

    class Heard(Progress):
        def begin(self, task: str, total: int) -> None:
            heard.append(f"begin {task}")

        def end(self, task: str) -> None:
            heard.append(f"end {task}")

    def stop(stage: str, values: Mapping[str, float]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Recommender.fit(ring(users=30), tiny_config(), progress=Heard(), callbacks=[stop])
    assert heard[-1] == "begin collaborative"


# -- lists out ---------------------------------------------------------------------------------------------------------


def items(found: Any) -> list[Any]:
    return [one.item for one in found]


@pytest.mark.parametrize("kind", ["list", "array", "polars", "pandas", "users="])
def test_several_users_get_a_list_each(recommender: Recommender, kind: str) -> None:
    users = recommender.interactions.users[:3]
    alone = [recommender.recommend(user, 4) for user in users]
    given: Any = {"list": users.to_list(), "array": users.to_numpy(), "polars": users}.get(kind, users.to_list())
    if kind == "pandas":
        given = pytest.importorskip("pandas").Series(users.to_list())
    found = recommender.recommend(users=given, k=4) if kind == "users=" else recommender.recommend(given, 4)
    assert [items(one) for one in found] == [items(one) for one in alone]
    assert recommender.recommend([], 4) == []
    assert recommender.recommend(float(users[0]), 4) == alone[0], "as pandas has them beside missing ids"


def test_several_users_are_explained_one_by_one(recommender: Recommender) -> None:
    users = recommender.interactions.users[:2].to_list()
    assert recommender.recommend(users, 2, explain=True) == [recommender.recommend(u, 2, explain=True) for u in users]


def test_a_frame_holds_the_lists(recommender: Recommender) -> None:
    users = recommender.interactions.users[:3].to_list()
    found = recommender.recommend(users, 4, offset=1, deny=[recommender.recommend(users[0], 1)[0].item], as_frame=True)
    assert found.columns == ["user", "item", "rank", "score", "title"]
    assert found["rank"].to_list() == [2, 3, 4, 5] * 3
    deny = [recommender.recommend(users[0], 1)[0].item]
    for user, rows in found.group_by("user", maintain_order=True):
        alone = recommender.recommend(user[0], 4, offset=1, deny=deny)
        assert rows["item"].to_list() == items(alone)
        assert rows["title"].to_list() == [one.title for one in alone]
        np.testing.assert_allclose(rows["score"], [one.score for one in alone], rtol=1e-4, atol=1e-4)
    nobody = recommender.recommend(users=[], as_frame=True)
    assert (nobody.height, nobody.schema) == (0, found.schema)
    history = recommender.interactions.history(users[0])
    after = recommender.recommend(history=history, k=2, as_frame=True)
    assert after.columns == ["item", "rank", "score", "title"]
    assert after["item"].to_list() == items(recommender.recommend(users[0], 2))


def test_who_is_meant_is_said_once(recommender: Recommender) -> None:
    user = recommender.interactions.users[0]
    for wrong in ({}, {"user": user, "users": [user]}, {"users": [user], "history": []}):
        with pytest.raises(ConfigError, match="either a user or a history"):
            recommender.recommend(**wrong)
    with pytest.raises(ConfigError, match=r"users is 'ann'; give a list of users, or user='ann'"):
        recommender.recommend(users="ann")  # type: ignore[call-overload]
    with pytest.raises(DataError, match="user 'nobody' is not among"):
        recommender.recommend([user, "nobody"])
    with pytest.raises(ConfigError, match="no room for explanations"):
        recommender.recommend([user], explain=True, as_frame=True)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="exclude_seem"):
        recommender.recommend_many([[]], exclude_seem=False)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "options", [{"category": "red"}, {"allow": [*range(103, 115)]}, {"deny": [103, 104]}, {"offset": 2}, {"seed": 5}]
)
def test_rankings_of_all_users_take_every_option_of_a_list(recommender: Recommender, options: Any) -> None:
    data = recommender.interactions
    users, first = data.users[5:9], 1 + options.get("offset", 0)
    found = pl.concat(recommender.recommend_all(3, users=users, titles=True, **options))
    for user in users:
        alone = recommender.recommend(user, 3, **options)
        rows = found.filter(pl.col("user") == user)
        assert rows["item"].to_list() == items(alone)
        assert len(alone) > 0
        assert rows["rank"].to_list() == list(range(first, first + len(alone)))
        assert rows["title"].to_list() == [one.title for one in alone]


def test_scores_are_those_of_the_list(recommender: Recommender) -> None:
    users = recommender.interactions.users[:2].to_list()
    found = recommender.recommend(users[0], 5)
    scores = recommender.score(users[0], items(found))
    np.testing.assert_allclose(scores, [one.score for one in found], rtol=1e-4, atol=1e-4)
    both = recommender.score(users, items(found))
    assert both.shape == (2, 5)
    np.testing.assert_allclose(both[0], scores, rtol=1e-4, atol=1e-4)
    history = recommender.interactions.history(users[0])
    np.testing.assert_allclose(recommender.score(history=history, items=items(found)), scores, rtol=1e-4, atol=1e-4)
    assert np.isfinite(recommender.score(users[0], history)).all(), "items of the history have scores too"
    popular = recommender.recommend(history=[], k=3)
    assert recommender.score(history=[], items=items(popular)).tolist() == [one.score for one in popular]
    with pytest.raises(DataError, match="'nothing'"):
        recommender.score(users[0], ["nothing"])


def test_several_items_have_similar_ones_each(recommender: Recommender) -> None:
    some = recommender.interactions.item_ids([0, 5])
    assert recommender.similar(some, 3) == [recommender.similar(item, 3) for item in some]


def test_embeddings_have_ids_and_compare(recommender: Recommender) -> None:
    ids, vectors = recommender.item_embeddings()
    assert ids == recommender.interactions.catalogue["item"].to_list()
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    first = unit @ unit[0]
    assert ids[int(np.argsort(-first)[1])] == recommender.similar(ids[0], 1)[0].item
    users = recommender.interactions.users[3:5].to_list()
    own = recommender.user_embeddings(users)
    assert own.ids == users
    assert own.vectors.shape == (2, vectors.shape[1])
    everybody = recommender.user_embeddings()
    np.testing.assert_allclose(everybody.vectors[3:5], own.vectors, atol=1e-5)
    assert len(everybody.ids) == recommender.interactions.n_users


# -- measured ----------------------------------------------------------------------------------------------------------


def test_cutoffs_and_metrics_are_chosen(recommender: Recommender) -> None:
    whole = recommender.evaluate()
    some = recommender.evaluate(k=(5, 10), metrics=("ndcg", "hr"))
    assert set(some.metrics) == {"ndcg@5", "ndcg@10", "hr@5", "hr@10"}
    assert some.metrics.items() <= whole.metrics.items()
    assert set(some.ci95) == set(some.metrics)
    assert recommender.evaluate(k=3, metrics=["hr"]).metrics.keys() == {"hr@3"}
    assert recommender.evaluate(metrics=["ndcg@10", "mrr"]).metrics.keys() == {"ndcg@10", "mrr@100"}
    with pytest.raises(ConfigError, match="no metric 'precision'; there are hr, "):
        recommender.evaluate(metrics=["precision"])
    with pytest.raises(ConfigError, match="k is 0; give whole numbers of 1 or more"):
        recommender.evaluate(k=0)
    with pytest.raises(ConfigError, match=r"other data are given as evaluate\(interactions=data\)"):
        recommender.evaluate(frame())  # type: ignore[arg-type]


def test_other_interactions_are_evaluated_after_what_the_run_knows(recommender: Recommender) -> None:
    data = recommender.interactions
    users, last = data.users[:20].to_list(), int(data.times.max())
    targets = [recommender.recommend(user, 2)[n % 2].item for n, user in enumerate(users)]
    known = data.events().filter(pl.col("user").is_in(users[:3])).unique("user", keep="first", maintain_order=True)
    new = pl.DataFrame({"user_id": users, "item_id": targets, "ts": [last + 1] * 20})
    later = pl.DataFrame({"user_id": users, "item_id": targets[::-1], "ts": [last + 2] * 20})
    given = pl.concat([later, new, known.rename({"user": "user_id", "item": "item_id", "time": "ts"})])
    result = recommender.evaluate(interactions=given, k=(1, 2), metrics=["hr"])
    assert (result.users, result.protocol, result.split) == (20, "next interaction", "given")
    assert result.metrics == {"hr@1": 0.5, "hr@2": 1.0}
    # A user that the run does not know: the second interaction follows the first.
    [best] = recommender.recommend(history=[targets[0]], k=1)
    stranger = pl.DataFrame({"user": [7, 7], "item": [targets[0], best.item], "time": [last, last + 1]})
    assert recommender.evaluate(interactions=stranger, k=1, metrics=["hr"]).metrics == {"hr@1": 1.0}


def test_interactions_without_a_target_are_refused(recommender: Recommender) -> None:
    with pytest.raises(DataError, match="nobody has one that the run does not know"):
        recommender.evaluate(interactions=recommender.fitted_on)
    strange = pl.DataFrame({"user": [1000], "item": [999_999], "time": [1]})
    with pytest.raises(DataError, match="item 999999 is not in the catalogue of this run; add it first with add_items"):
        recommender.evaluate(interactions=strange)


# -- changes in memory -------------------------------------------------------------------------------------------------


def test_items_are_added_and_removed_in_memory(changed: Recommender, recommender: Recommender, tmp_path: Any) -> None:
    history = changed.interactions.history(1000)
    first = changed.recommend(history=history, k=1)[0].item
    done = changed.add_items(NEW.rename({"item": "item_id", "title": "name"}))
    assert (done.added, done.items) == (3, recommender.interactions.n_items + 3)
    listed = items(changed.recommend(history=history, k=100, exclude_seen=False))
    assert {900, 901, 902} <= set(listed)
    assert changed.interactions.title(changed.interactions.n_items - 3) == "red number 103"
    assert changed.remove_items([900, first]).removed == 2
    assert not {900, first} & set(items(changed.recommend(history=history, k=100, exclude_seen=False)))
    assert items(recommender.recommend(history=history, k=1)) == [first], "another recommender of the run is as it was"
    changed.save(tmp_path / "saved")
    assert items(Recommender.load(tmp_path / "saved").recommend(history=history)) == items(
        changed.recommend(history=history)
    )


def test_events_are_added_in_memory(changed: Recommender) -> None:
    item = changed.interactions.item_ids([4])[0]
    popular = changed.popularity.tolist()
    done = changed.add_events(pl.DataFrame({"uid": [7], "sku": [item], "timestamp": [1]}))
    assert (done.added, done.users) == (1, 1)
    assert changed.recommend(7) == changed.recommend(history=[item])
    assert changed.popularity.tolist() == popular, "popularity is that of the training"
    with pytest.raises(DataError, match="999 is not in the catalogue of this run; add it first with add_items"):
        changed.add_events(pl.DataFrame({"user": [7], "item": [999], "time": [1]}))


# -- shown, and asked for by other names -------------------------------------------------------------------------------


def test_results_and_data_are_shown_in_short(recommender: Recommender) -> None:
    data, result = recommender.interactions, recommender.evaluate()
    assert repr(recommender) == f"Recommender(ring, 80 users, {data.n_items} items, fitted on train)"
    assert repr(data) == f"Interactions({data.meta.name}: 80 users, {data.n_items} items, 640 interactions)"
    for shown in (repr(recommender), repr(data), repr(result), repr(recommender.item_embeddings())):
        assert len(shown) < 160
        assert "\n" not in shown
    assert f"ndcg@10 {result.metrics['ndcg@10']:.4f}" in repr(result)
    found = recommender.recommend(data.users[0], 3)
    assert len(repr(found).splitlines()) == 4
    for one in (recommender, data, result, found):
        assert one._repr_html_().startswith("<table>")
    assert str(found[0].item) in found._repr_html_()
    assert "ndcg@10" in result._repr_html_()


def test_titles_are_escaped_in_notebooks(changed: Recommender) -> None:
    changed.add_items(pl.DataFrame({"item": [900], "title": ["<script>alert(1)</script>"]}))
    shown = changed.recommend(history=[], k=1, allow=[900])._repr_html_()
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("predict", "call recommend"),
        ("fit_transform", "call user_embeddings"),
        ("transform", "call user_embeddings"),
        ("similar_items", "call similar"),
        ("test", "call evaluate"),
        ("partial_fit", "call add_events"),
        ("item_factors", "call item_embeddings"),
        ("get_params", "call config"),
        ("predict_rank", "call score"),
    ],
)
def test_other_libraries_names_say_what_to_call(recommender: Recommender, name: str, advice: str) -> None:
    with pytest.raises(AttributeError, match=f"no attribute {name!r}; {advice}"):
        getattr(recommender, name)
    assert not hasattr(recommender, name)


def test_what_is_to_be_called_exists(recommender: Recommender) -> None:
    from deftrec.habits import INTERACTIONS, RECOMMENDER

    for owner, habits in ((recommender, RECOMMENDER), (recommender.interactions, INTERACTIONS)):
        for name, advice in habits.items():
            assert not hasattr(owner, name), f"{name} exists"
            if not advice.startswith("nothing"):
                *where, called = re.split(r"[(, ]", advice)[0].split(".")
                places = {
                    "": owner,
                    "Recommender": Recommender,
                    "Interactions": Interactions,
                    "deftrec.data": deftrec.data,
                }
                assert hasattr(places[".".join(where)], called), advice


def test_data_says_what_to_call() -> None:
    with pytest.raises(AttributeError, match=r"'Interactions' object has no attribute 'head'; call events\(\)"):
        ring(users=5).head  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(AttributeError, match=r"no attribute 'nothing'$"):
        ring(users=5).nothing  # type: ignore[attr-defined]  # noqa: B018


def test_objects_with_such_advice_are_copied(recommender: Recommender) -> None:
    assert copy.copy(recommender).interactions is recommender.interactions
    again = pickle.loads(pickle.dumps(ring(users=5)))
    assert again.fingerprint == ring(users=5).fingerprint


def test_a_recommender_is_not_made_empty() -> None:
    for arguments in ([], [tiny_config()]):
        with pytest.raises(ConfigError, match=r"made by Recommender.fit\(data, config\) or Recommender.load"):
            Recommender(*arguments)


def test_a_result_of_a_file_has_short_forms(recommender: Recommender) -> None:
    result = recommender.evaluate()
    assert Result.model_validate(result.to_json_dict()) == result
