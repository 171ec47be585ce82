"""A full disk, whichever library meets it: an error that names the file, and nothing half-written."""

import errno
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from deftrec import Config, Interactions
from deftrec.errors import DeftRecError, UnwritableError
from deftrec.evaluation import write_rankings
from deftrec.files import atomic_directory, atomic_path, default_home, disk_fault, write_json, write_text
from deftrec.reasoning.store import ReasoningStore
from deftrec.run import Request, begin_run, saving_in, training_in
from deftrec.tensors import save_tensors
from deftrec.training.loop import TrainingLog
from toy import ring

FULL = "no space left on device"
resource = pytest.importorskip("resource")  # not on Windows

ROOM = 4096  # largest file of the process, in bytes, as if the disk were full behind it


@contextmanager
def small_disk() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    assert signal.getsignal(signal.SIGXFSZ) is signal.SIG_IGN, "Python reports an error instead"
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def contents(path: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in [path, *path.rglob("*")] if file.is_file()}


def rankings(path: Path) -> None:
    many = range(50_000)
    frame = pl.DataFrame({"user": many, "item": many, "rank": many, "score": many})
    write_rankings(path, [frame.cast({"score": pl.Float64})])


def directory(path: Path) -> None:
    with atomic_directory(path) as temporary:
        save_tensors(temporary / "x.safetensors", {"x": torch.rand(10_000)})


def database(path: Path) -> None:
    with atomic_path(path) as temporary:
        rows = sqlite3.connect(temporary)
        rows.execute("CREATE TABLE words (word TEXT)")
        rows.execute("INSERT INTO words VALUES (?)", ["x" * 100_000])
        rows.commit()


WRITERS: dict[str, Callable[[Path], None]] = {
    "text": lambda path: write_text(path, "x" * 100_000),
    "json": lambda path: write_json(path, ["x"] * 100_000),
    "tensors": lambda path: save_tensors(path, {"x": torch.rand(10_000)}),
    "parquet": rankings,
    "data": lambda path: ring(users=3000).save(path),
    "directory": directory,
    "database": database,
}


@pytest.mark.parametrize("kind", WRITERS)
def test_the_file_is_named_and_nothing_is_left(kind: str, tmp_path: Path) -> None:
    with small_disk(), pytest.raises(UnwritableError) as caught:
        WRITERS[kind](tmp_path / "wanted")
    assert str(caught.value).startswith(f"{tmp_path / 'wanted'}")
    assert ".tmp" not in str(caught.value)
    assert str(caught.value).endswith("; name another place, or make room there")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", WRITERS)
def test_what_was_there_stays(kind: str, tmp_path: Path) -> None:
    place = tmp_path / "wanted"
    if kind in {"data", "directory"}:
        ring(users=3).save(place)
    else:
        place.write_text("before")
    before = contents(place)
    with small_disk(), pytest.raises(UnwritableError):
        WRITERS[kind](place)
    assert contents(place) == before
    assert list(tmp_path.iterdir()) == [place]


def test_a_log_and_the_store_of_reasoning_name_their_files(tmp_path: Path) -> None:
    log = TrainingLog(tmp_path)
    store = ReasoningStore(tmp_path / "reasoning.sqlite", "of a test")
    with small_disk():
        with pytest.raises(UnwritableError, match=r"metrics\.jsonl: cannot be written \(file too large\)"):
            log.write("x" * 10_000, 1, {})
        with pytest.raises(DeftRecError, match=r"reasoning\.sqlite: cannot be written \(disk I/O error\); make room"):
            store.put_states([np.arange(3)], torch.rand(1, 100_000))
    log.close()
    store.close()


def test_a_beginning_without_room_does_not_block_the_corrected_command(tmp_path: Path) -> None:
    interactions = ring(users=3000)
    request = Request(config=Config(), fingerprint=interactions.fingerprint, refit=False)
    with small_disk(), pytest.raises(UnwritableError, match="run/data: cannot be written"):
        begin_run(tmp_path / "run", request, interactions, resume=False)
    begin_run(tmp_path / "run", request, interactions, resume=False)
    assert Interactions.load(tmp_path / "run" / "data").fingerprint == interactions.fingerprint


@pytest.mark.parametrize("way", [training_in, saving_in])
def test_a_place_that_cannot_hold_a_directory_is_named(tmp_path: Path, way: Any) -> None:
    """As below a read-only file system, whose error names no mend."""
    interactions = ring(users=20)
    request = Request(config=Config(), fingerprint=interactions.fingerprint, refit=False)
    (tmp_path / "file").touch()
    options = [False, False] if way is training_in else [False]
    with (
        pytest.raises(UnwritableError, match=r"cannot be (written|locked) .*; (name another place|use a directory)"),
        way(tmp_path / "file" / "run", request, interactions, *options),
    ):
        pass


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), FULL),
        (
            RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
            "no space left on device",
        ),
        (sqlite3.OperationalError("database or disk is full"), "disk is full"),
        (FileNotFoundError(errno.ENOENT, "No such file"), None),
        (ValueError("28"), None),
    ],
)
def test_faults_of_disks_are_told_from_others(error: Exception, fault: str | None) -> None:
    assert disk_fault(error) == fault


def test_other_errors_pass_unchanged(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "x"):
        (tmp_path / "absent").read_text()


# -- the place of downloads ------------------------------------------------------------------------------------------


def test_without_a_home_the_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEFTREC_HOME", raising=False)
    monkeypatch.setenv("HOME", "")
    with pytest.raises(UnwritableError, match=r"no home directory is known.* set DEFTREC_HOME"):
        default_home()

    def unknown() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(Path, "home", unknown)
    with pytest.raises(UnwritableError, match=r"no home directory is known.* set DEFTREC_HOME"):
        default_home()
    monkeypatch.setenv("DEFTREC_HOME", "/elsewhere")
    assert default_home() == Path("/elsewhere")


def test_a_home_that_cannot_be_written_names_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home").write_text("a file, in which no directory can be made")
    monkeypatch.setenv("DEFTREC_HOME", str(tmp_path / "home"))
    with pytest.raises(UnwritableError, match=r"home/x: cannot be written \(.*\); set DEFTREC_HOME to another"):
        write_text(tmp_path / "home" / "x", "words")
