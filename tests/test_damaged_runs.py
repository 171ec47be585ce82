"""A run whose files are not those that were saved is refused, and the file is named; so is a broken JSON file."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
import torch

from deftrec import Recommender
from deftrec.bulk.job import Job
from deftrec.cli import main
from deftrec.cli.measure import read_results
from deftrec.errors import DeftRecError
from deftrec.incremental.changes import add_events, add_items, remove_items
from deftrec.run import read_records
from deftrec.run.checksums import FILES
from deftrec.tensors import load_sealed, load_tensors, save_sealed, save_tensors
from reasoned import fit
from sealing import reseal
from toy import ring
from worded import NEW, events, fitted

ZEROS = 64 << 10


@pytest.fixture(scope="module")
def reasoned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with every kind of file."""
    folder = tmp_path_factory.mktemp("reasoned")
    fit(folder, ring(users=40))
    return folder / "run"


@pytest.fixture(scope="module")
def worded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with changes after its training."""
    folder = tmp_path_factory.mktemp("worded")
    fitted(folder)
    add_items(folder / "run", NEW)
    add_events(folder / "run", events([(5, 900, 1)]))
    return folder / "run"


@pytest.fixture
def run(reasoned: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(reasoned, tmp_path / "run"))


@pytest.fixture
def changed(worded: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(worded, tmp_path / "run"))


def zeroed(content: bytes) -> bytes:
    """The content with a block of zeros in it, which leaves the header of a tensor file readable."""
    start = 8 + int.from_bytes(content[:8], "little") if content[8:9] == b"{" else len(content) // 3
    end = min(len(content), start + ZEROS)
    return content[:start] + bytes(end - start) + content[end:]


def flipped(content: bytes) -> bytes:
    """The content with one bit changed, in a digit where it is JSON."""
    place = max((n for n, byte in enumerate(content) if byte in b"1234567"), default=len(content) - 1)
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize("damage", [zeroed, flipped])
@pytest.mark.parametrize("name", FILES)
def test_every_file_of_a_run_is_checked(name: str, damage: Callable[[bytes], bytes], run: Path) -> None:
    whole = (run / name).read_bytes()
    (run / name).write_bytes(damage(whole))
    assert (run / name).read_bytes() != whole
    with pytest.raises(DeftRecError, match=rf"{run / name}: .*damaged.*; restore it from a copy, or train the run"):
        Recommender.load(run)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(name: str, run: Path) -> None:
    (run / name).unlink()
    message = "run: training was not finished" if name == "run.json" else f"{name}: missing"
    with pytest.raises(DeftRecError, match=message):
        Recommender.load(run)


def test_a_record_without_checksums_vouches_for_nothing(run: Path) -> None:
    record = json.loads((run / "run.json").read_text())
    for files in ({}, {"x": "y"}):
        (run / "run.json").write_text(json.dumps({**record, "files": files}))
        with pytest.raises(DeftRecError, match=r"run\.json: damaged or changed"):
            Recommender.load(run)


def test_the_pretrained_models_of_a_run_may_move(changed: Path) -> None:
    path, before = changed / "config.json", Recommender.load(changed)
    options = json.loads(path.read_text())
    moved = changed.parent / "moved"
    shutil.copytree(options["text"]["model"], moved)
    path.write_text(json.dumps({**options, "text": {**options["text"], "model": str(moved)}}))
    assert Recommender.load(changed).config.text.model == str(moved)
    assert Recommender.load(changed).recommend(5) == before.recommend(5)
    path.write_text(json.dumps({**options, "text": {**options["text"], "model": None}}))
    with pytest.raises(DeftRecError, match=r"config\.json: damaged or changed"):
        Recommender.load(changed)


# -- weights that are no numbers -------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["model", "ranker", "scaling", "residual"])
def test_weights_that_are_not_finite_are_refused(name: str, value: float, run: Path) -> None:
    path = run / f"{name}.safetensors"
    tensors = load_tensors(path)
    key = next(key for key, tensor in tensors.items() if tensor.is_floating_point() and tensor.numel())
    tensors[key].view(-1)[-1] = value
    save_tensors(path, tensors)
    reseal(run)
    with pytest.raises(DeftRecError, match=rf"{name}\.safetensors: .*'{key}' holds a value that is not a finite"):
        Recommender.load(run)


def test_a_model_that_is_not_finite_is_not_saved(worded: Path, tmp_path: Path) -> None:
    recommender = Recommender.load(worded)
    with torch.no_grad():
        next(recommender.run.model.parameters()).view(-1)[0] = float("nan")
    with pytest.raises(DeftRecError, match=r"not saved, as model '.*' holds .* not a finite number; train"):
        recommender.save(tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


# -- broken JSON -----------------------------------------------------------------------------------------------

BROKEN = {
    "empty": b"",
    "half": b'{"format": 3, "fingerprint"',
    "list": b"[]",
    "null": b"null",
    "text": b'"x"',
    "no keys": b"{}",
    "not UTF-8": b'{"a": "\xff"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "deep": b"[" * 100_000,
    "long number": b"1" * 5000,
}


def json_files(run: Path) -> Iterator[Path]:
    yield from (path for path in sorted(run.rglob("*.json")) if path.name != "metrics.json")


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_json_is_one_line_with_path_and_mend(
    kind: str, changed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = list(json_files(changed))
    assert {path.name for path in paths} == {"config.json", "meta.json", "request.json", "run.json"}
    for path in paths:
        whole = path.read_bytes()
        path.write_bytes(BROKEN[kind])
        for words in (["recommend", changed, "--user", "5"], ["items", "remove", changed, "--items", "900"]):
            if words[0] == "items" and path.name == "request.json":
                continue  # which is not read there
            capsys.readouterr()
            assert main([str(word) for word in words]) == 1
            last = capsys.readouterr().err.splitlines()[-1]
            assert last.startswith(f"error: {path}: "), last
            assert last.endswith("; restore it from a copy, or train the run again")
        path.write_bytes(whole)
    assert Recommender.load(changed)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("dataset", 7, "key 'dataset': Input should be a valid string"),
        ("terms", [], "key 'terms': Input should be a valid dictionary"),
        ("fit", "all", "key 'fit': Input should be 'train'"),
        ("epochs", {"joint": "x"}, r"key 'epochs\.joint': Input should be a valid integer"),
        ("files", None, "key 'files': Input should be a valid dictionary"),
        ("more", 1, "key 'more': Extra inputs are not permitted"),
        ("collaborative_width", 10**30, "damaged or changed"),
        ("terms", {}, "damaged or changed"),
    ],
)
def test_a_wrong_value_in_a_record_names_its_key(key: str, value: object, message: str, changed: Path) -> None:
    path = changed / "run.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, key: value}))
    for read in (Recommender.load, read_records):
        with pytest.raises(DeftRecError, match=rf"run\.json: .*{message}"):
            read(changed)
    del record[key if key in record else "fit"]
    path.write_text(json.dumps(record))
    with pytest.raises(DeftRecError, match=r"run\.json: .*Field required"):
        read_records(changed)


@pytest.mark.parametrize("kind", BROKEN)
def test_other_json_files_of_a_run_are_named_too(kind: str, changed: Path, tmp_path: Path) -> None:
    recommender = Recommender.load(changed)
    job, parts = Job.of(changed, recommender, k=3, seen="exclude", seed=0, part_users=50), tmp_path / "parts"
    job.begin(parts)
    (parts / "request.json").write_bytes(BROKEN[kind])
    with pytest.raises(DeftRecError, match=r"parts/request\.json: missing or damaged \(.*\); give another directory"):
        job.begin(parts)
    (changed / "metrics.json").write_bytes(BROKEN[kind])
    with pytest.raises(DeftRecError, match=r"metrics\.json: damaged; delete it"):
        read_results(changed)


# -- files that change after training --------------------------------------------------------------------------


@pytest.mark.parametrize("damage", [zeroed, flipped, lambda content: content[:100]])
def test_a_damaged_overlay_is_refused_by_readers_and_writers(damage: Callable[[bytes], bytes], changed: Path) -> None:
    path = changed / "overlay.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    content = path.read_bytes()
    for use in (
        Recommender.load,
        lambda run: add_items(run, NEW),
        lambda run: remove_items(run, [900]),
        lambda run: add_events(run, events([(5, 900, 2)])),
    ):
        with pytest.raises(DeftRecError, match=r"overlay\.safetensors: damaged \(.*\); delete it, and repeat"):
            use(changed)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ([], "damaged"),
        (None, "damaged"),
        ({}, "damaged .*'format'"),
        ({"format": 2}, "of format 2, and this version reads format 3"),
        ({"format": 3, "version": 1}, "damaged .*'fingerprint'"),
    ],
)
def test_an_overlay_with_another_record_is_refused(about: dict[str, object], message: str, changed: Path) -> None:
    path = changed / "overlay.safetensors"
    save_sealed(path, about, load_sealed(path, "")[1])
    with pytest.raises(DeftRecError, match=rf"overlay\.safetensors: {message}"):
        Recommender.load(changed)


def test_a_change_of_a_damaged_run_writes_nothing(changed: Path) -> None:
    before = (changed / "overlay.safetensors").read_bytes()
    for name in ("config.json", "data/meta.json", "data/items.parquet"):
        whole = (changed / name).read_bytes()
        (changed / name).write_bytes(flipped(whole))
        with pytest.raises(DeftRecError, match=rf"{name}: damaged or changed"):
            add_items(changed, pl.DataFrame({"item": [907], "title": ["blue"]}))
        (changed / name).write_bytes(whole)
    assert (changed / "overlay.safetensors").read_bytes() == before
