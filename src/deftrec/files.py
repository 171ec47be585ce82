"""Atomic writes, and locks between processes: a file or directory appears complete or not at all."""

import errno
import json
import os
import re
import secrets
import shutil
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from deftrec.errors import UnwritableError

SWAP_ATTEMPTS = 10
SQLITE_FAULTS = ("disk is full", "disk I/O error")
DISK_FAULTS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}
OS_ERROR = re.compile(r"\(os error (\d+)\)")  # as libraries written in Rust say it


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary file beside `path`; on success it is flushed to disk and renamed to `path`.

    If the block fails or the process is killed, `path` keeps its previous content. The new file gets the permissions
    that the process's umask gives to any new file. A link stays, and its target is replaced; a device or pipe, such as
    `/dev/stdout`, stays too, and the content is written into it. Raises an `UnwritableError` if `path` is a directory,
    no file can be made beside it, or a disk is full or broken.
    """
    path = Path(path)
    if path.is_dir():
        raise UnwritableError(f"{path}: is a directory; name a file, such as {path / 'result'}")
    if _is_stream(path):
        with _through_a_file(path) as temporary:
            yield temporary
        return
    path = _target(path)
    with writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary(path)
        # The kernel applies the umask. Reading it from Python would set it for all threads.
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        os.close(descriptor)
    try:
        with _disk_faults(path, temporary):
            yield temporary
            temporary.chmod(mode)  # a writer may have replaced the file by a private one
            _flush(temporary)
            temporary.replace(path)
            _flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _through_a_file(path: Path) -> Iterator[Path]:
    """Yield a temporary file elsewhere; on success its content is written into the device or pipe `path`."""
    with TemporaryDirectory() as folder:
        temporary = Path(folder, "content")
        temporary.touch()
        with _disk_faults(path, temporary):
            yield temporary
            with writable(path), temporary.open("rb") as content, path.open("ab") as stream:
                shutil.copyfileobj(content, stream)


@contextmanager
def atomic_directory(path: str | Path) -> Iterator[Path]:
    """Yield a temporary directory beside `path`; on success it is flushed to disk and replaces `path`.

    Two renames replace a directory: the previous one is moved aside, then the new one takes its name. A process killed
    between them leaves no `path`, so whatever reads such a directory calls `recover` first. Raises an `UnwritableError`
    if no directory can be made beside `path`, or a disk is full or broken.
    """
    path = recover(_target(Path(path)))
    with writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary(path)
        temporary.mkdir()
    try:
        with _disk_faults(path, temporary):
            yield temporary
            for folder, _, files in os.walk(temporary, topdown=False):
                for file in (Path(folder, name) for name in files):
                    if file.is_file():  # no link to nowhere
                        _flush(file)
                _flush(Path(folder))
            _replace_directory(path, temporary)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def recover(path: str | Path) -> Path:
    """Put back the directory that a process killed inside `atomic_directory` had moved aside, and return `path`.

    An existing `path` is left alone. Safe to call while another process writes `path`.
    """
    path = Path(path)
    if path.exists() or not path.parent.is_dir():
        return path
    if aside := moved_aside(path):
        with suppress(OSError):  # another process has put it back
            max(aside, key=lambda found: found.stat().st_mtime_ns).rename(path)
            _flush(path.parent)
    return path


def moved_aside(path: Path) -> list[Path]:
    """Directories that were called `path` before another took their place."""
    pattern = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{16}}\.old")
    return [found for found in path.parent.iterdir() if pattern.fullmatch(found.name)]


@contextmanager
def writable(path: Path) -> Iterator[None]:
    """Turn an `OSError` of the block into an `UnwritableError` that names `path`, not a temporary file beside it."""
    try:
        yield
    except UnwritableError:
        raise
    except OSError as error:
        raise _unwritable(path, _reason(error)) from error


@contextmanager
def _disk_faults(path: Path, temporary: Path) -> Iterator[None]:
    """Turn errors of a full or broken disk, whichever library raises them, into an `UnwritableError` on `path`."""
    try:
        yield
    except UnwritableError as error:  # of a file inside a temporary directory
        raise UnwritableError(str(error).replace(str(temporary), str(path))) from error
    except Exception as error:
        if (fault := disk_fault(error)) is None:
            raise
        raise _unwritable(path, fault) from error


def disk_fault(error: Exception) -> str | None:
    """The reason why a disk could not be written, in words; None for an error of another kind."""
    number = error.errno if isinstance(error, OSError) else None
    if number is None and (found := OS_ERROR.search(str(error))):
        number = int(found[1])
    if number in DISK_FAULTS:
        return os.strerror(number).lower()
    return next((fault for fault in SQLITE_FAULTS if fault in str(error)), None)


def default_home() -> Path:
    """The directory of cached downloads: `$DEFTREC_HOME`, or `~/.cache/deftrec`.

    Raises an `UnwritableError` where neither is known.
    """
    if configured := os.environ.get("DEFTREC_HOME"):
        return Path(configured)
    try:
        if os.environ.get("HOME") == "":  # which Python takes for the root directory
            raise RuntimeError
        return Path.home() / ".cache" / "deftrec"
    except RuntimeError:
        message = "no home directory is known (HOME is not set), so downloads have no place; set DEFTREC_HOME to one"
        raise UnwritableError(message) from None


def _unwritable(path: Path, reason: str) -> UnwritableError:
    place = "name another place"
    with suppress(UnwritableError):
        if path.is_relative_to(default_home()):
            place = "set DEFTREC_HOME to another directory"
    return UnwritableError(f"{path}: cannot be written ({reason}); {place}, or make room there")


def printable(name: str) -> str:
    """A file name as a text that can be encoded: a byte that is not UTF-8 is written as `\\udc` and its two digits."""
    return name.encode("utf-8", "backslashreplace").decode()


def write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically. NaN and infinities are refused."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


@contextmanager
def locked(path: str | Path, *, wait: bool, needed: bool = True) -> Iterator[None]:
    """Hold a file or directory against other processes that lock it too; the lock ends with its process.

    The lock is on a file `.NAME.lock` beside `path`, which is removed afterwards. `path` itself may be missing. Raises
    a `BlockingIOError` if another process holds the lock, and `wait` is false; a `FileNotFoundError` if the directory
    that would hold `path` is missing; and an `UnwritableError` if there can be no lock here, and it is `needed`.

    Args:
        path: file or directory to protect; it is not touched.
        wait: wait until another process releases the lock, instead of failing at once.
        needed: fail where the file system has no locks; if false, warn and go on without one.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100 - `.` needs a name; a link keeps its own
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path.parent}: no such directory")
    lock = FileLock(path.parent / f".{path.name}.lock")
    held = False
    try:
        _acquire(lock, wait)
        held = True
    except Timeout as error:
        raise BlockingIOError(f"{path}: another process holds its lock") from error
    except OSError as error:
        message = f"{path}: cannot be locked ({_reason(error)}; the file system is mounted at {_mount(path)})"
        if needed:
            raise UnwritableError(f"{message}; use a directory that can be written, on a local disk") from error
        mend = "a second process that writes here at the same time would not be noticed; start only one"
        warnings.warn(f"{message}; {mend}", RuntimeWarning, stacklevel=3)
    try:
        yield
    finally:
        if held:
            # Removed while held: since 3.30 filelock leaves the file to us, and a waiting process that then gets the
            # lock of a removed file tries again. Windows removes no open file.
            with suppress(OSError):
                Path(lock.lock_file).unlink()
            lock.release()


def _acquire(lock: BaseFileLock, wait: bool) -> None:
    with warnings.catch_warnings():  # about the fallback that is undone here
        warnings.simplefilter("ignore", UserWarning)
        busy = False
        try:
            lock.acquire(timeout=0)
        except Timeout:
            busy = True
    if isinstance(lock, SoftFileLock):  # the fallback of filelock: it would outlive a killed process
        if not busy:
            lock.release()
        raise OSError("it has no file locks")
    if busy:
        lock.acquire(timeout=-1 if wait else 0)


def _mount(path: Path) -> Path:
    """The mount point of the file system that holds `path`."""
    return next(folder for folder in (path, *path.parents) if os.path.ismount(folder))


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _is_stream(path: Path) -> bool:
    """Whether a path is a device or pipe, or an open file such as `/dev/stdout`: no other file may take its place."""
    if path.is_symlink() and (path.readlink().is_relative_to("/proc") or path.parent.resolve().is_relative_to("/proc")):
        return True
    return path.exists() and not path.is_file() and not path.is_dir()


def _target(path: Path) -> Path:
    """The path that a link leads to; a path that is no link stays as it was given."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")


def _replace_directory(path: Path, new: Path) -> None:
    """Rename `new` to `path`, and the previous directory to the name of `new`."""
    aside = new.with_suffix(".old")
    for attempt in range(SWAP_ATTEMPTS):
        try:
            if path.exists():
                path.rename(aside)
            new.rename(path)
            break
        except OSError:  # between the renames another process wrote `path`, or recovered it
            if attempt + 1 == SWAP_ATTEMPTS:
                recover(path)
                raise
            if aside.exists() and path.exists():
                shutil.rmtree(aside, ignore_errors=True)
    _flush(path.parent)
    if aside.exists():
        aside.rename(new)  # so that `recover` does not find it


def _flush(path: Path) -> None:
    """Wait until the content of a file, or the names in a directory, are on the disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows opens no directory
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
