"""Items that come after training are raised as far as validation lets them, and no further."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from deftrec import Recommender
from deftrec.data import Cases, Sequences, make_split
from deftrec.data.words import item_titles
from deftrec.evaluation import accuracy
from deftrec.incremental.changes import add_events, add_items
from deftrec.retrieval import LinearPrior, Retriever
from deftrec.retrieval.ranks import target_ranks
from deftrec.retrieval.terms.cold_start_bonus import BONUSES, ColdStartSimulation, Exposure
from deftrec.serving.index import Approximate, build_index
from deftrec.tokenizer import ItemFeatures
from deftrec.training import exposure
from worded import NEW, events, fitted

ITEMS, NEWCOMERS, D = 30, 5, 6


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exposure")
    fitted(folder)
    return folder / "run"


def rehearsal(recommender: Recommender) -> ColdStartSimulation:
    """On a trained run; a third of its items come a second time."""
    info, values = recommender.info, recommender.catalogue.features
    width = info.collaborative_width
    features = ItemFeatures(values, slice(0, width), slice(width, values.shape[1]))
    cases = make_split(recommender.fitted_on, "leave-one-out").cases("validation")
    found = ColdStartSimulation.of(
        recommender.model, features, item_titles(recommender.fitted_on), recommender.retriever, cases, 0
    )
    assert found is not None
    return found


@pytest.mark.parametrize("allowed", [0.0, 0.05, 0.3, 0.999])
def test_the_largest_bonus_within_the_price_is_chosen(allowed: float) -> None:
    rng = np.random.default_rng(0)
    histories = Sequences.from_lists([rng.permutation(ITEMS)[:3] for _ in range(300)])
    cases = Cases(np.arange(300), histories, rng.integers(0, ITEMS + NEWCOMERS, 300))
    people = np.r_[np.arange(300), np.full(700, 7)]  # one of them has 700 clones, who count for nothing
    cases, once = cases.select(people), torch.arange(1000) < 300
    latents, new = torch.randn(ITEMS + NEWCOMERS, D), torch.from_numpy(cases.targets >= ITEMS)
    queries = latents[torch.from_numpy(cases.targets)] + torch.randn(300, D)[people]
    twins = np.full(ITEMS, -1)
    twins[:NEWCOMERS] = ITEMS + np.arange(NEWCOMERS)
    plain = Retriever(latents, "cosine", 1.0, removed=torch.arange(NEWCOMERS))
    chosen = ColdStartSimulation(plain, cases, twins).choose(queries, True, allowed)
    # Who had an item has its twin too.
    both = [np.concatenate([history, twins[history][twins[history] >= 0]]) for history in cases.histories]
    cases = replace(cases, histories=Sequences.from_lists(both))
    values = {}
    for bonus in BONUSES:  # as a recommender would score with each
        scored = replace(plain, bonus=torch.full((NEWCOMERS,), bonus))
        measured = accuracy(target_ranks(scored, queries, cases, True), (10, 50))
        values[bonus] = float(measured["ndcg@10"][~new & once].mean()), float(measured["hr@50"][new & once].mean())
    fits = [bonus for bonus in BONUSES if values[bonus][0] >= (1 - allowed) * values[0.0][0]]
    assert chosen.bonus == max(fits)
    assert (chosen.ndcg, chosen.hits) == pytest.approx(values[chosen.bonus])
    assert (chosen.ndcg_without, chosen.hits_without) == pytest.approx(values[0.0])
    if allowed == 0.999:
        assert chosen.bonus == max(BONUSES)
        assert chosen.ndcg < chosen.ndcg_without
    if allowed == 0.05:
        assert 0 < chosen.bonus < max(BONUSES)


def test_where_nothing_is_found_nothing_is_raised() -> None:
    """Everybody asks for what they had, which is hidden: no bonus costs anything, and none helps."""
    histories = Sequences.from_lists([[n % ITEMS] for n in range(60)])
    cases = Cases(np.arange(60), histories, np.arange(60) % ITEMS)
    latents, twins = torch.randn(ITEMS + NEWCOMERS, D), np.full(ITEMS, -1)
    twins[:NEWCOMERS] = ITEMS + np.arange(NEWCOMERS)
    cases = replace(cases, targets=np.where(twins[cases.targets] >= 0, twins[cases.targets], cases.targets))
    plain = Retriever(latents, "cosine", 1.0, removed=torch.arange(NEWCOMERS))
    assert ColdStartSimulation(plain, cases, twins).choose(torch.randn(60, D), True, 0.005) == Exposure(
        0.0, 0.0, 0.0, 0.0, 0.0
    )


def test_items_of_the_rehearsal_stand_there_as_new_ones(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposure, "SHARE", 0.3)
    recommender = Recommender.load(run)
    n_items, width = recommender.interactions.n_items, recommender.info.collaborative_width
    found = rehearsal(recommender)
    drawn = found.retriever.removed
    assert drawn is not None
    assert len(drawn) == round(0.3 * n_items)
    assert found.twins[drawn].tolist() == list(range(n_items, n_items + len(drawn)))
    assert (found.twins >= 0).sum() == len(drawn)
    rows = recommender.catalogue.features[drawn].clone()
    rows[:, :width] = 0  # by their words alone
    by_words = recommender.model.with_items(lambda _: rows, ["a title"] * len(drawn)).encode_catalogue().latents
    torch.testing.assert_close(found.retriever.latents, by_words)
    assert not torch.allclose(by_words[n_items:], recommender.catalogue.latents[drawn], atol=1e-3)
    cases = make_split(recommender.fitted_on, "leave-one-out").cases("validation")
    asked = torch.from_numpy(cases.targets)
    assert torch.equal(found.new, torch.isin(asked, drawn))
    assert torch.equal(torch.from_numpy(found.cases.targets)[~found.new], asked[~found.new])
    assert torch.equal(drawn[torch.from_numpy(found.cases.targets)[found.new] - n_items], asked[found.new])
    queries = recommender.ask(cases.histories).queries
    listed = found.retriever.search(queries, cases.histories, n_items, exclude_seen=False).items
    assert not torch.isin(listed, drawn).any()
    assert (listed >= n_items).any()


def test_a_silenced_item_speaks_for_nothing_and_lends_nothing() -> None:
    prior = LinearPrior(torch.tensor([[1], [2], [0]]), torch.tensor([[0.5], [0.25], [2.0]]))
    quiet = prior.without_items(torch.tensor([1]))
    assert quiet.scores(Sequences.from_lists([[1]]), 0.0).tolist() == [[0, 0, 0]]
    assert quiet.scores(Sequences.from_lists([[2]]), 0.0).tolist() == [[2, 0, 0]]
    assert prior.scores(Sequences.from_lists([[1]]), 0.0).tolist() == [[0, 0, 0.25]]
    lenders = quiet.with_items(torch.eye(4)).lenders
    assert lenders is not None
    assert 1 not in lenders


def test_a_run_says_what_it_chose_and_may_be_told_not_to(run: Path, tmp_path: Path) -> None:
    chosen = Recommender.load(run).info.exposure
    assert chosen is not None
    assert chosen.bonus in BONUSES
    assert chosen.ndcg >= 0.995 * chosen.ndcg_without
    assert fitted(tmp_path / "off", retrieval={"cold_start_cost": 0.0}).info.exposure is None
    assert fitted(tmp_path / "wordless", text={"model": None}).info.exposure is None


def with_bonus(run: Path, bonus: float) -> Recommender:
    """The run as if it had chosen this bonus."""
    loaded = Recommender.load(run)
    info = loaded.info.model_copy(update={"exposure": Exposure(bonus, 0.5, 0.5, 0.5, 0.5)})
    return Recommender(replace(loaded.run, info=info), loaded.overlay)


def test_new_items_are_raised_until_their_takers_speak_for_them(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    fitted(tmp_path)
    assert with_bonus(folder, 2.0).retriever.bonus is None  # nothing came yet
    add_items(folder, NEW)
    plain, raised = (with_bonus(folder, bonus) for bonus in (0.0, 2.0))
    histories = Sequences.from_lists([[0, 1, 2], [5]])
    queries = plain.ask(histories).queries
    change = raised.retriever.scores(queries, histories) - plain.retriever.scores(queries, histories)
    assert torch.equal(change[:, :-3], torch.zeros_like(change[:, :-3]))
    torch.testing.assert_close(change[:, -3:], torch.full((2, 3), 2.0))
    # An index's candidates are raised alike.
    retriever = raised.retriever
    n_items = raised.fitted_on.n_items
    index = build_index("faiss", Approximate.vectors(retriever)[:n_items], Approximate.metric(retriever), "x", "")
    everything = np.arange(len(retriever.latents))
    chosen, scores = Approximate(retriever, index, n_items).score(queries[0], np.array([0, 1, 2]), everything, False)
    torch.testing.assert_close(scores, retriever.scores(queries, histories)[0][chosen])
    # Two users of both kinds are a third of a whole vector's trust.
    users = raised.interactions.users.to_list()[:2]
    add_events(folder, events([(users[0], 900, 10_000), (users[1], 900, 10_001)]))
    after = with_bonus(folder, 2.0).retriever.bonus
    assert after is not None
    torch.testing.assert_close(after, torch.tensor([2.0 * (1 - 2 / 6), 2.0, 2.0]))
