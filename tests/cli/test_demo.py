"""`deftrec demo` on toy data: trains once, shows again, goes on, and removes only what it made."""

import json
from pathlib import Path
from typing import Any

import pytest
from calling import TINY, Call

from deftrec import Interactions, Recommender
from deftrec.benchmark import peers
from deftrec.cli.baselines import BASELINES
from deftrec.data import Split, make_split
from toy import tiny_model

ARGUMENTS = ["demo", *TINY, "--language-recipe", "none"]


@pytest.fixture(autouse=True)
def asked_of_peers(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The toy data lies in the cache under the name of the demo's, and peers are as good as DeftRec."""
    Interactions.load(data).save(tmp_path / "home" / "data" / "ml-100k")
    asked: list[list[str]] = []

    def run_peers(interactions: Interactions, split: Split, models: list[str], out: Path, fit: str, **_: Any) -> None:
        asked.append(models)
        assert split.name == make_split(interactions, "leave-one-out").name
        whole = json.loads((out.parent / "metrics.json").read_text())["results"]
        result = next(one for one in whole if one["split"] == "test")
        for model in models:
            (out / model).mkdir(parents=True)
            (out / model / "result.json").write_text(json.dumps({**result, "name": model, "fit": fit}))

    monkeypatch.setattr(peers, "run_peers", run_peers)
    monkeypatch.setattr("deftrec.cli.baselines.BASELINES", BASELINES)
    return asked


def test_the_demo_shows_everything(deftrec: Call, tmp_path: Path, asked_of_peers: list[list[str]]) -> None:
    out = tmp_path / "runs" / "demo"
    said = deftrec(*ARGUMENTS, "--out", out)
    assert said.code == 0, said.err
    for name in ("fast", "fast/latent", "fast/collaborative_prior", *BASELINES):
        assert f"  {name} " in said.out
    users = [line for line in said.out.splitlines() if line.startswith("user ")]
    assert len(users) == 5
    assert said.out.count("recommended  1. [bold]number") == 5
    assert said.out.count("  next  ") == 5
    assert str(out / "report" / "index.html") in said.out.replace("\n", "")
    assert (out / "report" / "index.html").is_file()
    assert asked_of_peers == [list(BASELINES)]


def test_a_finished_demo_is_shown_again_without_training(
    deftrec: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked_of_peers: list[list[str]]
) -> None:
    out = tmp_path / "demo"
    first = deftrec(*ARGUMENTS, "--out", out)

    def untouchable(*_: object, **__: object) -> None:
        raise AssertionError("nothing is to be trained")

    fit = Recommender.fit
    monkeypatch.setattr(Recommender, "fit", untouchable)
    again = deftrec(*ARGUMENTS, "--out", out)
    assert again.code == 0, again.err
    assert again.out == first.out
    assert "holds a finished run, which is shown; --force trains again" in again.err
    assert "warning" not in again.err
    assert "other options" in deftrec(*ARGUMENTS, "--set", "seed=1", "--out", out).err
    assert len(asked_of_peers) == 1
    monkeypatch.setattr(Recommender, "fit", fit)
    anew = deftrec(*ARGUMENTS, "--set", "seed=1", "--out", out, "--force")
    assert anew.code == 0
    assert json.loads((out / "config.json").read_text())["seed"] == 1


def test_an_interrupted_demo_goes_on(deftrec: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from deftrec.training.stages import JointStage

    def interrupted(self: JointStage) -> dict[str, float]:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(JointStage, "validate", interrupted)
        said = deftrec(*ARGUMENTS, "--out", tmp_path / "demo")
    assert said.code == 130
    assert "goes on where it stopped" in said.err
    said = deftrec(*ARGUMENTS, "--out", tmp_path / "demo")
    assert said.code == 0, said.err
    assert "holds an interrupted run, which goes on" in said.err


def test_damaged_metrics_name_the_mend(deftrec: Call, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    deftrec(*ARGUMENTS, "--out", out)
    (out / "metrics.json").write_text("{}")
    said = deftrec(*ARGUMENTS, "--out", out)
    assert said.code == 1
    assert "delete it, and the run is measured again" in said.err
    (out / "metrics.json").unlink()
    assert deftrec(*ARGUMENTS, "--out", out).code == 0


def test_a_second_part_has_a_language_model_read(
    deftrec: Call, tmp_path: Path, asked_of_peers: list[list[str]]
) -> None:
    reader = tmp_path / "reader.yaml"
    llama = tiny_model("llama", tmp_path / "llama", positions=256)
    reader.write_text(f"reasoner: {{model: {llama}, tuned_layers: 1, titles: 3}}\n")
    out = tmp_path / "demo"
    said = deftrec("demo", *TINY, "--language-recipe", reader, "--out", out)
    assert said.code == 0, said.err
    first, second = said.out.split(f"report: {out / 'report' / 'index.html'}")
    assert "  fast/latent " in first
    assert "  statement " not in first
    assert second.count("  statement    This person likes") >= 3  # random weights may say nothing
    assert "reader" not in first, "the first part is shown before the second begins"
    for name in ("reader", "fast", *BASELINES):
        assert f"  {name} " in second
    assert asked_of_peers == [list(BASELINES)], "peers run once"
    assert "part 1 of 2, a small transformer trained from scratch: " in said.err
    assert "part 2 of 2, a pre-trained language model that reads the histories and states preferences" in said.err
    assert "GFLOP/s" in said.err
    assert json.loads((out / "config.json").read_text())["size"] == "small"
    assert (tmp_path / "demo-reader" / "run.json").is_file()


def test_a_finished_part_is_not_announced(deftrec: Call, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    assert "part 1 of 1, a small" in deftrec(*ARGUMENTS, "--out", out).err
    assert "part 1 of 1, a small" not in deftrec(*ARGUMENTS, "--out", out).err
