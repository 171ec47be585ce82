"""The run directory: complete or refused, and no larger than it must be."""

import errno
import fcntl
import json
import shutil
from pathlib import Path

import polars as pl
import pytest
import torch
from safetensors.torch import load_file

from deftrec import Interactions, Recommender
from deftrec import run as module
from deftrec.errors import DataError, DeftRecError
from deftrec.run import Request, begin_run, training_in
from toy import ring, tiny_bert, tiny_config


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    Recommender.fit(ring(), tiny_config(training={"epochs": 2}), out=folder)
    return folder


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    shutil.copytree(run, tmp_path / "run")
    return tmp_path / "run"


def test_a_run_holds_everything_and_nothing_else(run: Path) -> None:
    names = {path.name for path in run.iterdir()}
    assert names - {"prior.safetensors"} == {
        "config.json",
        "request.json",
        "run.json",
        "model.safetensors",
        "scaling.safetensors",
        "data",
        "logs",
    }
    info = json.loads((run / "run.json").read_text())
    assert info["fit"] == "train"
    assert set(info["epochs"]) == {"collaborative", "joint"}
    assert {"python", "torch", "deftrec", "threads"} <= set(info["environment"])
    assert "auto" not in json.dumps({**json.loads((run / "config.json").read_text()), "training": None})
    stages = {json.loads(line)["stage"] for line in (run / "logs" / "metrics.jsonl").read_text().splitlines()}
    assert stages == {"collaborative", "joint"}


def test_a_run_can_be_moved(copy: Path, run: Path) -> None:
    assert Recommender.load(copy).evaluate("test") == Recommender.load(run).evaluate("test")


@pytest.mark.parametrize("name", ["config.json", "run.json", "model.safetensors"])
def test_damaged_files_are_named(name: str, copy: Path) -> None:
    whole = (copy / name).read_bytes()
    (copy / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DeftRecError, match=rf"{name}: .*damaged"):
        Recommender.load(copy)
    (copy / name).unlink()
    with pytest.raises(DeftRecError, match="not finished" if name == "run.json" else name):
        Recommender.load(copy)


def test_weights_of_another_model_are_refused(copy: Path) -> None:
    for change, message in (({"width": 48}, "does not fit"), ({"layers": 2}, "does not fit config.json")):
        config = json.loads((copy / "config.json").read_text())
        config["language"] |= change
        (copy / "config.json").write_text(json.dumps(config))
        with pytest.raises(DeftRecError, match=message):
            Recommender.load(copy)


def test_other_data_is_refused(copy: Path) -> None:
    ring(seed=1).save(copy / "data")
    with pytest.raises(DeftRecError, match="not the data this run was trained on"):
        Recommender.load(copy)
    shutil.rmtree(copy / "data")
    with pytest.raises(DeftRecError, match=r"no interactions\.parquet; the run cannot do without it"):
        Recommender.load(copy)


def test_a_prior_that_was_lost_is_missed(copy: Path) -> None:
    """A run that answers without it would answer worse, and nobody would know."""
    info = json.loads((copy / "run.json").read_text())
    info["prior"]["weight"] = 5.0
    (copy / "run.json").write_text(json.dumps(info))
    (copy / "prior.safetensors").unlink(missing_ok=True)
    with pytest.raises(DeftRecError, match=r"prior\.safetensors: missing or damaged"):
        Recommender.load(copy)


def test_what_is_no_run(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(DeftRecError, match=r"no run\.json; give the directory"):
            Recommender.load(folder)
    (tmp_path / "file").write_text("")
    with pytest.raises(DeftRecError, match="not empty"):
        Recommender.fit(ring(), tiny_config(), out=tmp_path)


@pytest.mark.parametrize("killed", ["request", "data"])
def test_a_beginning_that_was_killed_can_be_gone_on_with(
    killed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, data = tmp_path / "run", ring(users=8)
    request = Request(config=tiny_config(), fingerprint=data.fingerprint, refit=False)

    def kill(*_: object) -> None:  # what an end without warning leaves behind
        half = folder / (".data.x.tmp" if killed == "data" else ".request.json.x.tmp")
        half.mkdir() if killed == "data" else half.touch()
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(Interactions, "save", kill) if killed == "data" else patched.setattr(module, "write_text", kill)
        with pytest.raises(SystemExit):
            begin_run(folder, request, data, resume=False)
    if killed == "data":
        with pytest.raises(DeftRecError, match=r"not empty; .*--resume an interrupted run"):
            begin_run(folder, request, data, resume=False)
    begin_run(folder, request, data, resume=killed == "data")
    assert {path.name for path in folder.iterdir()} == {"request.json", "data"}
    assert Interactions.load(folder / "data").fingerprint == data.fingerprint


@pytest.mark.parametrize("name", ["items.parquet", "interactions.parquet", "meta.json"])
def test_resuming_makes_the_data_whole_again(name: str, tmp_path: Path) -> None:
    folder, data = tmp_path / "run", ring(users=8)
    request = Request(config=tiny_config(), fingerprint=data.fingerprint, refit=False)
    begin_run(folder, request, data, resume=False)
    before = {path: path.stat().st_mtime_ns for path in (folder / "data").iterdir()}
    begin_run(folder, request, data, resume=True)
    assert {path: path.stat().st_mtime_ns for path in (folder / "data").iterdir()} == before
    whole = (folder / "data" / name).read_bytes()
    for half in (whole[: len(whole) // 2], None):
        (folder / "data" / name).unlink() if half is None else (folder / "data" / name).write_bytes(half)
        begin_run(folder, request, data, resume=True)
        assert Interactions.load(folder / "data").fingerprint == data.fingerprint


def unlockable(descriptor: int, operation: int) -> None:
    """A file system that has no locks."""
    raise OSError(errno.ENOLCK, "no locks")


def test_one_training_at_a_time_is_in_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, data = tmp_path / "run", ring(users=8)
    request = Request(config=tiny_config(), fingerprint=data.fingerprint, refit=False)
    with training_in(folder, request, data, resume=False):
        for resume in (False, True):
            with (
                pytest.raises(DeftRecError, match="run is being trained by another process"),
                training_in(folder, request, data, resume),
            ):
                pass
        assert {path.name for path in folder.iterdir()} == {"request.json", "data"}
        with monkeypatch.context() as patched:
            patched.setattr(fcntl, "flock", unlockable)
            with (
                pytest.warns(RuntimeWarning, match="run: cannot be locked"),
                training_in(folder, request, data, resume=True),
            ):
                pass
    with training_in(folder, request, data, resume=True):
        pass


def failed_start(folder: Path, request: Request, data: Interactions, resume: bool, left: str) -> None:
    """Begin a training that leaves a file and fails."""
    with training_in(folder, request, data, resume):
        (folder / left).parent.mkdir(parents=True, exist_ok=True)
        (folder / left).touch()
        raise DataError("the split")


@pytest.mark.parametrize("there", [False, True])
def test_a_start_that_failed_is_undone_unless_a_stage_has_left_something(there: bool, tmp_path: Path) -> None:
    folder, data = tmp_path / "run", ring(users=8)
    request = Request(config=tiny_config(), fingerprint=data.fingerprint, refit=False)
    if there:
        folder.mkdir()
    with pytest.raises(DataError):
        failed_start(folder, request, data, False, "logs/metrics.jsonl")
    assert folder.exists() == there
    assert not there or not list(folder.iterdir())
    for resume in (False, True):
        with pytest.raises(DataError):
            failed_start(folder, request, data, resume, "work/checkpoints/joint/state.safetensors")
        assert {path.name for path in folder.iterdir()} == {"request.json", "data", "work"}


@pytest.mark.parametrize("tuning", ["frozen", "lora"])
def test_weights_that_a_model_came_with_are_not_saved_again(tuning: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    bert = tiny_bert(tmp_path / "bert")
    language = {"kind": "pretrained", "model": str(bert), "tuning": tuning, "prompts": ["next : {history}"]}
    config = tiny_config(data={"max_history": 20}, language=language, training={"epochs": 1})
    recommender = Recommender.fit(ring(), config, out=tmp_path / "run")
    saved = {name for name in load_file(tmp_path / "run" / "model.safetensors") if name.startswith("language.")}
    assert "language.scale" in saved
    assert all("lora_" in name for name in saved - {"language.scale"})
    assert (len(saved) > 1) == (tuning == "lora")
    assert Recommender.load(tmp_path / "run").evaluate("test") == recommender.evaluate("test")


def test_what_seen_items_get_is_part_of_a_run(tmp_path: Path) -> None:
    """In training everything is taken twice in a row, of late nothing is: validation moves seen items down."""
    walks = ring().events()
    place = pl.int_range(pl.len()).over("user")
    again = walks.filter(place < 5).with_columns(pl.col("time") + 30)
    data = Interactions.from_frame(pl.concat([walks, again]), ring().catalogue, meta=ring().meta)
    config = tiny_config(retrieval={"seen": "keep", "again": [-30.0]})
    fitted = Recommender.fit(data, config, out=tmp_path / "run")
    assert fitted.config.repeats
    assert fitted.info.again is not None
    assert fitted.info.again.value == fitted.retriever.again == -30
    assert fitted.info.again.ndcg > fitted.info.again.ndcg_without + 0.1
    loaded = Recommender.load(tmp_path / "run")
    assert loaded.retriever.again == -30
    assert loaded.evaluate("test", "keep") == fitted.evaluate("test", "keep")
    excluded = Recommender.fit(data, tiny_config(training={"epochs": 1}))
    assert excluded.info.again is None
    assert excluded.retriever.again == 0
