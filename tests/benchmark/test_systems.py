"""The real systems on toy data: DeftRec with its parts, LightGCN, and a peer's run as a row."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from deftrec import Recommender
from deftrec.benchmark import BenchmarkRequest, systems
from deftrec.benchmark.peers import PeerRequest
from deftrec.benchmark.scoring import TableScorer
from deftrec.benchmark.systems import BenchmarkTask, DeftRecSystem, LightGCNSystem, PeerSystem, out_of_time, users_after
from deftrec.benchmark.work import RankingFile, SystemRun, WorkFolder
from deftrec.collaborative import CollaborativeVectors
from deftrec.config import TrainingOptions
from deftrec.data import Fit, Interactions, Sequences, make_split
from deftrec.errors import DeftRecError
from deftrec.evaluation import Seen
from deftrec.progress import Silent
from deftrec.retrieval import CollaborativePrior
from deftrec.run import RunInfo
from toy import ring, tiny_config


@pytest.fixture(scope="module")
def data() -> Interactions:
    return ring(users=60)


def task_of(data: Interactions, fits: tuple[Fit, ...], seens: tuple[Seen, ...], **groups: Any) -> BenchmarkTask:
    options = {"training": {"epochs": 3}, "collaborative": {"epochs": 10}, **groups}
    request = BenchmarkRequest(
        data=data.fingerprint, split="leave-one-out", fits=fits, seens=seens, budget_minutes=1.5,
        config=tiny_config(**options), versions={},
    )  # fmt: skip
    return BenchmarkTask(data, make_split(data, request.split), request)


@pytest.fixture(scope="module")
def task(data: Interactions) -> BenchmarkTask:
    return task_of(data, ("train", "train+validation"), ("exclude", "keep"))


def metrics(task: BenchmarkTask, run: SystemRun, place: Path, fit: Fit, seen: Seen) -> dict[str, float]:
    scored = TableScorer(task.interactions, task.split, fit, seen).of_run(run, place)
    assert scored is not None
    return scored.row.metrics


def test_deftrec_leaves_what_a_recommender_would_measure(task: BenchmarkTask, tmp_path: Path) -> None:
    runs = DeftRecSystem().run(task, 1, tmp_path, Silent())
    of_rule = {run.name: run for run in runs}
    assert len(runs) == len(of_rule) == 3, "no user repeats an item, so one training serves both rules"
    assert set(of_rule) == {"deftrec", "deftrec/latent", "deftrec/collaborative_prior"}
    assert [path.name for path in tmp_path.glob("run-*")] == ["run-keep"]
    refitted = Recommender.load(tmp_path / "run-keep")
    assert (refitted.info.fit, refitted.config.seed) == ("train+validation", 1)
    for seen in task.request.seens:
        config = task.config_of(1, seen)
        trained = Recommender.fit(task.interactions, config)
        again = Recommender.fit(task.interactions, config, refit=True)
        for recommender in (trained, again):
            for result in recommender.evaluate_parts("test", seen).values():
                ours = metrics(task, of_rule[result.name], tmp_path, recommender.info.fit, seen)
                for key in ("hr@10", "ndcg@10", "mrr@100", "coverage@10"):  # 24 items: no list is cut
                    assert ours[key] == pytest.approx(result.metrics[key], abs=1e-9), (result.name, seen, key)
    run = of_rule["deftrec"]
    assert [(one.fit, one.seen) for one in run.lists] == [
        ("train", "exclude"), ("train", "keep"), ("train+validation", "exclude"), ("train+validation", "keep"),
    ]  # fmt: skip
    assert 0 < run.train_seconds["train"] < run.train_seconds["train+validation"]
    assert run.settings["training"]["epochs"] == 3
    assert of_rule["deftrec/latent"].parameters == refitted.info.parameters
    prior = refitted.ranker.term_of(CollaborativePrior)
    assert prior is not None
    assert of_rule["deftrec/collaborative_prior"].parameters == prior.linear.weights.numel()
    assert run.parameters == refitted.info.parameters + prior.linear.weights.numel()


def test_where_users_repeat_items_each_rule_has_a_training(data: Interactions, tmp_path: Path) -> None:
    rows = [(user, item, time) for user in range(40) for time, item in enumerate([user % 5, (user + 1) % 5] * 4)]
    repeating = Interactions.from_frame(pl.DataFrame(rows, schema=["user", "item", "time"], orient="row"))
    task = task_of(repeating, ("train",), ("exclude", "keep"))
    assert task.trainings(0) == {"exclude": ("exclude",), "keep": ("keep",)}
    assert task_of(data, ("train",), ("exclude", "keep")).trainings(0) == {"keep": ("exclude", "keep")}
    assert task_of(data, ("train",), ("exclude",)).trainings(0) == {"exclude": ("exclude",)}


def test_deftrec_under_one_fit(data: Interactions, tmp_path: Path) -> None:
    task = task_of(data, ("train+validation",), ("exclude",), retrieval={"prior": "none"})
    runs = DeftRecSystem().run(task, 0, tmp_path, Silent())
    assert [run.name for run in runs] == ["deftrec", "deftrec/latent"]
    assert [(one.fit, one.seen) for one in runs[0].lists] == [("train+validation", "exclude")]
    assert set(runs[0].train_seconds) == {"train+validation"}


def test_lightgcn_alone(task: BenchmarkTask, tmp_path: Path) -> None:
    [run] = LightGCNSystem().run(task, 0, tmp_path, Silent())
    assert len(run.lists) == 4
    assert run.parameters == 16 * (60 + 24)
    assert run.settings["epochs_kept"] >= 1
    chance = 10 / 17  # items that are no part of a history of seven
    assert metrics(task, run, tmp_path, "train", "exclude")["hr@10"] > chance
    assert run.train_seconds["train"] < run.train_seconds["train+validation"]


def test_lightgcn_ranks_from_the_whole_history(data: Interactions, tmp_path: Path) -> None:
    """Fitted on train, it still ranks from train + validation, like every other system."""
    whole = task_of(data, ("train",), ("keep",))
    without_validation = replace(whole, split=replace(whole.split, test=whole.split.validation))
    first = {}
    for name, task in (("whole", whole), ("without validation", without_validation)):
        (tmp_path / name).mkdir()
        [run] = LightGCNSystem().run(task, 0, tmp_path / name, Silent())
        best = pl.read_parquet(tmp_path / name / run.lists[0].file).filter(rank=1)
        first[name] = dict(best.select("user", "score").iter_rows())
    assert len(first["whole"]) == 60
    assert not set(first["whole"].items()) & set(first["without validation"].items()), "the last item moves every user"


def test_newer_items_are_folded_in_by_one_propagation_step() -> None:
    vectors = CollaborativeVectors(torch.eye(3, 2), torch.tensor([[1.0, 0], [0, 1], [2, 2], [0, 0]]))
    training = Sequences.from_lists([[0, 1], [1, 1], [2]])
    histories = Sequences.from_lists([[2], [1, 1, 2, 3, 2]])
    found = users_after(vectors, training, np.array([2, 1]), histories)
    assert found[0].tolist() == vectors.users[2].tolist(), "no newer item"
    expected = vectors.users[1] + vectors.items[2] / np.sqrt(3 * 1)  # three distinct items; one user of item 2
    assert found[1].tolist() == pytest.approx(expected.tolist())


def test_the_row_is_lightgcn_whatever_encoder_the_recipe_has(data: Interactions, tmp_path: Path) -> None:
    task = task_of(data, ("train",), ("exclude",), collaborative={"encoder": "spectral", "epochs": 5})
    [run] = LightGCNSystem().run(task, 0, tmp_path, Silent())
    assert run.settings["encoder"] == "lightgcn"
    assert run.settings["epochs_kept"] > 0


def test_a_peers_run_becomes_a_row(task: BenchmarkTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def run_peer(
        interactions: Interactions,
        split: object,
        name: str,
        out: Path,
        request: PeerRequest,
        say: Callable[[str], None],
    ) -> SystemRun:
        asked.update(request._asdict())
        say(f'{name}: {{"factors": 8, "ndcg@10": 0.5}}')
        return SystemRun(
            name=name,
            seed=request.seed,
            lists=(RankingFile(fit="train", seen="exclude", file=f"{name}/rankings.parquet"),),
            settings={"settings": {"factors": 8}, "cut": True},
            parameters=None,
            library="implicit 0.7",
            train_seconds={"train": 1.0, "train+validation": 2.0},
            users_per_second=10.0,
            budget_cut=True,
            revision=None,
        )

    said: list[str] = []

    class Ear(Silent):
        def say(self, text: str) -> None:
            said.append(text)

    monkeypatch.setattr(systems, "run_peer", run_peer)
    [run] = PeerSystem("bpr").run(task, 2, tmp_path, Ear())
    assert (asked["seed"], asked["budget_seconds"]) == (2, 90.0)
    assert (asked["fits"], asked["seens"]) == (task.request.fits, task.request.seens)
    assert run.lists[0] == RankingFile(fit="train", seen="exclude", file="bpr/rankings.parquet")
    assert (run.library, run.train_seconds["train+validation"]) == ("implicit 0.7", 2.0)
    assert run.budget_cut
    assert said == ["factors 8, validation NDCG@10 0.5000"]


@pytest.mark.parametrize(
    ("trained", "cut"),
    [
        ({"joint": 3, "joint-2": 9}, True),  # neither the last epoch nor four without a better one
        ({"joint": 6, "joint-2": 10}, False),
    ],
)
def test_what_time_ended_is_told_from_what_patience_or_the_last_epoch_did(trained: dict[str, int], cut: bool) -> None:
    history = {name: [{"loss": 1.0}] * epochs for name, epochs in trained.items()}
    history["collaborative"] = [{"loss": 1.0}]
    info = RunInfo.model_construct(epochs=dict.fromkeys(history, 2), history=history)
    options = TrainingOptions(epochs=10, minutes=1.0)
    assert out_of_time(info, options) is cut
    assert not out_of_time(info, options.model_copy(update={"minutes": None}))


def test_work_is_finished_only_with_its_record(tmp_path: Path) -> None:
    work = WorkFolder(tmp_path)
    assert work.finished("ease", 0) is None
    work.place("ease", 0).mkdir(parents=True)
    assert work.finished("ease", 0) is None
    run = SystemRun(
        name="ease",
        seed=0,
        lists=(),
        settings={},
        parameters=None,
        library="x",
        train_seconds={},
        users_per_second=1.0,
        revision=None,
    )
    work.finish("ease", 0, (run,))
    assert work.finished("ease", 0) == (run,)
    (work.place("ease", 0) / "unit.json").write_text("{}")
    with pytest.raises(DeftRecError, match="missing or damaged"):
        work.finished("ease", 0)
    work.forget("ease", 0)
    assert work.finished("ease", 0) is None


def test_ranking_for_the_train_fit_leaves_the_refit_as_it_is(data: Interactions) -> None:
    """What a benchmark looks at between the two trainings must not change the second."""
    seen: list[str] = []

    def look(recommender: Recommender) -> None:
        recommender.examine("test").rank("exclude", k=5)
        seen.append(recommender.info.fit)

    config = tiny_config(training={"epochs": 2}, collaborative={"epochs": 5})
    plain = Recommender.fit(data, config, refit=True)
    watched = Recommender.fit(data, config, refit=True, on_train=look)
    assert seen == ["train"]
    assert np.array_equal(plain.catalogue.latents.numpy(), watched.catalogue.latents.numpy())
