"""What is asked of a benchmark: models by name, files of tables, and words for what was found."""

from pathlib import Path

import pytest
from benchmark_fakes import FakeSystem, oracle

from deftrec.benchmark import BenchmarkRequest, Failure, all_systems, choose_models, run_benchmark, table_file
from deftrec.benchmark.peers import PEERS
from deftrec.benchmark.verdict import by_reason, failures_line, how_measured, p_value, verdict
from deftrec.data import Interactions
from deftrec.errors import ConfigError


def test_an_unknown_model_names_the_nearest() -> None:
    known = list(all_systems())
    assert choose_models(None, known) == known
    assert choose_models(["ease", "popularity", "ease"], known) == ["ease", "popularity"]
    with pytest.raises(ConfigError, match="no model is called 'sasrek'; did you mean 'sasrec'"):
        choose_models(["ease", "sasrek"], known)


def test_there_is_a_system_for_every_peer_and_classics_need_one_seed() -> None:
    systems = all_systems()
    assert set(systems) == {"deftrec", "lightgcn", *PEERS}
    assert {name for name, system in systems.items() if not system.seeds_matter} == {
        name for name, folder in PEERS.items() if folder == "classic"
    }


def test_files_of_tables() -> None:
    assert table_file("train+validation", "keep", first=True) == "results.json"
    assert table_file("train+validation", "keep", first=False) == "results-refit-keep.json"
    assert table_file("train", "exclude", first=False) == "results-train-exclude.json"


def test_failures_in_words() -> None:
    failures = [
        Failure(name="bpr", seed=0, reason="no memory"),
        Failure(name="hstu", seed=0, reason="no pip"),
        Failure(name="bpr", seed=1, reason="no memory"),
    ]
    assert by_reason(failures) == [("bpr, seeds 0, 1", "no memory"), ("hstu, seed 0", "no pip")]
    assert failures_line(failures) == "bpr, seeds 0, 1 could not be measured: no memory (and 1 more)"


def test_the_verdict_is_honest(
    interactions: Interactions,
    request_: BenchmarkRequest,
    systems: list[FakeSystem],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    def said(*chosen: FakeSystem) -> str:
        return verdict(run_benchmark(interactions, request_, chosen, tmp_path_factory.mktemp("r") / "x")[0])

    own, strong, weak = systems
    assert "times the NDCG@10 of the best peer, strong: " in said(own, strong, weak)
    assert said(own, weak).endswith(").")
    strong.name, own.name, own.parts = "deftrec", "other", ()
    assert said(own, strong, weak).endswith("DeftRec loses here.")
    twin = FakeSystem("twin", strong.scores)
    assert said(strong, twin).endswith("That is within the noise of 80 users.")
    assert said(strong) == "There is no peer to compare with."
    twin.budget_cut = True
    assert "best peer, twin (whose search for settings the budget cut short): " in said(strong, twin)
    blind = oracle(interactions, 0.0)
    neither = said(FakeSystem("deftrec", blind), FakeSystem("blind", blind))
    assert neither == "Neither DeftRec nor any peer has a target among its ten best items (80 users)."
    strong.fails = "it diverged"
    assert said(strong, weak) == "DeftRec could not be measured: it diverged"
    assert said(weak) == "DeftRec was not measured."
    strong.fails, weak.fails = None, "no memory"
    assert said(strong, weak) == "No peer could be measured: weak, seed 0 could not be measured: no memory"


def test_numbers_in_words(
    interactions: Interactions, request_: BenchmarkRequest, systems: list[FakeSystem], tmp_path: Path
) -> None:
    assert [p_value(p) for p in (0.0002, 0.0124, 1.0)] == ["p < 0.001", "p = 0.012", "p = 1.000"]
    request = request_.model_copy(update={"budget_minutes": 2.5})
    [table] = run_benchmark(interactions, request, systems, tmp_path)
    assert "Every system wrote its best 100 items per user to a file" in how_measured(table)
    assert "for at most 2.5 minutes. DeftRec's joint training had the same limit" in how_measured(table)
