"""The run directory from its beginning to the end of the training: begun, resumed, overwritten, by one process."""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path

from deftrec.data import Interactions
from deftrec.errors import ConfigError, DataError, DeftRecError
from deftrec.files import locked, moved_aside, printable, recover, writable, write_text
from deftrec.records import read_record
from deftrec.run.records import Request

LEFTOVERS = (".request.json.*.tmp", ".data.*.tmp", ".data.*.old")
"""Files of a process that was killed before there was a run."""


@contextmanager
def training_in(
    folder: Path, request: Request, interactions: Interactions, resume: bool, overwrite: bool = False
) -> Iterator[None]:
    """Call `begin_run` and lock `folder`, where it can be locked, against other trainings inside the block.

    A beginning that fails before a stage has written anything is undone. Raises a `DeftRecError` if another process
    trains there, and the errors of `begin_run` and, to `overwrite`, of `replaced`.
    """
    if printable(str(folder)) != str(folder):
        raise DeftRecError(f"{printable(str(folder))}: not a name in UTF-8, which other libraries need; give another")
    if resume and overwrite:
        raise ConfigError("`resume=True` goes on with a training and `overwrite=True` begins another: leave one out")
    made = not resume and not folder.exists()
    if made:
        with writable(folder):
            folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder), replaced(folder) if overwrite else nullcontext():
        if not resume:
            _check_empty(folder)
        try:
            begin_run(folder, request, interactions, resume)
            yield
        except Exception:
            if not resume and not any(folder.rglob("*.safetensors")):
                for name in ("work", "logs", "data"):
                    shutil.rmtree(folder / name, ignore_errors=True)
                (folder / "request.json").unlink(missing_ok=True)
                if made:
                    with suppress(OSError):  # another program has put something else there
                        folder.rmdir()
            raise
        for one in moved_aside(folder.resolve()):  # by a process that was killed
            shutil.rmtree(one, ignore_errors=True)


@contextmanager
def saving_in(folder: Path, request: Request, interactions: Interactions, overwrite: bool) -> Iterator[None]:
    """Call `begin_run` for a block that writes a finished run; a failure leaves what was there before.

    Raises the errors of `begin_run` and, to `overwrite`, of `replaced`.
    """
    with _alone(folder), replaced(folder) if overwrite else nullcontext():
        _check_empty(folder)
        try:
            begin_run(folder, request, interactions, resume=False)
            yield
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise


@contextmanager
def replaced(folder: Path) -> Iterator[None]:
    """Move the run in `folder` aside for a block that writes another one there.

    It is deleted after the block, or moved back if the block leaves nothing in `folder`. Raises a `DeftRecError` if
    `folder` holds anything but a run, or the process works inside it.
    """
    folder = recover(folder.resolve())
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        yield
        return
    if not (folder / "request.json").is_file():
        raise DeftRecError(f"{folder}: holds no run, so it is not overwritten; give another directory")
    if Path.cwd().is_relative_to(folder):
        raise DeftRecError(f"{folder}: this process works inside it, so it is not overwritten; change to another place")
    aside = folder.with_name(f".{folder.name}.{secrets.token_hex(8)}.old")  # where `recover` looks for it
    with writable(folder):
        folder.rename(aside)
        folder.mkdir()  # at once, before a reader puts the run back
    try:
        yield
    finally:
        with suppress(OSError):
            folder.rmdir()  # if it is empty
        if folder.exists():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            aside.rename(folder)


def begin_run(folder: Path, request: Request, interactions: Interactions, resume: bool) -> None:
    """Make a run directory, or, to `resume`, check that it holds the beginning of the same run.

    The request is written first: from then on a killed training can be resumed, and incomplete data are written again.
    Raises a `DeftRecError` if it is not empty, or holds another run or nothing that could be resumed.
    """
    if resume:
        if not (folder / "request.json").is_file():
            raise DeftRecError(f"{folder}: nothing to resume; train without `resume=True`")
        if (folder / "run.json").is_file():
            raise DeftRecError(f"{folder}: this run is complete; there is nothing to resume")
        before = read_record(folder / "request.json", Request, "begin the training again with `overwrite=True`")
        if before.fingerprint != request.fingerprint:
            other = ", and the run of `start=...` must be as it was" if request.start else ""
            raise DeftRecError(f"{folder}: was begun on other data; resume it with the same data{other}")
        if before.model_copy(update={"threads": request.threads}) != request:
            raise DeftRecError(
                f"{folder}: was begun with other options; resume it with the same, `start=...` and `refit=...` included"
            )
    else:
        _check_empty(folder)
        with writable(folder):
            folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "request.json", request.model_dump_json(indent=2) + "\n")
    for one in _leftovers(folder):
        shutil.rmtree(one) if one.is_dir() else one.unlink()
    if not resume or not _holds(folder / "data", request.fingerprint):
        try:
            interactions.save(folder / "data")
        except OSError:  # a full disk: the corrected command finds an empty directory
            if not resume:
                (folder / "request.json").unlink(missing_ok=True)
            raise


def _check_empty(folder: Path) -> None:
    """Raise a `DeftRecError` unless `folder` is missing or holds nothing but leftovers."""
    if not folder.exists() or (folder.is_dir() and not set(folder.iterdir()) - _leftovers(folder)):
        return
    mend = "give another directory"
    if (folder / "run.json").is_file():
        mend += ", or `overwrite=True` to replace the run in it"
    elif (folder / "request.json").is_file():
        mend += ", or `resume=True` to go on with the interrupted run in it, or `overwrite=True` to replace it"
    raise DeftRecError(f"{folder}: not empty; {mend}")


def _leftovers(folder: Path) -> set[Path]:
    return {one for name in LEFTOVERS for one in folder.glob(name)}


def _holds(data: Path, fingerprint: str) -> bool:
    try:
        return Interactions.load(data).fingerprint == fingerprint
    except DataError:
        return False


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Lock a run directory, where it can be locked, against other trainings; a `DeftRecError` if one holds it."""
    with ExitStack() as held:
        try:
            held.enter_context(locked(folder, wait=False, needed=False))
        except FileNotFoundError:  # not even a directory for it
            pass
        except BlockingIOError:
            raise DeftRecError(f"{folder} is being trained by another process; wait for it, or end it") from None
        yield
