"""The run directory: complete or refused, and no larger than it must be."""

import errno
import fcntl
import json
import shutil
from pathlib import Path

import polars as pl
import pytest
import torch
from safetensors.torch import load_file, save_file

from deftrec import Interactions, Recommender
from deftrec import run as module
from deftrec.doctor import subject_of
from deftrec.errors import ConfigError, DataError, DeftRecError
from deftrec.retrieval import HistoryLast, RepeatBias
from deftrec.run import Request, begin_run, training_in
from deftrec.run import folder as beginning
from deftrec.run import saved as saving
from sealing import reseal
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


FILES = {
    *("config.json", "request.json", "run.json"),
    *("scaling.safetensors", "model.safetensors", "ranker.safetensors"),
    *("data", "logs"),
}


def test_a_run_holds_everything_and_nothing_else(run: Path) -> None:
    assert {path.name for path in run.iterdir()} == FILES
    documented = {line.split()[0].rstrip("/") for line in (module.__doc__ or "").splitlines()[2:] if line}
    reasoned = {"reasoner.safetensors", "residual.safetensors", "reasoning.sqlite"}
    assert documented == FILES | reasoned | {"work", "overlay.safetensors", "requests.safetensors"}
    info = json.loads((run / "run.json").read_text())
    assert (info["format"], info["fit"]) == (3, "train")
    assert set(info["epochs"]) == {"collaborative", "joint"}
    assert {"python", "torch", "deftrec", "threads"} <= set(info["environment"])
    assert "auto" not in json.dumps({**json.loads((run / "config.json").read_text()), "training": None})
    stages = {json.loads(line)["stage"] for line in (run / "logs" / "metrics.jsonl").read_text().splitlines()}
    assert stages == {"collaborative", "joint"}


def test_a_run_holds_the_tensors_of_its_active_terms(run: Path) -> None:
    terms = json.loads((run / "run.json").read_text())["terms"]
    assert set(terms) == {"collaborative_prior", "popularity_trend"}
    active = {name for name, settings in terms.items() if settings["active"]}
    assert {name.partition("/")[0] for name in load_file(run / "ranker.safetensors")} == active
    loaded = Recommender.load(run)
    assert {term.name for term in loaded.ranker.terms} == {"latent", *active}
    assert loaded.ranker.state()[0] == {
        name: {key: value for key, value in terms[name].items() if key != "active"} for name in active
    }


def test_a_run_can_be_moved(copy: Path, run: Path) -> None:
    assert Recommender.load(copy).evaluate("test") == Recommender.load(run).evaluate("test")


@pytest.mark.parametrize(
    "name", ["config.json", "run.json", "model.safetensors", "ranker.safetensors", "scaling.safetensors"]
)
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
        with pytest.raises(DeftRecError, match=r"config\.json: damaged or changed"):
            Recommender.load(copy)
        reseal(copy)
        with pytest.raises(DeftRecError, match=message):
            Recommender.load(copy)


def test_other_data_is_refused(copy: Path) -> None:
    ring(seed=1).save(copy / "data")
    with pytest.raises(DeftRecError, match=r"interactions\.parquet: damaged or changed"):
        Recommender.load(copy)
    reseal(copy)
    with pytest.raises(DeftRecError, match="not the data this run was trained on"):
        Recommender.load(copy)
    shutil.rmtree(copy / "data")
    with pytest.raises(DeftRecError, match=r"interactions\.parquet: missing"):
        Recommender.load(copy)


def test_terms_without_their_tensors_are_refused(copy: Path) -> None:
    """A run that answers without one of its terms would answer worse, and nobody would know."""
    info = json.loads((copy / "run.json").read_text())
    for settings in info["terms"].values():
        settings["active"] = True
    save_file({}, copy / "ranker.safetensors")
    reseal(copy, terms=info["terms"])
    with pytest.raises(DeftRecError, match=r"ranker\.safetensors: does not fit run\.json \(.*\); train again"):
        Recommender.load(copy)


def test_a_run_of_another_format_is_refused_and_keeps_its_data(copy: Path) -> None:
    info = json.loads((copy / "run.json").read_text())
    for found in (1, 2, 4):
        # Another format may have other fields and options, which say nothing to this version.
        (copy / "run.json").write_text(json.dumps({**info, "format": found, "prior": {"weight": 5.0}}))
        (copy / "config.json").write_text('{"retrieval": {"again": [1.0]}}')
        message = (
            f"{copy}: a run of format {found}, and this version reads format 3; train it again on its data, "
            f"which are in {copy / 'data'}"
        )
        for read in (Recommender.load, module.read_run, module.read_records, lambda folder: subject_of(str(folder))):
            with pytest.raises(DeftRecError) as error:
                read(copy)
            assert str(error.value) == message
    assert Interactions.load(copy / "data").fingerprint == info["fingerprint"]


def test_a_directory_without_a_run_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(DeftRecError, match=r"no run\.json; give the directory"):
            Recommender.load(folder)
    (tmp_path / "file").write_text("")
    with pytest.raises(DeftRecError, match="not empty"):
        Recommender.fit(ring(), tiny_config(), out=tmp_path)


@pytest.mark.parametrize("killed", ["request", "data"])
def test_a_beginning_that_was_killed_can_be_resumed(
    killed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, data = tmp_path / "run", ring(users=8)
    request = Request(config=tiny_config(), fingerprint=data.fingerprint, refit=False)

    def kill(*_: object) -> None:  # what an end without warning leaves behind
        half = folder / (".data.x.tmp" if killed == "data" else ".request.json.x.tmp")
        half.mkdir() if killed == "data" else half.touch()
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(*((Interactions, "save") if killed == "data" else (beginning, "write_text")), kill)
        with pytest.raises(SystemExit):
            begin_run(folder, request, data, resume=False)
    if killed == "data":
        with pytest.raises(DeftRecError, match=r"not empty; .*`resume=True` to go on with the interrupted run"):
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


# -- once more into the same directory -------------------------------------------------------------------------


def recommended(run: Path) -> list[object]:
    return [one.item for one in Recommender.load(run).recommend(history=[101, 105])]


def test_a_run_is_saved_again_in_its_place(copy: Path, tmp_path: Path) -> None:
    recommender, expected = Recommender.load(copy), recommended(copy)
    (copy / "metrics.json").write_text("of the run before")
    for place in (copy, tmp_path / "new"):
        for _ in range(2):
            recommender.save(place, overwrite=True)
            assert recommended(place) == expected
    assert {path.name for path in copy.iterdir()} == FILES - {"logs"}
    assert {path.name for path in tmp_path.iterdir()} == {"run", "new"}
    with pytest.raises(DeftRecError, match="not empty; give another directory, or `overwrite=True` to replace the run"):
        recommender.save(copy)


def test_a_run_is_trained_again_in_its_place(copy: Path, tmp_path: Path) -> None:
    config = tiny_config(training={"epochs": 1})
    with pytest.raises(DeftRecError, match="not empty; give another directory, or `overwrite=True` to replace the run"):
        Recommender.fit(ring(users=40), config, out=copy)
    again = Recommender.fit(ring(users=40), config, out=copy, overwrite=True)
    assert Recommender.load(copy).info == again.info
    assert again.fitted_on.n_users == 40
    assert {path.name for path in tmp_path.iterdir()} == {"run"}


def test_what_fails_leaves_the_run_that_was_there(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recommender, expected = Recommender.load(copy), recommended(copy)
    bare = ring(users=40)
    alone = Interactions.from_frame(bare.events().group_by("user").first(), meta=bare.meta)
    with pytest.raises(DataError, match="no user has a validation target"):
        Recommender.fit(alone, tiny_config(), out=copy, overwrite=True)
    assert recommended(copy) == expected

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no room")

    with monkeypatch.context() as patched:
        patched.setattr(saving, "write_text", full)
        with pytest.raises(OSError, match="no room"):
            recommender.save(copy, overwrite=True)
        with pytest.raises(OSError, match="no room"):
            recommender.save(tmp_path / "new")
    with monkeypatch.context() as patched:
        patched.setattr(Interactions, "save", full)
        with pytest.raises(OSError, match="no room"):
            Recommender.fit(ring(users=40), tiny_config(), out=copy, overwrite=True)
    assert recommended(copy) == expected
    assert {path.name for path in tmp_path.iterdir()} == {"run"}


def test_only_a_run_is_replaced(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recommender = Recommender.load(copy)
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "thesis.tex").write_text("years")
    for place in (tmp_path / "work", tmp_path / "work" / "thesis.tex"):
        with pytest.raises(DeftRecError, match="holds no run, so it is not overwritten; give another directory"):
            recommender.save(place, overwrite=True)
        with pytest.raises(DeftRecError, match="holds no run"):
            Recommender.fit(ring(users=8), tiny_config(), out=place, overwrite=True)
    assert (tmp_path / "work" / "thesis.tex").read_text() == "years"
    monkeypatch.chdir(copy / "data")
    with pytest.raises(DeftRecError, match="this process works inside it"):
        recommender.save(copy, overwrite=True)
    with pytest.raises(ConfigError, match="leave one out"):
        Recommender.fit(ring(users=8), tiny_config(), out=copy, resume=True, overwrite=True)
    with pytest.raises(ConfigError, match="`overwrite=True` needs the run directory"):
        Recommender.fit(ring(users=8), tiny_config(), overwrite=True)


def test_a_run_that_was_being_replaced_is_not_lost(copy: Path, tmp_path: Path) -> None:
    """A process was killed between the two renames, and then after the second training had begun."""
    expected, aside = recommended(copy), tmp_path / f".run.{'0' * 16}.old"
    copy.rename(aside)
    assert recommended(copy) == expected
    shutil.copytree(copy, aside)
    request = Request(config=tiny_config(), fingerprint=ring(users=8).fingerprint, refit=False)
    with training_in(copy, request, ring(users=8), resume=False, overwrite=True):
        assert not (copy / "run.json").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"run"}


@pytest.mark.parametrize("tuning", ["frozen", "lora"])
def test_unchanged_weights_of_a_pretrained_model_are_not_saved(tuning: str, tmp_path: Path) -> None:
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


def test_the_repeat_bias_is_part_of_a_run(tmp_path: Path) -> None:
    """In training every item is repeated at once, and in the newest interactions none is: the bias is negative."""
    walks = ring().events()
    place = pl.int_range(pl.len()).over("user")
    again = walks.filter(place < 5).with_columns(pl.col("time") + 30)
    data = Interactions.from_frame(pl.concat([walks, again]), ring().catalogue, meta=ring().meta)
    fitted = Recommender.fit(data, tiny_config(retrieval={"seen": "keep"}), out=tmp_path / "run")
    assert fitted.config.repeats
    chosen = fitted.info.terms["repeat_bias"]
    bias = fitted.ranker.term_of(RepeatBias)
    assert bias is not None
    assert chosen["value"] == bias.value < 0
    assert chosen["active"]
    assert chosen["record"]["ndcg"] > chosen["record"]["ndcg_without"] + 0.1
    loaded = Recommender.load(tmp_path / "run")
    assert loaded.ranker.state()[0] == fitted.ranker.state()[0]
    assert loaded.evaluate("test", "keep") == fitted.evaluate("test", "keep")
    excluded = Recommender.fit(data, tiny_config(training={"epochs": 1}))
    assert "repeat_bias" not in excluded.info.terms


def test_history_items_come_last_where_people_hardly_come_back(tmp_path: Path) -> None:
    fitted = Recommender.fit(
        ring(), tiny_config(retrieval={"seen": "keep"}, training={"epochs": 1}), out=tmp_path / "run"
    )
    assert fitted.config.seen_last
    assert fitted.ranker.rules == Recommender.load(tmp_path / "run").ranker.rules == (HistoryLast(),)
    history = fitted.interactions.history(1000)
    found = [one.item for one in fitted.recommend(history=history, k=24, exclude_seen=False)]
    assert set(found[-len(history) :]) == set(history)
