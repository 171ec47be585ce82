"""Stage results that runs share: found again only where all that decides them is the same."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from deftrec import Recommender
from deftrec.errors import DeftRecError
from deftrec.training import shared as module
from deftrec.training.cache import SharedStages, StageResult
from toy import ring, tiny_bert, tiny_config


class Maker:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self) -> StageResult:
        self.asked += 1
        return StageResult({"x": torch.full((3,), float(self.asked))}, {"epochs": self.asked})


def test_a_result_is_made_once(tmp_path: Path) -> None:
    make = Maker()
    first = SharedStages(tmp_path / "shared").get("text", {"seed": 1}, make)
    again = SharedStages(tmp_path / "shared").get("text", {"seed": 1}, make)
    assert make.asked == 1
    assert torch.equal(first.tensors["x"], again.tensors["x"])
    assert (again.about, again.seconds) == (first.about, first.seconds)


@pytest.mark.parametrize("folder", [True, False])
def test_whatever_decides_it_makes_another(folder: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make, stages = Maker(), SharedStages(tmp_path if folder else None)
    stages.get("text", {"seed": 1, "dim": 2}, make)
    stages.get("text", {"seed": 2, "dim": 2}, make)
    stages.get("collaborative", {"seed": 1, "dim": 2}, make)
    monkeypatch.setattr(module, "VERSION", 99)
    stages.get("text", {"seed": 1, "dim": 2}, make)
    assert make.asked == 4
    stages.get("text", {"dim": 2, "seed": 1}, make)
    assert make.asked == (4 if folder else 5)


def test_a_damaged_result_is_named(tmp_path: Path) -> None:
    SharedStages(tmp_path).get("text", {}, Maker())
    (entry,) = tmp_path.iterdir()
    tensors = entry / module.TENSORS
    tensors.write_bytes(tensors.read_bytes()[:-4])
    with pytest.raises(DeftRecError, match=f"{entry.name}: damaged; delete it"):
        SharedStages(tmp_path).get("text", {}, Maker())
    shutil.rmtree(entry)
    assert SharedStages(tmp_path).get("text", {}, Maker()).about == {"epochs": 1}


def test_runs_share_what_is_the_same_and_end_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {
        "text": {"model": str(tiny_bert(tmp_path / "bert"))},
        "training": {"epochs": 2},
    }
    alone = Recommender.fit(ring(), tiny_config(**options), refit=True)
    first = Recommender.fit(ring(), tiny_config(**options), refit=True, shared=tmp_path / "shared")
    names = sorted(entry.name.rpartition("-")[0] for entry in (tmp_path / "shared").iterdir())
    assert names == ["collaborative", "refit-collaborative", "text"]

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError

    monkeypatch.setattr("deftrec.training.pipeline.sentence_vectors", never)
    monkeypatch.setattr("deftrec.training.pipeline.CollaborativeStage", never)
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
