"""Indexes: high recall against exact search, and exact scores of the candidates."""

import logging
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from deftrec.data import Sequences
from deftrec.errors import ConfigError
from deftrec.retrieval import (
    CollaborativePrior,
    HistoryLast,
    LatentSimilarity,
    LinearPrior,
    PopularityTrend,
    Queries,
    Ranker,
    RepeatBias,
    ScoreTerm,
)
from deftrec.retrieval.rules import LAST
from deftrec.retrieval.terms.collaborative_prior import PriorSettings
from deftrec.retrieval.terms.latent import Similarity
from deftrec.serving.engine import InferenceEngine, RecommendationRequest
from deftrec.serving.index import Approximate, IndexKind, IndexMetric, VectorIndex, build_index, choice, faiss_index
from deftrec.serving.index.faiss_index import IvfPqIndex
from deftrec.serving.service import load_engine
from deftrec.serving.settings import Settings

ITEMS, WIDTH = 3000, 22
KINDS: list[IndexKind] = ["faiss", "faiss-ivfpq", "pgvector"]
Build = Callable[[np.ndarray], VectorIndex]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> IndexKind:
    if request.param.startswith("faiss"):
        pytest.importorskip("faiss", reason='FAISS: pip install "deftrec[faiss]"')
    found: IndexKind = request.param
    return found


@pytest.fixture
def url(kind: IndexKind, request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue("postgresql_server").get_uri() if kind == "pgvector" else "sqlite:///unused"


def clouds(seed: int = 0) -> np.ndarray:
    """Points in clusters, as latents lie."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(60, WIDTH))
    points = centres[rng.integers(60, size=ITEMS)] + 0.4 * rng.normal(size=(ITEMS, WIDTH))
    return np.asarray(points, np.float32)


@pytest.mark.parametrize("metric", ["inner", "l2"])
def test_it_finds_most_of_the_nearest(kind: IndexKind, url: str, metric: IndexMetric) -> None:
    vectors = clouds()
    index = build_index(kind, vectors, metric, f"recall{metric}", url)
    assert index is not None
    queries = vectors[:50] + 0.1
    products = queries @ vectors.T
    near = products if metric == "inner" else products - np.square(vectors).sum(-1) / 2
    exact = np.argsort(-near, axis=1, kind="stable")[:, :10]
    found = index.nearest(queries, 40)
    assert found.shape == (50, 40)
    recall = np.mean([len(set(one) & set(other)) / 10 for one, other in zip(exact, found, strict=True)])
    assert recall >= (0.9 if kind != "faiss-ivfpq" else 0.6)
    assert all(len(set(row[row >= 0])) == (row >= 0).sum() for row in found), "nothing twice"
    index.close()


def test_asked_for_all_of_a_few_it_says_what_there_is(kind: IndexKind, url: str) -> None:
    vectors = clouds()[:7]
    index = build_index(kind, vectors, "inner", "few", url)
    assert index is not None
    found = index.nearest(vectors[:2], 7)
    assert set(found[found >= 0]) <= set(range(7))
    if kind != "faiss-ivfpq":
        assert [sorted(row) for row in found.tolist()] == [list(range(7))] * 2
    index.close()


def prior(repeats: bool = False, items: int = ITEMS) -> CollaborativePrior:
    """A prior that scores five items for each item of the history."""
    rng = np.random.default_rng(1)
    neighbours = torch.from_numpy(rng.integers(items, size=(items, 5))).int()
    weights = torch.rand(items, 5, generator=torch.manual_seed(0))
    linear = LinearPrior(items, torch.arange(items, dtype=torch.int32), neighbours, weights)
    return CollaborativePrior(linear, PriorSettings("ease", 50.0, 0.5), 3.0, items, repeats)


@pytest.mark.parametrize(("trend", "again"), [(False, 0.0), (True, 0.0), (True, -2.0), (False, 1.5), (True, LAST)])
@pytest.mark.parametrize("similarity", ["cosine", "inner"])
def test_candidates_are_scored_as_the_exact_score_does(similarity: Similarity, trend: bool, again: float) -> None:
    pytest.importorskip("faiss", reason='FAISS: pip install "deftrec[faiss]"')
    latents = torch.from_numpy(clouds())
    terms: list[ScoreTerm] = [LatentSimilarity(latents, 0.2, similarity), prior()]
    if trend:
        popular = torch.from_numpy(2 * np.random.default_rng(2).normal(size=ITEMS)).float()
        terms.append(PopularityTrend(popular, 1.0, 0.0))
    if again not in (0.0, LAST):
        terms.append(RepeatBias(ITEMS, again))
    ranker = Ranker(ITEMS, tuple(terms), (HistoryLast(),) if again == LAST else ())
    index = build_index("faiss", Approximate.vectors(ranker), Approximate.metric(ranker), "x", "")
    assert index is not None
    approximate = Approximate(ranker, index)
    queries = latents[:20] + 0.05
    hits = 0
    for n, near in enumerate(approximate.candidates(queries, [40] * 20)):
        history = Sequences.from_lists([[n, n + 100, n]])
        [(_, exact)] = ranker.chunks(Queries(history, queries[n : n + 1]))
        items, scores = approximate.score(queries[n], history, near, also_prior=True)
        assert set(near) <= set(items.tolist())
        assert torch.allclose(scores, exact[0, items], atol=2e-3 if again == LAST else 1e-4)
        hits += len(set(items[scores.topk(10).indices].tolist()) & set(exact[0].topk(10).indices.tolist()))
    assert hits >= 0.9 * 200


def answers(engine: InferenceEngine, **more: object) -> list[object]:
    user = engine.own_history(str(engine.interactions.users[0]))
    history = np.array([engine.numbers[item] for item in user])
    [answer] = engine.answer([RecommendationRequest(engine, history, **more)])  # type: ignore[arg-type]
    assert not isinstance(answer, Exception), answer
    return [one.item for one in answer.found]


def test_a_run_answers_as_without_an_index(kind: IndexKind, url: str, runs: Path, engine: InferenceEngine) -> None:
    """The catalogue is small, so that over-fetching asks for all of it, whatever is hidden."""
    indexed = InferenceEngine.load(runs / "first", kind, url)
    some = np.arange(0, 24, 3)
    for more in (
        {"k": 5},
        {"k": 5, "exclude_seen": False},
        {"k": 5, "allow": some},
        {"k": 5, "deny": some},
        {"k": 5, "category": "red"},
        {"k": 5, "category": "red", "allow": some},
    ):
        expected = answers(engine, **more)
        if kind == "faiss-ivfpq":  # reads some of its lists alone
            assert len(answers(indexed, **more)) > 0
        else:
            assert answers(indexed, **more) == expected
    indexed.close()


@pytest.mark.parametrize("again", [LAST, -1000.0])
def test_seen_items_that_come_last_cost_no_place(again: float, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index is asked for them and for a whole list of others."""
    pytest.importorskip("faiss", reason='FAISS: pip install "deftrec[faiss]"')
    monkeypatch.setattr("deftrec.serving.engine.OVERFETCH", 1)
    engine = InferenceEngine.load(runs / "first", "faiss", "sqlite:///unused")
    assert engine.approximate is not None
    ranker = engine.recommender.ranker.without("collaborative_prior", "repeat_bias")
    last = again == LAST
    ranker = ranker.with_rules(HistoryLast()) if last else ranker.with_term(RepeatBias(ranker.n_items, again))
    monkeypatch.setattr(engine.recommender, "ranker", ranker)
    monkeypatch.setattr(engine.approximate, "_ranker", ranker)
    history = np.argsort(-engine.recommender.popularity.numpy())[:6]
    [kept, excluded] = engine.answer(
        [RecommendationRequest(engine, history, k=5, exclude_seen=exclude) for exclude in (False, True)]
    )
    assert not isinstance(kept, Exception)
    assert not isinstance(excluded, Exception)
    assert [one.item for one in kept.found] == [one.item for one in excluded.found]
    assert len(kept.found) == 5
    engine.close()


def test_pgvector_keeps_its_table_between_workers(runs: Path, postgresql_server) -> None:  # type: ignore[no-untyped-def]
    url = postgresql_server.get_uri()
    first, second = (InferenceEngine.load(runs / "first", "pgvector", url) for _ in range(2))
    assert answers(first) == answers(second)
    first.close()
    second.close()


def test_what_does_not_suit_is_refused(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is kept in the event store"):
        InferenceEngine.load(runs / "first", "pgvector", f"sqlite:///{tmp_path / 'e.sqlite'}")
    with pytest.raises(ConfigError, match="2,000 components"):
        build_index("pgvector", np.zeros((3, 2001), np.float32), "l2", "wide", "postgresql://127.0.0.1:1/x")


@pytest.mark.parametrize(
    ("more", "installed", "kind", "why"),
    [
        ([], True, "faiss-ivfpq", "more than 20 items"),
        ([], False, "exact", 'pip install "deftrec[faiss]"'),
        ([prior(repeats=True, items=21)], True, "exact", "by more than their latents"),
    ],
)
def test_a_large_catalogue_gets_an_index_and_the_log_says_so(
    more: list[ScoreTerm],
    installed: bool,
    kind: str,
    why: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    records: list[logging.LogRecord] = []
    handler, logger = logging.Handler(), logging.getLogger("deftrec.serving")
    monkeypatch.setattr(handler, "emit", records.append)
    monkeypatch.setattr(logger, "handlers", [handler])  # others may have set it up for a server of theirs
    monkeypatch.setattr(logger, "level", logger.level)  # as it is afterwards
    logger.setLevel(logging.INFO)
    monkeypatch.setattr(choice, "EXACT_ITEMS", 20)
    monkeypatch.setattr(choice, "find_spec", lambda name: installed or None)

    def ranker(items: int, *terms: ScoreTerm) -> Ranker:
        return Ranker(items, (LatentSimilarity(torch.randn(items, 4), 0.1), *terms))

    assert choice.choose_index("auto", ranker(20)) == "exact"
    assert choice.choose_index("auto", ranker(21, *more)) == kind
    assert [record.fields["kind"] for record in records] == ["exact", kind]  # type: ignore[attr-defined]
    assert why in records[1].fields["why"]  # type: ignore[attr-defined]
    assert choice.choose_index("exact", ranker(21)) == "exact"
    assert len(records) == 2, "who chooses is not told"


def test_of_many_near_ones_compressed_vectors_are_looked_at_again() -> None:
    """Codes alone take many for one and the same."""
    pytest.importorskip("faiss", reason='FAISS: pip install "deftrec[faiss]"')
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(20, WIDTH))
    vectors = np.asarray(centres[rng.integers(20, size=ITEMS)] + 0.05 * rng.normal(size=(ITEMS, WIDTH)), np.float32)
    queries = vectors[:50] + np.float32(0.01)
    near = queries @ vectors.T - np.square(vectors).sum(-1) / 2
    exact = np.argsort(-near, axis=1, kind="stable")[:, :10]
    index = IvfPqIndex(vectors, "l2")
    found = index.nearest(queries, 10)
    rows = np.arange(50)[:, None]
    assert (np.diff(near[rows, found], axis=1) <= 1e-5).all(), "best first, by the vectors themselves"
    recall = np.mean([len(set(one) & set(other)) / 10 for one, other in zip(exact, found, strict=True)])
    codes = index._index.search(np.pad(queries, ((0, 0), (0, index._width - WIDTH))), 10)[1]
    coarse = np.mean([len(set(one) & set(other)) / 10 for one, other in zip(exact, codes, strict=True)])
    assert recall > coarse + 0.1


@pytest.mark.parametrize("metric", ["inner", "l2"])
def test_a_request_that_hides_much_takes_no_memory_for_every_other(
    metric: IndexMetric, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of a batch are asked for as many as one of them hides."""
    pytest.importorskip("faiss", reason='FAISS: pip install "deftrec[faiss]"')
    vectors = clouds()
    vectors[1000:1500] = vectors[:500]  # of the same vectors, the one that was proposed first comes first
    queries = vectors[:32] + np.float32(0.1)
    index = IvfPqIndex(vectors, metric)
    tracemalloc.start()
    found = index.nearest(queries, ITEMS // 2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < queries.shape[0] * vectors.nbytes / 2, "never the proposed vectors of all queries at once"
    monkeypatch.setattr(faiss_index, "GATHERED", 7 * vectors[0].nbytes)
    assert (index.nearest(queries, ITEMS // 2) == found).all(), "in parts of any size, the same"
    proposed = index._index.search(np.pad(queries, ((0, 0), (0, index._width - WIDTH))), ITEMS)[1]
    near = np.einsum("nd,nmd->nm", queries, vectors[proposed])
    if metric == "l2":
        near -= np.square(vectors[proposed]).sum(-1) / 2
    near[proposed < 0] = -np.inf
    order = np.argsort(-near, axis=1, kind="stable")[:, : ITEMS // 2]
    assert (np.take_along_axis(proposed, order, axis=1) == found).all()


def test_what_cannot_be_warmed_lets_go_of_its_index(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[InferenceEngine] = []

    def fail(engine: InferenceEngine) -> None:
        raise ConfigError("cannot be read")

    monkeypatch.setattr(InferenceEngine, "warm", fail)
    monkeypatch.setattr(InferenceEngine, "close", lambda engine: closed.append(engine))
    with pytest.raises(ConfigError, match="cannot be read"):
        load_engine(runs / "first", Settings(run=runs / "first"))
    assert len(closed) == 1
