"""The whole harness with systems that need no training: tables, kept work, failures, and what is refused."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from benchmark_fakes import FakeSystem, oracle

from deftrec.benchmark import BenchmarkRequest, BenchmarkTable, run_benchmark, table_file
from deftrec.benchmark.machine import UncommittedChanges
from deftrec.benchmark.verdict import protocol_line, verdict
from deftrec.data import Cases, Interactions, Meta, leave_one_out
from deftrec.errors import ConfigError, DataError, DeftRecError
from deftrec.evaluation import TargetRanks, accuracy, read_rankings
from deftrec.evaluation.metrics import MISSED


def test_every_system_and_seed_has_a_row(
    interactions: Interactions, request_: BenchmarkRequest, systems: list[FakeSystem], tmp_path: Path
) -> None:
    [table] = run_benchmark(interactions, request_, systems, tmp_path / "report", seeds=3, command="deftrec benchmark")
    assert [(row.name, row.seed) for row in table.models] == [
        *[("deftrec", 0), ("deftrec/latent", 0), ("strong", 0), ("weak", 0)],
        *[("deftrec", 1), ("deftrec/latent", 1), ("strong", 1)],
        *[("deftrec", 2), ("deftrec/latent", 2), ("strong", 2)],
    ]
    assert [(one.name, one.seeds) for one in table.summaries] == [
        ("deftrec", (0, 1, 2)),
        ("deftrec/latent", (0, 1, 2)),
        ("strong", (0, 1, 2)),
        ("weak", (0,)),
    ]
    own = [row.metrics["ndcg@10"] for row in table.models if row.name == "deftrec"]
    summary = table.summaries[0]
    assert summary.metrics["ndcg@10"] == pytest.approx(np.mean(own))
    assert summary.spread["ndcg@10"] == pytest.approx(np.std(own, ddof=1))
    assert summary.train_seconds == 11.0
    fewer = run_benchmark(interactions, request_, systems, tmp_path / "fewer", seeds=3, peer_seeds=1)[0]
    assert {one.name: len(one.seeds) for one in fewer.summaries} == {
        "deftrec": 3,
        "deftrec/latent": 3,
        "strong": 1,
        "weak": 1,
    }
    assert not table.summaries[-1].spread
    assert table.users == 80
    assert table.data.fingerprint == interactions.fingerprint


def test_the_schema_of_results_json(
    interactions: Interactions, request_: BenchmarkRequest, systems: list[FakeSystem], tmp_path: Path
) -> None:
    tables = run_benchmark(interactions, request_, systems, tmp_path, command="deftrec benchmark --data x")
    written = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert {"dataset", "split", "seen", "fit", "models", "machine", "revision", "command"} <= set(written)
    assert (written["dataset"], written["split"]) == ("ring", "leave-one-out")
    assert (written["seen"], written["fit"]) == ("exclude", "train")
    assert written["command"] == "deftrec benchmark --data x"
    assert {"cpu", "cores", "threads", "torch"} <= set(written["machine"])
    for row in written["models"]:
        keys = {"name", "seed", "metrics", "ci95", "train_seconds", "users_per_second", "parameters", "settings"}
        assert keys <= set(row)
        assert {"hr@10", "ndcg@10", "mrr@100"} <= set(row["metrics"])
        low, high = row["ci95"]["ndcg@10"]
        assert low <= row["metrics"]["ndcg@10"] <= high
    assert BenchmarkTable.model_validate(written) == tables[0]
    with pytest.raises(ValueError, match="Extra inputs"):
        BenchmarkTable.model_validate({**written, "typo": 1})


def test_a_table_each_fit_and_rule_is_a_file_of_its_own(
    interactions: Interactions, request_: BenchmarkRequest, systems: list[FakeSystem], tmp_path: Path
) -> None:
    request = request_.model_copy(update={"fits": ("train", "train+validation"), "seens": ("exclude", "keep")})
    tables = run_benchmark(interactions, request, systems, tmp_path)
    assert sorted(file.name for file in tmp_path.glob("*.json")) == [
        "results-refit-exclude.json",
        "results-refit-keep.json",
        "results-train-keep.json",
        "results.json",
    ]
    for n, table in enumerate(tables):
        file = tmp_path / table_file(table.fit, table.seen, first=n == 0)
        assert BenchmarkTable.model_validate_json(file.read_text(encoding="utf-8")) == table
        assert {row.fit for row in table.models} == {table.fit}
    assert len({(table.fit, table.seen) for table in tables}) == 4


def test_the_comparison_is_paired_and_by_the_best_peer_first(
    interactions: Interactions, request_: BenchmarkRequest, systems: list[FakeSystem], tmp_path: Path
) -> None:
    [table] = run_benchmark(interactions, request_, systems, tmp_path, seeds=2)
    assert [(one.peer, one.metric) for one in table.comparisons] == [
        ("strong", "ndcg@10"),
        ("strong", "hr@10"),
        ("weak", "ndcg@10"),
        ("weak", "hr@10"),
    ]
    best = table.best_peer()
    assert best is not None
    means = {one.name: one.metrics["ndcg@10"] for one in table.summaries}
    assert best.difference == pytest.approx(means["deftrec"] - means["strong"])
    assert best.ratio == pytest.approx(means["deftrec"] / means["strong"])
    assert best.ci95[0] <= best.difference <= best.ci95[1]
    assert best.p < 0.05


def test_a_benchmark_that_broke_off_goes_on(
    interactions: Interactions, request_: BenchmarkRequest, systems: list[FakeSystem], tmp_path: Path
) -> None:
    systems[1].fails = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        run_benchmark(interactions, request_, systems, tmp_path, seeds=2)
    systems[1].fails = None
    [table] = run_benchmark(interactions, request_, systems, tmp_path, seeds=2)
    assert (systems[0].seeds_run, systems[1].seeds_run, systems[2].seeds_run) == ([0, 1], [0, 0, 1], [0])
    whole = [FakeSystem(one.name, one.scores, seeds_matter=one.seeds_matter, parts=one.parts) for one in systems]
    assert run_benchmark(interactions, request_, whole, tmp_path / "other", seeds=2) == [table]
    # More seeds and more systems are added to what is there.
    more = [*systems, FakeSystem("late", oracle(interactions, 0.2))]
    [table] = run_benchmark(interactions, request_, more, tmp_path, seeds=3)
    assert systems[0].seeds_run == [0, 1, 2]
    assert more[-1].seeds_run == [0, 1, 2]
    assert len(table.models) == 3 * 4 + 1


def test_two_processes_share_the_work(
    interactions: Interactions, request_: BenchmarkRequest, systems: list[FakeSystem], tmp_path: Path
) -> None:
    begun, rest_asked = threading.Event(), threading.Event()

    def held(cases: Cases, seed: int) -> torch.Tensor:
        begun.set()
        assert rest_asked.wait(60)
        return systems[0].scores(cases, seed)

    def telling(cases: Cases, seed: int) -> torch.Tensor:
        rest_asked.set()
        return systems[2].scores(cases, seed)

    slow = FakeSystem("deftrec", held, parts=["deftrec/latent"])
    last = FakeSystem("weak", telling, seeds_matter=False)
    with ThreadPoolExecutor() as pool:
        one = pool.submit(run_benchmark, interactions, request_, [slow, *systems[1:]], tmp_path)
        assert begun.wait(60)
        [table] = run_benchmark(interactions, request_, [systems[0], systems[1], last], tmp_path)
        assert one.result(60) == [table]
    assert slow.seeds_run == systems[1].seeds_run == last.seeds_run == [0]
    assert systems[0].seeds_run == systems[2].seeds_run == []
    whole = [FakeSystem(one.name, one.scores, seeds_matter=one.seeds_matter, parts=one.parts) for one in systems]
    assert run_benchmark(interactions, request_, whole, tmp_path / "alone") == [table]


def test_a_failure_is_reported_and_costs_the_others_nothing(
    interactions: Interactions, request_: BenchmarkRequest, systems: list[FakeSystem], tmp_path: Path
) -> None:
    systems[1].fails = "no memory\nfor 5 x 5"
    [table] = run_benchmark(interactions, request_, systems, tmp_path, seeds=2)
    assert [(one.name, one.seed, one.reason) for one in table.failures] == [
        ("strong", 0, "no memory for 5 x 5"),
        ("strong", 1, "no memory for 5 x 5"),
    ]
    assert {one.name for one in table.summaries} == {"deftrec", "deftrec/latent", "weak"}
    assert not (tmp_path / "work" / "strong" / "seed-0").exists()
    systems[1].fails = None
    [table] = run_benchmark(interactions, request_, systems, tmp_path, seeds=2)
    assert not table.failures
    assert systems[0].seeds_run == [0, 1]


def test_without_deftrec_nothing_is_compared(
    interactions: Interactions, request_: BenchmarkRequest, systems: list[FakeSystem], tmp_path: Path
) -> None:
    systems[0].fails = "diverged"
    [table] = run_benchmark(interactions, request_, systems, tmp_path)
    assert table.comparisons == ()
    assert table.best_peer() is None
    assert len(table.summaries) == 2
    [table] = run_benchmark(interactions, request_, systems[1:], tmp_path / "never asked for")
    assert verdict(table) == "DeftRec was not measured."


def test_uncommitted_changes_are_refused_or_stored_beside_the_result(
    interactions: Interactions,
    request_: BenchmarkRequest,
    systems: list[FakeSystem],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    changes = UncommittedChanges(tmp_path, "diff --git a/x b/x\n+new line\n", ("src/forgotten.py",))
    monkeypatch.setattr("deftrec.benchmark.harness.uncommitted_changes", lambda: changes)
    out = tmp_path / "report"
    with pytest.raises(DeftRecError, match=r"uncommitted changes.*allow_dirty=True"):
        run_benchmark(interactions, request_, systems, out)
    assert not out.exists()
    assert not systems[0].seeds_run
    [table] = run_benchmark(interactions, request_, systems, out, allow_dirty=True)
    written = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert table.uncommitted == written["uncommitted"]
    assert {row["uncommitted"] for row in written["models"]} == {table.uncommitted}
    stored = (out / written["uncommitted"]).read_text(encoding="utf-8")
    assert stored == "# untracked: src/forgotten.py\n" + changes.diff
    # Later calls keep what is finished, whose changes stay named and stored.
    monkeypatch.setattr("deftrec.benchmark.harness.uncommitted_changes", lambda: None)
    [later] = run_benchmark(interactions, request_, systems, out)
    assert later.uncommitted is None
    assert {row.uncommitted for row in later.models} == {table.uncommitted}
    assert (out / written["uncommitted"]).is_file()


def test_kept_work_that_is_damaged_is_a_failure_and_done_again(
    interactions: Interactions, request_: BenchmarkRequest, systems: list[FakeSystem], tmp_path: Path
) -> None:
    run_benchmark(interactions, request_, systems, tmp_path)
    (tmp_path / "work" / "weak" / "seed-0" / "train-exclude.parquet").write_text("x")
    [table] = run_benchmark(interactions, request_, systems, tmp_path)
    assert [one.name for one in table.failures] == ["weak"]
    assert "seed-0.unreadable, and repeated by the next call" in table.failures[0].reason
    assert (tmp_path / "work" / "weak" / "seed-0.unreadable" / "unit.json").is_file()
    [table] = run_benchmark(interactions, request_, systems, tmp_path)
    assert not table.failures
    assert systems[2].seeds_run == [0, 0]


def test_a_machine_that_cannot_read_finished_work_costs_it_nothing(
    interactions: Interactions,
    request_: BenchmarkRequest,
    systems: list[FakeSystem],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_benchmark(interactions, request_, systems, tmp_path)

    def full(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr("deftrec.benchmark.scoring.TableScorer.of_run", full)
        [table] = run_benchmark(interactions, request_, systems, tmp_path)
        assert len(table.failures) == len(systems)
    [table] = run_benchmark(interactions, request_, systems, tmp_path)
    assert not table.failures
    assert [system.seeds_run for system in systems] == [[0]] * len(systems)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seens": ("keep",)}, "its seens is exclude, not keep"),
        ({"budget_minutes": 3.0}, "its budget_minutes is None, not 3.0"),
        ({"versions": {"torch": "0"}}, r"its versions\.\w+ is .+, not "),
    ],
)
def test_another_benchmarks_folder_is_refused(
    interactions: Interactions,
    request_: BenchmarkRequest,
    systems: list[FakeSystem],
    tmp_path: Path,
    change: dict[str, object],
    message: str,
) -> None:
    run_benchmark(interactions, request_, systems, tmp_path)
    with pytest.raises(DeftRecError, match=rf"holds another benchmark \({message}"):
        run_benchmark(interactions, request_.model_copy(update=change), systems, tmp_path)


def test_a_changed_option_or_data_set_is_named(
    interactions: Interactions, request_: BenchmarkRequest, systems: list[FakeSystem], tmp_path: Path
) -> None:
    run_benchmark(interactions, request_, systems, tmp_path)
    config = request_.config.model_copy(update={"training": request_.config.training.model_copy(update={"epochs": 99})})
    with pytest.raises(DeftRecError, match=r"its config\.training\.epochs is 12, not 99"):
        run_benchmark(interactions, request_.model_copy(update={"config": config}), systems, tmp_path)
    with pytest.raises(DeftRecError, match="it is of other data"):
        run_benchmark(interactions, request_.model_copy(update={"data": "0"}), systems, tmp_path)


def test_a_folder_of_something_else_is_left_alone(
    interactions: Interactions, request_: BenchmarkRequest, systems: list[FakeSystem], tmp_path: Path
) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(DeftRecError, match="not empty, and no benchmark"):
        run_benchmark(interactions, request_, systems, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


def test_wrong_requests_are_refused_before_anything_runs(
    interactions: Interactions, request_: BenchmarkRequest, systems: list[FakeSystem], tmp_path: Path
) -> None:
    out = tmp_path / "report"
    with pytest.raises(ConfigError, match="0 seeds: a benchmark needs 1 or more"):
        run_benchmark(interactions, request_, systems, out, seeds=0)
    with pytest.raises(ConfigError, match="0 seeds: a benchmark needs 1 or more"):
        run_benchmark(interactions, request_, systems, out, seeds=2, peer_seeds=0)
    for minutes in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match=f"a budget of {minutes:g} minutes is not positive and finite"):
            run_benchmark(interactions, request_.model_copy(update={"budget_minutes": minutes}), systems, out)
    with pytest.raises(ConfigError, match="rankings 'deftrec/own': a system has that name"):
        run_benchmark(interactions, request_, systems, out, rankings={"deftrec/own": tmp_path / "x"})
    with pytest.raises(DataError, match="no such file"):
        run_benchmark(interactions, request_, systems, out, rankings={"mine": tmp_path / "x"})
    short = Interactions.from_frame(pl.DataFrame({"user": [1, 1], "item": [1, 2], "time": [1, 2]}))
    with pytest.raises(DataError, match="no user has a test target"):
        run_benchmark(short, request_, systems, out)
    assert not out.exists()
    assert not any(system.seeds_run for system in systems)


def test_rankings_that_were_brought_stand_in_every_table(
    interactions: Interactions, request_: BenchmarkRequest, systems: list[FakeSystem], tmp_path: Path
) -> None:
    request = request_.model_copy(update={"fits": ("train", "train+validation")})
    cases = leave_one_out(interactions).cases("test")
    frame = pl.DataFrame(
        {
            "user": interactions.users.gather(cases.users),
            "item": interactions.catalogue["item"].gather(cases.targets),
            "rank": 1,
        }
    )
    frame[:40].write_parquet(tmp_path / "mine.parquet")
    rankings = {"mine": tmp_path / "mine.parquet"}
    tables = run_benchmark(interactions, request, systems, tmp_path / "report", rankings=rankings)
    for table in tables:
        row = next(row for row in table.models if row.name == "mine")
        assert (row.fit, row.users_missing, row.train_seconds) == ("unknown", 40, None)
        assert row.metrics["ndcg@10"] == 0.5
        assert protocol_line(table).endswith("; mine has no list for 40 of them, which count as misses")
        assert {one.peer for one in table.comparisons} == {"mine", "strong", "weak"}


def test_longer_lists_than_those_of_systems_win_nothing() -> None:
    ranks = TargetRanks(torch.tensor([0, 99, 100, 250, MISSED]), torch.tensor([0, 0, 3, 0, 0]))
    mrr = accuracy(ranks)["mrr@100"]
    assert mrr.tolist() == pytest.approx([1, 1 / 100, 0, 0, 0])


def test_a_constant_scorer_is_at_chance_level_though_popularity_follows_the_ids(
    request_: BenchmarkRequest, tmp_path: Path
) -> None:
    """A list of 100 equal scores holds the first 100 item numbers: were these in the order of ids or of appearance,
    they would be popular items here, and a system that knows nothing would beat chance."""
    rng = np.random.default_rng(0)
    users, items, length = 3000, 400, 5
    chances = np.arange(items, 0, -1.0) + 40
    rows = [
        (user, int(item), time)
        for user in range(users)
        for time, item in enumerate(rng.choice(items, length, replace=False, p=chances / chances.sum()))
    ]
    events = pl.DataFrame(rows, schema=["user", "item", "time"], orient="row")
    data = Interactions.from_frame(events, meta=Meta(name="slope"))
    ids = data.catalogue["item"].to_numpy()
    assert data.n_items == items
    assert abs(np.corrcoef(ids, np.arange(items))[0, 1]) < 0.1, "items are numbered in random order"

    def constant(cases: Cases, seed: int) -> torch.Tensor:
        return torch.zeros(len(cases), items)

    request = request_.model_copy(update={"data": data.fingerprint})
    [table] = run_benchmark(data, request, [FakeSystem("constant", constant)], tmp_path / "report")
    chance = 10 / (items - length + 1)
    assert table.models[0].metrics["hr@10"] == pytest.approx(chance, rel=0.12)

    cases = leave_one_out(data).cases("test")
    popular = pl.DataFrame({"item": np.arange(100), "score": 0.0})
    sorted_ids = pl.DataFrame({"user": data.users}).join(popular, how="cross")
    sorted_ids.write_parquet(tmp_path / "sorted.parquet")
    leaking = accuracy(read_rankings(tmp_path / "sorted.parquet", data, cases, "keep").ranks)
    assert float(leaking["hr@10"].mean()) > 1.5 * chance, "what numbers in the order of ids would have given away"
