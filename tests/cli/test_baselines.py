"""Simple recommenders beside a trained run: shown, stored, left out, and never the reason of a failure."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from calling import TINY, Call

from deftrec import Recommender
from deftrec.benchmark import peers
from deftrec.cli.baselines import BASELINES, measure_baselines, verdict
from deftrec.errors import DeftRecError
from deftrec.evaluation import Result
from deftrec.progress import Progress


@pytest.fixture(autouse=True)
def _with_baselines(_no_baselines: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """They run by this interpreter, which has their libraries."""
    pytest.importorskip("scipy")
    monkeypatch.setattr("deftrec.cli.baselines.BASELINES", BASELINES)
    monkeypatch.setattr(peers, "environment_python", lambda requirements: Path(sys.executable))


def test_a_training_ends_with_baselines_beside_the_run(deftrec: Call, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    said = deftrec("train", "--data", data, "--out", out, *TINY)
    assert said.code == 0, said.err
    test = said.out[said.out.index("leave-one-out test:") :]
    for name in ("deftrec", "popularity", "item-knn", "ease-recency"):
        assert f"  {name} " in test
    metrics = json.loads((out / "metrics.json").read_text())
    assert [one["name"] for one in metrics["baselines"]] == list(BASELINES)
    assert {(one["split"], one["seen"], one["fit"]) for one in metrics["baselines"]} == {("test", "exclude", "train")}
    values = {one["name"]: one["metrics"]["ndcg@10"] for one in metrics["baselines"]}
    assert values["ease-recency"] > values["popularity"], "the ring is an order, which popularity does not know"
    best = max(values, key=lambda name: values[name])
    own = next(one for one in metrics["results"] if one["name"] == "deftrec" and one["split"] == "test")
    sentence = f"NDCG@10 {own['metrics']['ndcg@10']:.4f}; best baseline {best} {values[best]:.4f}"
    assert sentence in said.out.replace("\n", " ")
    assert "popularity" in (out / "report" / "index.html").read_text(encoding="utf-8")


class Said(Progress):
    """Keeps the lines that are said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def measured(run: Path, tmp_path: Path) -> Recommender:
    """A trained run and its metrics in `tmp_path`."""
    (tmp_path / "metrics.json").write_text('{"results": []}')
    return Recommender.load(run)


def test_baselines_follow_the_fit_and_the_rule_of_the_run(measured: Recommender, tmp_path: Path) -> None:
    config, info = measured.config, measured.info
    kept = config.model_copy(update={"retrieval": config.retrieval.model_copy(update={"seen": "keep"})})
    refitted = info.model_copy(update={"fit": "train+validation"})
    recommender = Recommender(replace(measured.run, config=kept, info=refitted))
    found = measure_baselines(recommender, tmp_path, Said())
    assert {(one.seen, one.fit) for one in found} == {("keep", "train+validation")}
    assert json.loads((tmp_path / "metrics.json").read_text())["results"] == []
    before = (tmp_path / "metrics.json").stat().st_mtime_ns
    assert measure_baselines(recommender, tmp_path, Said()) == found, "read where they were measured before"
    assert (tmp_path / "metrics.json").stat().st_mtime_ns == before


def test_baselines_are_left_out_on_request(deftrec: Call, data: Path, tmp_path: Path) -> None:
    said = deftrec("train", "--data", data, "--out", tmp_path / "run", *TINY, "--no-baselines")
    assert said.code == 0, said.err
    assert "popularity" not in said.out
    assert not (tmp_path / "run" / "peers").exists()


def test_baselines_that_cannot_run_are_said(
    measured: Recommender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(requirements: Path) -> Path:
        raise DeftRecError("pip could not install requirements.txt (no registry)")

    monkeypatch.setattr(peers, "environment_python", fail)
    progress = Said()
    assert measure_baselines(measured, tmp_path, progress) == []
    assert progress.lines == [
        "baselines are missing: pip could not install requirements.txt (no registry); --no-baselines leaves them out"
    ]


def test_large_data_have_no_slow_baselines(
    measured: Recommender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    progress = Said()
    monkeypatch.setattr("deftrec.cli.baselines.BASELINES", {"popularity": 100, "item-knn": 100, "ease-recency": 10})
    assert [one.name for one in measure_baselines(measured, tmp_path, progress)] == ["popularity", "item-knn"]
    [line] = progress.lines
    assert line.startswith("no ease-recency beside the run, as 60 users and 24 items take long; 'deftrec benchmark'")
    monkeypatch.setattr("deftrec.cli.baselines.SCORES", 100)
    assert measure_baselines(measured, tmp_path / "other", progress) == []
    assert progress.lines[1].startswith("no popularity, item-knn, ease-recency beside the run")


@pytest.mark.parametrize(
    ("own", "other", "said"),
    [
        (0.15, 0.1, "NDCG@10 0.1500; best baseline ease 0.1000, 50% above it; the 95 % intervals do not overlap"),
        (0.101, 0.1, "NDCG@10 0.1010; best baseline ease 0.1000, 1% above it; the 95 % intervals overlap"),
        (0.05, 0.1, "NDCG@10 0.0500; best baseline ease 0.1000, 50% below it; the 95 % intervals do not overlap"),
        (0.1, 0.0, "NDCG@10 0.1000; best baseline ease 0.0000; the 95 % intervals do not overlap"),
    ],
)
def test_the_verdict(own: float, other: float, said: str) -> None:
    def result(name: str, value: float) -> Result:
        facts = {"dataset": "ring", "protocol": "leave-one-out", "split": "test", "seen": "exclude", "fit": "train"}
        ci95 = {"ndcg@10": (value - 0.01, value + 0.01)}
        return Result(name=name, users=9, metrics={"ndcg@10": value}, ci95=ci95, **facts)

    assert verdict(result("deftrec", own), [result("popularity", -1.0), result("ease", other)]) == said
