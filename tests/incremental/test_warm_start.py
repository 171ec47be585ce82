"""Training that continues from a run: what it keeps, the vectors of new items, and that it learns."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from deftrec import Recommender
from deftrec.data import Interactions, Meta, make_split
from deftrec.data.extend import extended
from deftrec.errors import ConfigError, DataError, DeftRecError
from deftrec.incremental import Overlay, WarmStart
from deftrec.incremental.changes import add_events, add_items, remove_items
from toy import reads_text, ring, tiny_bert, tiny_config

NEW = pl.DataFrame(
    {"item": [900, 901], "title": ["red number 103", "blue"], "category": ["red", "old"], "text": ["", "green"]}
)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("bert"))


def options(bert: Path, **groups: object) -> dict[str, object]:
    return {
        "text": reads_text(bert),
        "tokenizer": {"drop_collaborative": 0.5},
        "training": {"epochs": 2, "ensemble_size": 2},
        **groups,
    }


def renumbered(data: Interactions) -> Interactions:
    """The same data as an import would number it: other numbers for every item."""
    order = np.random.default_rng(1).permutation(data.n_items)
    catalogue = data.catalogue[order]
    return Interactions._assemble(data.events(), data.users, catalogue, data.meta)


def test_without_a_step_the_model_is_that_of_the_run_with_its_new_items(bert: Path, tmp_path: Path) -> None:
    still = {"epochs": 1, "learning_rate_factor": 1e-12}
    before = Recommender.fit(ring(users=60), tiny_config(**options(bert, fine_tuning=still)), out=tmp_path / "run")
    add_items(tmp_path / "run", NEW)
    added = Recommender.load(tmp_path / "run")
    data = renumbered(added.interactions)
    after = Recommender.fit(data, start=before)
    places = torch.from_numpy(data.item_numbers(added.interactions.catalogue["item"]))
    torch.testing.assert_close(after.catalogue.features[places], added.catalogue.features)
    torch.testing.assert_close(after.catalogue.latents[places], added.catalogue.latents, atol=1e-5, rtol=1e-5)
    assert after.info.start is not None
    assert after.info.start.fingerprint == before.info.fingerprint
    assert "collaborative" not in after.info.epochs


def test_new_items_are_folded_in_from_what_is_fitted_alone(bert: Path) -> None:
    before = Recommender.fit(ring(users=60), tiny_config(**options(bert, training={"epochs": 1})))
    ids = before.interactions.catalogue["item"].to_list()
    taken = pl.DataFrame(
        [(1, ids[0], 1), (1, 900, 2), (1, ids[1], 3), (1, ids[2], 4), (2, ids[0], 1), (2, ids[1], 2), (2, 901, 3)],
        schema=["user", "item", "time"],
        orient="row",
    )
    data = extended(before.interactions, NEW, taken)
    start = WarmStart(before.run)
    sequences = make_split(data, "leave-one-out").training("train")
    features = start.features(0, data, sequences, torch.randn(data.n_items, 32)).values
    width = start.run.info.collaborative_width
    assert float(features[-2, :width].norm()) > 0
    assert torch.equal(features[-1, :width], torch.zeros(width)), "901 is a target of test"
    assert torch.equal(features[:-2], before.run.model.features.values.detach())  # type: ignore[union-attr, operator]


def later(run: Path, data: Interactions) -> Recommender:
    """The run after items, events of a new user and a removal came to it."""
    ids = data.catalogue["item"].to_list()
    add_items(run, NEW)
    rows = [(7, 900, 10_000), (7, ids[0], 10_001), (7, ids[1], 10_002), (1000, 901, 10_000)]
    add_events(run, pl.DataFrame(rows, schema=["user", "item", "time"], orient="row"))
    remove_items(run, [901, ids[2]])
    return Recommender.load(run)


def test_what_came_to_the_run_after_its_training_joins_the_data(bert: Path, tmp_path: Path) -> None:
    data = ring(users=60)
    Recommender.fit(data, tiny_config(**options(bert, fine_tuning={"epochs": 1})), out=tmp_path / "run")
    before = later(tmp_path / "run", data)
    after = Recommender.fit(data, start=before, out=tmp_path / "next")
    assert after.fitted_on.fingerprint == before.interactions.fingerprint
    assert after.fitted_on.history(7) == [900, *data.catalogue["item"][:2]]
    assert after.fitted_on.history(1000)[-1] == 901
    loaded = Recommender.load(tmp_path / "next")
    for one in (after, loaded):
        found = {int(each.item) for each in one.recommend(7, k=30, exclude_seen=False)}
        assert found == set(before.interactions.catalogue["item"]) - {901, data.catalogue["item"][2]}
    # Data that hold all of it already, or other data with a part of it: nothing counts twice, nothing is lost.
    start = WarmStart(before.run, before.overlay)
    assert start.joined(before.interactions).fingerprint == before.interactions.fingerprint
    other = Interactions.from_frame(
        pl.DataFrame({"user": ["7", "8", "8"], "item": ["900", "x", "y"], "time": [10_000, 1, 2]}),
        pl.DataFrame({"item": ["900", "x"], "title": ["of the new data", "new"]}),
        meta=Meta(name="other"),
    )
    joined = start.joined(other)
    assert joined.history("7") == ["900", *map(str, data.catalogue["item"][:2])]
    assert joined.history("8") == ["x", "y"]
    assert joined.history("1000") == ["901"]
    titles = dict(zip(joined.catalogue["item"], joined.titles, strict=True))
    assert titles["900"] == "of the new data"
    assert titles["901"] == "blue"
    assert titles[str(data.catalogue["item"][0])] == data.titles[0], "an item of the run comes along with its event"
    assert len(titles) == 6
    removals = start.removals(joined)
    assert removals is not None
    assert removals.removed["item"].to_list() == ["901"]
    assert WarmStart(before.run).joined(other) is other
    assert WarmStart(before.run, Overlay.empty(data)).joined(other) is other


def test_events_without_a_clock_are_known_by_their_item(bert: Path, tmp_path: Path) -> None:
    data = ring(users=40)
    ordered = replace(data, meta=data.meta.model_copy(update={"times": "position"}))
    Recommender.fit(ordered, tiny_config(**options(bert, training={"epochs": 1})), out=tmp_path / "run")
    before = later(tmp_path / "run", data)
    again = before.interactions.events().with_columns(time=pl.int_range(pl.len()))  # imported anew
    joined = WarmStart(before.run, before.overlay).joined(
        Interactions.from_frame(again, before.interactions.catalogue, meta=ordered.meta)
    )
    assert joined.n_interactions == before.interactions.n_interactions


def test_changes_that_do_not_suit_the_new_data_are_refused(bert: Path, tmp_path: Path) -> None:
    data = ring(users=40)
    Recommender.fit(data, tiny_config(**options(bert, training={"epochs": 1})), out=tmp_path / "run")
    before = later(tmp_path / "run", data)
    dated = data.events().with_columns(pl.col("time") + 1_700_000_000)
    other = Interactions.from_frame(dated, data.catalogue, meta=Meta(name="dated"))
    with pytest.raises(DataError, match="changes of the run to start from: its times go up to 10002"):
        Recommender.fit(other, start=before)


def test_it_learns_new_behaviour(bert: Path, tmp_path: Path) -> None:
    """The ring in the other direction: the run knows nothing of it, and a few epochs from its weights do."""
    config = tiny_config(
        **options(bert, training={"epochs": 12}, fine_tuning={"epochs": 8, "learning_rate_factor": 1.0}),
        retrieval={"prior": "none"},
    )
    before = Recommender.fit(ring(), config, out=tmp_path / "run")
    forth = before.interactions.events()
    back = forth.with_columns(time=-pl.col("time"))
    others = back.with_columns(user=pl.col("user").cast(pl.String) + " too")  # users that the run does not know
    data = Interactions.from_frame(others, before.interactions.catalogue, meta=Meta(name="back"))
    after = Recommender.fit(data, start=before, out=tmp_path / "fine")
    assert after.evaluate().metrics["ndcg@10"] > 0.3
    assert Recommender.load(tmp_path / "fine").evaluate() == after.evaluate()
    assert Recommender.load(tmp_path / "fine").info.start == after.info.start


def test_targets_that_the_run_was_fitted_on_are_refused(bert: Path) -> None:
    before = Recommender.fit(ring(users=60), tiny_config(**options(bert, training={"epochs": 1})))
    events = before.interactions.events()
    back = events.with_columns(time=-pl.col("time"))
    data = Interactions.from_frame(back, before.interactions.catalogue, meta=Meta(name="back"))
    with pytest.raises(ConfigError, match="was fitted on 60 of the 60 test targets"):
        Recommender.fit(data, start=before)
    first = events.group_by("user").agg(pl.col("item").sort_by("time").first(), time=pl.col("time").max() + 1)
    again = pl.concat([events, first.select(events.columns)])  # everybody comes back to their first item
    data = Interactions.from_frame(again, before.interactions.catalogue, meta=Meta(name="again"))
    assert Recommender.fit(data, start=before).info.start is not None


def test_other_sentence_models_are_refused(bert: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    before = Recommender.fit(ring(users=30), tiny_config(**options(bert)))
    other = tiny_config(**options(tiny_bert(tmp_path / "other")))
    with pytest.raises(DeftRecError, match=r"the run to start from: .* text\.model"):
        Recommender.fit(ring(users=30), other, start=before)


def test_a_run_without_text_says_that_it_takes_no_new_items() -> None:
    plain = Recommender.fit(ring(users=30), tiny_config(training={"epochs": 1}))
    assert "a title, category or text when the data are imported" in plain.capabilities.unseen_items.reason
    assert not plain.capabilities.text
    assert plain.capabilities.unseen_users


def test_validation_targets_that_the_run_was_fitted_on_choose_nothing(bert: Path) -> None:
    """After a refit the model has seen validation's targets; users with newer interactions still choose."""
    config = tiny_config(**options(bert, training={"epochs": 1}))
    before = Recommender.fit(ring(users=60), config, refit=True)
    with pytest.raises(ConfigError, match="was fitted on all 60 validation targets"):
        Recommender.fit(before.interactions, start=before)
    user, last = before.interactions.users[0], int(before.interactions.times.max()) + 1
    items = before.interactions.catalogue["item"]
    newer = pl.DataFrame({"user": [user] * 2, "item": items[:2], "time": [last, last + 1]})
    data = extended(before.interactions, NEW, newer)
    start = WarmStart(before.run)
    split = make_split(data, "leave-one-out")
    assert start.unknown(data, split.cases("validation")).users.tolist() == [data.user_number(user)]
    start.refuse_known_targets(data, split)


def test_users_who_repeat_their_last_item_are_still_tested(bert: Path) -> None:
    """The target was fitted as validation's, and as nothing else."""
    events = ring(users=60).events()
    again = events.group_by("user", maintain_order=True).last().with_columns(pl.col("time") + 1)
    data = Interactions.from_frame(pl.concat([events, again]), ring(users=60).catalogue, meta=Meta(name="again"))
    before = Recommender.fit(data, tiny_config(**options(bert, training={"epochs": 1})), refit=True)
    WarmStart(before.run).refuse_known_targets(data, make_split(data, "leave-one-out"))


def test_more_members_than_there_are_is_refused(bert: Path) -> None:
    before = Recommender.fit(ring(users=60), tiny_config(**options(bert, training={"epochs": 1, "ensemble_size": 1})))
    more = tiny_config(**options(bert, training={"epochs": 1, "ensemble_size": 2}))
    with pytest.raises(ConfigError, match=r"training\.ensemble_size is 2 and the run to start from has 1"):
        Recommender.fit(ring(users=60), more, start=before)


def test_text_that_comes_later_is_not_read_by_a_run_without_text(bert: Path) -> None:
    data = ring(users=60)
    bare = Interactions.from_frame(data.events(), meta=Meta(name="bare"))
    before = Recommender.fit(bare, tiny_config(**options(bert, training={"epochs": 1})))
    after = Recommender.fit(data, start=before)
    assert after.info.text_width == before.info.text_width == 0
