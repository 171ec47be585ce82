"""Files appear whole or not at all: write under a temporary name, fsync, rename."""

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from deftrec.errors import UnwritableError


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is flushed to disk and renamed over `path`.

    Whatever goes wrong inside the block, `path` is either its old self or the complete new file.
    """
    path = Path(path)
    with writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        _make_readable(temporary)
        _flush(temporary)
        temporary.replace(path)
        _flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: str | Path) -> Iterator[Path]:
    """Yield a temporary directory beside `path`; on success it takes the place of `path`.

    A directory that stood there before is removed only after the new one is complete.
    """
    path = Path(path)
    with writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        for file in temporary.rglob("*"):
            if file.is_file():
                _flush(file)
        retired = temporary.with_suffix(".old")
        if path.exists():
            path.rename(retired)
        temporary.rename(path)
        _flush(path.parent)
        shutil.rmtree(retired, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def writable(path: Path, mend: str = "name another place, or make room there") -> Iterator[None]:
    """Name `path`, and no temporary file in or beside it, where nothing can be written.

    Raises:
        UnwritableError: in place of an `OSError`.
    """
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UnwritableError(f"{path}: cannot be written ({reason}); {mend}") from error


def write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically. NaN and infinities are refused."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


@contextmanager
def locked(path: str | Path, *, wait: bool, needed: bool = True) -> Iterator[None]:
    """Hold a file or directory against other processes; the lock dies with its process.

    Args:
        path: what is there; locking changes nothing of it.
        wait: until whoever holds it lets go.
        needed: if false, nothing is held where it cannot be locked, as on some network file systems.

    Raises:
        BlockingIOError: another process holds it, and `wait` is false.
        FileNotFoundError: it is not there.
        OSError: it cannot be locked, and the lock is `needed`.
    """
    with ExitStack() as held:
        try:
            # Some network file systems lock only what is open for writing, which a directory cannot be.
            descriptor = os.open(path, os.O_RDONLY if Path(path).is_dir() else os.O_RDWR)
            held.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError as error:
            if needed or isinstance(error, BlockingIOError | FileNotFoundError):
                raise
        yield


def _make_readable(path: Path) -> None:
    """Give a temporary file (created private) the permissions an ordinary new file would have."""
    umask = os.umask(0)
    os.umask(umask)
    path.chmod(0o666 & ~umask)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
