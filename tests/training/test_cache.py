"""Stage results that runs share: found again only where everything that decides them is the same."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from deftrec import Recommender
from deftrec.errors import DeftRecError
from deftrec.training import cache as module
from deftrec.training.cache import CachedStage, StageCache, StageResult
from toy import reads_text, ring, tiny_bert, tiny_config


class Counting(CachedStage):
    """Counts how often it runs."""

    def __init__(self) -> None:
        self.name, self.decided_by, self.runs = "text", {}, 0  # type: ignore[var-annotated]

    def __call__(self, name: str, **decided_by: int) -> "Counting":
        self.name, self.decided_by = name, decided_by
        return self

    def key(self) -> dict[str, Any]:
        return self.decided_by

    def run(self) -> StageResult:
        self.runs += 1
        return StageResult({"x": torch.full((3,), float(self.runs))}, {"epochs": self.runs}, seconds=100.0)


def test_a_result_is_computed_once(tmp_path: Path) -> None:
    stage = Counting()
    first = StageCache(tmp_path / "shared").get(stage("text", seed=1))
    again = StageCache(tmp_path / "shared").get(stage("text", seed=1))
    assert stage.runs == 1
    assert torch.equal(first.tensors["x"], again.tensors["x"])
    assert (again.about, again.seconds) == (first.about, first.seconds)
    assert first.seconds >= 100, "seconds of an interrupted run count"


@pytest.mark.parametrize("folder", [True, False])
def test_another_key_is_another_result(folder: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage, cache = Counting(), StageCache(tmp_path if folder else None)
    cache.get(stage("text", seed=1, dim=2))
    cache.get(stage("text", seed=2, dim=2))
    cache.get(stage("collaborative", seed=1, dim=2))
    monkeypatch.setattr(module, "VERSION", 99)
    cache.get(stage("text", seed=1, dim=2))
    assert stage.runs == 4
    cache.get(stage("text", dim=2, seed=1))
    assert stage.runs == (4 if folder else 5), "the order of the keys decides nothing"


def test_a_damaged_result_is_named(tmp_path: Path) -> None:
    stage = Counting()
    StageCache(tmp_path).get(stage("refit-text"))
    (entry,) = tmp_path.iterdir()
    assert json.loads((entry / module.ABOUT).read_text())["key"]["stage"] == "refit-text"
    whole = {file: file.read_bytes() for file in entry.iterdir()}
    assert len(whole) == 2
    for file, content in whole.items():
        for damaged in (content[:-4], content[:-4] + bytes(4), b"[]", b"{}", b"[" * 100_000):
            file.write_bytes(damaged)
            with pytest.raises(DeftRecError, match=f"{entry.name}: damaged; delete it"):
                StageCache(tmp_path).get(stage("refit-text"))
        file.write_bytes(content)
    shutil.rmtree(entry)
    assert StageCache(tmp_path).get(stage("refit-text")).about == {"epochs": 2}


def test_runs_share_what_is_the_same_and_end_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"text": reads_text(tiny_bert(tmp_path / "bert")), "training": {"epochs": 2}}
    alone = Recommender.fit(ring(), tiny_config(**options), refit=True)
    first = Recommender.fit(ring(), tiny_config(**options), refit=True, shared=tmp_path / "shared")
    names = sorted(entry.name.rpartition("-")[0] for entry in (tmp_path / "shared").iterdir())
    assert names == ["collaborative", "refit-collaborative", "text"]

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError

    monkeypatch.setattr("deftrec.training.stages.sentence_vectors", never)
    monkeypatch.setattr("deftrec.training.stages.LightGCNTraining", never)
    again = Recommender.fit(ring(), tiny_config(**options), refit=True, shared=tmp_path / "shared")
    for other in (first, again):
        assert other.info.epochs == alone.info.epochs
        assert other.info.history["collaborative"][-1]["loss"] == alone.info.history["collaborative"][-1]["loss"]
        weights = other.model.state_dict()
        assert all(torch.equal(tensor, weights[name]) for name, tensor in alone.model.state_dict().items())
    assert again.info.seconds["text"] == first.info.seconds["text"]  # what it took, not that it was there
    Recommender.fit(ring(), tiny_config(diffusion={"width": 16}, **options), shared=tmp_path / "shared")
    for other_options in ({"seed": 1}, {"collaborative": {"dim": 8}}):
        with pytest.raises(AssertionError):
            Recommender.fit(ring(), tiny_config(**{**options, **other_options}), shared=tmp_path / "shared")
    with pytest.raises(AssertionError):
        Recommender.fit(ring(seed=3), tiny_config(**options), shared=tmp_path / "shared")
