"""Items added after training are raised as far as validation lets them, and no further."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deftrec import Recommender
from deftrec.data import Cases, Sequences, make_split
from deftrec.evaluation import accuracy
from deftrec.incremental.changes import add_events, add_items
from deftrec.retrieval import (
    ColdStartBonus,
    Deny,
    ExcludeHistory,
    ExtendedCatalogue,
    LatentSimilarity,
    Queries,
    Ranker,
    Validation,
    target_ranks,
)
from deftrec.retrieval.rules import seen_rules
from deftrec.retrieval.terms import cold_start_bonus as module
from deftrec.retrieval.terms.cold_start_bonus import BONUSES, ColdStartSimulation
from deftrec.serving.index import Approximate, build_index
from deftrec.tokenizer import ItemFeatures
from toy import no_text
from worded import NEW, events, fitted

ITEMS, ADDED, D = 30, 5, 6


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bonus")
    fitted(folder)
    return folder / "run"


def simulated(recommender: Recommender) -> ColdStartSimulation:
    """The simulation on a trained run."""
    info, values = recommender.info, recommender.catalogue.features
    width = info.collaborative_width
    features = ItemFeatures(values, slice(0, width), slice(width, values.shape[1]))
    cases = make_split(recommender.fitted_on, "leave-one-out").cases("validation")
    titles = recommender.fitted_on.titles
    found = ColdStartSimulation.draw(recommender.model, features, titles, recommender.ranker, cases, 0)
    assert found is not None
    return found


def validation(cases: Cases, latents: torch.Tensor) -> Validation:
    nothing = Sequences.from_lists([[]] * len(cases))
    return Validation.of(cases, Queries(cases.histories, latents), seen_rules(True), nothing)


@pytest.mark.parametrize("cost", [0.0, 0.05, 0.3, 0.999])
def test_the_largest_bonus_within_its_cost_is_chosen(cost: float) -> None:
    rng = np.random.default_rng(0)
    histories = Sequences.from_lists([rng.permutation(ITEMS)[:3] for _ in range(300)])
    cases = Cases(np.arange(300), histories, rng.integers(0, ITEMS + ADDED, 300))
    people = np.r_[np.arange(300), np.full(700, 7)]  # one of them has 700 clones, who count for nothing
    cases, once = cases.select(people), torch.arange(1000) < 300
    latents, new = torch.randn(ITEMS + ADDED, D), torch.from_numpy(cases.targets >= ITEMS)
    queries = latents[torch.from_numpy(cases.targets)] + torch.randn(300, D)[people]
    twins = np.full(ITEMS, -1)
    twins[:ADDED] = ITEMS + np.arange(ADDED)
    plain = Ranker(ITEMS + ADDED, (LatentSimilarity(latents),), (Deny(torch.arange(ADDED)),))
    chosen = ColdStartSimulation(plain, cases, twins).choose(validation(cases, queries), cost)
    # A history that holds an item holds its twin too.
    both = [np.concatenate([history, twins[history][twins[history] >= 0]]) for history in cases.histories]
    cases = replace(cases, histories=Sequences.from_lists(both))
    values = {}
    for bonus in BONUSES:  # the score that a recommender computes with each
        catalogue = ExtendedCatalogue(latents, torch.zeros(ADDED))
        scored = plain.with_term(ColdStartBonus(bonus).extended(catalogue))
        ranks = target_ranks(scored, Queries(cases.histories, queries), cases, (ExcludeHistory(),))
        measured = accuracy(ranks, (10, 50))
        values[bonus] = float(measured["ndcg@10"][~new & once].mean()), float(measured["hr@50"][new & once].mean())
    fits = [bonus for bonus in BONUSES if values[bonus][0] >= (1 - cost) * values[0.0][0]]
    bonus, record = chosen["bonus"], chosen["record"]
    assert bonus == max(fits)
    assert (record["ndcg"], record["hits"]) == pytest.approx(values[bonus])
    assert (record["ndcg_without"], record["hits_without"]) == pytest.approx(values[0.0])
    if cost == 0.999:
        assert bonus == max(BONUSES)
        assert record["ndcg"] < record["ndcg_without"]
    if cost == 0.05:
        assert 0 < bonus < max(BONUSES)


def test_where_nothing_is_found_nothing_is_raised() -> None:
    """Every target stands in the history, which is excluded: no bonus costs anything, and none helps."""
    histories = Sequences.from_lists([[n % ITEMS] for n in range(60)])
    cases = Cases(np.arange(60), histories, np.arange(60) % ITEMS)
    latents, twins = torch.randn(ITEMS + ADDED, D), np.full(ITEMS, -1)
    twins[:ADDED] = ITEMS + np.arange(ADDED)
    cases = replace(cases, targets=np.where(twins[cases.targets] >= 0, twins[cases.targets], cases.targets))
    plain = Ranker(ITEMS + ADDED, (LatentSimilarity(latents),), (Deny(torch.arange(ADDED)),))
    chosen = ColdStartSimulation(plain, cases, twins).choose(validation(cases, torch.randn(60, D)), 0.005)
    assert chosen["bonus"] == 0
    assert set(chosen["record"].values()) == {0.0}


def test_drawn_items_stand_in_the_simulation_as_added_ones(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHARE", 0.3)
    recommender = Recommender.load(run)
    n_items, width = recommender.interactions.n_items, recommender.info.collaborative_width
    found = simulated(recommender)
    [rule] = found.ranker.rules
    assert isinstance(rule, Deny)
    drawn = rule.items
    assert len(drawn) == round(0.3 * n_items)
    assert found.twins[drawn].tolist() == list(range(n_items, n_items + len(drawn)))
    assert (found.twins >= 0).sum() == len(drawn)
    rows = recommender.catalogue.features[drawn].clone()
    rows[:, :width] = 0  # by their text alone
    by_text = recommender.model.with_items(lambda _: rows, ["a title"] * len(drawn)).encode_catalogue().latents
    torch.testing.assert_close(found.ranker.latent.latents, torch.nn.functional.normalize(by_text, dim=-1))
    assert not torch.allclose(by_text[n_items:], recommender.catalogue.latents[drawn], atol=1e-3)
    cases = make_split(recommender.fitted_on, "leave-one-out").cases("validation")
    asked = torch.from_numpy(cases.targets)
    assert torch.equal(found.added, torch.isin(asked, drawn))
    assert torch.equal(torch.from_numpy(found.cases.targets)[~found.added], asked[~found.added])
    assert torch.equal(drawn[torch.from_numpy(found.cases.targets)[found.added] - n_items], asked[found.added])
    listed = found.ranker.search(recommender.queries(cases.histories), n_items).items
    assert not torch.isin(listed, drawn).any()
    assert (listed >= n_items).any()


def test_a_run_says_what_it_chose_and_may_be_told_not_to(run: Path, tmp_path: Path) -> None:
    chosen = Recommender.load(run).info.terms["cold_start_bonus"]
    assert chosen["bonus"] in BONUSES
    assert chosen["active"] == bool(chosen["bonus"])
    assert chosen["record"]["ndcg"] >= 0.995 * chosen["record"]["ndcg_without"]
    assert "cold_start_bonus" not in fitted(tmp_path / "off", retrieval={"cold_start_cost": 0.0}).info.terms
    options: dict[str, Any] = {"text": no_text()}
    assert "cold_start_bonus" not in fitted(tmp_path / "without-text", **options).info.terms


def with_bonus(run: Path, bonus: float) -> Recommender:
    """The run, with this bonus in place of its own."""
    loaded = Recommender.load(run)
    ranker = loaded.run.ranker.without("cold_start_bonus").with_term(ColdStartBonus(bonus))
    return Recommender(replace(loaded.run, ranker=ranker), loaded.overlay)


def test_added_items_are_raised_until_their_interactions_count(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    fitted(tmp_path)
    histories = Sequences.from_lists([[0, 1, 2], [5]])
    plain, raised = (with_bonus(folder, bonus) for bonus in (0.0, 2.0))
    queries = plain.queries(histories)
    assert torch.equal(raised.ranker.scores(queries), plain.ranker.scores(queries)), "nothing was added yet"
    add_items(folder, NEW)
    plain, raised = (with_bonus(folder, bonus) for bonus in (0.0, 2.0))
    queries = plain.queries(histories)
    change = raised.ranker.scores(queries) - plain.ranker.scores(queries)
    assert torch.equal(change[:, :-3], torch.zeros_like(change[:, :-3]))
    torch.testing.assert_close(change[:, -3:], torch.full((2, 3), 2.0))
    # An index's candidates are raised alike.
    ranker, n_items = raised.ranker, raised.fitted_on.n_items
    index = build_index("faiss", Approximate.vectors(ranker)[:n_items], Approximate.metric(ranker), "x", "")
    everything = np.arange(ranker.n_items)
    chosen, scores = Approximate(ranker, index, n_items).score(
        queries.latents[0], Sequences.from_lists([[0, 1, 2]]), everything, False
    )
    torch.testing.assert_close(scores, ranker.scores(queries)[0][chosen])
    # The interactions of two users with both items make a third of full confidence.
    users = raised.interactions.users.to_list()[:2]
    add_events(folder, events([(users[0], 900, 10_000), (users[1], 900, 10_001)]))
    term = with_bonus(folder, 2.0).ranker.term_of(ColdStartBonus)
    assert term is not None
    assert term.values is not None
    torch.testing.assert_close(term.values[-3:], torch.tensor([2.0 * (1 - 2 / 6), 2.0, 2.0]))
    assert not term.values[:-3].any()
