"""A score term of one's own: a small class that changes lists, is explained, and is saved."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from deftrec import Recommender
from deftrec.data import Sequences
from deftrec.errors import ConfigError, DeftRecError
from deftrec.incremental import Overlay
from deftrec.retrieval import (
    ColdStartBonus,
    CollaborativePrior,
    ExtendedCatalogue,
    LatentSimilarity,
    LinearPrior,
    PopularityTrend,
    Queries,
    Ranker,
    RepeatBias,
    ScoreTerm,
)
from deftrec.retrieval.linear import graph
from deftrec.retrieval.terms.collaborative_prior import PriorSettings
from sealing import reseal
from toy import ring, tiny_config
from worded import NEW, fitted


@dataclass(frozen=True, eq=False)
class Campaign(ScoreTerm):
    """Raises some items for everybody."""

    name: ClassVar[str] = "campaign"
    values: Tensor

    def scores(self, queries: Queries, total: Tensor | None = None) -> Tensor:
        return self.values.to(queries.latents.device)

    def extended(self, catalogue: ExtendedCatalogue) -> "Campaign":
        return Campaign(torch.nn.functional.pad(self.values, (0, len(catalogue.latents) - len(self.values))))


class SecondNewest(ScoreTerm):
    """The item before the newest one again: a term that reads the history."""

    name = "second_newest"
    explained = False

    def scores(self, queries: Queries, total: Tensor | None = None) -> Tensor:
        scores = torch.zeros(len(queries), 24 if total is None else total.shape[1])
        for row, history in zip(scores, queries.histories, strict=True):
            row[int(history[-2])] = 100.0
        return scores


@pytest.fixture(scope="module")
def recommender() -> Recommender:
    return Recommender.fit(ring(), tiny_config(training={"epochs": 2}))


def campaign(recommender: Recommender, item: Any, value: float = 50.0) -> Campaign:
    values = torch.zeros(recommender.interactions.n_items)
    values[recommender.interactions.item_numbers([item])] = value
    return Campaign(values)


def test_a_term_changes_lists_and_their_explanations(recommender: Recommender) -> None:
    history = recommender.interactions.history(1000)[:3]
    before = recommender.recommend(history=history, k=24)
    item = before[-1].item
    changed = recommender.with_term(campaign(recommender, item))
    after = changed.recommend(history=history, k=24, explain=True)
    assert after[0].item == item
    assert after[0].score == pytest.approx(before[-1].score + 50, abs=1e-3)
    assert [one.item for one in after[1:]] == [one.item for one in before[:-1]]
    first, second = (one.explanation for one in after[:2])
    assert first is not None
    assert second is not None
    assert first.shares["campaign"] > 0.9
    assert sum(first.shares.values()) == pytest.approx(1)
    assert second.shares["campaign"] == 0
    # Everything that ranks goes by the same score, and the recommender before is what it was.
    assert changed.recommend_many([history], k=24) == [[replace(one, explanation=None) for one in after]]
    assert changed.evaluate().metrics != recommender.evaluate().metrics
    assert recommender.recommend(history=history, k=24) == before


def test_a_term_may_read_the_history(recommender: Recommender) -> None:
    history = recommender.interactions.history(1000)[:3]
    changed = recommender.with_term(SecondNewest())
    found = changed.recommend(history=history, k=3, exclude_seen=False, explain=True)
    assert found[0].item == history[-2]
    assert found[0].explanation is not None
    assert "second_newest" not in found[0].explanation.shares
    assert history[-2] not in [one.item for one in changed.recommend(history=history, k=20)], "rules come after terms"


def test_a_name_is_given_once(recommender: Recommender) -> None:
    term = campaign(recommender, recommender.interactions.catalogue["item"][0])
    with pytest.raises(ConfigError, match="the score has a term 'campaign' already; give the new one another name"):
        recommender.with_term(term).with_term(term)


def terms() -> list[ScoreTerm]:
    """One of each term, with every setting it can have."""
    linear = LinearPrior.fit(graph, Sequences.from_lists([[0, 1, 2], [1, 3], [5, 4]]), 6, 3, 5)
    prior = CollaborativePrior(linear, PriorSettings("graph", 0.0, 0.25), 5.0, 5, True, {"ndcg": 0.2})
    trend = PopularityTrend(torch.randn(6), -0.3, 0.6, {"ndcg": 0.3, "ndcg_without": 0.2})
    bonus = ColdStartBonus(0.5, {"ndcg": 0.3, "ndcg_without": 0.3, "hits": 0.1, "hits_without": 0.0})
    return [Campaign(torch.randn(6)), SecondNewest(), prior, trend, RepeatBias(6, -2.0, {"ndcg": 0.4}), bonus]


def test_state_holds_every_term() -> None:
    latent = Ranker(6, (LatentSimilarity(torch.randn(6, 4)),))
    ranker = latent
    for term in terms():
        ranker = ranker.with_term(term)
    settings, tensors = ranker.state()
    again = latent.with_state(json.loads(json.dumps(settings)), tensors)
    assert [type(term) for term in again.terms] == [type(term) for term in ranker.terms]
    assert again.state()[0] == settings
    assert again.state()[1].keys() == tensors.keys()
    queries = Queries(Sequences.from_lists([[0, 1], [5, 5], [2, 3, 4]]), torch.randn(3, 4))
    assert torch.equal(again.scores(queries), ranker.scores(queries))
    catalogue = ExtendedCatalogue(torch.randn(8, 4), torch.tensor([0.0, 0.25]))
    extended, expected = again.extended(catalogue), ranker.extended(catalogue)
    assert extended.n_items == 8
    assert torch.equal(extended.scores(queries), expected.scores(queries))


def test_a_saved_term_is_loaded_with_its_run_where_its_class_is_known(recommender: Recommender, tmp_path: Path) -> None:
    term = campaign(recommender, recommender.interactions.catalogue["item"][0])
    run = recommender.run
    info = run.info.model_copy(update={"terms": {**run.info.terms, "campaign": {"active": True}}})
    Recommender(replace(run, info=info, ranker=run.ranker.with_term(term))).save(tmp_path / "run")
    loaded = Recommender.load(tmp_path / "run")
    history = recommender.interactions.history(1000)[:3]
    assert loaded.recommend(history=history) == recommender.with_term(term).recommend(history=history)

    record = json.loads((tmp_path / "run" / "run.json").read_text())
    record["terms"]["another_campaign"] = record["terms"].pop("campaign")
    reseal(tmp_path / "run", terms=record["terms"])
    with pytest.raises(
        DeftRecError,
        match=r"no score term 'another_campaign'; import the module that defines it before loading the run \(known: .*"
        r"campaign.*repeat_bias",
    ):
        Recommender.load(tmp_path / "run")


def test_a_term_follows_the_catalogue(tmp_path: Path) -> None:
    before = fitted(tmp_path)
    item = before.interactions.catalogue["item"][0]
    run = replace(before.run, ranker=before.run.ranker.with_term(campaign(before, item)))
    overlay = Overlay.empty(before.fitted_on).with_items(NEW, torch.randn(3, 32))
    after = Recommender(run).with_overlay(replace(overlay, version=1))
    found = after.recommend(history=before.interactions.history(1000)[:1], k=27, exclude_seen=False)
    assert found[0].item == item
    assert {900, 901, 902} <= {one.item for one in found}
