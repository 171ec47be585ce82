"""A reasoner beside a finished run: nothing of that run changes, and what cannot work is refused."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import torch

from deftrec import Interactions, Recommender
from deftrec.config import ReasonerOptions
from deftrec.errors import ConfigError, DeftRecError
from deftrec.incremental import Overlay
from reasoned import options
from toy import ring, tiny_config, tiny_model


@pytest.fixture(scope="module")
def data() -> Interactions:
    return ring(users=60)


@pytest.fixture(scope="module")
def small(data: Interactions, tmp_path_factory: pytest.TempPathFactory) -> Recommender:
    out = tmp_path_factory.mktemp("small") / "run"
    Recommender.fit(data, tiny_config(training={"epochs": 2}), out=out)
    return Recommender.load(out)


@pytest.fixture(scope="module")
def beside(small: Recommender, tmp_path_factory: pytest.TempPathFactory) -> tuple[Recommender, Path]:
    folder = tmp_path_factory.mktemp("beside")
    return small.with_reasoner(options(folder / "llama"), out=folder / "run"), folder / "run"


def test_the_small_model_stays_as_it_is(small: Recommender, beside: tuple[Recommender, Path]) -> None:
    before, after = small.model.state_dict(), beside[0].model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(parameter.requires_grad for parameter in beside[0].model.parameters())
    assert beside[0].info.terms == small.info.terms
    assert beside[0].info.start is not None
    assert {"statements", "residual"} <= beside[0].info.epochs.keys()


def test_without_a_residual_every_list_is_that_of_the_small_model(
    small: Recommender, beside: tuple[Recommender, Path]
) -> None:
    loaded = Recommender.load(beside[1])
    assert loaded.run.reasoning is not None
    loaded.run.reasoning.residual.history.zero()
    loaded.run.reasoning.residual.statement.zero()
    users = list(small.interactions.users[:10])
    assert [loaded.recommend(user) for user in users] == [small.recommend(user) for user in users]


def test_what_came_to_the_small_run_after_its_training_stays(small: Recommender, tmp_path: Path) -> None:
    removed = small.interactions.catalogue["item"].head(2).to_frame()
    changed = small.with_overlay(replace(Overlay.empty(small.fitted_on), removed=removed, version=1))
    kept = changed.with_reasoner(options(tmp_path / "llama", examples=16, spoken=0), out=tmp_path / "run")
    for one in (kept, Recommender.load(tmp_path / "run")):
        found = {each.item for each in one.recommend(history=[101, 105], k=24, exclude_seen=False)}
        assert found == set(small.interactions.catalogue["item"]) - set(removed["item"])


def test_a_residual_changes_scores(small: Recommender, beside: tuple[Recommender, Path]) -> None:
    loaded = Recommender.load(beside[1])
    assert loaded.run.reasoning is not None
    torch.nn.init.normal_(loaded.run.reasoning.residual.history.linear.weight)
    user = small.interactions.users[0]
    assert loaded.recommend(user) != small.recommend(user)


def test_a_second_reasoner_is_refused(beside: tuple[Recommender, Path]) -> None:
    with pytest.raises(ConfigError, match="has a reasoner already"):
        beside[0].with_reasoner()


def test_a_refitted_run_is_refused(data: Interactions) -> None:
    refitted = Recommender.fit(data, tiny_config(training={"epochs": 1}), refit=True)
    with pytest.raises(ConfigError, match="fitted on train \\+ validation"):
        refitted.with_reasoner()


def test_it_does_not_overwrite_a_run(small: Recommender, beside: tuple[Recommender, Path], tmp_path: Path) -> None:
    with pytest.raises(DeftRecError, match="not empty"):
        small.with_reasoner(options(tmp_path / "llama"), out=beside[1])


def test_an_item_without_words_is_read_by_its_tokens(tmp_path: Path) -> None:
    bare = ring(users=40)
    catalogue = bare.catalogue.with_columns(pl.lit("").alias("title"), pl.lit("").alias("category"))
    data = Interactions.from_frame(bare.events(), catalogue, meta=bare.meta)
    recommender = Recommender.fit(data, tiny_config(training={"epochs": 1}))
    reasoned = recommender.with_reasoner(options(tmp_path / "llama"))
    assert len(reasoned.preferences([[data.catalogue["item"][0]]])) == 1


def test_a_refit_keeps_the_reasoner(data: Interactions, tmp_path: Path) -> None:
    config = tiny_config(reasoner=options(tmp_path / "llama").model_dump(), training={"epochs": 1})
    refitted = Recommender.fit(data, config, refit=True, out=tmp_path / "run")
    assert refitted.info.fit == "train+validation"
    user = data.users[0]
    assert Recommender.load(tmp_path / "run").recommend(user) == refitted.recommend(user)


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("bert", {}, "not a model that writes text"),
        ("llama", {"tuned_layers": 2}, "has 2 blocks: leave one or more"),
        ("llama", {"history": 60}, "has room for"),
    ],
)
def test_models_and_options_that_do_not_suit(
    small: Recommender, kind: str, changes: dict[str, int], message: str, tmp_path: Path
) -> None:
    model = tiny_model(kind, tmp_path / kind, positions=256)
    with pytest.raises(ConfigError, match=message):
        small.with_reasoner(ReasonerOptions(model=str(model), **{"tuned_layers": 1, "titles": 3, **changes}))


def test_a_stored_state_is_what_would_be_computed(beside: tuple[Recommender, Path]) -> None:
    """Also where training stored it: histories longer than what is read."""
    reasoning, data = beside[0].run.reasoning, beside[0].fitted_on
    assert reasoning is not None
    histories = [data.sequences[user][:-2] for user in range(10)]
    rows = [reasoning.store.get(history[-reasoning.history :].astype("int64")) for history in histories]
    fresh = reasoning.reasoner.read([history.astype("int64") for history in histories])[:, -1]
    for row, state in zip(rows, fresh, strict=True):
        assert row.state is not None
        torch.testing.assert_close(row.state, state, rtol=0.02, atol=0.02)  # stored in bf16


def test_few_pairs_leave_the_residual_at_zero(tmp_path: Path) -> None:
    """Three interactions of everybody: one in train, so no pair."""
    events = pl.DataFrame(
        [(user, (user + n) % 12, n) for user in range(30) for n in range(3)], ["user", "item", "time"], orient="row"
    )
    extra = pl.DataFrame([(99, n, n) for n in range(4)], ["user", "item", "time"], orient="row")
    data = Interactions.from_frame(pl.concat([events, extra]))
    recommender = Recommender.fit(data, tiny_config(training={"epochs": 1}))
    reasoned = recommender.with_reasoner(options(tmp_path / "llama"))
    assert reasoned.run.reasoning is not None
    assert not reasoned.run.reasoning.adds_to_condition
