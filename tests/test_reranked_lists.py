"""Re-ranked and continued lists of a trained recommender, from the library to the command line."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from deftrec import Interactions, Recommender
from deftrec.bulk import Job
from deftrec.cli import main
from deftrec.data import Meta, Sequences
from deftrec.errors import ConfigError, DataError
from deftrec.retrieval import Mmr
from toy import ring, tiny_config


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lists") / "run"
    events = ring(users=60).events()
    names = events["item"].unique().sort()
    kinds = ["red|old" if n % 2 else "blue" for n in range(len(names))]
    items = pl.DataFrame({"item": names, "title": [f"number {n}" for n in names], "category": kinds})
    data = Interactions.from_frame(events, items, meta=Meta(name="ring"))
    Recommender.fit(data, tiny_config(training={"epochs": 3}, collaborative={"epochs": 3}), out=folder)
    return folder


@pytest.fixture(scope="module")
def recommender(run: Path) -> Recommender:
    return Recommender.load(run)


def ids(found: list[Any]) -> list[Any]:
    return [one.item for one in found]


@pytest.mark.parametrize("name", ["mmr", "dpp", "calibrated", "auto"])
def test_a_batch_and_one_by_one_give_the_same_lists(recommender: Recommender, name: Any) -> None:
    data = recommender.interactions
    histories = [data.item_ids(data.sequences[n][:4]) for n in range(5)] + [[]]
    together = recommender.recommend_many(histories, k=8, rerank=name)
    alone = [recommender.recommend(history=history, k=8, rerank=name) for history in histories]
    assert [ids(found) for found in together] == [ids(found) for found in alone]
    assert [one.rank for one in together[0]] == list(range(1, 9))
    longer = recommender.recommend_many(histories, k=20, rerank=name)
    # The last one is by popularity, whose ties have no order.
    assert [ids(one)[:8] for one in longer[:-1]] == [ids(one) for one in together[:-1]], "a page continues the last"


def test_strength_0_is_the_order_of_the_score(recommender: Recommender) -> None:
    user = recommender.interactions.users[0]
    plain = recommender.recommend(user)
    for name in ("mmr", "dpp", "calibrated"):
        assert recommender.recommend(user, rerank=name, strength=0) == plain  # type: ignore[arg-type]
    assert recommender.recommend(user, rerank="mmr", strength=5) != plain
    default = recommender.recommend(user, rerank="mmr")
    assert default == recommender.recommend(user, rerank="mmr", strength=0.5)
    own = recommender.reranker("mmr", 0.5)
    assert own is not None
    assert default == recommender.recommend(user, rerank=own)


def test_rules_hold_for_re_ranked_lists(recommender: Recommender) -> None:
    user = recommender.interactions.users[0]
    allowed = recommender.interactions.catalogue["item"].to_list()[:9]
    found = recommender.recommend(user, k=9, rerank="dpp", strength=3, allow=allowed, deny=allowed[:2])
    assert set(ids(found)) <= set(allowed[2:]) - set(recommender.interactions.history(user))


def test_every_similarity_gives_an_order_of_its_own(recommender: Recommender) -> None:
    user = recommender.interactions.users[0]
    graph, latents = (recommender.reranker("mmr", 3.0, name) for name in ("co-occurrence", "latents"))  # type: ignore[arg-type]
    assert graph is not None
    assert latents is not None
    assert recommender.recommend(user, rerank=graph) != recommender.recommend(user, rerank=latents)
    with pytest.raises(ConfigError, match="no sentence vectors"):
        recommender.reranker("mmr", 1.0, "words")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mmr", -0.1), "strength is -0.1; give 0"),
        (("mmr", float("nan")), "strength is nan"),
        (("none", 0.5), "a strength needs a re-ranker"),
        (("auto", 0.5), "auto chooses its strength"),
        (("best", 0.5), "no re-ranker 'best'; there are none, mmr"),
        (("mmr", 0.5, "colour"), "no similarity 'colour'"),
        (("calibrated", 0.5, "latents"), "belongs to mmr and dpp"),
    ],
)
def test_wrong_use_is_an_error_that_says_why(recommender: Recommender, arguments: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        recommender.reranker(*arguments)
    if len(arguments) == 2:
        with pytest.raises(ConfigError, match=message):
            recommender.recommend(history=[], rerank=arguments[0], strength=arguments[1])


def test_a_re_ranker_has_its_own_strength(recommender: Recommender) -> None:
    with pytest.raises(ConfigError, match="leave out strength"):
        recommender.recommend(history=[], rerank=Mmr(1.0, recommender.catalogue.latents), strength=1.0)


def test_data_without_categories_or_interactions_are_refused(recommender: Recommender) -> None:
    data = recommender.interactions
    bare = replace(data, catalogue=data.catalogue.with_columns(category=pl.lit("")))
    other = Recommender(replace(recommender.run, interactions=bare))
    with pytest.raises(DataError, match="no categories, so lists cannot be calibrated"):
        other.recommend(data.users[0], rerank="calibrated")
    empty = replace(data, sequences=Sequences.from_lists([[] for _ in range(data.n_users)]))
    with pytest.raises(DataError, match="no training interactions"):
        Recommender(replace(recommender.run, interactions=empty)).reranker("mmr")


def test_auto_is_the_largest_strength_that_loses_no_hit(
    run: Path, recommender: Recommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = recommender.examine("validation")
    _, found = cases.rank("exclude", k=100)

    def hits(strength: float) -> int:
        lists = Mmr(strength, recommender.rerankers.graph).rerank(found, cases.cases.histories).items[:, :10]
        return sum(int(target) in row for target, row in zip(cases.cases.targets, lists.tolist(), strict=True))

    monkeypatch.setattr("deftrec.rerankers.STRENGTHS", (0.01, 0.2, 4.0, 50.0))
    fresh = Recommender.load(run)
    kept = [strength for strength in (0, 0.01, 0.2, 4.0, 50.0) if hits(strength) >= hits(0)]
    assert fresh.rerankers.auto_strength == max(kept)
    fresh.rerankers.auto_strength = 0.123
    assert fresh.with_overlay(None).rerankers.auto_strength == 0.123, "chosen once for a run"


def test_a_new_term_is_judged_anew(recommender: Recommender) -> None:
    class Nothing(type(recommender.ranker.terms[0])):  # type: ignore[misc]
        name = "nothing"

    _ = recommender.rerankers
    term = recommender.ranker.terms[0]
    other = recommender.with_term(Nothing(term.latents, term.temperature))  # type: ignore[attr-defined]
    assert other.rerankers is not recommender.rerankers


def test_a_list_is_continued_item_by_item(recommender: Recommender) -> None:
    history = recommender.interactions.history(recommender.interactions.users[3])[:3]
    found = recommender.continue_list(history, 6)
    grown = list(history)
    for rank, one in enumerate(found, start=1):
        [best] = recommender.recommend(history=grown, k=1)
        assert (one.item, one.score, one.rank) == (best.item, best.score, rank)
        grown.append(best.item)
    assert len(set(grown)) == len(grown)


def test_continuing_ends_where_no_item_is_left(recommender: Recommender) -> None:
    catalogue = recommender.interactions.catalogue["item"].to_list()
    assert len(recommender.continue_list(catalogue[:20], 50)) == len(catalogue) - 20
    again = recommender.continue_list(catalogue[:2], 50, exclude_seen=False)
    assert sorted(ids(again)) == sorted(catalogue), "no item twice, those of the history once"
    fromnothing = recommender.continue_list([], 3, allow=catalogue[:5])
    assert [one.source for one in fromnothing] == ["popularity", "deftrec", "deftrec"]
    assert set(ids(fromnothing)) <= set(catalogue[:5])
    with pytest.raises(ConfigError, match="k is 0"):
        recommender.continue_list(catalogue[:2], 0)


def test_rankings_of_everybody_go_by_rank(recommender: Recommender, run: Path, tmp_path: Path) -> None:
    [frame] = recommender.recommend_all(5, rerank="mmr", strength=3)
    assert frame["score"].null_count() == frame.height
    user = recommender.interactions.users[0]
    listed = frame.filter(pl.col("user") == user)["item"].to_list()
    assert listed == ids(recommender.recommend(user, k=5, rerank="mmr", strength=3))
    job = Job.of(run, recommender, k=5, seen="exclude", seed=None, part_users=30, rerank="mmr", strength=3.0)
    [job.write(recommender, tmp_path, part) for part in job.begin(tmp_path / "parts")]
    parts = pl.concat([pl.read_parquet(tmp_path / f"part-{part:06d}.parquet") for part in range(2)])
    assert parts["item"].to_list() == frame["item"].to_list()
    with pytest.raises(ConfigError, match="needs a re-ranker"):
        Job.of(run, recommender, k=5, seen="exclude", seed=None, part_users=30, strength=3.0)


def test_evaluate_describes_the_lists(recommender: Recommender) -> None:
    metrics = recommender.evaluate().metrics
    assert {"graph_distance@10", "category_distance@10", "calibration_error@10", "gini@10"} <= set(metrics)
    assert "words_distance@10" not in metrics
    assert 0 < metrics["graph_distance@10"] < 2


def test_the_command_line(run: Path, recommender: Recommender, tmp_path: Path, capsys: Any) -> None:
    def call(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["recommend", str(run), *map(str, words)])
        return code, *capsys.readouterr()

    def items(text: str) -> list[Any]:
        return [one["item"] for one in json.loads(text)["recommendations"]]

    user = recommender.interactions.users[0]
    _, out, _ = call("--user", user, "--rerank", "mmr", "--strength", 3, "-k", 6, "--json")
    assert items(out) == ids(recommender.recommend(user, k=6, rerank="mmr", strength=3))
    _, out, _ = call("--user", user, "--rerank", "mmr", "--similarity", "latents", "--json")
    assert items(out) == ids(recommender.recommend(user, rerank=recommender.reranker("mmr", None, "latents") or "none"))
    _, out, _ = call("--user", user, "--continue", 4, "--json")
    assert items(out) == ids(recommender.continue_list(recommender.interactions.history(user), 4))
    for out_path in (tmp_path / "all.parquet", tmp_path / "parts"):
        code, _, err = call("--all-users", "--out", out_path, "--rerank", "calibrated", "-k", 4)
        assert code == 0, err
    assert pl.read_parquet(tmp_path / "all.parquet")["score"].null_count() == 240
    for words, message in (
        (("--rerank", "mmr", "--strength", -1), "strength is -1.0"),
        (("--strength", 1), "a strength needs a re-ranker"),
        (("--rerank", "mmr", "--similarity", "words"), "no sentence vectors"),
        (("--continue", 3, "--rerank", "mmr"), "leave out --all-users"),
    ):
        code, _, err = call("--user", user, *words)
        assert (code, message in err) == (1, True), err
    assert main(["evaluate", str(run)]) == 0
    assert "lists: graph distance@10" in capsys.readouterr().out.replace("\n", " ")
